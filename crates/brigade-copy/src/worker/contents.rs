//! Moves the bytes of one regular file: shared with the source where the file system can, in the kernel where it helps, else
//! by reading and writing. Whether the source stayed the same meanwhile is checked in file.rs.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{SeekFrom, Stat};
use rustix::io::Errno;

use super::{Flaw, Worker};
use crate::calls;
use crate::error::{Action, Reason};
use crate::facet::{Facet, Why};
use crate::pace::Turn;
use crate::request::{Fidelity, Reflink, Sparse};

/// Bytes read and written at a time, and the largest file that is read in one go. The buffer stays in the second level
/// cache; 64 KiB to 1 MiB made no difference on tmpfs.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// Bytes per `copy_file_range`, between two looks at the order to stop.
const RANGE_BYTES: u64 = 8 << 20;

/// A run of zeros this long, at a multiple of its length, becomes a hole with `--sparse=always`: the smallest hole of most
/// file systems.
const HOLE_BYTES: usize = 4 << 10;

/// Contents younger than this may not have been written out by the kernel, and there have been file systems that took such
/// for holes. The kernel writes after 30 seconds, and looks every five.
const SETTLED_SECONDS: i64 = 40;

/// The most that is read of a file that the kernel makes up. Some never end, as `pagemap` in /proc, or end after 128 TiB, as
/// `kcore`; those that somebody may want to copy have some megabytes.
const MADE_UP_BYTES: u64 = 256 << 20;

/// File systems whose files the kernel makes up: proc, sysfs, debugfs, tracefs and configfs, from linux/magic.h.
const MADE_UP: [u64; 5] = [0x9fa0, 0x6265_6572, 0x6462_6720, 0x7472_6163, 0x6265_6570];

/// What becomes of zeros that are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Zeros {
    Written,
    /// They are left out, so that a hole stays there.
    Skipped,
}

/// How a copy of contents ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moved {
    /// So many bytes were there to read.
    Bytes(u64),
    /// The order to stop came first.
    Stopped,
}

/// Bytes of a file that are in its copy although nobody wrote them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spared {
    pub(super) bytes_reflinked: u64,
    pub(super) bytes_in_holes: u64,
    /// Written by whoever was cut off over it.
    pub(super) bytes_kept: u64,
}

/// What the kernel can do between two devices, learnt from trying.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offload {
    devices: (u64, u64),
    clone: Ability,
    range: Ability,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ability {
    Unknown,
    Works,
    Missing,
}

/// Source and destination of one file, open.
#[derive(Clone, Copy)]
pub(super) struct Streams<'a> {
    pub(super) source: BorrowedFd<'a>,
    pub(super) destination: BorrowedFd<'a>,
}

impl Worker {
    /// Copies all bytes into an empty file, or all that are missing into one that has some.
    pub(super) fn move_contents(&mut self, streams: Streams<'_>, source: &Stat, device: u64) -> Result<Moved, Flaw> {
        let n_bytes = source.st_size as u64;
        self.spared = Spared::default();
        self.tap.begin();
        let offload_idx = self.offload_between(source.st_dev, device);
        let (reflink, sparse) = (self.facts.fidelity.reflink, self.facts.fidelity.sparse);
        // A clone has the holes of its source, no more and no less.
        if n_bytes > 0 && reflink != Reflink::Never && sparse == Sparse::Auto {
            match self.try_clone(streams, offload_idx) {
                Ok(()) => {
                    self.lane.add_bytes(n_bytes);
                    self.spared.bytes_reflinked = n_bytes;
                    return Ok(Moved::Bytes(n_bytes));
                }
                Err(errno) if reflink == Reflink::Always || !is_not_here(errno) => {
                    return Err(Flaw::new(Action::Clone, errno));
                }
                Err(_) => {}
            }
        }
        let n_kept = self.n_kept();
        self.spared.bytes_kept = n_kept;
        self.lane.add_bytes(n_kept);
        let has_holes = (source.st_blocks as u64) * 512 < n_bytes;
        let zeros = if sparse == Sparse::Always { Zeros::Skipped } else { Zeros::Written };
        let mut from = n_kept;
        if has_holes && sparse != Sparse::Never {
            match self.move_around_holes(streams, source, from, zeros)? {
                Ok(moved) => return Ok(moved),
                Err(reached) => from = reached,
            }
        }
        match sparse {
            Sparse::Auto if from == 0 && n_bytes <= self.pace.portion_bytes().min(CHUNK_BYTES as u64) => {
                self.move_at_once(streams, n_bytes as usize)
            }
            Sparse::Auto => self.move_ranges(streams, from, n_bytes, offload_idx),
            Sparse::Never => self.move_chunks(streams, from, end_of(source), Zeros::Written),
            Sparse::Always => self.move_without_zeros(streams, from, source),
        }
    }

