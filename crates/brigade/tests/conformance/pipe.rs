//! Pipes, and waiting for several things.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use brigade::{Descriptor, Duplex, Queue, Receiver, RecvError, Sender, TryRecvError, Waitable};
use rustix::process::Signal;
use torture::facts::assert_takes_less_than;

use crate::{checked, signal};

const SHORT: Duration = Duration::from_millis(100);

/// Sends back what comes, until nothing comes any more.
fn echo(end: Duplex<Vec<u8>, Vec<u8>>) {
    while let Ok(bytes) = end.recv() {
        end.send(bytes).unwrap();
    }
}

#[test]
fn values_bytes_and_16_megabytes_are_echoed_and_the_end_is_seen() {
    checked(|| {
        let (ours, theirs) = brigade::duplex();
        let process = brigade::spawn(theirs, echo).unwrap();
        for bytes in [b"hello".to_vec(), vec![], vec![7; 16 << 20]] {
            ours.send(bytes.clone()).unwrap();
            assert!(ours.recv().unwrap() == bytes);
        }
        assert_takes_less_than(SHORT, || assert!(!ours.poll(Duration::ZERO)));
        let start = Instant::now();
        assert!(!ours.poll(SHORT) && start.elapsed() >= SHORT);
        ours.send(vec![1]).unwrap();
        assert!(ours.poll(Duration::from_secs(10)) && ours.poll(Duration::ZERO));
        assert_eq!(ours.recv().unwrap(), [1]);
        process.kill();
        process.wait();
        assert_eq!(ours.recv(), Err(RecvError::Disconnected));
    });
}

#[test]
fn a_sender_only_sends_and_a_receiver_only_receives() {
    checked(|| {
        // The wrong direction does not build: each end has only its own methods.
        let (sender, receiver): (Sender<u8>, Receiver<u8>) = brigade::pipe();
        sender.send(1).unwrap();
        assert_eq!((receiver.recv(), receiver.try_recv()), (Ok(1), Err(TryRecvError::Empty)));
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        let (sender, receiver) = brigade::pipe::<u8>();
        drop(receiver);
        assert!(sender.send(1).is_err());
    });
}

#[test]
fn the_parent_lets_go_of_the_childs_end_at_once() {
    checked(|| {
        let (ours, theirs) = brigade::duplex();
        // It goes with the arguments, whether the child has started or not.
        let process = brigade::spawn(theirs, echo).unwrap();
        ours.send(b"hello".to_vec()).unwrap();
        assert_eq!(ours.recv().unwrap(), b"hello");
        drop(ours);
        process.join().unwrap();
    });
}

#[test]
fn parts_of_bytes_are_sent() {
    checked(|| {
        let (sender, receiver) = brigade::pipe::<Vec<u8>>();
        let bytes = b"abcdefghijklmnopqrstuvwxyz".to_vec();
        let process = brigade::spawn((sender, bytes), |(sender, bytes)| {
            for range in [0..26, 5..26, 7..15, 26..26] {
                sender.send(bytes[range].to_vec()).unwrap();
            }
            // A part that is not there is an error of the slice.
            bytes.get(22..27).is_none()
        });
        let parts: Vec<Vec<u8>> = receiver.iter().collect();
        let expected: [&[u8]; 4] = [b"abcdefghijklmnopqrstuvwxyz", b"fghijklmnopqrstuvwxyz", b"hijklmno", b""];
        assert_eq!(parts, expected);
        assert!(process.unwrap().join().unwrap());
    });
}

#[test]
fn a_descriptor_is_usable_in_the_child_also_with_a_high_number() {
    checked(|| {
        for lowest in [3, 300] {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let high = rustix::io::fcntl_dupfd_cloexec(&writer, lowest).unwrap();
            drop(writer);
            assert!(high.as_raw_fd() >= lowest);
            let (sender, receiver) = brigade::pipe::<Descriptor>();
            let process = brigade::spawn(receiver, |receiver| {
                let mut file = std::fs::File::from(receiver.recv().unwrap().into_owned_fd());
                file.write_all(b"foo").unwrap();
            });
            sender.send(Descriptor::from(high)).unwrap();
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "foo");
            process.unwrap().join().unwrap();
        }
        // Data without the descriptor that it promises: outside of brigade it cannot even be written.
        let file = Descriptor::from(OwnedFd::from(tempfile::tempfile().unwrap()));
        assert!(serde_json::to_string(&file).unwrap_err().to_string().contains("Descriptor"));
    });
}

#[test]
fn an_end_is_closed_when_it_is_dropped() {
    checked(|| {
        let receiver = {
            let (sender, receiver) = brigade::pipe::<u8>();
            sender.send(1).unwrap();
            receiver
        };
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [1]);
        assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    });
}

#[test]
fn empty_messages_are_messages_and_messages_never_merge() {
    checked(|| {
        let (sender, receiver) = brigade::pipe::<Vec<u8>>();
        let messages: Vec<Vec<u8>> =
            vec![vec![], vec![1], vec![], vec![2; 60_000], vec![3], vec![4; 1_000_000], vec![]];
        let process = brigade::spawn((sender, messages.clone()), |(sender, messages)| {
            messages.into_iter().for_each(|message| sender.send(message).unwrap());
        });
        for message in messages {
            // Looking takes nothing away, and another reader would see whole messages too.
            assert!(receiver.poll(Duration::from_secs(10)) && receiver.clone().poll(Duration::ZERO));
            assert!(receiver.recv().unwrap() == message);
        }
        process.unwrap().join().unwrap();
    });
}

