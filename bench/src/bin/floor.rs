//! The floor: the least that a copy of a tree of files, folders and symbolic links can take, as a bare program to compare with.
//! One walk, a static split among processes, the fewest system calls. It checks nothing and survives nothing.
//!
//! `floor [--equal-work] [--processes N] SOURCE DESTINATION`: with `--equal-work` each file also costs what a copier
//! that keeps metadata cannot avoid: owner, names of extended attributes, a second look at the source, the hard-link
//! check, and the times of folders.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::error::Error;
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::{AtFlags, CWD, FileType, Gid, MemfdFlags, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid};

/// Bytes moved per read. Larger made no difference on files of any length.
const BUFFER_BYTES: usize = 1 << 20;
/// Bytes of names read per call.
const NAMES_BYTES: usize = 64 << 10;

/// So few entries are not worth a further process.
const ENTRIES_PER_PROCESS: usize = 500;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Bare,
    Equal,
}

struct Settings {
    work: Work,
    n_processes: usize,
    source: PathBuf,
    destination: PathBuf,
}

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let is_worker = arguments.first().is_some_and(|first| first == "--worker");
    if is_worker {
        arguments.remove(0);
    }
    let outcome = settings(arguments).and_then(|settings| {
        // Modes are given as they are to be.
        rustix::process::umask(Mode::empty());
        if is_worker { work_on_share(&settings) } else { copy_tree(&settings) }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn settings(arguments: Vec<OsString>) -> Outcome<Settings> {
    let mut work = Work::Bare;
    let mut n_processes = std::thread::available_parallelism()?.get();
    let mut paths = Vec::new();
    let mut words = arguments.into_iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--equal-work") => work = Work::Equal,
            Some("--processes") => {
                let number = words.next().and_then(|word| word.to_str()?.parse().ok());
                n_processes = number.filter(|n| *n > 0).ok_or("--processes takes a number")?;
            }
            _ => paths.push(PathBuf::from(word)),
        }
    }
    let [source, destination] = <[PathBuf; 2]>::try_from(paths)
        .map_err(|_| "usage: floor [--equal-work] [--processes N] SOURCE DESTINATION")?;
    Ok(Settings { work, n_processes, source, destination })
}

// ------------------------------------------------------------------------------------------------ the parent's part

struct Folder {
    /// From the root; `.` for the root itself.
    path: CString,
    mode: Mode,
    /// The first of its entries that are not folders, in `Tree::entries`.
    first_entry_idx: usize,
    /// One behind the last.
    end_entry_idx: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    File,
    Symlink,
}

struct Tree {
    folders: Vec<Folder>,
    entries: Vec<(Kind, CString)>,
}

fn copy_tree(settings: &Settings) -> Outcome {
    let source = open_folder(CWD, &CString::new(settings.source.as_os_str().as_bytes())?)?;
    let tree = walk(&source)?;
    rustix::fs::mkdir(&settings.destination, tree.folders[0].mode | Mode::RWXU)?;
    let destination = open_folder(CWD, &CString::new(settings.destination.as_os_str().as_bytes())?)?;
    for folder in &tree.folders[1..] {
        rustix::fs::mkdirat(&destination, &folder.path, folder.mode | Mode::RWXU)?;
    }
    let n_processes = settings.n_processes.min(tree.entries.len() / ENTRIES_PER_PROCESS + 1);
    let mut workers = Vec::new();
    let mut shared_folders = Vec::new();
    for worker_idx in 0..n_processes {
        let share = share(&tree, worker_idx, n_processes, &mut shared_folders);
        if n_processes == 1 {
            return copy_share(settings.work, &source, &destination, &share);
        }
        workers.push(start_worker(settings, &share)?);
    }
    for mut worker in workers {
        if !worker.wait()?.success() {
            return Err("a worker failed".into());
        }
    }
    if settings.work == Work::Equal {
        for folder in shared_folders {
            let path = &tree.folders[folder].path;
            finish_folder(&open_folder(&source, path)?, &open_folder(&destination, path)?)?;
        }
    }
    Ok(())
}

