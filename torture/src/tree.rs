//! Compares two trees by all that a copy must keep, with code of its own: it shares nothing with the copier.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What differs between two trees, one line each; empty if the second is a true copy of the first.
///
/// Compared are names, types, modes, owners, modification times to the nanosecond, contents, targets of links, device
/// numbers, which names are hard links of each other, and all extended attributes that this user sees, ACLs and capabilities
/// among them; access times and holes are not.
///
/// # Errors
/// What reading either tree says.
pub fn differences(source: &Path, copy: &Path) -> io::Result<Vec<String>> {
    let mut comparison = Comparison::default();
    comparison.entry(source, copy)?;
    comparison.compare_links();
    Ok(comparison.found)
}

/// An inode of one of the trees.
type Inode = (u64, u64);

#[derive(Default)]
struct Comparison {
    found: Vec<String>,
    /// Names of one inode, in either tree.
    source_links: HashMap<Inode, BTreeSet<PathBuf>>,
    copy_links: HashMap<Inode, BTreeSet<PathBuf>>,
}

impl Comparison {
    fn entry(&mut self, source: &Path, copy: &Path) -> io::Result<()> {
        let ours = fs::symlink_metadata(source)?;
        let theirs = match fs::symlink_metadata(copy) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.found.push(format!("{source:?}: is missing in the copy"));
                return Ok(());
            }
            other => other?,
        };
        self.fact(source, "type", kind_of(&ours), kind_of(&theirs));
        self.fact(source, "owner", (ours.uid(), ours.gid()), (theirs.uid(), theirs.gid()));
        self.fact(source, "time", (ours.mtime(), ours.mtime_nsec()), (theirs.mtime(), theirs.mtime_nsec()));
        self.fact(source, "device", ours.rdev(), theirs.rdev());
        if !ours.is_symlink() {
            self.fact(source, "mode", format!("{:o}", ours.mode()), format!("{:o}", theirs.mode()));
        }
        self.fact(source, "extended attributes", attributes_of(source)?, attributes_of(copy)?);
        if kind_of(&ours) != kind_of(&theirs) {
            return Ok(());
        }
        if ours.is_dir() {
            return self.folder(source, copy);
        }
        self.source_links.entry((ours.dev(), ours.ino())).or_default().insert(source.to_owned());
        self.copy_links.entry((theirs.dev(), theirs.ino())).or_default().insert(source.to_owned());
        if ours.is_symlink() {
            self.fact(source, "target", fs::read_link(source)?, fs::read_link(copy)?);
        } else if ours.is_file() {
            self.fact(source, "size", ours.len(), theirs.len());
            if ours.len() == theirs.len() && !is_same_content(source, copy)? {
                self.found.push(format!("{source:?}: the contents differ"));
            }
        }
        Ok(())
    }

    fn folder(&mut self, source: &Path, copy: &Path) -> io::Result<()> {
        let (ours, mut theirs) = (names_in(source)?, names_in(copy)?);
        for name in ours {
            theirs.remove(&name);
            self.entry(&source.join(&name), &copy.join(&name))?;
        }
        self.found.extend(theirs.iter().map(|name| format!("{:?}: is in the copy only", copy.join(name))));
        Ok(())
    }

    fn fact<T: PartialEq + std::fmt::Debug>(&mut self, path: &Path, what: &str, ours: T, theirs: T) {
        if ours != theirs {
            self.found.push(format!("{path:?}: {what} {ours:?}, in the copy {theirs:?}"));
        }
    }

    /// Both trees have the same groups of names, whatever the inodes are called.
    fn compare_links(&mut self) {
        let groups = |links: &HashMap<Inode, BTreeSet<PathBuf>>| -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
            let several = links.values().filter(|names| names.len() > 1);
            several.filter_map(|names| Some((names.first()?.clone(), names.clone()))).collect()
        };
        let (ours, theirs) = (groups(&self.source_links), groups(&self.copy_links));
        for (first, names) in &ours {
            if theirs.get(first) != Some(names) {
                self.found.push(format!("{names:?}: are one file, in the copy {:?}", theirs.get(first)));
            }
        }
        for (first, names) in theirs.iter().filter(|(first, _)| !ours.contains_key(*first)) {
            self.found.push(format!("{first:?}: is linked in the copy only, to {names:?}"));
        }
    }
}

fn kind_of(metadata: &fs::Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "folder",
        () if kind.is_symlink() => "symbolic link",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_char_device() => "character device",
        () => "block device",
    }
}

