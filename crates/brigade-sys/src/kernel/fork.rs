//! Whether this process was made by `fork()` after it had remembered itself: a word that the kernel wipes on the way.
//! Unlike a handler for forks this also sees those made by a bare system call, and costs two loads to ask.
#![expect(unsafe_code, reason = "a page of memory that a fork wipes")]

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The word: 1 in the process that has remembered itself, 0 in those forked from it. Null before.
static MARK: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
const PAGE_BYTES: usize = 4096;

/// Remembers this process, so that [`is_forked`] tells its forks from it. Doing it again changes nothing.
///
/// # Errors
/// What mmap(2) and madvise(2) say.
pub fn remember_this_process() -> io::Result<()> {
    if !MARK.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    // SAFETY: the address is chosen by the kernel, so nothing that exists is replaced.
    let page = unsafe {
        rustix::mm::mmap_anonymous(ptr::null_mut(), PAGE_BYTES, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
    };
    // SAFETY: the page is ours alone, and wiping it in a fork is what it is for.
    let advised = unsafe { rustix::mm::madvise(page, PAGE_BYTES, Advice::LinuxWipeOnFork) };
    let word: *mut AtomicU32 = page.cast();
    let published = advised.is_ok() && {
        // SAFETY: the page is mapped, aligned, and stays mapped if it is published.
        unsafe { &*word }.store(1, Ordering::Relaxed);
        // Release: pairs with the loads of MARK.
        MARK.compare_exchange(ptr::null_mut(), word, Ordering::AcqRel, Ordering::Acquire).is_ok()
    };
    if !published {
        // SAFETY: another thread was faster, or the page is of no use; nobody else knows of it.
        unsafe { rustix::mm::munmap(page, PAGE_BYTES)? };
    }
    Ok(advised?)
}

/// Whether this process was forked from one that has remembered itself.
#[inline]
#[must_use]
pub fn is_forked() -> bool {
    let word = MARK.load(Ordering::Acquire);
    // SAFETY: a word that was published is never unmapped, and is reached as an atomic only.
    !word.is_null() && unsafe { &*word }.load(Ordering::Relaxed) == 0
}

/// Forks this process, has `work` done in the new one, which then ends with the code that it gives, and returns that code. For
/// tests of what a forked process is refused: a program with threads must not fork, and this library does not.
///
/// # Errors
/// What fork(2) says; `None` inside if the process did not end by itself.
#[doc(hidden)]
pub fn code_of_fork(work: impl FnOnce() -> i32) -> io::Result<Option<i32>> {
    // SAFETY: the new process has this thread only. What it calls may find a lock held for ever, which a test that hangs shows.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        std::process::exit(work());
    }
    if pid == -1 {
        return Err(io::Error::last_os_error());
    }
    let pid = rustix::process::Pid::from_raw(pid);
    let waited = rustix::io::retry_on_intr(|| rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()))?;
    Ok(waited.and_then(|(_, status)| status.exit_status()))
}
