//! What a process says while a fatal signal ends it: the handler, and the packet it sends to whoever holds the other end of
//! a socket. What the packet is worth to a program is decided above: see `brigade::CrashReport`.
//!
//! ```text
//! after the head that the caller chose, in the machine's byte order:
//!    0  signal i32           4  code i32 (si_code)
//!    8  address u64          of the fault, 0 if there is none
//!   16  sender u32           the process that sent the signal, 0 if the kernel raised it
//!   20  flags u32            1 stack overflow · 2 on the main thread · 4 while a panic unwinds or aborts
//!   24  thread [u8; 16]      its name, ended by a zero
//!   40  image start u64     48  image end u64: where the program lies in that process
//!   56  frames [u64]         addresses inside of the calls, innermost first; at most 64
//! ```
//!
//! The handler does only what is safe at any instruction: it takes no lock, allocates nothing, and writes to memory that
//! was set aside before. It sends twice, first without frames: to unwind a broken stack may raise a second fault, which the
//! kernel answers by ending the process. Then the default action happens, with the first signal's own details, so that the
//! status and a core file are those that the process would have had without us.
#![expect(unsafe_code, reason = "a signal handler, its stack, and walking up the frames")]

mod stack;
mod threads;

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

pub use self::stack::{Frames, MAX_FRAMES, walk};
use super::image::Image;

/// The signals that end a process because of what it did itself.
const FATAL: [i32; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];

const HEAD_BYTES: usize = 56;
const BODY_BYTES: usize = HEAD_BYTES + 8 * MAX_FRAMES;

const IS_OVERFLOW: u32 = 1;
const IS_MAIN_THREAD: u32 = 2;
const IS_PANICKING: u32 = 4;

/// A fault so near to the stack pointer is the stack's own: the compiler touches every page that a frame takes, so the first
/// one that is missing is met within a page or two; C code may go a little further.
const NEAR_BYTES: usize = 64 << 10;

/// What a process said of the signal that ended it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Crash {
    /// The signal.
    pub signal: i32,
    /// Why the kernel raised it (`si_code`).
    pub code: i32,
    /// The address whose use was the fault.
    pub address: Option<u64>,
    /// The process that sent the signal, if one did; itself after `abort`.
    pub sender_pid: Option<u32>,
    /// Whether the thread had used up its stack.
    pub is_stack_overflow: bool,
    /// Whether it happened on the main thread.
    pub is_main_thread: bool,
    /// Whether the thread was panicking.
    pub is_panicking: bool,
    /// The thread's name as the kernel knows it.
    pub thread: String,
    /// The way to the place, innermost first.
    pub frames: Frames,
}

impl Crash {
    /// Reads a packet, without the head that the sender put before it; `None` if it is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, frames) = bytes.split_at_checked(HEAD_BYTES)?;
        let word32 = |at: usize| head[at..].first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        let word64 = |at: usize| head[at..].first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
        let name = head[24..40].split(|&byte| byte == 0).next()?;
        let flags = word32(20)?;
        let (addresses, rest) = frames.as_chunks();
        if !rest.is_empty() || addresses.len() > MAX_FRAMES {
            return None;
        }
        Some(Self {
            signal: word32(0)?.cast_signed(),
            code: word32(4)?.cast_signed(),
            address: word64(8).filter(|&address| address != 0),
            sender_pid: word32(16).filter(|&pid| pid != 0),
            is_stack_overflow: flags & IS_OVERFLOW != 0,
            is_main_thread: flags & IS_MAIN_THREAD != 0,
            is_panicking: flags & IS_PANICKING != 0,
            thread: String::from_utf8_lossy(name).into_owned(),
            frames: Frames {
                image: word64(40)?..word64(48)?,
                addresses: addresses.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect(),
            },
        })
    }
}

/// What the handler uses, made before it can run.
struct Setup {
    socket: RawFd,
    head: Vec<u8>,
    pid: i32,
    image_start: u64,
    image_end: u64,
    body: UnsafeCell<[u8; BODY_BYTES]>,
}

// SAFETY: `body` is touched only by the one thread that has put its number into `SPEAKER`.
unsafe impl Sync for Setup {}

static SETUP: OnceLock<Setup> = OnceLock::new();
/// The thread that reports; 0 while there is none.
static SPEAKER: AtomicI32 = AtomicI32::new(0);

