//! Copies a tree with the command and judges the copy and what was told about it: every difference must be a limit of the
//! destination that the comparer foresees, and every one of those, and nothing else, must be named by the report.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::mounts::{Image, Mount, Scratch};
use crate::treecmp::{self, Compared};

/// File systems to copy to; two of them hold no times after 2038, and one of those no fractions of a second.
pub const KINDS: [&str; 6] = ["tmpfs", "ext4", "xfs", "btrfs", "ext4 of 32 bits", "xfs of 32 bits"];

/// So many of these are copied from as well.
pub const N_SOURCES: usize = 4;

/// A fresh file system of one of [`KINDS`].
#[must_use]
pub fn mount_kind(scratch: &Scratch, kind: &str) -> Mount {
    let (at, image) = (scratch.folder(kind), scratch.path(format!("{kind}.image")));
    let of = |image: Image<'static>, n_bytes: u64| Image { n_bytes, ..image };
    let wanted = match kind {
        "ext4" => of(Image::EXT4, 512 << 20),
        "xfs" => of(Image::XFS, 512 << 20),
        "btrfs" => of(Image::BTRFS, 1 << 30),
        "ext4 of 32 bits" => Image { mkfs: &["-q", "-F", "-I", "128", "-b", "4096"], ..of(Image::EXT4, 512 << 20) },
        "xfs of 32 bits" => Image { mkfs: &["-q", "-f", "-m", "bigtime=0"], ..of(Image::XFS, 512 << 20) },
        _ => return Mount::tmpfs(&at, "size=1g"),
    };
    Mount::fresh(&wanted, &image, &at)
}

/// What a copy came to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What must not be, one line each.
    pub faults: Vec<String>,
    /// Differences that were foreseen and named.
    pub n_foreseen: usize,
    /// Entries that the command says to have found.
    pub n_found: u64,
}

/// Copies `source` to `copy`, which is not there, with the command `program` and judges it.
///
/// # Errors
/// The programs cannot be run, or a tree cannot be read.
pub fn copy_and_judge(program: &Path, source: &Path, copy: &Path) -> io::Result<Verdict> {
    let output = Command::new(program)
        .args(["copy", "--progress=json", "-T"])
        .args([source, copy])
        .env("LC_ALL", "C.UTF-8")
        .output()?;
    let report = Report::read(&output.stdout, source, copy);
    let compared = treecmp::compare(source, copy)?;
    let mut verdict = Verdict { n_found: report.n_found, ..Verdict::default() };
    report.judge(&compared, &mut verdict);
    let expected = i32::from(!report.failed.is_empty());
    if output.status.code() != Some(expected) {
        let told = String::from_utf8_lossy(&output.stderr);
        verdict.faults.push(format!("the command ended with {}, not {expected}: {told}", output.status));
    }
    let foreseen: Vec<_> = compared.differences.iter().filter(|difference| difference.is_predicted).collect();
    verdict.n_foreseen = foreseen.len();
    let foreseen: Vec<&[u8]> = foreseen.iter().map(|difference| difference.path.as_slice()).collect();
    verdict.faults.extend(rsync_differences(source, copy, &foreseen)?);
    Ok(verdict)
}

/// What the command said, by entries below the root.
#[derive(Default)]
struct Report {
    lost: BTreeMap<Vec<u8>, BTreeSet<String>>,
    failed: BTreeMap<Vec<u8>, String>,
    n_found: u64,
    ledger: Option<String>,
}

