//! Lesson 2: every process has a number of its own, the pid, and knows the number of the process that started it.
//!
//! Run it: `cargo run --example process_id`. How processes hand values to each other comes in lessons 3 and 4.

#[macro_use]
#[path = "common/language.rs"]
mod language;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();

    let pid = brigade::current().pid();
    say!("父进程的进程号为{pid}", "the parent is process {pid}");

    // This function needs nothing, so it is given nothing: `()`.
    let child = brigade::spawn((), introduce_yourself)?;
    let child_pid = child.pid();

    // `join` waits until the child has ended, and returns what its function returned.
    let parent_pid_as_told = child.join()?;
    say!(
        "子进程{child_pid}执行结束,它说父进程的进程号为{parent_pid_as_told}",
        "the child, process {child_pid}, has ended; it said that its parent is process {parent_pid_as_told}"
    );
    Ok(())
}

/// Runs in the child, and returns what the parent can then compare with its own number.
fn introduce_yourself((): ()) -> u32 {
    let pid = brigade::current().pid();
    let parent_pid = brigade::current().parent_pid();
    say!(
        "子进程的进程号为{pid},父进程的进程号为{parent_pid}",
        "the child is process {pid}, its parent is process {parent_pid}"
    );
    parent_pid
}