    fn wait_turn(&self, n_bytes: u64) -> Turn {
        self.pace.wait(n_bytes, || self.lane.must_stop())
    }

    fn offload_between(&mut self, source: u64, destination: u64) -> usize {
        let devices = (source, destination);
        self.offloads.iter().position(|offload| offload.devices == devices).unwrap_or_else(|| {
            self.offloads.push(Offload { devices, clone: Ability::Unknown, range: Ability::Unknown });
            self.offloads.len() - 1
        })
    }

    /// Whether files of this device share their contents with copies on the other.
    pub(super) fn clones_between(&self, source: u64, destination: u64) -> bool {
        let Fidelity { reflink, sparse, .. } = self.facts.fidelity;
        let does = |offload: &Offload| offload.devices == (source, destination) && offload.clone == Ability::Works;
        reflink != Reflink::Never && sparse == Sparse::Auto && self.offloads.iter().any(does)
    }

    fn try_clone(&mut self, streams: Streams<'_>, offload_idx: usize) -> Result<(), Errno> {
        let ability = &mut self.offloads[offload_idx].clone;
        if *ability == Ability::Missing && self.facts.fidelity.reflink != Reflink::Always {
            return Err(Errno::OPNOTSUPP);
        }
        let cloned = calls::ioctl_ficlone(streams.destination, streams.source);
        match cloned {
            Ok(()) => *ability = Ability::Works,
            // Between file systems that can do it a single file may be refused, for instance one without checksums on btrfs.
            Err(Errno::TXTBSY | Errno::PERM | Errno::ACCESS) => {}
            Err(errno) if is_not_here(errno) && *ability == Ability::Unknown => *ability = Ability::Missing,
            Err(_) => {}
        }
        cloned
    }

    /// A file that fits into the buffer: one read and one write, unless it is not as long as it said.
    fn move_at_once(&mut self, streams: Streams<'_>, n_bytes: usize) -> Result<Moved, Flaw> {
        if self.wait_turn(n_bytes as u64) == Turn::Never {
            return Ok(Moved::Stopped);
        }
        // One byte more than expected is asked for: a full answer tells that the file has grown, a short one that this was all.
        // Files made up by the kernel, as in /proc, say that they are empty, and some give all at the first asking or never.
        let n_asked = if n_bytes == 0 { CHUNK_BYTES } else { n_bytes + 1 };
        let mut n_read = 0;
        while n_read < n_asked {
            let n_more = read(streams.source, &mut self.buffer[n_read..n_asked])?;
            n_read += n_more;
            if n_more == 0 || n_read == n_bytes {
                break;
            }
        }
        self.tap.take(&self.buffer[..n_read], 0);
        write_all(streams.destination, &self.buffer[..n_read], 0)?;
        self.lane.add_bytes(n_read as u64);
        match n_bytes {
            // Files made up by the kernel, as in /proc, say that they are empty.
            // One that says so no more is a file that grows, and may never stop.
            0 if n_read > 0 && is_empty(streams.source)? => {
                self.move_chunks(streams, n_read as u64, u64::MAX, Zeros::Written)
            }
            _ => Ok(Moved::Bytes(n_read as u64)),
        }
    }

    fn move_ranges(
        &mut self,
        streams: Streams<'_>,
        from: u64,
        n_bytes: u64,
        offload_idx: usize,
    ) -> Result<Moved, Flaw> {
        let mut offset = from;
        // With this call some file systems share contents without having been asked to.
        let is_allowed = self.facts.fidelity.reflink != Reflink::Never;
        while is_allowed && self.offloads[offload_idx].range != Ability::Missing && offset < n_bytes {
            if self.lane.must_stop() {
                return Ok(Moved::Stopped);
            }
            let (mut from, mut to) = (offset, offset);
            let n_wanted = (n_bytes - offset).min(RANGE_BYTES).min(self.pace.portion_bytes()).min(self.n_until_flush());
            if self.wait_turn(n_wanted) == Turn::Never {
                return Ok(Moved::Stopped);
            }
            let n_wanted = n_wanted as usize;
            match calls::copy_file_range(streams.source, Some(&mut from), streams.destination, Some(&mut to), n_wanted)
            {
                // Nothing although there should be something: some file systems mean "not here", others have been cut short.
                Ok(0) => break,
                Ok(n_moved) => {
                    self.offloads[offload_idx].range = Ability::Works;
                    offset += n_moved as u64;
                    self.lane.add_bytes(n_moved as u64);
                    self.note_written(streams.destination, n_moved as u64, offset)?;
                }
                Err(errno) if is_not_here(errno) && offset == from => {
                    self.offloads[offload_idx].range = Ability::Missing
                }
                // Where the range would reach beyond the largest file that there can be, although the file does not.
                Err(Errno::FBIG) => break,
                Err(errno) => return Err(Flaw::new(Action::Write, errno)),
            }
        }
        // One byte more shows that the file has grown; to follow one that never stops growing would take for ever.
        self.move_chunks(streams, offset, n_bytes + 1, Zeros::Written)
    }

