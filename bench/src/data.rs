//! The data sets: the same bytes, names, modes and times every time (C: whatever this machine has).

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use rustix::fs::{CWD, Mode, OFlags, Timespec, Timestamps, fchmod, futimens, openat};
use serde::{Deserialize, Serialize};

use crate::{BenchError, interrupt, timing};

/// A tree to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "UPPER")]
pub enum DataSet {
    /// 100 000 files of 4 KiB in one folder.
    A,
    /// 100 000 files of 1 to 16 KiB in 5 000 nested folders.
    B,
    /// A real tree with symbolic links.
    C,
    /// One file of 4 GiB.
    D,
    /// 2 000 files of 1 to 8 MiB.
    E,
    /// 200 000 empty files in 1 000 folders.
    F,
    /// A file of 8 GiB that is all holes but for 1 000 pieces of 4 KiB.
    G,
    /// Ten files of 512 MiB.
    H,
    /// Ten small files.
    I,
    /// 5 000 files of 1 to 16 KiB in 100 folders, for slow file systems.
    J,
    /// 5 000 files of 4 KiB in one folder, likewise.
    K,
}

impl DataSet {
    /// Its letter.
    pub fn letter(self) -> char {
        match self {
            Self::A => 'A',
            Self::B => 'B',
            Self::C => 'C',
            Self::D => 'D',
            Self::E => 'E',
            Self::F => 'F',
            Self::G => 'G',
            Self::H => 'H',
            Self::I => 'I',
            Self::J => 'J',
            Self::K => 'K',
        }
    }

    /// What it is, for the head of a table.
    pub fn description(self) -> &'static str {
        match self {
            Self::A => "files of 4 KiB in one folder",
            Self::B => "files of 1 to 16 KiB in nested folders",
            Self::C => "a real tree: /usr/share, sources of crates, headers, Python's and Rust's libraries",
            Self::D => "one big file",
            Self::E => "files of 1 to 8 MiB",
            Self::F => "empty files",
            Self::G => "a big file with holes",
            Self::H => "ten big files",
            Self::I => "ten small files",
            Self::J => "some thousand files of 1 to 16 KiB in folders",
            Self::K => "some thousand files of 4 KiB in one folder",
        }
    }

    /// Makes it as the new folder `root`: only one part in `scale` of its files, or of their bytes where they are few and big.
    pub fn make(self, root: &Path, scale: usize) -> Result<(), BenchError> {
        const SMALL: RangeInclusive<u64> = 1 << 10..=16 << 10;
        let part = |bytes: u64| bytes / scale as u64;
        let shape = |n_files: usize, n_folders: usize, file_bytes| Shape {
            n_files: n_files / scale,
            n_folders: (n_folders / scale).max(1),
            file_bytes,
        };
        match self {
            Self::A => flat(root, 100_000 / scale, 4 << 10),
            Self::B => tree(root, &shape(100_000, 5_000, SMALL)),
            Self::C => real_tree(root, REAL_TREE_FILES / scale as u64),
            Self::D => flat(root, 1, part(4 << 30)),
            Self::E => tree(root, &shape(2_000, 20, 1 << 20..=8 << 20)),
            Self::F => tree(root, &shape(200_000, 1_000, 0..=0)),
            Self::G => sparse(root, part(8 << 30), 1_000, 4 << 10),
            Self::H => flat(root, 10, part(512 << 20)),
            Self::I => flat(root, 10, 2 << 10),
            Self::J => tree(root, &shape(5_000, 100, SMALL)),
            Self::K => flat(root, 5_000 / scale, 4 << 10),
        }
    }
}

/// Makes the new folder `root` with so many empty files, 200 in a folder, as F has them.
pub(crate) fn make_empty_files(root: &Path, n_files: usize) -> Result<(), BenchError> {
    tree(root, &Shape { n_files, n_folders: n_files.div_ceil(200), file_bytes: 0..=0 })
}

/// Random bytes that files are made of, again and again.
const BLOCK_BYTES: usize = 4 << 20;
/// Files begin somewhere in the first part of the block, so that they differ.
const START_BYTES: u64 = 1 << 20;
const DEEPEST: usize = 8;
const FIRST_SECOND: i64 = 1_600_000_000;
/// C takes folders until it has so many files.
const REAL_TREE_FILES: u64 = 50_000;

struct Shape {
    n_files: usize,
    n_folders: usize,
    file_bytes: RangeInclusive<u64>,
}

/// SplitMix64: the same numbers from the same seed, on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Every order of magnitude is as likely as every other.
    fn log_uniform(&mut self, range: &RangeInclusive<u64>) -> u64 {
        let part = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let [least, most] = [*range.start(), *range.end()].map(|bound| bound.max(1) as f64);
        ((least * (most / least).powf(part)) as u64).min(*range.end())
    }

    fn block(&mut self) -> Vec<u8> {
        (0..BLOCK_BYTES / 8).flat_map(|_| self.next().to_le_bytes()).collect()
    }
}

fn flat(root: &Path, n_files: usize, file_bytes: u64) -> Result<(), BenchError> {
    let mut random = Random(1);
    let block = random.block();
    fs::create_dir(root)?;
    for idx in 0..n_files {
        put(&root.join(format!("file{idx:06}.dat")), file_bytes, &block, &mut random, idx)?;
    }
    Ok(())
}

