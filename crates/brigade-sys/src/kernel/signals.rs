//! Signal masks as plain data, which can be sent to another process.
#![expect(unsafe_code, reason = "signal masks")]

/// A set of signals, one bit each, as plain data.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SignalMask(pub u64);

impl SignalMask {
    /// Every signal but the two that the C library keeps for itself: `setuid` in a program with threads waits for each
    /// thread to take one of them.
    pub const ALL: Self = Self(!(bit(32) | bit(33)));

    /// The mask of the calling thread.
    #[must_use]
    pub fn current() -> Self {
        let mut mask = 0_u64;
        // SAFETY: with a null new mask this only writes the old one, eight bytes, for which the pointer is valid.
        let result = unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, std::ptr::null::<u64>(), &raw mut mask, 8_usize)
        };
        assert_eq!(result, 0, "reading the signal mask cannot fail");
        Self(mask)
    }

    /// The signals that wait for the calling thread to unblock them.
    pub(super) fn pending() -> Self {
        let mut pending = 0_u64;
        // SAFETY: the kernel writes eight bytes, for which the pointer is valid. It has no reason to refuse.
        unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, 8_usize) };
        Self(pending)
    }

    pub(super) const fn contains(self, signal: i32) -> bool {
        self.0 & bit(signal) != 0
    }

    /// Runs `work` with this as the mask of the calling thread, and puts back the one that was. A thread started meanwhile has it
    /// for good.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> T {
        let before = Self::current();
        self.apply();
        let result = work();
        before.apply();
        result
    }

    /// Makes this the mask of the calling thread.
    pub fn apply(self) {
        let mask = self.0 & Self::ALL.0;
        // SAFETY: the kernel reads eight bytes, for which the pointer is valid; the old mask is not asked for.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const mask,
                std::ptr::null_mut::<u64>(),
                8_usize,
            )
        };
        assert_eq!(result, 0, "setting the signal mask cannot fail");
    }
}

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}
