//! Judges a copy for which there may not have been enough room, by what was said and what is there. Who made it is not known here.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde_json::Value;

/// What a command has said.
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) errors: Vec<Value>,
    pub(super) summary: Value,
    pub(super) stderr: String,
}

/// What a file system had to give before the copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Room {
    /// Not one block, or not one inode.
    None,
    /// A little or much.
    Some,
}

/// What was copied where.
pub(super) struct Judge<'a> {
    pub(super) source: &'a Path,
    pub(super) copy: &'a Path,
}

impl Judge<'_> {
    /// What is wrong with the copy or with what was said of it, a line each.
    pub(super) fn wrong(&self, said: &Said, room: Room) -> io::Result<Vec<String>> {
        if said.code == Some(2) {
            return Ok(self.wrong_with_refusal(said, room));
        }
        let mut wrong = wrong_with_words(said);
        let named: HashSet<PathBuf> =
            said.errors.iter().filter_map(|error| self.below(error["path"].as_str()?)).collect();
        if self.copy.is_dir() {
            self.compare(Path::new(""), &named, &mut wrong)?;
        } else if !named.contains(Path::new("")) {
            wrong.push("nothing is there, and nobody says why".to_owned());
        }
        Ok(wrong)
    }

    /// Where not one inode or block is free a copy is refused before the first write, and nowhere else.
    fn wrong_with_refusal(&self, said: &Said, room: Room) -> Vec<String> {
        let refused = |why: &str| format!("refused {why}: {}", said.stderr);
        let mut wrong = Vec::new();
        if room == Room::Some {
            wrong.push(refused("although something was free"));
        }
        if self.copy.symlink_metadata().is_ok() {
            wrong.push(refused("after something was written"));
        }
        if !said.stderr.contains(" has no free ") {
            wrong.push(refused("for another reason"));
        }
        wrong
    }

    /// An error's path, relative to the trees.
    fn below(&self, path: &str) -> Option<PathBuf> {
        let path = Path::new(path);
        let relative = path.strip_prefix(self.source).or_else(|_| path.strip_prefix(self.copy));
        relative.ok().map(Path::to_owned)
    }

    fn compare(&self, folder: &Path, named: &HashSet<PathBuf>, wrong: &mut Vec<String>) -> io::Result<()> {
        let names = |root: &Path| -> io::Result<HashSet<OsString>> {
            fs::read_dir(root.join(folder))?.map(|entry| Ok(entry?.file_name())).collect()
        };
        let (ours, theirs) = (names(self.source)?, names(self.copy)?);
        for stray in theirs.difference(&ours) {
            wrong.push(format!("left behind: {:?}", folder.join(stray)));
        }
        for name in &ours {
            let path = folder.join(name);
            let (source, copy) = (self.source.join(&path), self.copy.join(&path));
            let Ok(there) = fs::symlink_metadata(&copy) else {
                if !named.contains(&path) {
                    wrong.push(format!("missing, and not named: {path:?}"));
                }
                continue;
            };
            let original = fs::symlink_metadata(&source)?;
            if original.is_dir() {
                self.compare(&path, named, wrong)?;
            } else if original.is_file() {
                let looks_whole = there.len() == original.len()
                    && (there.mtime(), there.mtime_nsec()) == (original.mtime(), original.mtime_nsec());
                let is_whole = fs::read(&source)? == fs::read(&copy)?;
                if looks_whole && !is_whole {
                    wrong.push(format!("looks whole and is not: {path:?}"));
                }
                let is_done = looks_whole && is_whole;
                if !is_done && !named.contains(&path) {
                    wrong.push(format!("not whole, and not named: {path:?}"));
                }
            }
        }
        Ok(())
    }
}