/// Values are shown by their length and first bytes, since they may be long.
#[derive(PartialEq)]
struct Value(Vec<u8>);

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {:02x?}", self.0.len(), &self.0[..self.0.len().min(32)])
    }
}

/// What the kernel tells of an entry itself, never of what a link points to.
fn attributes_of(path: &Path) -> io::Result<BTreeMap<OsString, Value>> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut names = vec![0_u8; 64 << 10];
    let n_bytes = match rustix::fs::llistxattr(path, &mut names[..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        listed => listed?,
    };
    let mut attributes = BTreeMap::new();
    for name in names[..n_bytes].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        // How XFS stores an ACL, which is listed under its own name, too.
        if name.starts_with(b"trusted.SGI_ACL_") {
            continue;
        }
        let mut value = vec![0_u8; 64 << 10];
        let n_bytes = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(n_bytes);
        attributes.insert(OsString::from_vec(name.to_vec()), Value(value));
    }
    Ok(attributes)
}

fn names_in(folder: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn is_same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (fs::File::open(one)?, fs::File::open(other)?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    loop {
        ours.clear();
        theirs.clear();
        let n_read = one.by_ref().take(1 << 20).read_to_end(&mut ours)?;
        other.by_ref().take(1 << 20).read_to_end(&mut theirs)?;
        if ours != theirs {
            return Ok(false);
        }
        if n_read == 0 {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Two small trees that do not differ.
    fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let (source, copy) = (scratch.path().join("a"), scratch.path().join("b"));
        for root in [&source, &copy] {
            fs::create_dir_all(root.join("inner")).unwrap();
            fs::write(root.join("file"), "contents").unwrap();
            fs::hard_link(root.join("file"), root.join("inner/again")).unwrap();
            fs::write(root.join("inner/other"), "contents").unwrap();
            symlink("file", root.join("link")).unwrap();
            let link = rustix::fs::Timestamps {
                last_access: rustix::fs::Timespec { tv_sec: 7, tv_nsec: 0 },
                last_modification: rustix::fs::Timespec { tv_sec: 7, tv_nsec: 0 },
            };
            let nofollow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(rustix::fs::CWD, root.join("link"), &link, nofollow).unwrap();
            for name in ["inner/other", "file", "inner", "."] {
                set_time(&root.join(name), 1_000_000_007);
            }
        }
        (scratch, source, copy)
    }

    fn set_time(path: &Path, nanoseconds: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    fn one_difference(break_it: impl FnOnce(&Path)) -> String {
        let (_scratch, source, copy) = pair();
        assert_eq!(differences(&source, &copy).unwrap(), [""; 0]);
        break_it(&copy);
        for name in ["inner", "."] {
            set_time(&copy.join(name), 1_000_000_007);
        }
        let found = differences(&source, &copy).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn each_kind_of_difference_is_found() {
        let write = |copy: &Path| fs::write(copy.join("inner/other"), "CONTENTS").unwrap();
        let found = one_difference(|copy| {
            write(copy);
            set_time(&copy.join("inner/other"), 1_000_000_007);
        });
        assert!(found.contains("contents differ"), "{found}");
        let found = one_difference(|copy| set_time(&copy.join("inner/other"), 1_000_000_008));
        assert!(found.contains("time"), "{found}");
        let mode = Permissions::from_mode(0o4711);
        let found = one_difference(|copy| fs::set_permissions(copy.join("inner/other"), mode).unwrap());
        assert!(found.contains("mode"), "{found}");
        let found = one_difference(|copy| fs::write(copy.join("more"), "").unwrap());
        assert!(found.contains("in the copy only"), "{found}");
        let found = one_difference(|copy| fs::remove_file(copy.join("inner/other")).unwrap());
        assert!(found.contains("missing"), "{found}");
        let found = one_difference(|copy| {
            fs::remove_file(copy.join("inner/again")).unwrap();
            fs::copy(copy.join("file"), copy.join("inner/again")).unwrap();
            set_time(&copy.join("inner/again"), 1_000_000_007);
        });
        assert!(found.contains("are one file"), "{found}");
        let found = one_difference(|copy| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(copy.join("inner/other"), c"user.more", b"\0\xff", flags).unwrap();
        });
        assert!(found.contains("extended attributes") && found.contains("2 bytes, [00, ff]"), "{found}");
    }
}
