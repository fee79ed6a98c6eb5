//! The kernel calls: what they promise about memory, descriptors, locks and life.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use brigade_sys::kernel::ending::{self, Ending};
use brigade_sys::kernel::memory::{self, Mapping};
use brigade_sys::kernel::passing::{self, Blocking, MAX_DESCRIPTORS};
use brigade_sys::kernel::sealed::{self, Draft, Sealed};
use brigade_sys::kernel::signals::SignalMask;
use brigade_sys::kernel::spawn::{self, Program, Step};
use brigade_sys::kernel::{liveness, memory::LOWEST_OWN_DESCRIPTOR};
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::{SharedBytes, Wait};
use brigade_sys::shared::lock::{Acquired, OwnedLock, Owner};

#[test]
fn made_memory_can_neither_shrink_nor_grow_and_is_no_standard_stream() {
    let memory = memory::create(c"test", 8192).unwrap();
    assert!(memory.as_raw_fd() >= LOWEST_OWN_DESCRIPTOR);
    assert_eq!(memory::sealed_size(&memory).unwrap(), 8192);
    assert!(rustix::fs::ftruncate(&memory, 0).is_err());
    assert!(rustix::fs::ftruncate(&memory, 1 << 20).is_err());
    assert_eq!(rustix::fs::fstat(&memory).unwrap().st_blocks, 16);
}

#[test]
fn memory_that_is_not_sealed_or_too_small_is_not_mapped() {
    let open = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&open, 4096).unwrap();
    assert!(Mapping::new(open.as_fd(), 0, 4096).is_err());
    let small = memory::create(c"test", 4096).unwrap();
    assert!(Mapping::new(small.as_fd(), 0, 8192).is_err());
}

#[test]
fn memory_given_back_reads_as_zeros_and_takes_no_room() {
    let memory = memory::create(c"test", 10_000).unwrap();
    memory::write_at(&memory, 0, &[[7; 5000], [8; 5000]].concat()).unwrap();
    let mut bytes = [0; 4];
    memory::read_at(&memory, 4998, &mut bytes).unwrap();
    assert_eq!(bytes, [7, 7, 8, 8]);
    memory::give_back(&memory, 0, 10_000).unwrap();
    memory::read_at(&memory, 4998, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 4]);
    assert!(memory::read_at(&memory, 9_998, &mut bytes).is_err());
}

#[test]
fn sealed_memory_holds_its_parts_and_nothing_changes_it() {
    let memory = sealed::create(c"test", &[&[7; 5000], &[], &[8; 5000]]).unwrap();
    assert!(memory::write_at(&memory, 0, &[1]).is_err());
    assert!(memory::give_back(&memory, 0, 4096).is_err());
    assert!(Mapping::new(memory.as_fd(), 0, 10_000).is_err());
    let bytes = Sealed::open(memory).unwrap();
    assert_eq!((bytes.len(), bytes[4999], bytes[5000]), (10_000, 7, 8));
}

#[test]
fn a_draft_is_sealed_only_when_nobody_can_write_any_more() {
    let mut draft = Draft::new(c"test", 10_000).unwrap();
    draft[9_999] = 1;
    let bytes = Sealed::open(draft.seal().unwrap()).unwrap();
    assert_eq!((bytes.len(), bytes[0], bytes[9_999]), (10_000, 0, 1));
    assert!(Sealed::open(memory::create(c"test", 4096).unwrap()).is_err());
    assert!(Sealed::open(Draft::new(c"test", 0).unwrap().seal().unwrap()).unwrap().is_empty());
}

#[test]
fn a_futex_tells_why_the_sleep_ended() {
    let memory = memory::create(c"test", 4096).unwrap();
    let memory = Arc::new(Mapping::new(memory.as_fd(), 0, 4096).unwrap());
    assert_eq!(memory.futex_wait(0, 1, None), Wait::ValueChanged);
    assert_eq!(memory.futex_wait(0, 0, Some(Duration::from_millis(5))), Wait::TimedOut);
    let waker = Arc::clone(&memory);
    let thread = std::thread::spawn(move || {
        waker.word32(0).store(1, Ordering::Release);
        waker.futex_wake(0, 1);
    });
    while memory.word32(0).load(Ordering::Acquire) == 0 {
        memory.futex_wait(0, 0, None);
    }
    thread.join().unwrap();
}

