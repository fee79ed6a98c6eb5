//! What a pipe promises: whole messages in order, and that each side learns of the end of the other.

use std::time::Duration;

use brigade::{Duplex, Process, Receiver, RecvError, SendError, Sender, TryRecvError, duplex, pipe};
use torture::facts::{PATIENCE, Stopwatch};

#[test]
fn messages_come_whole_in_order_and_of_any_size() {
    let (sender, receiver) = pipe::<Vec<u8>>();
    let sizes = [0_usize, 1, 3, 64, 5000, 16 << 20, 0, 300_000, 2];
    let process = brigade::spawn((sender, sizes), |(sender, sizes)| {
        for (idx, size) in sizes.into_iter().enumerate() {
            sender.send(vec![idx as u8; size]).unwrap();
        }
    })
    .unwrap();
    for (idx, size) in sizes.into_iter().enumerate() {
        let message = receiver.recv_timeout(PATIENCE).unwrap();
        assert_eq!(message.len(), size);
        assert!(message.iter().all(|&byte| byte == idx as u8));
    }
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    process.join().unwrap();
}

#[test]
fn messages_without_content_are_messages() {
    let (sender, receiver) = pipe::<()>();
    for _ in 0..3 {
        sender.send(()).unwrap();
    }
    assert_eq!(receiver.try_iter().count(), 3);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn what_was_sent_is_received_after_the_last_sender_has_gone() {
    let (sender, receiver) = pipe();
    let second = sender.clone();
    sender.send(1).unwrap();
    drop(sender);
    second.send(2).unwrap();
    drop(second);
    let mut messages = receiver.iter();
    assert_eq!((messages.next(), messages.next(), messages.next()), (Some(1), Some(2), None));
    assert_eq!(messages.error(), Some(&RecvError::Disconnected));
}

#[test]
fn a_send_fails_at_once_when_the_last_receiver_was_dropped_though_there_is_room() {
    let (sender, receiver) = pipe();
    let second = receiver.clone();
    sender.send(1).unwrap();
    drop(receiver);
    sender.send(2).unwrap();
    drop(second);
    assert_eq!(sender.send(3), Err(SendError::Disconnected(3)));
    assert!(sender.try_send(4).unwrap_err().is_disconnected());
}

#[test]
fn a_receiver_in_a_message_keeps_the_pipe_open_until_the_message_is_lost() {
    let (sender, receiver) = pipe();
    let (carrier, carried) = pipe();
    carrier.send(receiver).unwrap();
    sender.send(5).unwrap();
    let receiver: Receiver<i32> = carried.recv().unwrap();
    assert_eq!(receiver.recv(), Ok(5));
    carrier.send(receiver).unwrap();
    sender.send(6).unwrap();
    drop((carrier, carried));
    let start = Stopwatch::start();
    while sender.send(7).is_ok() {
        assert!(start.elapsed() < PATIENCE, "nobody can receive the message with the receiver in it any more");
    }
}

#[test]
fn a_killed_receiver_is_noticed_within_a_second() {
    let (sender, receiver) = pipe();
    let (said, heard) = pipe();
    let process: Process<()> = brigade::spawn((receiver, said), |(receiver, said): (Receiver<u32>, Sender<()>)| {
        said.send(()).unwrap();
        loop {
            let _ = receiver.recv();
        }
    })
    .unwrap();
    heard.recv_timeout(PATIENCE).unwrap();
    process.kill();
    process.wait();
    let start = Stopwatch::start();
    while sender.send(1).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn a_send_that_waits_for_room_ends_when_the_receiver_is_killed() {
    let (sender, receiver) = pipe::<Vec<u8>>();
    let process: Process<()> = brigade::spawn(receiver, |_receiver: Receiver<Vec<u8>>| {
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    let large = vec![1; 700_000];
    sender.send(large.clone()).unwrap();
    // A second one would make more than what may wait.
    assert!(sender.try_send(large.clone()).unwrap_err().is_full());
    process.kill();
    assert!(matches!(sender.send_timeout(large, PATIENCE), Err(error) if error.is_disconnected()));
}

#[test]
fn a_killed_sender_ends_the_pipe_and_its_last_message_is_whole_or_not_there() {
    for _ in 0..10 {
        let (sender, receiver) = pipe::<Vec<u8>>();
        let process: Process<()> = brigade::spawn(sender, |sender| {
            let mut number = 0_u8;
            while sender.send(vec![number; 3000]).is_ok() {
                number = number.wrapping_add(1);
            }
        })
        .unwrap();
        let mut expected = 0_u8;
        for message in receiver.iter() {
            assert_eq!(message, vec![expected; 3000]);
            if expected == 20 {
                process.kill();
            }
            expected = expected.wrapping_add(1);
        }
        assert!(expected > 20);
        process.wait();
    }
}

#[test]
fn both_ends_of_a_duplex_send_and_receive() {
    let (ours, theirs) = duplex::<u32, String>();
    let process = brigade::spawn(theirs, |theirs: Duplex<String, u32>| {
        while let Ok(number) = theirs.recv() {
            theirs.send(number.to_string()).unwrap();
        }
    })
    .unwrap();
    for number in 0..100 {
        ours.send(number).unwrap();
        assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), number.to_string());
    }
    let (sender, receiver) = ours.split();
    drop(sender);
    process.join().unwrap();
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
}

#[test]
fn polling_tells_of_messages_and_of_the_end() {
    let (sender, receiver) = pipe();
    assert!(!receiver.poll(Duration::ZERO));
    assert!(!receiver.poll(Duration::from_millis(5)));
    sender.send(1).unwrap();
    assert!(receiver.poll(Duration::ZERO));
    assert!(receiver.poll(PATIENCE));
    assert_eq!(receiver.recv(), Ok(1));
    drop(sender);
    assert!(receiver.poll(PATIENCE));
}

#[test]
fn ends_refuse_to_be_written_by_another_format() {
    let (sender, receiver) = pipe::<u8>();
    assert!(serde_json::to_string(&sender).unwrap_err().to_string().contains("Sender"));
    assert!(serde_json::to_string(&receiver).unwrap_err().to_string().contains("Receiver"));
}