fn wrong_with_words(said: &Said) -> Vec<String> {
    let mut wrong = Vec::new();
    let count = |key: &str| said.summary[key].as_u64().unwrap_or(u64::MAX);
    let sum = ["copied", "unchanged", "skipped", "failed"].map(count).into_iter().fold(0, u64::saturating_add);
    if count("found") != sum || count("failed") != said.errors.len() as u64 {
        wrong.push(format!("the books: {}, {} errors", said.summary, said.errors.len()));
    }
    if said.code != Some(i32::from(!said.errors.is_empty())) {
        wrong.push(format!("it ended with {:?}, {} errors, and said {}", said.code, said.errors.len(), said.stderr));
    }
    let reasons = [Errno::NOSPC, Errno::DQUOT].map(|errno| i64::from(errno.raw_os_error()));
    for error in &said.errors {
        if !error["errno"].as_i64().is_some_and(|errno| reasons.contains(&errno)) || !error["path"].is_string() {
            wrong.push(format!("an error that is none of room: {error}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    /// Two files and the copies of them.
    struct Scene(TempDir);

    impl Scene {
        fn new() -> Self {
            let scene = Self(tempfile::tempdir().unwrap());
            for tree in ["source", "copy"] {
                fs::create_dir_all(scene.path(tree).join("folder")).unwrap();
                for name in ["folder/a", "b"] {
                    scene.write(&format!("{tree}/{name}"), "contents", 1_000_000_000);
                }
            }
            scene
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, contents: &str, seconds: u64) {
            fs::write(self.path(name), contents).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::options().write(true).open(self.path(name)).unwrap().set_modified(time).unwrap();
        }

        fn wrong(&self, said: &Said, room: Room) -> Vec<String> {
            Judge { source: &self.path("source"), copy: &self.path("copy") }.wrong(said, room).unwrap()
        }

        /// What is right to say if these have failed.
        fn said(&self, failed: &[&str]) -> Said {
            let errors = failed.iter().map(|name| json!({ "path": self.path("copy").join(name), "errno": 28 }));
            let n_failed = failed.len();
            Said {
                code: Some(i32::from(n_failed > 0)),
                errors: errors.collect(),
                summary: json!({ "found": 4, "copied": 4 - n_failed, "unchanged": 0, "skipped": 0, "failed": n_failed }),
                stderr: String::new(),
            }
        }
    }

    fn refusal(stderr: &str) -> Said {
        Said { code: Some(2), errors: Vec::new(), summary: Value::Null, stderr: stderr.to_owned() }
    }

    /// Each of these is wrong, in this one way.
    fn assert_is(wrong: &[String], what: &str) {
        assert!(matches!(wrong, [line] if line.contains(what)), "{what:?} is not what was found: {wrong:?}");
    }

    #[test]
    fn a_copy_is_refused_only_where_nothing_is_free_and_before_anything_is_written() {
        let scene = Scene::new();
        let refused = refusal("brigade: 'copy' has no free inodes");
        assert_is(&scene.wrong(&refused, Room::None), "after something was written");
        fs::remove_dir_all(scene.path("copy")).unwrap();
        assert_eq!(scene.wrong(&refused, Room::None), [""; 0]);
        assert_is(&scene.wrong(&refused, Room::Some), "although something was free");
        assert_is(&scene.wrong(&refusal("brigade: missing source"), Room::None), "for another reason");
        std::os::unix::fs::symlink("nowhere", scene.path("copy")).unwrap();
        assert_is(&scene.wrong(&refused, Room::None), "after something was written");
    }

    #[test]
    fn a_part_that_looks_whole_is_wrong_also_if_it_is_named() {
        let scene = Scene::new();
        assert_eq!(scene.wrong(&scene.said(&[]), Room::Some), [""; 0]);
        scene.write("copy/folder/a", "cont\0\0\0\0", 1_000_000_000);
        assert_is(&scene.wrong(&scene.said(&["folder/a"]), Room::Some), "looks whole and is not");
    }

    #[test]
    fn what_is_not_whole_must_be_named() {
        let scene = Scene::new();
        for (contents, seconds) in [("cont", 1_000_000_000), ("contents", 1), ("CONTENTS", 1)] {
            scene.write("copy/folder/a", contents, seconds);
            assert_is(&scene.wrong(&scene.said(&[]), Room::Some), "not whole, and not named");
            assert_eq!(scene.wrong(&scene.said(&["folder/a"]), Room::Some), [""; 0]);
        }
        fs::remove_file(scene.path("copy/folder/a")).unwrap();
        assert_is(&scene.wrong(&scene.said(&["b"]), Room::Some), "missing, and not named");
        scene.write("copy/folder/a", "contents", 1_000_000_000);
        scene.write("copy/.brigade-0", "", 1);
        assert_is(&scene.wrong(&scene.said(&[]), Room::Some), "left behind");
        fs::remove_dir_all(scene.path("copy")).unwrap();
        assert_is(&scene.wrong(&scene.said(&["b"]), Room::None), "nothing is there");
        assert_eq!(scene.wrong(&scene.said(&[""]), Room::None), [""; 0]);
    }

    #[test]
    fn words_that_do_not_agree_with_each_other_are_wrong() {
        let scene = Scene::new();
        let right = || scene.said(&["b"]);
        assert_eq!(scene.wrong(&right(), Room::Some), [""; 0]);
        assert_is(&scene.wrong(&Said { code: Some(0), ..right() }, Room::Some), "it ended with Some(0), 1 errors");
        assert_is(&scene.wrong(&Said { code: None, ..right() }, Room::Some), "it ended with None");
        assert_is(&scene.wrong(&Said { summary: scene.said(&[]).summary, ..right() }, Room::Some), "the books");
        let errors = vec![json!({ "path": scene.path("copy/b"), "errno": 5 })];
        assert_is(&scene.wrong(&Said { errors, ..right() }, Room::Some), "none of room");
    }
}