/// Has fatal signals of this process reported to the other end of `socket`, as packets that begin with `head`.
///
/// A signal that the process ignores or handles otherwise is left alone, but for the handler that std installs for stack
/// overflows, whose work is done here as well. Threads that are started from now on get a stack for the handler.
///
/// # Errors
/// What mmap(2) says: then nothing was installed.
pub fn install(socket: BorrowedFd<'static>, head: Vec<u8>) -> io::Result<()> {
    stack::give_alternate_stack()?;
    let image = Image::main().bounds();
    let setup = Setup {
        socket: socket.as_raw_fd(),
        head,
        pid: std::process::id().cast_signed(),
        image_start: image.start as u64,
        image_end: image.end as u64,
        body: UnsafeCell::new([0; BODY_BYTES]),
    };
    if SETUP.set(setup).is_ok() {
        threads::give_stacks_to_new_threads();
        FATAL.into_iter().for_each(handle);
    }
    Ok(())
}

/// Installs the handler, unless the signal is ignored.
fn handle(signal: i32) {
    let mut present = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action this only writes the present one, for which the pointer is valid.
    if unsafe { libc::sigaction(signal, std::ptr::null(), present.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: it was written just now.
    let present = unsafe { present.assume_init() }.sa_sigaction;
    // std handles these two, if `main` has been reached before `init` was called.
    let is_stds = signal == libc::SIGSEGV || signal == libc::SIGBUS;
    if present == libc::SIG_DFL || is_stds && present != libc::SIG_IGN {
        set_action(signal, on_signal as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK);
    }
}

fn set_action(signal: i32, action: usize, flags: i32) {
    // SAFETY: all-zero bytes are a valid `sigaction`: the default action, no flags, an empty mask.
    let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = flags;
    // SAFETY: the action is SIG_DFL or a function that takes what SA_SIGINFO passes; the old action is not asked for.
    unsafe { libc::sigaction(signal, &raw const new, std::ptr::null_mut()) };
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` for the time of the handler.
    let details = unsafe { &*info };
    let place = stack::place(context);
    // SAFETY: for these signals the kernel fills in the address, or for signals that were sent, other fields of the size.
    let address = unsafe { details.si_addr() } as usize;
    let is_fault = details.si_code > 0 && signal != libc::SIGABRT;
    let is_memory_fault = is_fault && (signal == libc::SIGSEGV || signal == libc::SIGBUS);
    let is_overflow = is_memory_fault && place.is_some_and(|(_, sp)| address.abs_diff(sp) <= NEAR_BYTES);
    // SAFETY: neither call has preconditions.
    let (pid, thread) = unsafe { (libc::getpid(), libc::gettid()) };
    if let Some(setup) = SETUP.get().filter(|setup| setup.pid == pid)
        && becomes_speaker(thread)
    {
        let mut words = Words { setup, n_bytes: 0 };
        words.put(0, &signal.to_ne_bytes());
        words.put(4, &details.si_code.to_ne_bytes());
        words.put(8, &(if is_fault { address as u64 } else { 0 }).to_ne_bytes());
        // SAFETY: a signal that was sent carries the sender's number.
        let sender = if is_fault { 0 } else { unsafe { details.si_pid() } };
        words.put(16, &sender.to_ne_bytes());
        let mut flags = if is_overflow { IS_OVERFLOW } else { 0 };
        flags |= if thread == pid { IS_MAIN_THREAD } else { 0 };
        flags |= if std::thread::panicking() { IS_PANICKING } else { 0 };
        words.put(20, &flags.to_ne_bytes());
        words.put(24, &name_of_this_thread());
        words.put(40, &setup.image_start.to_ne_bytes());
        words.put(48, &setup.image_end.to_ne_bytes());
        words.send();
        if is_overflow {
            tell_of_overflow(thread == pid, &name_of_this_thread(), thread);
        }
        stack::walk_from(place.map(|(pc, _)| pc), &mut |idx, address| {
            words.put(HEAD_BYTES + 8 * idx, &(address as u64).to_ne_bytes());
        });
        words.send();
    }
    if is_overflow {
        // As std does it, whose place we have taken.
        set_action(libc::SIGABRT, libc::SIG_DFL, 0);
        // SAFETY: abort may be called in a handler.
        unsafe { libc::abort() };
    }
    end_by(signal, details, pid, thread);
}

/// Whether this thread is the one that reports. A second fault of the same thread is not reported; another thread's waits
/// until the process has ended.
fn becomes_speaker(thread: i32) -> bool {
    match SPEAKER.compare_exchange(0, thread, Ordering::Acquire, Ordering::Relaxed) {
        Ok(_) => true,
        Err(other) if other == thread => false,
        Err(_) => {
            let patience = libc::timespec { tv_sec: 10, tv_nsec: 0 };
            // SAFETY: the time is valid and what is left of it is not asked for.
            unsafe { libc::nanosleep(&raw const patience, std::ptr::null_mut()) };
            false
        }
    }
}

/// Lets the default action happen once the handler has returned, with the same details.
fn end_by(signal: i32, details: &libc::siginfo_t, pid: i32, thread: i32) {
    set_action(signal, libc::SIG_DFL, 0);
    // SAFETY: the details are valid; the signal is blocked here and arrives when the handler has returned.
    let queued =
        unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, thread, signal, std::ptr::from_ref(details)) };
    if queued != 0 && details.si_code <= 0 {
        // The kernel lets only the main thread repeat the details. A fault repeats itself; a signal that was sent does not.
        // SAFETY: the call takes numbers only.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, signal) };
    }
}

/// The packet while it is put together, by the one thread that reports.
struct Words<'a> {
    setup: &'a Setup,
    n_bytes: usize,
}

impl Words<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if at + bytes.len() > BODY_BYTES {
            return;
        }
        // SAFETY:
        // - in bounds: checked just above;
        // - nobody else reads or writes the body: this thread is the speaker.
        unsafe {
            let to = self.setup.body.get().cast::<u8>().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        self.n_bytes = self.n_bytes.max(at + bytes.len());
    }

    /// Sends what was put so far. If nobody listens there is nothing to be done.
    fn send(&self) {
        let part = |bytes: *const u8, n_bytes| libc::iovec { iov_base: bytes.cast_mut().cast(), iov_len: n_bytes };
        let mut parts = [
            part(self.setup.head.as_ptr(), self.setup.head.len()),
            part(self.setup.body.get().cast_const().cast(), self.n_bytes),
        ];
        // SAFETY: all-zero bytes are a valid empty message.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len() as _;
        // SAFETY: the message and its parts are alive; a descriptor that was closed meanwhile is an error.
        let sent = || unsafe {
            libc::sendmsg(self.setup.socket, &raw const message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) >= 0
        };
        if !sent() {
            // The other side may be busy for a moment.
            let mut wish = libc::pollfd { fd: self.setup.socket, events: libc::POLLOUT, revents: 0 };
            // SAFETY: one valid entry.
            unsafe { libc::poll(&raw mut wish, 1, 1000) };
            sent();
        }
    }
}

fn name_of_this_thread() -> [u8; 16] {
    let mut name = [0; 16];
    // SAFETY: the kernel writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}

/// What std writes about an overflow.
fn tell_of_overflow(is_main: bool, name: &[u8; 16], thread: i32) {
    let name = if is_main { b"main" } else { name.split(|&byte| byte == 0).next().unwrap_or_default() };
    let mut digits = [b'0'; 10];
    let mut rest = thread.unsigned_abs();
    let mut first = digits.len();
    while rest > 0 && first > 0 {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let end = b") has overflowed its stack\nfatal runtime error: stack overflow, aborting\n";
    for part in [b"\nthread '".as_slice(), name, b"' (", &digits[first..], end] {
        // SAFETY: the bytes are valid.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_is_cut_or_too_long_is_none() {
        let whole = [0_u8; BODY_BYTES];
        assert!(Crash::parse(&whole).is_some());
        assert!(Crash::parse(&whole[..HEAD_BYTES]).is_some());
        for n_bytes in [0, HEAD_BYTES - 1, HEAD_BYTES + 1, BODY_BYTES - 1] {
            assert_eq!(Crash::parse(&whole[..n_bytes]), None, "{n_bytes}");
        }
        assert_eq!(Crash::parse(&[0; BODY_BYTES + 8]), None);
    }
}