fn tree(root: &Path, shape: &Shape) -> Result<(), BenchError> {
    let mut random = Random(2);
    let block = random.block();
    let folders = nested_folders(root, shape.n_folders, &mut random)?;
    for idx in 0..shape.n_files {
        let file_bytes = random.log_uniform(&shape.file_bytes);
        put(&folders[idx % folders.len()].join(format!("f{idx:06}")), file_bytes, &block, &mut random, idx)?;
    }
    Ok(())
}

fn nested_folders(root: &Path, n_folders: usize, random: &mut Random) -> Result<Vec<PathBuf>, BenchError> {
    fs::create_dir(root)?;
    let mut parents = vec![(root.to_path_buf(), 0)];
    let mut folders = Vec::new();
    while folders.len() < n_folders {
        let (parent, depth) = &parents[usize::try_from(random.below(parents.len() as u64))?];
        if *depth < DEEPEST {
            let folder = parent.join(format!("d{:04}", folders.len()));
            let depth = depth + 1;
            fs::create_dir(&folder)?;
            parents.push((folder.clone(), depth));
            folders.push(folder);
        }
    }
    Ok(folders)
}

fn put(path: &Path, file_bytes: u64, block: &[u8], random: &mut Random, idx: usize) -> Result<(), BenchError> {
    interrupt::check()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::from_raw_mode(0o644))?;
    let mut at = usize::try_from(random.below(START_BYTES))?;
    let mut n_left = file_bytes;
    while n_left > 0 {
        let bytes = &block[at..block.len().min(at.saturating_add(usize::try_from(n_left)?))];
        let n_written = rustix::io::write(&file, bytes)?;
        n_left -= n_written as u64;
        at = (at + n_written) % block.len();
    }
    let mode = match idx {
        _ if idx.is_multiple_of(97) => 0o600,
        _ if idx.is_multiple_of(10) => 0o755,
        _ => 0o644,
    };
    fchmod(&file, Mode::from_raw_mode(mode))?;
    let idx = i64::try_from(idx)?;
    let moment = Timespec { tv_sec: FIRST_SECOND + idx, tv_nsec: (idx * 7919) % 1_000_000_000 };
    Ok(futimens(&file, &Timestamps { last_access: moment, last_modification: moment })?)
}

/// A file that is all holes but for pieces at equal distances.
fn sparse(root: &Path, file_bytes: u64, n_pieces: u64, piece_bytes: usize) -> Result<(), BenchError> {
    let block = Random(3).block();
    fs::create_dir(root)?;
    let file = fs::File::create_new(root.join("sparse"))?;
    file.set_len(file_bytes)?;
    for idx in 0..n_pieces {
        file.write_all_at(&block[..piece_bytes], file_bytes / n_pieces * idx)?;
    }
    Ok(())
}

/// Copies folders of this machine, one after the other, until there are enough files.
fn real_tree(root: &Path, n_wanted: u64) -> Result<(), BenchError> {
    fs::create_dir(root)?;
    let mut n_files = 0;
    for (idx, folder) in real_folders().iter().filter(|folder| folder.is_dir()).enumerate() {
        if n_files >= n_wanted {
            break;
        }
        let target = root.join(format!("{idx}"));
        let (_, status) = timing::run(Command::new("cp").arg("-a").arg(folder).arg(&target))?;
        if !status.success() {
            return Err(format!("cannot copy {folder:?} for set C").into());
        }
        n_files += crate::tree::survey(&target)?.n_files;
    }
    Ok(())
}

fn real_folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let cargo = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let rustup = std::env::var_os("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
    let mut folders = vec![PathBuf::from("/usr/share"), cargo.join("registry/src")];
    folders.extend(["/usr/include", "/usr/lib/python3", "/usr/local/lib", "/usr/lib/gcc"].map(PathBuf::from));
    folders.extend([home.join(".pyenv/versions"), rustup.join("toolchains")]);
    folders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::survey;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_set_is_the_same_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape { n_files: 50, n_folders: 9, file_bytes: 10..=1000 };
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        tree(&one, &shape).unwrap();
        tree(&two, &shape).unwrap();
        let facts = survey(&one).unwrap();
        assert_eq!(facts, survey(&two).unwrap());
        assert_eq!((facts.n_files, facts.n_folders), (50, 10));
        let same = Command::new("diff").arg("-r").arg(&one).arg(&two).status().unwrap();
        assert!(same.success());
    }

    #[test]
    fn lengths_stay_in_their_bounds_and_differ() {
        let mut random = Random(7);
        let lengths: Vec<u64> = (0..1000).map(|_| random.log_uniform(&(1024..=16_384))).collect();
        assert!(lengths.iter().all(|length| (1024..=16_384).contains(length)));
        let n_short = lengths.iter().filter(|length| **length < 4096).count();
        assert!((400..600).contains(&n_short), "half of them under the geometric middle, not {n_short}");
    }

    #[test]
    fn modes_and_times_are_set_to_the_nanosecond() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("flat");
        flat(&root, 12, 100).unwrap();
        let metadata = fs::metadata(root.join("file000010.dat")).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o755);
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (FIRST_SECOND + 10, 79_190));
    }
}
