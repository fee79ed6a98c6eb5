//! Contents of files: sizes at the borders of pages and of the copier's pieces, and holes of every kind.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use rustix::io::Errno;

use crate::random::Random;

/// Sizes beside the ends of pages, of buffers, and of what fits into an inode.
pub(super) const BORDERS: [u64; 19] = [
    0,
    1,
    60,
    61,
    511,
    2047,
    2049,
    4095,
    4096,
    4097,
    65_535,
    65_536,
    65_537,
    (256 << 10) - 1,
    256 << 10,
    (256 << 10) + 1,
    (1 << 20) - 1,
    1 << 20,
    (1 << 20) + 1,
];

const BLOCK_BYTES: u64 = 4096;

/// What is in a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    Exactly {
        n_bytes: u64,
    },
    /// Of any size up to 300 kB.
    Random,
    /// Zeros that are written.
    Zeros,
    /// A hole, then data.
    Leading,
    /// Data, then a hole.
    Trailing,
    /// Every other block is a hole.
    Comb,
    /// Room that was taken and not written, within and beyond the file.
    Unwritten,
    /// Data of which something was given back.
    Punched,
    /// A hole and nothing else.
    Hole,
    /// A few bytes at both ends and in the middle.
    Huge {
        n_bytes: u64,
    },
}

impl Style {
    pub(super) fn any(random: &mut Random) -> Self {
        match random.below(16) {
            0 => Self::Exactly { n_bytes: BORDERS[random.below(BORDERS.len() as u64) as usize] },
            1 => Self::Exactly { n_bytes: 0 },
            2 => Self::Zeros,
            3 => Self::Leading,
            4 => Self::Trailing,
            5 => Self::Comb,
            6 => Self::Unwritten,
            7 => Self::Punched,
            8 => Self::Hole,
            _ => Self::Random,
        }
    }
}

/// Fills an empty file.
pub(super) fn fill(file: &OwnedFd, style: Style, random: &mut Random) -> io::Result<()> {
    let n_bytes = 1 + random.any_magnitude(300_000);
    match style {
        Style::Exactly { n_bytes } => write(file, random, 0, n_bytes),
        Style::Random => write(file, random, 0, n_bytes),
        Style::Zeros => Ok(write_all(file, 0, &vec![0; n_bytes as usize])?),
        Style::Leading => write(file, random, n_bytes * 3, 1 + random.clone().below(9_000)),
        Style::Trailing => {
            write(file, random, 0, 5)?;
            Ok(ftruncate(file, n_bytes * 3)?)
        }
        Style::Comb => {
            for idx in 0..1 + random.below(40) {
                write(file, random, idx * 2 * BLOCK_BYTES, 1 + random.clone().below(BLOCK_BYTES))?;
            }
            Ok(())
        }
        Style::Unwritten => {
            write(file, random, 0, 9_000)?;
            allocate(file, FallocateFlags::empty(), 16 * BLOCK_BYTES, n_bytes)?;
            allocate(file, FallocateFlags::KEEP_SIZE, 64 * BLOCK_BYTES + n_bytes, 8 * BLOCK_BYTES)
        }
        Style::Punched => {
            write(file, random, 0, 20 * BLOCK_BYTES)?;
            allocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 5 * BLOCK_BYTES + 7, 30_000)
        }
        Style::Hole => Ok(ftruncate(file, n_bytes)?),
        Style::Huge { n_bytes } => {
            ftruncate(file, n_bytes)?;
            for offset in [0, n_bytes / 2, n_bytes - 3] {
                write(file, random, offset, 3)?;
            }
            Ok(())
        }
    }
}

fn allocate(file: &OwnedFd, flags: FallocateFlags, offset: u64, n_bytes: u64) -> io::Result<()> {
    match fallocate(file, flags, offset, n_bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Random bytes, some of which are zeros.
fn write(file: &OwnedFd, random: &mut Random, offset: u64, n_bytes: u64) -> io::Result<()> {
    let bytes: Vec<u8> = (0..n_bytes.div_ceil(8)).flat_map(|_| random.number().to_le_bytes()).collect();
    Ok(write_all(file, offset, &bytes[..n_bytes as usize])?)
}

fn write_all(file: &OwnedFd, mut offset: u64, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let n_written = rustix::io::pwrite(file, bytes, offset)?;
        bytes = &bytes[n_written..];
        offset += n_written as u64;
    }
    Ok(())
}
