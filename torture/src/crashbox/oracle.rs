//! Judges a file system after a power cut: whether what was reported done is there, and whether the copy can be mended, by the
//! same command and by strangers. How the cut came about is not known here.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::mounts::Mount;
use crate::tree::differences;
use crate::treecmp;

use super::Scene;
use super::copier::{Stranger, Told, run_whole};
use super::garden::{BYSTANDER, Planted};
use super::image::{clone_image, names_in_root};

/// A disk after the power was cut.
#[derive(Debug)]
pub(super) struct Cut {
    /// As it was found. Judging changes it.
    pub(super) image: PathBuf,
    /// What the copier had said by then: files whose copy was made, and files that were on disk.
    pub(super) told: Told,
    /// The moment, in the copier's clock.
    pub(super) moment: u64,
    /// Where the copier keeps what it wants to remember, which was on another disk.
    pub(super) state: PathBuf,
    /// Whether it had ended by then, and had said that all is well.
    pub(super) is_over: bool,
    /// How it came about.
    pub(super) what: String,
}

/// What a judgement found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) faults: Vec<String>,
    /// Files that were reported done, in whatever way, out of how many.
    pub(super) n_done: usize,
    /// Files whose copy was made before the cut and again after it, and their bytes.
    pub(super) n_redone: usize,
    pub(super) redone_bytes: u64,
}