    /// Reads and writes from `offset` to `end`, or to the end of the file. Returns where it ended.
    fn move_chunks(&mut self, streams: Streams<'_>, mut offset: u64, end: u64, zeros: Zeros) -> Result<Moved, Flaw> {
        while offset < end {
            if self.lane.must_stop() {
                return Ok(Moved::Stopped);
            }
            let n_wanted =
                (end - offset).min(CHUNK_BYTES as u64).min(self.pace.portion_bytes()).min(self.n_until_flush());
            // What was only to find the end is not paid for.
            let n_read = read_at(streams.source, &mut self.buffer[..n_wanted as usize], offset)?;
            if n_read == 0 {
                break;
            }
            let is_passing = offset < MADE_UP_BYTES && offset + n_read as u64 >= MADE_UP_BYTES;
            if is_passing && is_made_up(streams.source) {
                return Err(Flaw::new(Action::Read, Reason::Endless));
            }
            if self.wait_turn(n_read as u64) == Turn::Never {
                return Ok(Moved::Stopped);
            }
            let bytes = &self.buffer[..n_read];
            self.tap.take(bytes, offset);
            match zeros {
                Zeros::Written => write_all(streams.destination, bytes, offset)?,
                Zeros::Skipped => write_around_zeros(streams.destination, bytes, offset)?,
            }
            offset += n_read as u64;
            self.lane.add_bytes(n_read as u64);
            self.note_written(streams.destination, n_read as u64, offset)?;
        }
        Ok(Moved::Bytes(offset))
    }

    /// Copies everything and makes holes of zeros.
    fn move_without_zeros(&mut self, streams: Streams<'_>, from: u64, source: &Stat) -> Result<Moved, Flaw> {
        if self.is_in_parts() {
            // A part that ends with zeros is as long as it says, too.
            set_length(streams.destination, source.st_size as u64)?;
        }
        let moved = self.move_chunks(streams, from, end_of(source), Zeros::Skipped)?;
        if let Moved::Bytes(n_bytes) = moved {
            set_length(streams.destination, n_bytes)?;
        }
        Ok(moved)
    }

    /// Copies what is not a hole. If this file system cannot say where its holes are, says up to where they are known.
    fn move_around_holes(
        &mut self,
        streams: Streams<'_>,
        source: &Stat,
        from: u64,
        zeros: Zeros,
    ) -> Result<Result<Moved, u64>, Flaw> {
        if is_unsettled(source) {
            // What is on disk is never taken for a hole. Where this fails, reading will tell.
            let _ = calls::fdatasync(streams.source);
        }
        let n_bytes = source.st_size as u64;
        // First, since XFS takes room ahead for a file that is written beyond its end, and that would fill the holes.
        set_length(streams.destination, n_bytes)?;
        let mut offset = from;
        let mut bytes_in_holes = n_bytes - from;
        while offset < n_bytes {
            let data = match calls::seek(streams.source, SeekFrom::Data(offset)) {
                Err(Errno::NXIO) => break,
                data => data,
            };
            let extent = data.and_then(|data| Ok((data, calls::seek(streams.source, SeekFrom::Hole(data))?)));
            let (data, hole) = match extent {
                // What was appended meanwhile is not copied, but seen afterwards.
                Ok((data, hole)) => (data, hole.min(n_bytes)),
                // To read everything is right, too.
                Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    calls::seek(streams.source, SeekFrom::Start(0)).map_err(|errno| Flaw::new(Action::Read, errno))?;
                    set_length(streams.destination, offset)?;
                    return Ok(Err(offset));
                }
                Err(errno) => return Err(Flaw::new(Action::Read, errno)),
            };
            match self.move_chunks(streams, data, hole, zeros)? {
                Moved::Bytes(end) if end >= hole => {
                    bytes_in_holes = bytes_in_holes.saturating_sub(hole.saturating_sub(data));
                    offset = hole.max(data);
                }
                // Cut short meanwhile, or it never had as much, as in /sys: file.rs compares this with the size.
                Moved::Bytes(end) => {
                    set_length(streams.destination, end)?;
                    return Ok(Ok(Moved::Bytes(end)));
                }
                Moved::Stopped => return Ok(Ok(Moved::Stopped)),
            }
        }
        self.spared.bytes_in_holes = bytes_in_holes;
        self.check_holes(streams.destination, n_bytes)?;
        Ok(Ok(Moved::Bytes(n_bytes)))
    }

    /// Whether the destination has holes now, by what it says of its blocks or of its data.
    fn check_holes(&mut self, destination: BorrowedFd<'_>, n_bytes: u64) -> Result<(), Flaw> {
        self.keeping.had.insert(Facet::Holes);
        let stat = calls::fstat(destination).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        let is_full = (stat.st_blocks as u64) * 512 >= n_bytes;
        // A hole that is smaller than a block cannot be, and is no loss.
        let is_large = n_bytes > stat.st_blksize as u64;
        if is_full && is_large && calls::seek(destination, SeekFrom::Hole(0)).is_ok_and(|hole| hole >= n_bytes) {
            self.keeping.lose(Facet::Holes, Why::Unsupported);
        }
        Ok(())
    }
}