#[test]
fn packets_stay_whole_and_bring_their_descriptors() {
    let (one, other) = passing::pair().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let many = vec![file.as_fd(); MAX_DESCRIPTORS];
    passing::send(&one, &[b"ab", b"c"], &many, Blocking::Wait).unwrap();
    passing::send(&one, &[b"d"], &[], Blocking::Wait).unwrap();
    let mut buffer = [0; 16];
    let packet = passing::receive(&other, &mut buffer, Blocking::Wait).unwrap().unwrap();
    assert_eq!((&buffer[..packet.n_bytes], packet.descriptors.len()), (&b"abc"[..], MAX_DESCRIPTORS));
    let packet = passing::receive(&other, &mut buffer, Blocking::Wait).unwrap().unwrap();
    assert_eq!((&buffer[..packet.n_bytes], packet.descriptors.len()), (&b"d"[..], 0));
    let nothing = passing::receive(&other, &mut buffer, Blocking::Never).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    drop(one);
    assert!(passing::receive(&other, &mut buffer, Blocking::Wait).unwrap().is_none());
}

#[test]
fn a_spawned_program_has_the_descriptors_it_was_given_in_order() {
    let (reader, writer) = std::io::pipe().unwrap();
    let script = c"printf '%s' \"$WORD\" >&4; exit 7".to_owned();
    let started = spawn::spawn(&Program {
        path: c"/bin/sh",
        arguments: &[c"sh".to_owned(), c"-c".to_owned(), script],
        environment: &[c"WORD=hello".to_owned()],
        descriptors: &[std::io::stdin().as_fd(), writer.as_fd()],
        ..Program::default()
    })
    .unwrap();
    drop(writer);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "hello");
    assert_eq!(ending::collect(&started.pidfd), Some(Ending::Exited(7)));
    assert_eq!(ending::collect(&started.pidfd), None);
}

/// In their places there are others, which must not be lost on the way.
#[test]
fn descriptors_change_places_without_destroying_each_other() {
    let files: Vec<_> = (0..3).map(|_| std::io::pipe().unwrap()).collect();
    // 3 to 5 in another order, as far as this process has them; the program tells which file is where.
    let mut ours: Vec<_> = files.iter().map(|(reader, _)| reader.as_fd()).collect();
    ours.sort_by_key(|descriptor| std::cmp::Reverse(descriptor.as_raw_fd()));
    let (mut heard, said) = std::io::pipe().unwrap();
    let script = c"for n in 3 4 5 0; do readlink /proc/self/fd/$n; done".to_owned();
    let started = spawn::spawn(&Program {
        path: c"/bin/sh",
        arguments: &[c"sh".to_owned(), c"-c".to_owned(), script],
        environment: &[c"PATH=/bin:/usr/bin".to_owned()],
        descriptors: &ours,
        standard: [Some(ours[2]), Some(said.as_fd()), None],
        ..Program::default()
    })
    .unwrap();
    drop(said);
    let mut told = String::new();
    std::io::Read::read_to_string(&mut heard, &mut told).unwrap();
    let name = |descriptor: &std::os::fd::BorrowedFd<'_>| {
        std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).unwrap().display().to_string()
    };
    let expected: Vec<String> = ours.iter().chain([&ours[2]]).map(name).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    assert_eq!(ending::collect(&started.pidfd), Some(Ending::Exited(0)));
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let error = spawn::spawn(&Program { path: c"/nonexistent", ..Program::default() }).unwrap_err();
    assert_eq!((error.step, error.cause.raw_os_error()), (Step::Execute, Some(2)));
    let nowhere = Program { path: c"/bin/sh", folder: Some(c"/nonexistent"), ..Program::default() };
    assert_eq!(spawn::spawn(&nowhere).unwrap_err().step, Step::Folder);
}

/// Set for the process that plays the holder in the test below.
const HOLDER: &str = "__BRIGADE_TEST_HOLDER";

