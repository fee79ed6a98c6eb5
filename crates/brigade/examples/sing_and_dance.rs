//! Lesson 1: two processes at once. One sings, the other dances, verse by verse.
//!
//! Run it: `cargo run --example sing_and_dance`. What a process knows about itself and its parent comes in lesson 2.

#[macro_use]
#[path = "common/language.rs"]
mod language;

use std::error::Error;

use brigade::{PutError, Queue};

const N_VERSES: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init(); // first, always: a new process begins here too, and then goes its own way

    // Whose turn is it? Each performer waits for a ball in its own queue, and throws it into the other's.
    let singers_turn = Queue::bounded(1)?;
    let dancers_turn = Queue::bounded(1)?;
    singers_turn.put(())?; // the song begins

    // `spawn` takes what the process is given, and the function that it runs. A queue is given as a clone: both see the
    // same queue. From here on three processes run: the singer, the dancer and this one.
    let singer = brigade::spawn(("sing".to_owned(), singers_turn.clone(), dancers_turn.clone()), perform)?;
    let dancer = brigade::spawn(("dance".to_owned(), dancers_turn, singers_turn), perform)?;

    // `join` waits for the end of a process and returns what its function returned.
    singer.join()??;
    dancer.join()??;
    Ok(())
}

/// Runs in each of the two processes.
fn perform((act, my_turn, other_turn): (String, Queue<()>, Queue<()>)) -> Result<(), PutError<()>> {
    let pid = brigade::current().pid();
    for () in my_turn.iter().take(N_VERSES) {
        say!("-----{act}----- 进程号为{pid}", "-----{act}----- in process {pid}");
        other_turn.put(())?;
    }
    Ok(())
}
