//! Keeps the memory of a virtual machine backed by its host while something is timed on tmpfs.
//!
//! Such a machine may give free memory back in blocks of some MiB, and taking it again is slow: an 8 GiB write took 24 s
//! instead of 3. So much memory is taken once, then given back but for one page in each MiB: no block is ever wholly free.

use std::os::fd::OwnedFd;

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use rustix::io::pwrite;

use crate::{BenchError, interrupt, machine};

/// More has shown no further effect on machines of 24 GiB.
const MOST_BYTES: u64 = 15 << 30;
/// Left alone while the ballast is taken, for everybody else.
const RESERVE_BYTES: u64 = 3 << 30;
const STEP_BYTES: u64 = 1 << 20;
const PAGE_BYTES: u64 = 4096;

/// Held while timing. Its end, also by a kill, gives all of it back.
#[derive(Debug)]
pub struct Ballast {
    _pages: OwnedFd,
    /// How much was touched.
    pub touched_bytes: u64,
}

impl Ballast {
    /// Touches what is available, less a reserve, then keeps a page in each MiB.
    pub fn take() -> Result<Self, BenchError> {
        Self::of_bytes(machine::available_bytes()?.saturating_sub(RESERVE_BYTES).min(MOST_BYTES))
    }

    fn of_bytes(bytes: u64) -> Result<Self, BenchError> {
        let touched_bytes = bytes - bytes % STEP_BYTES;
        let pages = memfd_create(c"ballast", MemfdFlags::CLOEXEC)?;
        ftruncate(&pages, touched_bytes)?;
        let ones = vec![1_u8; usize::try_from(STEP_BYTES)?];
        for at in (0..touched_bytes).step_by(ones.len()) {
            interrupt::check()?;
            let mut done = 0;
            while done < ones.len() {
                done += pwrite(&pages, &ones[done..], at + done as u64)?;
            }
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        for at in (0..touched_bytes).step_by(ones.len()) {
            fallocate(&pages, hole, at + PAGE_BYTES, STEP_BYTES - PAGE_BYTES)?;
        }
        Ok(Self { _pages: pages, touched_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_in_each_mebibyte_stays() {
        let ballast = Ballast::of_bytes((8 << 20) + 17).unwrap();
        assert_eq!(ballast.touched_bytes, 8 << 20);
        let stat = rustix::fs::fstat(&ballast._pages).unwrap();
        assert_eq!(stat.st_blocks, 8 * 8, "eight pages of eight blocks");
    }
}