/// Where reading ends: one byte further than the file says, which shows that it has grown. Files that the kernel makes up
/// say nothing.
fn end_of(source: &Stat) -> u64 {
    if source.st_blocks == 0 && source.st_size == 0 { u64::MAX } else { source.st_size as u64 + 1 }
}

fn is_unsettled(source: &Stat) -> bool {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    now - source.st_ctime < SETTLED_SECONDS
}

fn set_length(destination: BorrowedFd<'_>, n_bytes: u64) -> Result<(), Flaw> {
    calls::ftruncate(destination, n_bytes).map_err(|errno| Flaw::new(Action::Write, errno))
}

/// Writes what is not zero, in blocks at multiples of their length.
fn write_around_zeros(destination: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> Result<(), Flaw> {
    let first = (HOLE_BYTES - (offset % HOLE_BYTES as u64) as usize).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let mut position = 0;
    let mut unwritten = 0;
    // Neighbours that are not zero go out together.
    for block in std::iter::once(head).chain(rest.chunks(HOLE_BYTES)) {
        let next = position + block.len();
        if block.iter().all(|&byte| byte == 0) {
            write_all(destination, &bytes[unwritten..position], offset + unwritten as u64)?;
            unwritten = next;
        }
        position = next;
    }
    write_all(destination, &bytes[unwritten..], offset + unwritten as u64)
}

/// Whether a file says that nothing is in it.
fn is_empty(file: BorrowedFd<'_>) -> Result<bool, Flaw> {
    calls::fstat(file).map(|stat| stat.st_size == 0).map_err(|errno| Flaw::new(Action::Stat, errno))
}

pub(super) fn is_made_up(source: BorrowedFd<'_>) -> bool {
    calls::kind_of_file_system(source).is_ok_and(|kind| MADE_UP.contains(&kind))
}

/// What the kernel means by "not between these two", as GNU cp takes it, too. Anything else is an error: who tries in another
/// way after it may get other bytes.
fn is_not_here(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOSYS
            | Errno::NOTTY
            | Errno::OPNOTSUPP
            | Errno::INVAL
            | Errno::BADF
            | Errno::XDEV
            | Errno::TXTBSY
            | Errno::PERM
            | Errno::ACCESS
    )
}

fn read(source: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Flaw> {
    calls::read(source, buffer).map_err(|errno| Flaw::new(Action::Read, errno))
}

pub(super) fn read_at(source: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, Flaw> {
    calls::pread(source, buffer, offset).map_err(|errno| Flaw::new(Action::Read, errno))
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_full(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut n_read = 0;
    while n_read < buffer.len() {
        match calls::pread(file, &mut buffer[n_read..], offset + n_read as u64)? {
            0 => break,
            n_more => n_read += n_more,
        }
    }
    Ok(n_read)
}

fn write_all(destination: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> Result<(), Flaw> {
    while !bytes.is_empty() {
        match calls::pwrite(destination, bytes, offset) {
            Ok(0) => return Err(Flaw::new(Action::Write, Errno::NOSPC)),
            Ok(n_written) => {
                bytes = &bytes[n_written..];
                offset += n_written as u64;
            }
            Err(errno) => return Err(Flaw::new(Action::Write, errno)),
        }
    }
    Ok(())
}

/// A buffer for contents; one byte more than a chunk, since a small file is asked for one byte more than it has.
pub(super) fn new_buffer() -> Vec<u8> {
    vec![0; CHUNK_BYTES + 1]
}

/// Both ends of a copy.
pub(super) fn streams<'a>(source: &'a OwnedFd, destination: &'a OwnedFd) -> Streams<'a> {
    use std::os::fd::AsFd as _;
    Streams { source: source.as_fd(), destination: destination.as_fd() }
}
