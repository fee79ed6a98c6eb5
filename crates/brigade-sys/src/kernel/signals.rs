//! Signal masks as plain data, which can be sent to another process.
#![expect(unsafe_code, reason = "signal masks")]

use std::mem::MaybeUninit;

/// A set of signals, one bit each, as plain data.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SignalMask(pub u64);

impl SignalMask {
    /// Every signal that can be blocked.
    pub const ALL: Self = Self(u64::MAX);
    /// The signals by which a terminal stops a process. One that is stopped between its making and its program would
    /// keep its maker waiting in the kernel.
    pub const TERMINAL_STOPS: Self = Self(bit(libc::SIGTSTP) | bit(libc::SIGTTIN) | bit(libc::SIGTTOU));

    /// The signals in either set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The mask of the calling thread.
    #[must_use]
    pub fn current() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: with a null new set this only writes the old one, for which the pointer is valid.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr()) };
        assert_eq!(result, 0, "reading the signal mask cannot fail");
        // SAFETY: it was written just now.
        let set = unsafe { set.assume_init() };
        let is_member = |signal: i32| {
            // SAFETY: the set is initialized.
            unsafe { libc::sigismember(&raw const set, signal) == 1 }
        };
        Self((1..=64).filter(|&signal| is_member(signal)).map(bit).fold(0, |bits, bit| bits | bit))
    }

    /// Makes this the mask of the calling thread.
    pub fn apply(self) {
        let set = self.to_set();
        // SAFETY: the set is initialized; the old one is not asked for.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
        assert_eq!(result, 0, "setting the signal mask cannot fail");
    }

    pub(super) fn to_set(self) -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the pointer is valid for writing the set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: sigemptyset initialized it.
        let mut set = unsafe { set.assume_init() };
        for signal in (1..=64).filter(|&signal| self.0 & bit(signal) != 0) {
            // SAFETY: the set is initialized. Numbers that libc keeps for itself are refused, which is what we want.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        set
    }
}

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}
