//! Copies onto file systems that are full at some point: by bytes, by inodes, by quota. Whatever fails must be named, nothing may look
//! whole that is not, and with room the same command must complete. The file systems themselves are in fullness/place.rs, what is wrong with a copy in fullness/judge.rs.

mod judge;
mod place;

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{Timespec, Timestamps, XattrFlags};
use serde_json::Value;

use crate::mounts::Scratch;
use crate::random::Random;
use crate::tree::differences;
use judge::{Judge, Said};
pub use place::Kind;
use place::Place;

/// A copy of this size takes well under a second; one that spins does not end.
const LIMIT: Duration = Duration::from_secs(60);

/// What a campaign has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Fill levels at which not everything fitted.
    pub n_full: u64,
    /// Fill levels at which everything did.
    pub n_roomy: u64,
    /// Entries that failed, each of them named.
    pub n_named: u64,
}

/// Copies a tree at `n_levels` fill levels, which follow from the seed, of each kind in turn. Returns what was seen, and whatever
/// was wrong, a line each.
///
/// # Errors
/// What making the tree, or running the program, says.
///
/// # Panics
/// If a file system cannot be made or mounted.
pub fn campaign(program: &Path, kinds: &[Kind], n_levels: u64, seed: u64) -> io::Result<(Seen, Vec<String>)> {
    let scratch = Scratch::new();
    let mut random = Random::new(seed);
    let source = scratch.folder("source");
    let need = grow(&source, &mut random)?;
    let mut seen = Seen::default();
    let mut wrong = Vec::new();
    for (kind_idx, &kind) in kinds.iter().enumerate() {
        let place = Place::new(kind, &scratch);
        for level_idx in (0..n_levels).filter(|level_idx| *level_idx as usize % kinds.len() == kind_idx) {
            // Mostly too little, sometimes hardly enough, sometimes more.
            let percent = random.below(112);
            let what = format!("seed {seed}, level {level_idx}: {kind:?} with room for {percent} %");
            let run = Run { program, source: &source, place: &place };
            let found = run.at_level(need, percent, &mut seen)?;
            wrong.extend(found.into_iter().map(|fault| format!("{what}: {fault}")));
        }
    }
    Ok((seen, wrong))
}

/// What a tree needs.
#[derive(Clone, Copy, Debug)]
struct Need {
    n_bytes: u64,
    n_inodes: u64,
}

/// Makes a tree of small and large files, links and attributes.
fn grow(root: &Path, random: &mut Random) -> io::Result<Need> {
    let mut need = Need { n_bytes: 0, n_inodes: 1 };
    let long_target = "a-target-that-does-not-fit-into-an-inode/".repeat(20);
    for folder_idx in 0..12 {
        let folder = root.join(format!("folder-{}/inner-{folder_idx}", folder_idx / 4));
        fs::create_dir_all(&folder)?;
        need.n_inodes += 2;
        for file_idx in 0..20 {
            let n_bytes = random.any_magnitude(if file_idx == 0 { 1 << 20 } else { 40_000 });
            let bytes: Vec<u8> = (0..n_bytes).map(|_| random.number() as u8).collect();
            let file = folder.join(format!("file-{file_idx}"));
            fs::write(&file, bytes)?;
            need.n_bytes += n_bytes.next_multiple_of(4096);
            need.n_inodes += 1;
            if file_idx % 5 == 0 {
                let value = vec![7; random.below(2000) as usize];
                rustix::fs::setxattr(&file, "user.value", &value, XattrFlags::empty())?;
            }
            // Of the past, so that nothing is whole by chance.
            let past = Timespec { tv_sec: 1_000_000_000 + random.below(1 << 28) as i64, tv_nsec: 5 };
            let times = Timestamps { last_access: past, last_modification: past };
            rustix::fs::utimensat(rustix::fs::CWD, &file, &times, rustix::fs::AtFlags::empty())?;
        }
        symlink(&long_target, folder.join("link"))?;
        fs::hard_link(folder.join("file-1"), folder.join("same"))?;
        need.n_inodes += 1;
    }
    Ok(need)
}

/// The command, and what it copies where.
struct Run<'a> {
    program: &'a Path,
    source: &'a Path,
    place: &'a Place,
}

impl Run<'_> {
    fn copy(&self) -> PathBuf {
        self.place.folder().join("copy")
    }

    fn at_level(&self, need: Need, percent: u64, seen: &mut Seen) -> io::Result<Vec<String>> {
        self.place.make_room(need.n_bytes * percent / 100, need.n_inodes * percent / 100);
        let (room, began) = (self.place.room(), Instant::now());
        let said = self.said()?;
        let mut wrong = Judge { source: self.source, copy: &self.copy() }.wrong(&said, room)?;
        if began.elapsed() > LIMIT {
            wrong.push(format!("it took {:?}", began.elapsed()));
        }
        if said.code == Some(0) {
            seen.n_roomy += 1;
        } else {
            seen.n_full += 1;
            seen.n_named += said.errors.len() as u64;
            self.place.free_all();
            let again = self.said()?;
            if again.code != Some(0) {
                wrong.push(format!("with room it still fails: {}", again.stderr));
            }
        }
        self.place.free_all();
        if !self.copy().is_dir() {
            wrong.push(format!("in the end nothing is there; it said {}", said.stderr));
            return Ok(wrong);
        }
        wrong.extend(differences(self.source, &self.copy())?.into_iter().map(|line| format!("in the end, {line}")));
        fs::remove_dir_all(self.copy())?;
        Ok(wrong)
    }

    fn said(&self) -> io::Result<Said> {
        let copy = self.copy();
        let mut command = Command::new(self.program);
        command.args(["copy", "--progress=json", "-j2", "-T"]).args([self.source, &copy]);
        let output = command.env("LC_ALL", "C").output()?;
        let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)?;
        let of_kind = |kind: &str| lines.iter().filter(|line| line["event"] == kind).cloned().collect::<Vec<_>>();
        Ok(Said {
            code: output.status.code(),
            errors: of_kind("error"),
            summary: of_kind("summary").pop().unwrap_or_default(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
