//! Lesson 5: ten tasks and three workers. Starting a process for each task would be waste: a pool reuses its workers.
//!
//! Run it: `cargo run --example pool`. A pool that does something useful comes in lesson 6.

#[macro_use]
#[path = "common/language.rs"]
mod language;

use std::error::Error;
use std::time::Instant;

use brigade::Pool;

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();

    println!("----start----");
    let pool = Pool::new(3)?;

    // `apply_async` does not wait. Ten tasks are given out at once; each begins when a worker is free.
    let mut tasks = Vec::new();
    for number in 0..10 {
        tasks.push(pool.apply_async(number, work)?);
    }
    pool.close(); // no more tasks will come

    // `get` waits for a task and returns what its function returned.
    let mut n_primes = 0;
    for task in tasks {
        n_primes += task.get()?;
    }
    pool.join(); // the workers have ended
    say!("共找到{n_primes}个质数", "{n_primes} primes were found in all");
    println!("-----end-----");
    Ok(())
}

/// Runs in a worker: counts primes, in some tasks a few, in others many.
fn work(number: u32) -> usize {
    let pid = brigade::current().pid();
    say!("{number}开始执行,进程号为{pid}", "{number} starts, in process {pid}");
    let start = Instant::now();

    let limit = 20_000 * (1 + number * 7 % 10);
    let n_primes = (2..limit).filter(|&candidate| is_prime(candidate)).count();

    let seconds = start.elapsed().as_secs_f64();
    say!("{number} 执行完毕,耗时{seconds:.2}", "{number} is done after {seconds:.2} s");
    n_primes
}

fn is_prime(candidate: u32) -> bool {
    (2..).take_while(|divisor| divisor * divisor <= candidate).all(|divisor| !candidate.is_multiple_of(divisor))
}
