//! A program that is built with `panic=abort` by ../last_words.rs, which compares what it prints.

use brigade::{Pool, ProcessError, TaskError};

fn main() {
    assert!(cfg!(panic = "abort"));
    // One line, so that both panics have one place.
    fn fail(number: u32) -> u32 {
        panic!("no {number}")
    }
    let process = brigade::spawn(7, fail).unwrap();
    let status = process.wait();
    let Err(ProcessError::Panicked(report)) = process.join() else { panic!("not told as a panic") };
    println!("process: {status}: {report}");
    assert!(report.backtrace().unwrap().contains("fail"));
    let pool = Pool::new(1).unwrap();
    let Err(TaskError::Panicked(report)) = pool.apply(8, fail) else { panic!("not told as a panic") };
    println!("task: {report}");
    assert_eq!(pool.apply(2, |number: u32| number + 1).unwrap(), 3);
}
