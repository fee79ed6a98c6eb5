//! Descriptors in messages: they arrive whoever sent them and whoever died, and none is left open.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;

use brigade::{Descriptor, Process, Queue, Receiver, Sender, pipe};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use torture::facts::PATIENCE;

/// An open file with this in it, and no name.
fn file(contents: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(contents.as_bytes()).unwrap();
    file
}

fn contents(descriptor: Descriptor) -> String {
    let mut file = File::from(descriptor.into_owned_fd());
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Two ends of a pipe of the kernel: reading ends when every copy of the writing end is closed, in whichever process.
fn witness() -> (File, Descriptor) {
    let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (File::from(reading), Descriptor::from(writing))
}

fn is_closed_everywhere(mut reading: File) -> bool {
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    // Readable are bytes, and then the end.
    while poll(&mut [PollFd::new(&reading, PollFlags::IN)], Some(&patience)).unwrap() > 0 {
        if reading.read(&mut [0]).unwrap() == 0 {
            return true;
        }
    }
    false
}

#[test]
fn a_file_goes_through_a_queue_within_a_process_and_none_stays_open() {
    let (reading, writing) = witness();
    let queue = Queue::bounded(1).unwrap();
    queue.put(("name".to_owned(), Some(writing))).unwrap();
    let (name, writing) = queue.get().unwrap();
    assert_eq!(name, "name");
    File::from(writing.unwrap().into_owned_fd()).write_all(b"x").unwrap();
    let mut first = [0];
    let mut reading = reading;
    reading.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"x");
    assert!(is_closed_everywhere(reading));
}

#[test]
fn a_file_arrives_though_its_sender_ended_right_after_the_put() {
    let queue = Queue::<Descriptor>::bounded(8).unwrap();
    let sender = brigade::spawn(queue.clone(), |queue| {
        for number in 0..8 {
            queue.put(Descriptor::from(file(&number.to_string()))).unwrap();
        }
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    })
    .unwrap();
    assert_eq!(sender.wait().signal(), Some(9));
    for number in 0..8 {
        assert_eq!(contents(queue.get_timeout(PATIENCE).unwrap()), number.to_string());
    }
}

#[test]
fn files_travel_between_siblings_and_from_grandchildren() {
    let (sender, receiver) = pipe::<Descriptor>();
    let (answers, heard) = pipe::<String>();
    let reader = brigade::spawn((receiver, answers), |(receiver, answers): (Receiver<Descriptor>, Sender<String>)| {
        for descriptor in receiver.iter() {
            answers.send(contents(descriptor)).unwrap();
        }
    })
    .unwrap();
    let writer = brigade::spawn(sender, |sender: Sender<Descriptor>| {
        sender.send(Descriptor::from(file("child"))).unwrap();
        let inner = brigade::spawn(sender, |sender: Sender<Descriptor>| {
            sender.send(Descriptor::from(file("grandchild"))).unwrap();
        });
        inner.unwrap().join().unwrap();
    })
    .unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "child");
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "grandchild");
    writer.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn a_thousand_descriptors_fit_into_one_message() {
    let queue = Queue::<Vec<Descriptor>>::bounded(1).unwrap();
    let sender = brigade::spawn(queue.clone(), |queue| {
        let one = file("one of many");
        let many = (0..1000).map(|_| Descriptor::from(one.try_clone().unwrap())).collect();
        queue.put(many).unwrap();
    })
    .unwrap();
    sender.join().unwrap();
    let reader = brigade::spawn(queue.clone(), |queue: Queue<Vec<Descriptor>>| {
        let many = queue.get().unwrap();
        let n_arrived = many.len();
        (n_arrived, many.into_iter().next_back().map(contents))
    })
    .unwrap();
    assert_eq!(reader.join().unwrap(), (1000, Some("one of many".to_owned())));
}

#[test]
fn what_waits_in_a_queue_that_nobody_can_reach_is_closed() {
    let (reading, writing) = witness();
    let queue = Queue::bounded(1).unwrap();
    queue.put(writing).unwrap();
    drop(queue);
    assert!(is_closed_everywhere(reading));

    let (reading, writing) = witness();
    let queue = Queue::bounded(1).unwrap();
    queue.put(writing).unwrap();
    let holder: Process<()> = brigade::spawn(queue, |_queue: Queue<Descriptor>| {
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    holder.kill();
    holder.wait();
    assert!(is_closed_everywhere(reading));
}

#[test]
fn a_put_that_finds_no_room_closes_what_it_had_handed_over() {
    let (reading, writing) = witness();
    let queue = Queue::bounded(1).unwrap();
    queue.put(Descriptor::from(file("first"))).unwrap();
    let back = queue.try_put(writing).unwrap_err().into_inner();
    drop(back);
    assert!(is_closed_everywhere(reading));
    let refused = brigade::spawn(queue.clone(), |queue: Queue<Descriptor>| {
        let refused = queue.try_put(Descriptor::from(file("second"))).unwrap_err();
        refused.is_full() && contents(refused.into_inner()) == "second"
    })
    .unwrap();
    assert!(refused.join().unwrap());
    assert_eq!(contents(queue.get().unwrap()), "first");
}

#[test]
fn putters_and_getters_that_are_killed_leave_no_descriptor_behind() {
    for _ in 0..20 {
        let (reading, writing) = witness();
        let queue = Queue::<Descriptor>::bounded(4).unwrap();
        let putter: Process<()> = brigade::spawn((queue.clone(), writing), |(queue, writing)| {
            loop {
                let copy = writing.as_fd().try_clone_to_owned().unwrap();
                let _ = queue.put(Descriptor::from(copy));
            }
        })
        .unwrap();
        let getter: Process<()> = brigade::spawn(queue.clone(), |queue: Queue<Descriptor>| {
            loop {
                drop(queue.get());
            }
        })
        .unwrap();
        for _ in 0..5 {
            drop(queue.get_timeout(PATIENCE).unwrap());
        }
        putter.kill();
        getter.kill();
        putter.wait();
        getter.wait();
        drop(queue);
        assert!(is_closed_everywhere(reading));
    }
}

#[test]
fn who_may_not_open_more_files_leaves_the_message_to_others() {
    let queue = Queue::<Vec<Descriptor>>::bounded(1).unwrap();
    let one = file("one");
    queue.put((0..30).map(|_| Descriptor::from(one.try_clone().unwrap())).collect()).unwrap();
    let poor = brigade::spawn(queue.clone(), |queue: Queue<Vec<Descriptor>>| {
        let limit = rustix::process::Rlimit { current: Some(24), maximum: Some(24) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        matches!(queue.try_get(), Err(brigade::TryGetError::System(error)) if error.errno() == Some(24))
    })
    .unwrap();
    assert!(poor.join().unwrap());
    assert_eq!(queue.get().unwrap().len(), 30);
}
