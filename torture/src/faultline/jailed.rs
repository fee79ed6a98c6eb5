//! Where a file is that a process in a jail holds. Such a process sees each tree through a mount of its own, in which paths begin
//! anew; here they are told as everybody else sees them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::processes::ProcessInfo;

thread_local! {
    /// The tops of mounts that a process sees, by its number and theirs.
    static TOPS: RefCell<HashMap<(u32, u64), PathBuf>> = RefCell::default();
}

/// The path of what a link below `/proc/PID` leads to.
pub(super) fn path_of(pid: u32, link: &str) -> Option<PathBuf> {
    let link = format!("/proc/{pid}/{link}");
    let path = std::fs::read_link(&link).ok()?;
    if !path.is_absolute() || mount_of(&format!("/proc/{pid}/root"))? == mount_of("/")? {
        return Some(path);
    }
    let mount = mount_of(&link)?;
    let known = TOPS.with_borrow(|tops| tops.get(&(pid, mount)).cloned());
    let top = match known {
        Some(top) => top,
        None => {
            let top = top_of(pid, mount)?;
            TOPS.with_borrow_mut(|tops| tops.insert((pid, mount), top.clone()));
            top
        }
    };
    let below = path.strip_prefix("/").ok()?;
    Some(if below.as_os_str().is_empty() { top } else { top.join(below) })
}

fn mount_of(path: &str) -> Option<u64> {
    Some(statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?.stx_mnt_id)
}

/// The folder at the top of a mount: the process holds it. What was mounted is an argument or a folder above one, or is also held,
/// by a path that everybody sees, by whoever has started the process.
fn top_of(pid: u32, mount: u64) -> Option<PathBuf> {
    let held = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten().map(|entry| entry.path());
    let is_top = |link: &PathBuf| {
        std::fs::read_link(link).is_ok_and(|path| path == Path::new("/"))
            && link.to_str().and_then(mount_of) == Some(mount)
    };
    let top = identity(&held.into_iter().find(is_top)?)?;
    let starter = ProcessInfo::of(pid)?.parent_pid;
    let base = std::fs::read_link(format!("/proc/{starter}/cwd")).ok()?;
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<_> =
        arguments.split(|&byte| byte == 0).map(|argument| base.join(OsString::from_vec(argument.to_vec()))).collect();
    let named = |folder: &PathBuf| {
        arguments.iter().filter_map(|argument| Some(folder.join(argument.file_name()?))).collect::<Vec<_>>()
    };
    let of_arguments = arguments
        .iter()
        .flat_map(|argument| argument.ancestors().map(Path::to_owned).chain(named(argument)).collect::<Vec<_>>());
    let held_by_starter = std::fs::read_dir(format!("/proc/{starter}/fd")).into_iter().flatten().flatten();
    let held_by_starter = held_by_starter.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    of_arguments.chain(held_by_starter).find(|path| identity(path) == Some(top))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
