//! Does a part of a call in place of the process that makes it: one byte is moved, one entry is listed. The process's own file
//! offsets move with it, since its descriptors are borrowed and not opened anew.

use std::os::fd::OwnedFd;

use brigade_sys::kernel::notification::Answer;
use rustix::fs::RawDir;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::Asked;

/// The answer to a call of which a part was done; calls that cannot be done in part go on as they are.
pub(super) fn done_by(asked: &Asked) -> Answer {
    let done = match asked.name() {
        "read" => read(asked),
        "pread64" => pread(asked),
        "write" => write(asked),
        "pwrite64" => pwrite(asked),
        "copy_file_range" => copy_range(asked),
        "getdents64" => list_one(asked),
        _ => return Answer::GoOn,
    };
    match done {
        Ok(n_done) => Answer::Return(n_done as i64),
        Err(errno) => Answer::Fail(errno.raw_os_error()),
    }
}

fn borrow(asked: &Asked, argument_idx: usize) -> Result<OwnedFd, Errno> {
    let process = Pid::from_raw(asked.pid.cast_signed()).ok_or(Errno::SRCH)?;
    let process = rustix::process::pidfd_open(process, PidfdFlags::empty())?;
    rustix::process::pidfd_getfd(process, asked.call.arguments[argument_idx] as i32, PidfdGetfdFlags::empty())
}

fn put(asked: &Asked, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    asked.put_bytes(address, bytes).map_err(|_| Errno::FAULT)
}

fn take<const N: usize>(asked: &Asked, address: u64) -> Result<[u8; N], Errno> {
    asked.bytes_at(address, N).and_then(|bytes| bytes.try_into().ok()).ok_or(Errno::FAULT)
}

fn read(asked: &Asked) -> Result<usize, Errno> {
    let mut byte = [0; 1];
    let n_read = rustix::io::read(borrow(asked, 0)?, &mut byte)?;
    put(asked, asked.call.arguments[1], &byte[..n_read])?;
    Ok(n_read)
}

fn pread(asked: &Asked) -> Result<usize, Errno> {
    let mut byte = [0; 1];
    let n_read = rustix::io::pread(borrow(asked, 0)?, &mut byte, asked.call.arguments[3])?;
    put(asked, asked.call.arguments[1], &byte[..n_read])?;
    Ok(n_read)
}

fn write(asked: &Asked) -> Result<usize, Errno> {
    let byte: [u8; 1] = take(asked, asked.call.arguments[1])?;
    rustix::io::write(borrow(asked, 0)?, &byte)
}

fn pwrite(asked: &Asked) -> Result<usize, Errno> {
    let byte: [u8; 1] = take(asked, asked.call.arguments[1])?;
    rustix::io::pwrite(borrow(asked, 0)?, &byte, asked.call.arguments[3])
}

fn copy_range(asked: &Asked) -> Result<usize, Errno> {
    let places = [asked.call.arguments[1], asked.call.arguments[3]];
    let mut offsets = [0; 2];
    for (offset, place) in offsets.iter_mut().zip(places).filter(|(_, place)| *place != 0) {
        *offset = u64::from_le_bytes(take(asked, place)?);
    }
    let [mut from, mut to] = offsets;
    let (source, destination) = (borrow(asked, 0)?, borrow(asked, 2)?);
    let n_copied = rustix::fs::copy_file_range(
        source,
        (places[0] != 0).then_some(&mut from),
        destination,
        (places[1] != 0).then_some(&mut to),
        1,
    )?;
    for (offset, place) in [from, to].into_iter().zip(places).filter(|(_, place)| *place != 0) {
        put(asked, place, &offset.to_le_bytes())?;
    }
    Ok(n_copied)
}

/// One entry in the form of `struct linux_dirent64`, from getdents64(2).
fn list_one(asked: &Asked) -> Result<usize, Errno> {
    let folder = borrow(asked, 0)?;
    // The kernel refuses room that is too small for the next entry, so it is offered more until there is enough for one.
    for n_bytes in (24..=280).step_by(8) {
        let mut room = Vec::with_capacity(n_bytes);
        let mut entries = RawDir::new(&folder, room.spare_capacity_mut());
        let entry = match entries.next() {
            None => return Ok(0),
            Some(Err(Errno::INVAL)) => continue,
            Some(entry) => entry?,
        };
        let name = entry.file_name().to_bytes_with_nul();
        let n_record_bytes = (19 + name.len()).next_multiple_of(8);
        let mut record = Vec::with_capacity(n_record_bytes);
        record.extend_from_slice(&entry.ino().to_le_bytes());
        record.extend_from_slice(&entry.next_entry_cookie().to_le_bytes());
        record.extend_from_slice(&(n_record_bytes as u16).to_le_bytes());
        record.push(kind_byte(entry.file_type()));
        record.extend_from_slice(name);
        record.resize(n_record_bytes, 0);
        put(asked, asked.call.arguments[1], &record)?;
        return Ok(n_record_bytes);
    }
    Err(Errno::INVAL)
}

/// `DT_*` of readdir(3).
fn kind_byte(kind: rustix::fs::FileType) -> u8 {
    use rustix::fs::FileType;
    match kind {
        FileType::Fifo => 1,
        FileType::CharacterDevice => 2,
        FileType::Directory => 4,
        FileType::BlockDevice => 6,
        FileType::RegularFile => 8,
        FileType::Symlink => 10,
        FileType::Socket => 12,
        FileType::Unknown => 0,
    }
}