fn walk(root: &OwnedFd) -> Outcome<Tree> {
    let mut tree = Tree { folders: Vec::new(), entries: Vec::new() };
    let mut to_read = vec![CString::from(c".")];
    let mut names = vec![MaybeUninit::uninit(); NAMES_BYTES];
    while let Some(path) = to_read.pop() {
        let folder = open_folder(root, &path)?;
        let mode = Mode::from_raw_mode(rustix::fs::fstat(&folder)?.st_mode);
        let first_entry_idx = tree.entries.len();
        let mut listing = RawDir::new(&folder, &mut names);
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name();
            match entry.file_type() {
                FileType::Directory if name == c"." || name == c".." => {}
                FileType::Directory => to_read.push(joined(&path, name)),
                FileType::RegularFile => tree.entries.push((Kind::File, name.to_owned())),
                FileType::Symlink => tree.entries.push((Kind::Symlink, name.to_owned())),
                other => {
                    return Err(format!("{name:?} is a {other:?}, which the floor does not copy").into());
                }
            }
        }
        let end_entry_idx = tree.entries.len();
        tree.folders.push(Folder { path, mode, first_entry_idx, end_entry_idx });
    }
    Ok(tree)
}

fn joined(folder: &CStr, name: &CStr) -> CString {
    let mut path = Vec::new();
    if folder != c"." {
        path.extend_from_slice(folder.to_bytes());
        path.push(b'/');
    }
    path.extend_from_slice(name.to_bytes());
    CString::new(path).expect("made of parts that have no NUL")
}

/// What one worker is to do, as records that end with NUL: `D` enter a folder, `F` copy a file, `L` a symbolic link,
/// `E` the folder is complete. Folders whose entries fall to several workers are left to the parent, in `shared`.
fn share(tree: &Tree, worker_idx: usize, n_workers: usize, shared: &mut Vec<usize>) -> Vec<u8> {
    let n_entries = tree.entries.len();
    let (start, end) = (n_entries * worker_idx / n_workers, n_entries * (worker_idx + 1) / n_workers);
    let mut records = Vec::new();
    for (idx, folder) in tree.folders.iter().enumerate() {
        let first = folder.first_entry_idx.max(start);
        let last = folder.end_entry_idx.min(end);
        let whole = folder.first_entry_idx >= start && folder.end_entry_idx <= end;
        let empty = folder.first_entry_idx == folder.end_entry_idx;
        let mine = if empty { idx % n_workers == worker_idx } else { first < last };
        if !mine {
            continue;
        }
        push_record(&mut records, b'D', &folder.path);
        for (kind, name) in &tree.entries[first..last.max(first)] {
            push_record(&mut records, if matches!(kind, Kind::File) { b'F' } else { b'L' }, name);
        }
        if whole || empty {
            push_record(&mut records, b'E', c"");
        } else if first == folder.first_entry_idx {
            shared.push(idx);
        }
    }
    records
}

fn push_record(records: &mut Vec<u8>, kind: u8, name: &CStr) {
    records.push(kind);
    records.extend_from_slice(name.to_bytes_with_nul());
}

/// Starts this program again; its share lies in a file in memory that is its standard input.
fn start_worker(settings: &Settings, share: &[u8]) -> Outcome<std::process::Child> {
    let mut records = File::from(rustix::fs::memfd_create(c"share", MemfdFlags::CLOEXEC)?);
    records.write_all(share)?;
    records.seek(SeekFrom::Start(0))?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("--worker");
    if settings.work == Work::Equal {
        command.arg("--equal-work");
    }
    command.arg(&settings.source).arg(&settings.destination).stdin(Stdio::from(records));
    Ok(command.spawn()?)
}

// ------------------------------------------------------------------------------------------------ a worker's part

struct Worker {
    work: Work,
    buffer: Vec<u8>,
    /// Files with several names that were met, by device and inode.
    linked: HashSet<(u64, u64)>,
}

