//! Lesson 3: a queue holds values in the order in which they were put, and not more of them than its capacity.
//!
//! Run it: `cargo run --example queue`. Two processes that use one queue come in lesson 4.

#[macro_use]
#[path = "common/language.rs"]
mod language;

use std::error::Error;

use brigade::Queue;

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();

    let queue = Queue::bounded(3)?;
    for number in 1..=3 {
        queue.put(text!("消息{number}", "message {number}"))?;
        let n_held = queue.len();
        say!("放入第{number}条消息,队列中有{n_held}条", "put message {number}, the queue holds {n_held}");
    }

    // `put` would wait now until somebody takes a message. `try_put` never waits: it hands the message back.
    let is_full = queue.is_full();
    say!("队列已满: {is_full}", "the queue is full: {is_full}");
    if let Err(refused) = queue.try_put(text!("消息4", "message 4")) {
        let message = refused.into_inner();
        say!("{message}放不进去", "{message} does not fit in");
    }

    // First in, first out.
    for message in queue.try_iter() {
        say!("取出{message}", "got {message}");
    }

    let is_empty = queue.is_empty();
    say!("队列已空: {is_empty}", "the queue is empty: {is_empty}");
    Ok(())
}
