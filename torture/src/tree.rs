//! What differs between two trees, for tests that want them the same. The comparing is done in treecmp.rs.

use std::io;
use std::path::Path;

use crate::treecmp::compare;

/// What differs between two trees, one line each; empty if the second is a true copy of the first. Holes do not count.
///
/// # Errors
/// What reading either tree says.
pub fn differences(source: &Path, copy: &Path) -> io::Result<Vec<String>> {
    let compared = compare(source, copy)?;
    let differences = compared.differences.iter().filter(|difference| difference.aspect != Some("holes"));
    let mut lines: Vec<_> = differences.map(ToString::to_string).collect();
    // One that concerns several aspects is told once.
    lines.dedup();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;
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
