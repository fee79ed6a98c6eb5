//! The kernel's calls on files under their own names, with the patience that they need: what a signal interrupted, and what the
//! kernel asks to be tried again, is. The engine makes its calls from here and not from rustix. Other errors are their
//! callers' affair.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::Duration;

use brigade_sys::kernel::{closing, modes};
use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Gid, Mode, OFlags, RenameFlags, SeekFrom, Stat, Statx, StatxFlags, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;
use rustix::path::Arg;

/// The longest pause before what was asked to be tried again is. All pauses together are twice as long.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// Decides how often a call that failed is made again.
#[derive(Debug)]
pub(crate) struct Patience {
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { pause: Duration::from_millis(1) }
    }
}

impl Patience {
    /// Whether a call that failed in this way is to be made again; waits before that where the kernel asks for time. A file
    /// system in user space interrupts any call, and a lease on a file that is not given back yet has it ask for time.
    pub(crate) fn allows(&mut self, errno: Errno) -> bool {
        match errno {
            Errno::INTR => true,
            Errno::AGAIN if self.pause <= LONGEST_PAUSE => {
                std::thread::sleep(self.pause);
                self.pause *= 2;
                true
            }
            _ => false,
        }
    }
}

/// Makes a call until it is neither interrupted nor to be tried again.
pub(crate) fn patiently<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut patience = Patience::default();
    loop {
        match call() {
            Err(errno) if patience.allows(errno) => {}
            done => return done,
        }
    }
}

pub(crate) fn openat(folder: impl AsFd, name: impl Arg + Copy, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    patiently(|| rustix::fs::openat(folder.as_fd(), name, flags, mode))
}

