//! Finds out which metadata a tool keeps, by letting it copy a small odd tree and looking at the result.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lgetxattr, lsetxattr, utimensat};

use crate::BenchError;
use crate::place::{FROM, Place, TO};
use crate::tools::{Reach, Tool};

const ATTRIBUTE: &str = "user.note";
const OWNER: (u32, u32) = (1234, 2345);
const HOLE_BYTES: u64 = 1 << 20;

/// What `tool` keeps, in words for a table.
pub fn kept(tool: &Tool, place: &mut Place) -> Result<String, BenchError> {
    // A tool that takes no tree is given the folder in it.
    let name = match tool.reach() {
        Reach::Trees => "odd",
        Reach::FewFiles => "odd/folder",
    };
    place.renew()?;
    let there = place.folder().to_path_buf();
    let [source, copy] = [FROM, TO].map(|side| there.join(side).join("odd"));
    make_odd_tree(&source)?;
    if tool.reach() == Reach::FewFiles {
        fs::create_dir(&copy)?;
    }
    let [seen_source, seen_copy] = [place.source(FROM), place.destination(TO)].map(|side| side.join(name));
    let status = tool.command(&seen_source, &seen_copy).status()?;
    let words = if status.success() {
        compare(&source, &copy).unwrap_or_else(|error| format!("left a part of the odd tree out: {error}"))
    } else {
        format!("could not copy the odd tree: {status}")
    };
    fs::remove_dir_all(&source)?;
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    Ok(words)
}

fn make_odd_tree(root: &Path) -> Result<(), BenchError> {
    fs::create_dir(root)?;
    let [folder, file, link] = ["folder", "folder/file", "folder/link"].map(|name| root.join(name));
    fs::create_dir(&folder)?;
    fs::write(&file, "contents")?;
    symlink("file", &link)?;
    fs::hard_link(&file, folder.join("same"))?;
    fs::File::create(folder.join("hole"))?.set_len(HOLE_BYTES)?;
    if rustix::process::geteuid().is_root() {
        chown(&file, Some(OWNER.0), Some(OWNER.1))?;
    }
    // Bits that a umask and a change of owner take away.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4766))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777))?;
    // A file system without user attributes has none to keep.
    let _ = lsetxattr(&file, ATTRIBUTE, b"kept", XattrFlags::empty());
    for (path, second) in [(&file, 1_000_000_001), (&link, 1_000_000_002), (&folder, 1_000_000_003)] {
        let moment = Timespec { tv_sec: second, tv_nsec: 123_456_789 };
        let times = Timestamps { last_access: moment, last_modification: moment };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn compare(source: &Path, copy: &Path) -> Result<String, BenchError> {
    let look = |name: &str| -> Result<(fs::Metadata, fs::Metadata), BenchError> {
        Ok((source.join(name).symlink_metadata()?, copy.join(name).symlink_metadata()?))
    };
    let (file, file_copy) = look("folder/file")?;
    let (folder, folder_copy) = look("folder")?;
    let (link, link_copy) = look("folder/link")?;
    // The bare floor copies folders, files and links alone, so each name is looked at for itself.
    let same_copy = copy.join("folder/same").symlink_metadata()?;
    let hole_copy = copy.join("folder/hole").symlink_metadata()?;
    let time = |metadata: &fs::Metadata| (metadata.mtime(), metadata.mtime_nsec());
    let facts = [
        ("modes", file.mode() == file_copy.mode() && folder.mode() == folder_copy.mode()),
        ("owners", (file.uid(), file.gid()) == (file_copy.uid(), file_copy.gid())),
        ("file times", time(&file) == time(&file_copy)),
        ("folder times", time(&folder) == time(&folder_copy)),
        ("link times", time(&link) == time(&link_copy)),
        ("hard links", same_copy.ino() == file_copy.ino()),
        ("holes", hole_copy.blocks() == 0),
        ("attributes", attribute(&source.join("folder/file")) == attribute(&copy.join("folder/file"))),
    ];
    let (kept, lost): (Vec<_>, Vec<_>) = facts.into_iter().partition(|(_, is_kept)| *is_kept);
    let names =
        |facts: Vec<(&'static str, bool)>| facts.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    Ok(match (kept.is_empty(), lost.is_empty()) {
        (_, true) => "all of it".to_owned(),
        (true, _) => "nothing".to_owned(),
        _ if lost.len() < kept.len() => format!("all but {}", names(lost)),
        _ => names(kept),
    })
}

fn attribute(path: &Path) -> Option<Vec<u8>> {
    let mut value = [0_u8; 64];
    let n_bytes = lgetxattr(path, ATTRIBUTE, &mut value).ok()?;
    Some(value[..n_bytes].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::FileSystem;
    use crate::tools::LineUp;

    fn kept_by(name: &str) -> String {
        let mut place = Place::make(FileSystem::Tmpfs, None).unwrap();
        let tools = crate::tools::tests::tools(LineUp::Copy);
        let tool = tools.iter().find(|tool| tool.name() == name).unwrap();
        let words = kept(tool, &mut place).unwrap();
        for side in [FROM, TO] {
            assert_eq!(fs::read_dir(place.folder().join(side)).unwrap().count(), 0, "nothing stays behind");
        }
        words
    }

    #[test]
    fn cp_a_keeps_all_and_cp_r_loses_times() {
        assert_eq!(kept_by("cp -a"), "all of it");
        let words = kept_by("cp -r");
        assert!(!words.contains("file times") || words.starts_with("all but"), "{words}");
        assert_ne!(words, "all of it");
    }

    #[test]
    fn a_tool_for_files_alone_is_judged_by_a_folder_of_files() {
        let words = kept_by("Python's Pool");
        assert!(!words.contains("could not") && words != "all of it", "{words}");
    }
}