impl Scene<'_> {
    /// Judges a cut. `stranger` mends a copy of it.
    pub(super) fn judge(&self, cut: &Cut, stranger: Stranger) -> io::Result<Verdict> {
        let mut verdict = Verdict::default();
        let at = self.at();
        let mount = match self.options.kind.mount(&cut.image, &at, "defaults") {
            Ok(mount) => mount,
            Err(reason) => {
                verdict.faults.push(format!("it cannot be mounted: {reason}"));
                return Ok(verdict);
            }
        };
        self.inspect(&at, cut, &mut verdict)?;
        mount.end();
        verdict.faults.extend(self.options.kind.faults(&cut.image));
        let second = self.scratch.path("second.image");
        clone_image(&cut.image, &second)?;
        self.mend_again(self.mounted(&cut.image, &at), cut, &mut verdict)?;
        self.mend_by(stranger, self.mounted(&second, &at), &mut verdict)?;
        Ok(verdict)
    }

    fn mounted(&self, image: &Path, at: &Path) -> Mount {
        self.options.kind.mount(image, at, "defaults").expect("it could be mounted a moment ago")
    }

    /// Looks at what is there right after the cut.
    fn inspect(&self, at: &Path, cut: &Cut, verdict: &mut Verdict) -> io::Result<()> {
        self.look_outside(at, "after the cut", verdict)?;
        let durable: BTreeSet<PathBuf> = cut.told.durable_by(cut.moment).into_iter().collect();
        for file in &self.garden.files {
            let there = at.join("copy").join(&file.path);
            let is_told = durable.contains(&file.path);
            let state = match state_of(&there, file, self.has_old) {
                Ok(state) => state,
                Err(error) => {
                    verdict.faults.push(format!("{:?} cannot be looked at: {error}", file.path));
                    continue;
                }
            };
            verdict.n_done += usize::from(is_told || matches!(state, State::Whole { .. } | State::Torn));
            let fault = match state {
                State::Torn => Some("has its final time and other contents"),
                State::Missing | State::Unfinished | State::Old if is_told => Some("was said to be on disk and is not"),
                State::Whole { mode } if is_told && mode != file.mode => {
                    Some("was said to be on disk and has another mode")
                }
                State::Missing | State::Unfinished if self.has_old && file.old.is_some() => {
                    Some("was there before, and is neither old nor new")
                }
                State::Whole { .. } | State::Missing | State::Unfinished | State::Old => None,
            };
            if let Some(fault) = fault {
                let found = fs::symlink_metadata(&there).map(|facts| {
                    format!(
                        "{:o}, {} bytes of {}, {}.{:09}",
                        facts.mode(),
                        facts.len(),
                        file.bytes.len(),
                        facts.mtime(),
                        facts.mtime_nsec()
                    )
                });
                verdict.faults.push(format!("{:?} {fault}: {found:?}", file.path));
            }
        }
        if cut.is_over && self.options.copier.is_brigade() {
            let lines = differences(&self.garden.root, &at.join("copy"))?;
            verdict.faults.extend(lines.into_iter().map(|line| format!("after the command had ended well, {line}")));
        }
        Ok(())
    }

    fn look_outside(&self, at: &Path, when: &str, verdict: &mut Verdict) -> io::Result<()> {
        let names = names_in_root(at)?;
        let strays: Vec<_> = names.iter().filter(|name| !["copy", "bystanders"].contains(&name.as_str())).collect();
        if !strays.is_empty() {
            verdict.faults.push(format!("{when}, there is {strays:?} outside of the copy"));
        }
        let bystander = fs::read_to_string(at.join("bystanders/bystander"));
        if bystander.as_deref().ok() != Some(BYSTANDER) {
            verdict.faults.push(format!("{when}, what is outside is no longer the same: {bystander:?}"));
        }
        Ok(())
    }

    /// The same command again must complete the copy.
    fn mend_again(&self, mount: Mount, cut: &Cut, verdict: &mut Verdict) -> io::Result<()> {
        let copy = mount.at().join("copy");
        let command = self.options.copier.again(&self.garden.root, &copy, &cut.state);
        let (told, failed) = run_whole(command, &copy)?;
        verdict.faults.extend(failed.map(|text| format!("done again: {text}")));
        let redone = told.copied.iter().filter(|(path, _)| cut.told.copied.contains_key(*path));
        for (_, n_bytes) in redone {
            verdict.n_redone += 1;
            verdict.redone_bytes += n_bytes;
        }
        if self.options.copier.is_brigade() {
            let is_litter = |line: &String| line.contains("\".brigade-") && line.ends_with("in the copy only");
            let (litter, lines): (Vec<_>, Vec<_>) =
                differences(&self.garden.root, &copy)?.into_iter().partition(is_litter);
            verdict.faults.extend(lines.into_iter().map(|line| format!("done again, {line}")));
            if !litter.is_empty() {
                verdict.faults.push(format!("done again, {} temporary names are left", litter.len()));
            }
        } else {
            self.compare_contents(&copy, "done again", verdict)?;
        }
        self.look_outside(mount.at(), "done again", verdict)?;
        mount.end();
        Ok(())
    }

    /// A program that knows nothing of the first one must complete the copy, too, as far as that program can.
    fn mend_by(&self, stranger: Stranger, mount: Mount, verdict: &mut Verdict) -> io::Result<()> {
        let copy = mount.at().join("copy");
        let (_, failed) = run_whole(stranger.command(&self.garden.root, &copy), &copy)?;
        verdict.faults.extend(failed.map(|text| format!("by {stranger:?}: {text}")));
        self.compare_contents(&copy, &format!("by {stranger:?}"), verdict)?;
        mount.end();
        Ok(())
    }

    /// Contents and times, which is all that everybody keeps. Unfinished copies under names of their own may lie about.
    fn compare_contents(&self, copy: &Path, when: &str, verdict: &mut Verdict) -> io::Result<()> {
        let compared = treecmp::compare(&self.garden.root, copy)?;
        let counts = |difference: &&treecmp::Difference| {
            matches!(difference.aspect, None | Some("timestamps")) && !difference.text.contains("in the copy only")
        };
        let lines = compared.differences.iter().filter(counts).map(|difference| format!("{when}, {difference}"));
        verdict.faults.extend(lines);
        Ok(())
    }
}

/// How a file of the copy is found after a cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Missing,
    /// Its time says that it is not done.
    Unfinished,
    /// It has the source's time, size and contents.
    Whole {
        mode: u32,
    },
    /// It has the source's time, but not its size and contents.
    Torn,
    /// It is what was there before.
    Old,
}

fn state_of(path: &Path, file: &Planted, has_old: bool) -> io::Result<State> {
    let facts = match fs::symlink_metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Missing),
        Err(error) => return Err(error),
    };
    let modified = (facts.mtime(), facts.mtime_nsec());
    // Where it cannot be read, it is not what it should be.
    let is = |bytes: &[u8]| fs::read(path).is_ok_and(|found| found == bytes);
    if modified == file.modified {
        return Ok(if is(&file.bytes) { State::Whole { mode: facts.mode() & 0o7777 } } else { State::Torn });
    }
    let is_old = has_old && file.old.as_ref().is_some_and(|old| modified == old.modified && is(&old.bytes));
    Ok(if is_old { State::Old } else { State::Unfinished })
}