/// Closes a file that was written to. Some file systems tell only now that they could not keep what was written.
///
/// An interruption is no error here: the descriptor is gone, and the kernel has nothing to say to it any more.
pub(crate) fn close(file: OwnedFd) -> Result<(), Errno> {
    match closing::close(file).map_err(|error| errno_of(&error)) {
        Err(Errno::INTR) => Ok(()),
        closed => closed,
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

pub(crate) fn fstat(file: impl AsFd) -> Result<Stat, Errno> {
    patiently(|| rustix::fs::fstat(file.as_fd()))
}

pub(crate) fn statat(folder: impl AsFd, name: impl Arg + Copy, flags: AtFlags) -> Result<Stat, Errno> {
    patiently(|| rustix::fs::statat(folder.as_fd(), name, flags))
}

pub(crate) fn statx(
    folder: impl AsFd,
    name: impl Arg + Copy,
    flags: AtFlags,
    mask: StatxFlags,
) -> Result<Statx, Errno> {
    patiently(|| rustix::fs::statx(folder.as_fd(), name, flags, mask))
}

pub(crate) fn readlinkat(folder: impl AsFd, name: impl Arg + Copy, reuse: Vec<u8>) -> Result<CString, Errno> {
    let mut reuse = Some(reuse);
    patiently(|| rustix::fs::readlinkat(folder.as_fd(), name, reuse.take().unwrap_or_default()))
}

pub(crate) fn mkdirat(folder: impl AsFd, name: impl Arg + Copy, mode: Mode) -> Result<(), Errno> {
    patiently(|| rustix::fs::mkdirat(folder.as_fd(), name, mode))
}

pub(crate) fn mknodat(
    folder: impl AsFd,
    name: impl Arg + Copy,
    file_type: FileType,
    mode: Mode,
    device: Dev,
) -> Result<(), Errno> {
    patiently(|| rustix::fs::mknodat(folder.as_fd(), name, file_type, mode, device))
}

pub(crate) fn symlinkat(target: impl Arg + Copy, folder: impl AsFd, name: impl Arg + Copy) -> Result<(), Errno> {
    patiently(|| rustix::fs::symlinkat(target, folder.as_fd(), name))
}

pub(crate) fn linkat(
    old_folder: impl AsFd,
    old_name: impl Arg + Copy,
    folder: impl AsFd,
    name: impl Arg + Copy,
    flags: AtFlags,
) -> Result<(), Errno> {
    patiently(|| rustix::fs::linkat(old_folder.as_fd(), old_name, folder.as_fd(), name, flags))
}

pub(crate) fn renameat(
    old_folder: impl AsFd,
    old_name: impl Arg + Copy,
    folder: impl AsFd,
    name: impl Arg + Copy,
) -> Result<(), Errno> {
    patiently(|| rustix::fs::renameat(old_folder.as_fd(), old_name, folder.as_fd(), name))
}

/// Renames, and replaces nothing.
pub(crate) fn rename_to_free_name(
    old_folder: impl AsFd,
    old_name: impl Arg + Copy,
    folder: impl AsFd,
    name: impl Arg + Copy,
) -> Result<(), Errno> {
    let flags = RenameFlags::NOREPLACE;
    patiently(|| rustix::fs::renameat_with(old_folder.as_fd(), old_name, folder.as_fd(), name, flags))
}

pub(crate) fn unlinkat(folder: impl AsFd, name: impl Arg + Copy, flags: AtFlags) -> Result<(), Errno> {
    patiently(|| rustix::fs::unlinkat(folder.as_fd(), name, flags))
}

pub(crate) fn fchown(file: impl AsFd, uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Errno> {
    patiently(|| rustix::fs::fchown(file.as_fd(), uid, gid))
}

pub(crate) fn chownat(
    folder: impl AsFd,
    name: impl Arg + Copy,
    uid: Option<Uid>,
    gid: Option<Gid>,
    flags: AtFlags,
) -> Result<(), Errno> {
    patiently(|| rustix::fs::chownat(folder.as_fd(), name, uid, gid, flags))
}

pub(crate) fn fchmod(file: impl AsFd, mode: Mode) -> Result<(), Errno> {
    patiently(|| rustix::fs::fchmod(file.as_fd(), mode))
}

pub(crate) fn fchdir(folder: impl AsFd) -> Result<(), Errno> {
    patiently(|| rustix::process::fchdir(folder.as_fd()))
}

/// Sets the mode of what is marked by a descriptor and not opened.
pub(crate) fn set_mode_of_mark(mark: impl AsFd, mode: u32) -> Result<(), Errno> {
    patiently(|| modes::set_mode_of_mark(mark.as_fd(), mode).map_err(|error| errno_of(&error)))
}

pub(crate) fn futimens(file: impl AsFd, times: &Timestamps) -> Result<(), Errno> {
    patiently(|| rustix::fs::futimens(file.as_fd(), times))
}

pub(crate) fn utimensat(
    folder: impl AsFd,
    name: impl Arg + Copy,
    times: &Timestamps,
    flags: AtFlags,
) -> Result<(), Errno> {
    patiently(|| rustix::fs::utimensat(folder.as_fd(), name, times, flags))
}

pub(crate) fn fsetxattr(file: impl AsFd, name: impl Arg + Copy, value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
    patiently(|| rustix::fs::fsetxattr(file.as_fd(), name, value, flags))
}

pub(crate) fn lsetxattr(
    path: impl Arg + Copy,
    name: impl Arg + Copy,
    value: &[u8],
    flags: XattrFlags,
) -> Result<(), Errno> {
    patiently(|| rustix::fs::lsetxattr(path, name, value, flags))
}

pub(crate) fn fremovexattr(file: impl AsFd, name: impl Arg + Copy) -> Result<(), Errno> {
    patiently(|| rustix::fs::fremovexattr(file.as_fd(), name))
}

pub(crate) fn lremovexattr(path: impl Arg + Copy, name: impl Arg + Copy) -> Result<(), Errno> {
    patiently(|| rustix::fs::lremovexattr(path, name))
}

pub(crate) fn seek(file: impl AsFd, position: SeekFrom) -> Result<u64, Errno> {
    patiently(|| rustix::fs::seek(file.as_fd(), position))
}

pub(crate) fn ftruncate(file: impl AsFd, n_bytes: u64) -> Result<(), Errno> {
    patiently(|| rustix::fs::ftruncate(file.as_fd(), n_bytes))
}

pub(crate) fn fdatasync(file: impl AsFd) -> Result<(), Errno> {
    patiently(|| rustix::fs::fdatasync(file.as_fd()))
}

pub(crate) fn fsync(file: impl AsFd) -> Result<(), Errno> {
    patiently(|| rustix::fs::fsync(file.as_fd()))
}

/// Writes everything in a file system to its disk.
pub(crate) fn syncfs(folder: impl AsFd) -> Result<(), Errno> {
    patiently(|| rustix::fs::syncfs(folder.as_fd()))
}

/// The number by which the kernel knows a kind of file systems, as linux/magic.h has it.
pub(crate) fn kind_of_file_system(file: impl AsFd) -> Result<u64, Errno> {
    // Some processors take it for a number with a sign.
    patiently(|| rustix::fs::fstatfs(file.as_fd())).map(|there| there.f_type as u64 & 0xffff_ffff)
}

/// The version of the running kernel, as far as it matters to callers: the first two numbers.
pub(crate) fn kernel_version() -> Option<(u32, u32)> {
    let system = rustix::system::uname();
    let release = system.release().to_str().ok()?;
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Gives a file that has no name one, unless that is taken.
pub(crate) fn link_unnamed(file: impl AsFd, folder: impl AsFd, name: &CStr) -> Result<(), Errno> {
    match linkat(file.as_fd(), c"", folder.as_fd(), name, AtFlags::EMPTY_PATH) {
        // Before Linux 6.10 only who may read and search everything could do it so.
        Err(Errno::NOENT | Errno::INVAL) => {
            let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
            linkat(CWD, path.as_str(), folder, name, AtFlags::SYMLINK_FOLLOW)
        }
        linked => linked,
    }
}

pub(crate) fn ioctl_ficlone(file: impl AsFd, source: impl AsFd) -> Result<(), Errno> {
    patiently(|| rustix::fs::ioctl_ficlone(file.as_fd(), source.as_fd()))
}

pub(crate) fn copy_file_range(
    source: impl AsFd,
    mut from: Option<&mut u64>,
    destination: impl AsFd,
    mut to: Option<&mut u64>,
    n_bytes: usize,
) -> Result<usize, Errno> {
    patiently(|| {
        let (from, to) = (from.as_deref_mut(), to.as_deref_mut());
        rustix::fs::copy_file_range(source.as_fd(), from, destination.as_fd(), to, n_bytes)
    })
}

pub(crate) fn read(file: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    patiently(|| rustix::io::read(file.as_fd(), &mut *buffer))
}

pub(crate) fn pread(file: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    patiently(|| rustix::io::pread(file.as_fd(), &mut *buffer, offset))
}

pub(crate) fn pwrite(file: impl AsFd, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    patiently(|| rustix::io::pwrite(file.as_fd(), bytes, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_interrupted_or_is_to_be_tried_again_is() {
        let answers = [Err(Errno::INTR), Err(Errno::AGAIN), Err(Errno::INTR), Err(Errno::AGAIN), Ok(7)];
        let mut left = answers.into_iter();
        assert_eq!(patiently(|| left.next().unwrap()), Ok(7));
        let mut left = [Err(Errno::INTR), Err(Errno::IO), Ok(7)].into_iter();
        assert_eq!(patiently(|| left.next().unwrap()), Err(Errno::IO));
    }

    #[test]
    fn patience_with_what_is_to_be_tried_again_ends() {
        let mut n_calls = 0;
        let tried: Result<(), _> = patiently(|| {
            n_calls += 1;
            Err(Errno::AGAIN)
        });
        assert_eq!((tried, n_calls), (Err(Errno::AGAIN), 8));
    }
}