impl Report {
    fn read(lines: &[u8], source: &Path, copy: &Path) -> Self {
        let mut report = Self::default();
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line).unwrap_or(Value::Null);
            let named = |key: &str| path_in(&event, key).map(|path| below(&path, source, copy));
            match event["event"].as_str() {
                Some("file") => {
                    let words = event["lost"].as_array().into_iter().flatten();
                    let words: BTreeSet<String> = words.filter_map(|word| word.as_str().map(str::to_owned)).collect();
                    if let Some(path) = named("destination").filter(|_| !words.is_empty()) {
                        report.lost.insert(path, words);
                    }
                }
                Some("error") => {
                    let text = format!("cannot {}: {}", event["action"], event["reason"]);
                    report.failed.insert(named("path").unwrap_or_default(), text);
                }
                Some("summary") => report.take_summary(&event),
                _ => {}
            }
        }
        report
    }

    fn take_summary(&mut self, event: &Value) {
        let keys = ["found", "copied", "unchanged", "skipped", "failed"];
        let [n_found, outcomes @ ..] = keys.map(|key| event[key].as_u64().unwrap_or_default());
        let sum: u64 = outcomes.iter().sum();
        self.n_found = n_found;
        if self.n_found != sum {
            self.ledger = Some(format!("{} were found, and {sum} accounted for", self.n_found));
        }
    }

    fn judge(&self, compared: &Compared, verdict: &mut Verdict) {
        verdict.faults.extend(self.ledger.clone());
        // All names of a file stand for each other: it is told of the one that was copied.
        let lost: BTreeSet<(String, String)> = self
            .lost
            .iter()
            .flat_map(|(path, words)| words.iter().map(|word| (compared.file_of(path), word.clone())))
            .collect();
        let mut explained = BTreeSet::new();
        for difference in &compared.differences {
            let is_named = match difference.aspect {
                None => self.failed.contains_key(&difference.path),
                Some(aspect) => {
                    let loss = (compared.file_of(&difference.path), aspect.to_owned());
                    explained.insert(loss.clone());
                    lost.contains(&loss)
                }
            };
            match (difference.is_predicted, is_named) {
                (true, true) => {}
                (true, false) => verdict.faults.push(format!("foreseen, and not told: {difference}")),
                (false, _) => verdict.faults.push(difference.to_string()),
            }
        }
        for (file, word) in lost.difference(&explained) {
            verdict.faults.push(format!("{file}: {word} is told to be lost, and is not"));
        }
        let missing: BTreeSet<_> = compared.differences.iter().map(|difference| &difference.path).collect();
        for (path, text) in self.failed.iter().filter(|(path, _)| !missing.contains(path)) {
            verdict
                .faults
                .push(format!("{:?}: is told to have failed, and is the same: {text}", OsStr::from_bytes(path)));
        }
    }
}

/// What rsync would change, but for what was foreseen. It cannot read what is deeper than a path is long, and would read
/// sparse files of gigabytes from end to end.
fn rsync_differences(source: &Path, copy: &Path, foreseen: &[&[u8]]) -> io::Result<Vec<String>> {
    let slashed = |path: &Path| {
        let mut path = path.as_os_str().to_owned();
        path.push("/");
        path
    };
    let output = Command::new("rsync")
        .args(["-aHAXnic", "--delete", "--exclude=/deep", "--exclude=/huge"])
        // XFS lists ACLs a second time.
        .arg("--filter=-x trusted.SGI_ACL_*")
        .args([slashed(source), slashed(copy)])
        .env("LC_ALL", "C")
        .output()?;
    let mut faults: Vec<String> = Vec::new();
    if !output.status.success() {
        faults.push(format!("rsync: {}", String::from_utf8_lossy(&output.stderr)));
    }
    for line in output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let path = unescaped(line.get(12..).unwrap_or_default());
        let path = path.strip_prefix(b"./").unwrap_or(&path);
        let is_foreseen = foreseen.iter().any(|known| path.strip_prefix(*known).is_some_and(is_end_of_name));
        if !is_foreseen {
            faults.push(format!("rsync would change it: {}", String::from_utf8_lossy(line)));
        }
    }
    Ok(faults)
}

/// What rsync writes after a name: nothing, the slash of a folder, or where a link leads.
fn is_end_of_name(rest: &[u8]) -> bool {
    matches!(rest, [] | b"/") || rest.starts_with(b" -> ") || rest.starts_with(b" => ")
}

/// rsync writes a byte that is no character as `\#` and three octal digits.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [first, rest @ ..] = text {
        let octal = text.strip_prefix(b"\\#").and_then(|rest| rest.get(..3));
        let byte = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        text = if byte.is_some() { &text[5..] } else { rest };
    }
    bytes
}

fn path_in(event: &Value, key: &str) -> Option<Vec<u8>> {
    let bytes = event[format!("{key}_bytes")].as_str().and_then(|text| STANDARD.decode(text).ok());
    bytes.or_else(|| event[key].as_str().map(|text| text.as_bytes().to_vec()))
}

fn below(path: &[u8], source: &Path, copy: &Path) -> Vec<u8> {
    let rest = [copy, source].iter().find_map(|root| path.strip_prefix(root.as_os_str().as_bytes()));
    let rest = rest.unwrap_or(path);
    rest.strip_prefix(b"/").unwrap_or(rest).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rsync_escapes_are_read_back() {
        assert_eq!(unescaped(b"a\\#012b\\c"), b"a\nb\\c");
        assert!(is_end_of_name(b" -> x") && is_end_of_name(b"/") && !is_end_of_name(b"more"));
    }
}
