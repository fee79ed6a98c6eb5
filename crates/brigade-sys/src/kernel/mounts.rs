//! What rustix lacks to build a place of its own for a process out of mounts. Which mounts these are is known above.
#![expect(unsafe_code, reason = "mount_setattr(2), which rustix does not have, and unshare(2)")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::thread::UnshareFlags;

/// What may not be done through a mount, as `MOUNT_ATTR_…` in mount_setattr(2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Restrictions(u64);

impl Restrictions {
    /// Neither devices nor programs, nor rights that a program has by itself: what is stored is another matter.
    pub const NOTHING_ACTIVE: Self = Self(libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC);
    /// Nothing can be changed, and no symbolic link is ever followed, as well.
    pub const READ_ONLY: Self = Self(Self::NOTHING_ACTIVE.0 | libc::MOUNT_ATTR_RDONLY);

    /// No symbolic link is ever followed, as well.
    #[must_use]
    pub const fn without_links(self) -> Self {
        Self(self.0 | libc::MOUNT_ATTR_NOSYMFOLLOW)
    }
}

/// Restricts a tree of mounts that nobody else sees, and separates it from what is mounted elsewhere later.
///
/// # Errors
/// What mount_setattr(2) says: `ENOSYS` before Linux 5.12, `EPERM` without CAP_SYS_ADMIN.
///
/// # Source
/// mount_setattr(2): <https://man7.org/linux/man-pages/man2/mount_setattr.2.html>
pub fn restrict(tree: impl AsFd, restrictions: Restrictions) -> io::Result<()> {
    let wanted =
        libc::mount_attr { attr_set: restrictions.0, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    // SAFETY:
    // - the path is a C string that lives for ever, and with AT_EMPTY_PATH it means the descriptor, which is borrowed;
    // - the kernel reads as many bytes of `wanted` as it has, during the call only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the calling thread a root and a current folder of its own, which it can then change without changing those of others.
///
/// # Errors
/// What unshare(2) says.
pub fn stand_alone() -> io::Result<()> {
    // SAFETY: with this flag alone no descriptor becomes one of another table, which is what makes the call unsafe.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }?;
    Ok(())
}