#[test]
fn ends_and_sockets_are_sent_through_pipes() {
    checked(|| {
        let (sender, receiver) = brigade::pipe::<(Sender<String>, Receiver<String>, Descriptor)>();
        let process = brigade::spawn(receiver, |receiver| {
            let (sender, receiver, socket) = receiver.recv().unwrap();
            sender.send(receiver.recv().unwrap().to_uppercase()).unwrap();
            UnixStream::from(socket.into_owned_fd()).write_all(b"by socket").unwrap();
        });
        let ((there, at_child), (from_child, back)) = (brigade::pipe(), brigade::pipe());
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        sender.send((from_child, at_child, Descriptor::from(OwnedFd::from(theirs)))).unwrap();
        there.send("hello".to_owned()).unwrap();
        assert_eq!(back.recv().unwrap(), "HELLO");
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, "by socket");
        process.unwrap().join().unwrap();
    });
}

#[test]
fn waiting_for_four_pipes_delivers_every_message_and_every_end() {
    checked(|| {
        let mut receivers = Vec::new();
        let mut processes = Vec::new();
        for number in 0..4_u32 {
            let (sender, receiver) = brigade::pipe::<(u32, u32)>();
            receivers.push(receiver);
            processes.push(brigade::spawn((sender, number), |(sender, number)| {
                for idx in 0..10 {
                    sender.send((number, idx)).unwrap();
                    // So that the four have something to say at different moments.
                    std::thread::sleep(Duration::from_millis(u64::from(number)));
                }
            }));
        }
        let mut messages = Vec::new();
        while !receivers.is_empty() {
            let items: Vec<&dyn Waitable> = receivers.iter().map(|receiver| receiver as &dyn Waitable).collect();
            let mut ready = brigade::wait(&items, None);
            assert!(!ready.is_empty());
            ready.reverse();
            for idx in ready {
                match receivers[idx].recv() {
                    Ok(message) => messages.push(message),
                    Err(error) => {
                        assert_eq!(error, RecvError::Disconnected);
                        receivers.remove(idx);
                    }
                }
            }
        }
        messages.sort_unstable();
        let expected: Vec<(u32, u32)> = (0..4).flat_map(|number| (0..10).map(move |idx| (number, idx))).collect();
        assert_eq!(messages, expected);
        processes.into_iter().for_each(|process| process.unwrap().join().unwrap());
    });
}

#[test]
fn waiting_returns_nothing_after_the_timeout() {
    checked(|| {
        let (a, b) = (Queue::<u8>::bounded(1).unwrap(), Queue::<u8>::bounded(1).unwrap());
        assert_takes_less_than(SHORT, || assert!(brigade::wait(&[&a, &b], Some(Duration::ZERO)).is_empty()));
        let start = Instant::now();
        assert!(brigade::wait(&[&a, &b], Some(SHORT)).is_empty() && start.elapsed() >= SHORT);
        b.put(1).unwrap();
        assert_eq!(brigade::wait(&[&a, &b], Some(SHORT)), [1]);
        assert!(brigade::wait(&[], None).is_empty());
    });
}

#[test]
fn processes_pipes_and_queues_are_waited_for_together() {
    checked(|| {
        let (sender, receiver) = brigade::pipe::<u8>();
        let (queue, go) = (Queue::<u8>::bounded(1).unwrap(), Queue::<()>::bounded(1).unwrap());
        let process = brigade::spawn(go.clone(), |go| go.get().is_ok()).unwrap();
        let items: [&dyn Waitable; 3] = [&process, &receiver, &queue];
        assert!(brigade::wait(&items, Some(SHORT)).is_empty());
        go.put(()).unwrap();
        assert_eq!(brigade::wait(&items, None), [0]);
        sender.send(1).unwrap();
        queue.put(1).unwrap();
        assert_eq!(brigade::wait(&items, None), [0, 1, 2]);
        assert!(process.join().unwrap());
    });
}

#[test]
fn receiving_survives_signals() {
    checked(|| {
        let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGUSR1]).unwrap();
        let (sender, receiver) = brigade::pipe::<Vec<u8>>();
        let got = std::thread::scope(|scope| {
            let reader = scope.spawn(|| receiver.recv());
            for _ in 0..20 {
                signal(std::process::id(), Signal::USR1);
                assert_eq!(signals.forever().next(), Some(Signal::USR1.as_raw()));
            }
            sender.send(vec![5; 3 << 20]).unwrap();
            reader.join().unwrap()
        });
        assert!(got.unwrap() == vec![5; 3 << 20]);
    });
}

#[test]
fn a_handle_that_no_message_brought_is_an_error() {
    checked(|| {
        let invented = serde_json::from_str::<Queue<u8>>("0");
        assert!(invented.is_err());
        let invented = serde_json::from_str::<Sender<u8>>("0");
        assert!(invented.is_err());
    });
}