fn work_on_share(settings: &Settings) -> Outcome {
    let mut share = Vec::new();
    std::io::stdin().read_to_end(&mut share)?;
    let source = open_folder(CWD, &CString::new(settings.source.as_os_str().as_bytes())?)?;
    let destination = open_folder(CWD, &CString::new(settings.destination.as_os_str().as_bytes())?)?;
    copy_share(settings.work, &source, &destination, &share)
}

fn copy_share(work: Work, source: &OwnedFd, destination: &OwnedFd, share: &[u8]) -> Outcome {
    let mut worker = Worker { work, buffer: vec![0; BUFFER_BYTES], linked: HashSet::new() };
    let mut folders = None;
    let mut rest = share;
    while let Some((kind, after)) = rest.split_first() {
        let name = CStr::from_bytes_until_nul(after)?;
        rest = &after[name.count_bytes() + 1..];
        if *kind == b'D' {
            folders = Some((open_folder(source, name)?, open_folder(destination, name)?));
            continue;
        }
        let (from, to) = folders.as_ref().ok_or("a share begins with a folder")?;
        match kind {
            b'F' => worker.copy_file(from, to, name)?,
            b'L' => worker.copy_symlink(from, to, name)?,
            _ if worker.work == Work::Equal => finish_folder(from, to)?,
            _ => {}
        }
    }
    Ok(())
}

impl Worker {
    fn copy_file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Outcome {
        let input = rustix::fs::openat(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let stat = rustix::fs::fstat(&input)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let output = rustix::fs::openat(to, name, create, mode)?;
        if self.work == Work::Equal && stat.st_nlink > 1 {
            self.linked.insert((stat.st_dev, stat.st_ino));
        }
        self.copy_bytes(&input, &output, u64::try_from(stat.st_size)?)?;
        if self.work == Work::Equal {
            rustix::fs::fchown(&output, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        }
        rustix::fs::fchmod(&output, mode)?;
        if self.work == Work::Equal {
            list_attributes(&input)?;
        }
        rustix::fs::futimens(&output, &times(&stat))?;
        if self.work == Work::Equal && modified(&rustix::fs::fstat(&input)?) != modified(&stat) {
            return Err(format!("{name:?} changed").into());
        }
        Ok(())
    }

    fn copy_bytes(&mut self, input: &OwnedFd, output: &OwnedFd, size_bytes: u64) -> Outcome {
        let mut copied_bytes = 0;
        while copied_bytes < size_bytes {
            let n_read = rustix::io::read(input, &mut self.buffer)?;
            let mut chunk = &self.buffer[..n_read];
            if chunk.is_empty() {
                break;
            }
            while !chunk.is_empty() {
                chunk = &chunk[rustix::io::write(output, chunk)?..];
            }
            copied_bytes += n_read as u64;
        }
        Ok(())
    }

    fn copy_symlink(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Outcome {
        let target = rustix::fs::readlinkat(from, name, Vec::new())?;
        rustix::fs::symlinkat(&target, to, name)?;
        if self.work == Work::Equal {
            let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::chownat(to, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)?;
            rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }
}

fn finish_folder(from: &OwnedFd, to: &OwnedFd) -> Outcome {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    list_attributes(from)?;
    rustix::fs::futimens(to, &times(&stat))?;
    Ok(())
}

/// Asks for the names of extended attributes, as a copier must to know that there are none.
fn list_attributes(file: &OwnedFd) -> Outcome {
    let mut names = [0_u8; 1024];
    match rustix::fs::flistxattr(file, &mut names) {
        Ok(_) | Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::RANGE) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn open_folder(at: impl AsFd, path: &CStr) -> Outcome<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

fn times(stat: &Stat) -> Timestamps {
    let timespec = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).expect("less than a second"),
    };
    Timestamps {
        last_access: timespec(stat.st_atime, stat.st_atime_nsec),
        last_modification: timespec(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn modified(stat: &Stat) -> (i64, u64, i64) {
    (stat.st_mtime, stat.st_mtime_nsec, stat.st_size)
}