#[test]
fn a_token_is_gone_as_soon_as_its_holder_is_killed() {
    if std::env::var_os(HOLDER).is_some() {
        hold_until_killed();
    }
    let tokens = memory::create_sparse(c"tokens", 64).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let words = ["kernel", "--exact", "a_token_is_gone_as_soon_as_its_holder_is_killed"];
    let started = spawn::spawn(&Program {
        path: c"/proc/self/exe",
        arguments: &words.map(|word| CString::new(word).unwrap()),
        environment: &[CString::new(format!("{HOLDER}=1")).unwrap()],
        descriptors: &[tokens.as_fd(), writer.as_fd()],
        ..Program::default()
    })
    .unwrap();
    drop(writer);
    let mut byte = [0];
    assert_eq!(rustix::io::read(&reader, &mut byte).unwrap(), 1);
    assert!(liveness::is_held(tokens.as_fd(), 5).unwrap());
    assert!(!liveness::is_held(tokens.as_fd(), 6).unwrap());
    assert!(liveness::hold(tokens.as_fd(), 5).is_err());
    rustix::process::kill_process(started.pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(ending::collect(&started.pidfd), Some(Ending::Signaled { signal: 9, core_dumped: false }));
    assert!(!liveness::is_held(tokens.as_fd(), 5).unwrap());
}

fn hold_until_killed() -> ! {
    let (tokens, ready) = ("/proc/self/fd/3", "/proc/self/fd/4");
    let tokens = std::fs::File::options().read(true).write(true).open(tokens).expect("descriptor 3 was given");
    liveness::hold(tokens.as_fd(), 5).expect("nobody has it");
    std::fs::write(ready, b"x").expect("descriptor 4 was given");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_lock_passes_from_the_dead_and_times_out_with_the_living() {
    let memory = memory::create(c"test", 4096).unwrap();
    let memory = Mapping::new(memory.as_fd(), 0, 4096).unwrap();
    let lock = OwnedLock::at(0);
    let (me, holder) = (Owner::new(1), Owner::new(2));
    assert_eq!(lock.lock(&memory, holder, |_| false, None), Ok(Acquired::Free));
    let before = Instant::now();
    let deadline = before + Duration::from_millis(30);
    assert!(lock.lock(&memory, me, |_| false, Some(deadline)).is_err());
    assert!(before.elapsed() >= Duration::from_millis(30));
    assert_eq!(lock.lock(&memory, me, |owner| owner == holder, None), Ok(Acquired::FromTheDead(holder)));
    lock.unlock(&memory);
    assert_eq!(lock.try_lock(&memory, holder, |_| false), Some(Acquired::Free));
}

#[test]
fn a_contended_lock_excludes_and_loses_no_waiter() {
    let memory = memory::create(c"test", 4096).unwrap();
    let memory = Arc::new(Mapping::new(memory.as_fd(), 0, 4096).unwrap());
    let lock = OwnedLock::at(0);
    let threads: Vec<_> = (1..=4)
        .map(|number| {
            let memory = Arc::clone(&memory);
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    lock.lock(&*memory, Owner::new(number), |_| false, None).unwrap();
                    // Not an atomic addition: only the lock makes it right.
                    let count = memory.word64(64).load(Ordering::Relaxed);
                    memory.word64(64).store(count + 1, Ordering::Relaxed);
                    lock.unlock(&*memory);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(memory.word64(64).load(Ordering::Relaxed), 80_000);
}

#[test]
fn a_signal_mask_survives_being_plain_data() {
    let before = SignalMask::current();
    let some = SignalMask(1 << 9 | 1 << 63);
    some.apply();
    assert_eq!(SignalMask::current(), some);
    before.apply();
    assert_eq!(SignalMask::current(), before);
}

/// A pool lost the committed results of a killed worker, and ran their tasks twice: the worker had left a task's arguments
/// unread, so the kernel said ECONNRESET before it handed out what the worker had sent, and that was taken for the end.
#[test]
fn the_length_of_what_was_sent_is_known_though_the_sender_went_and_left_something_unread() {
    let (here, there) = passing::pair().unwrap();
    passing::send(&here, &[b"unread"], &[], Blocking::Never).unwrap();
    passing::send(&there, &[b"last words"], &[], Blocking::Never).unwrap();
    drop(there);
    assert_eq!(passing::next_length(&here, Blocking::Never).unwrap(), b"last words".len());
}

#[test]
fn what_was_sent_arrives_though_the_sender_went_and_left_something_unread() {
    let (here, there) = passing::pair().unwrap();
    passing::send(&here, &[b"unread"], &[], Blocking::Never).unwrap();
    passing::send(&there, &[b"last words"], &[], Blocking::Never).unwrap();
    drop(there);
    let mut buffer = [0; 64];
    let packet = passing::receive(&here, &mut buffer, Blocking::Never).unwrap().expect("it was sent");
    assert_eq!(&buffer[..packet.n_bytes], b"last words");
    assert!(passing::receive(&here, &mut buffer, Blocking::Never).unwrap().is_none());
}

#[test]
fn what_was_written_is_told_from_what_was_not() {
    const PAGE: u64 = 4096;
    let memory = memory::create_sparse(c"test", 16 * PAGE).unwrap();
    memory::write_at(&memory, 4 * PAGE, &[1; 2 * PAGE as usize]).unwrap();
    assert!(memory::is_written(&memory, 4 * PAGE, 2 * PAGE));
    assert!(memory::is_written(&memory, 5 * PAGE + 7, PAGE - 7));
    assert!(!memory::is_written(&memory, 4 * PAGE, 3 * PAGE));
    assert!(!memory::is_written(&memory, 3 * PAGE, PAGE));
    assert!(!memory::is_written(&memory, 100 * PAGE, 1));
}
