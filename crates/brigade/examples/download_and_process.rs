//! Lesson 4: one process produces, another consumes, and a queue is between them.
//!
//! Run it: `cargo run --example download_and_process`. Many processes for many tasks come in lesson 5.

#[macro_use]
#[path = "common/language.rs"]
mod language;

use std::error::Error;

use brigade::{PutError, Queue};

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();

    let queue = Queue::bounded(3)?;
    let downloader = brigade::spawn(queue.clone(), download)?;
    let processor = brigade::spawn(queue, process)?; // the last handle here goes too: only those two are left

    downloader.join()??;
    processor.join()?;
    Ok(())
}

/// Stands for a download: three numbers arrive.
fn download(queue: Queue<u32>) -> Result<(), PutError<u32>> {
    for number in [11, 22, 33] {
        queue.put(number)?;
    }
    say!("数据下载完成", "the data has been downloaded");
    Ok(())
}

/// Collects what the other process downloads.
///
/// Asking `is_empty` for the end would be a race: the queue is empty, too, before the first number is there. The iterator
/// waits for each number, and ends when the queue is empty and nobody is left who could put another.
fn process(queue: Queue<u32>) {
    let numbers: Vec<u32> = queue.iter().collect();
    say!("{numbers:?}", "{numbers:?}");
}
