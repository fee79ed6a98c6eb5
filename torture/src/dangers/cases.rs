//! The dangers: how each scene is set, what happens meanwhile, and when the copy is right. They are those by which copiers were
//! seen to lose data.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Copied;
use super::scene::Scene;

/// A danger.
#[derive(Debug)]
pub struct Case {
    /// As it stands in a table.
    pub name: &'static str,
    pub(super) source: &'static str,
    pub(super) destination: &'static str,
    pub(super) is_folder: bool,
    pub(super) as_plain_user: bool,
    pub(super) wanted: Wanted,
    pub(super) set: fn(&mut Scene),
    /// What no copier may change.
    pub(super) kept: &'static [&'static str],
    /// What happens to the source once so many blocks of the scene are taken.
    pub(super) change: fn(&Scene),
    pub(super) n_blocks_before_change: u64,
    pub(super) is_right: fn(&Copied<'_>) -> bool,
}

/// What a tool should do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    Copy,
    /// An error that harms nothing will do.
    CopyOrRefusal,
    /// Some of it cannot be copied: the rest should be, and the status say so.
    CopyButForSome,
}

const FOLDER: Case = Case {
    name: "",
    source: "source",
    destination: "copy",
    is_folder: true,
    as_plain_user: false,
    wanted: Wanted::Copy,
    set: |_| {},
    kept: &["source"],
    change: |_| {},
    n_blocks_before_change: 0,
    is_right: is_same,
};

const FILE: Case = Case { source: "f", is_folder: false, set: make_f, kept: &["f"], ..FOLDER };

const ONTO_ITSELF: Case = Case { wanted: Wanted::CopyOrRefusal, ..FILE };

/// A file of a file system without disk: it cannot be harmed, and says another length than it has.
const VIRTUAL: Case = Case { set: |_| {}, kept: &[], is_right: has_same_bytes, ..FILE };

const SHRINKING_BYTES: usize = 256 << 20;
const SHRUNK_BYTES: u64 = 192 << 20;
/// Some copy of it must have begun.
const N_BLOCKS_BEFORE_SHRINKING: u64 = 256;

/// Paths of the kernel have 4 096 bytes at most.
const LEVEL: &str = match std::str::from_utf8(&[b'd'; 200]) {
    Ok(level) => level,
    Err(_) => "",
};
const N_LEVELS: usize = 40;

const OWNER: u32 = 1000;
const SETUID: u32 = 0o4000;

/// All of them, in the order of the table.
pub const CASES: [Case; 17] = [
    Case { name: "a file onto itself: `f ./f`", destination: "./f", ..ONTO_ITSELF },
    Case {
        name: "a file onto a symbolic link to it",
        destination: "link",
        set: |scene| {
            make_f(scene);
            scene.symlink("f", "link");
        },
        ..ONTO_ITSELF
    },
    Case {
        name: "a file onto a hard link to it",
        destination: "hard",
        set: |scene| {
            make_f(scene);
            fs::hard_link(scene.path("f"), scene.path("hard")).unwrap();
        },
        ..ONTO_ITSELF
    },
    Case {
        name: "a folder into itself",
        destination: "source/inside",
        wanted: Wanted::CopyOrRefusal,
        set: |scene| scene.file("source/sub/file", "precious"),
        kept: &["source/sub"],
        // A copy of what was there before is right; that it has all of itself, too, no copy can be asked.
        is_right: |copied| copied.differences_of("sub").is_some_and(|found| found.is_empty()),
        ..FOLDER
    },
    Case {
        name: "a FIFO in the tree",
        set: |scene| {
            scene.file("source/file", "x");
            scene.fifo("source/fifo");
        },
        ..FOLDER
    },
    Case {
        name: "a device in the tree (`/dev/null`)",
        set: |scene| {
            scene.file("source/file", "x");
            scene.null("source/null");
        },
        ..FOLDER
    },
    Case {
        name: "a file that shrinks while it is copied",
        wanted: Wanted::CopyOrRefusal,
        set: |scene| {
            fs::create_dir(scene.path("source")).unwrap();
            fs::write(scene.path("source/file"), vec![b'x'; SHRINKING_BYTES]).unwrap();
        },
        change: |scene| {
            File::options().write(true).open(scene.path("source/file")).unwrap().set_len(SHRUNK_BYTES).unwrap()
        },
        n_blocks_before_change: N_BLOCKS_BEFORE_SHRINKING,
        is_right: is_one_state,
        ..FOLDER
    },
    Case { name: "a file shorter than it says (`/sys/kernel/fscaps`)", source: "/sys/kernel/fscaps", ..VIRTUAL },
    Case { name: "a file longer than it says (`/proc/version`)", source: "/proc/version", ..VIRTUAL },
    Case { name: "hard links with the same inode numbers on two devices", set: set_same_inodes, ..FOLDER },
    Case {
        name: "a file with the inode number of the destination, on another device",
        destination: "target/copy",
        set: set_inode_of_destination,
        ..FOLDER
    },
    Case {
        name: "a folder of mode 0555, as a plain user",
        as_plain_user: true,
        set: |scene| {
            scene.file("source/closed/file", "x");
            scene.set_mode("source/closed", 0o555);
            scene.give_away();
        },
        ..FOLDER
    },
    Case {
        name: "a setuid program of another owner",
        set: |scene| {
            scene.file("source/program", "x");
            scene.set_owner("source/program", OWNER);
            scene.set_mode("source/program", SETUID | 0o755);
        },
        is_right: |copied| is_same(copied) && is_setuid_only_of_owner(copied),
        ..FOLDER
    },
    Case { name: "paths longer than 4 096 bytes", set: |scene| scene.deep_file("source", LEVEL, N_LEVELS), ..FOLDER },
    Case {
        name: "dangling and looping symbolic links",
        set: |scene| {
            scene.file("source/file", "x");
            scene.symlink("nowhere", "source/dangling");
            scene.symlink("loop", "source/loop");
        },
        ..FOLDER
    },
    Case {
        name: "names with a newline and bytes that are no UTF-8",
        set: |scene| scene.file(Path::new("source").join(OsStr::from_bytes(b"new\nline \xff")), "x"),
        ..FOLDER
    },
    Case {
        name: "four unreadable files beside a good one",
        as_plain_user: true,
        wanted: Wanted::CopyButForSome,
        set: |scene| {
            scene.file("source/good", "x");
            for name in ["source/bad 1", "source/bad 2", "source/bad 3", "source/bad 4"] {
                scene.file(name, "y");
                scene.set_mode(name, 0);
            }
            scene.give_away();
        },
        is_right: |copied| {
            let differences = copied.differences();
            differences.is_some_and(|found| found.iter().all(|difference| difference.path.starts_with(b"bad ")))
        },
        ..FOLDER
    },
];

fn make_f(scene: &mut Scene) {
    scene.file("f", "precious");
}

fn is_same(copied: &Copied<'_>) -> bool {
    copied.differences().is_some_and(|found| found.is_empty())
}

/// What was read before the change, or after it, and no mixture.
fn is_one_state(copied: &Copied<'_>) -> bool {
    let bytes = fs::read(copied.copy().join("file")).unwrap_or_default();
    [SHRINKING_BYTES as u64, SHRUNK_BYTES].contains(&(bytes.len() as u64)) && bytes.iter().all(|&byte| byte == b'x')
}

fn has_same_bytes(copied: &Copied<'_>) -> bool {
    let read = |path: &str| fs::read(copied.scene.path(path));
    read(copied.case.source).unwrap() == read(copied.case.destination).unwrap_or_default()
}

/// A tool that keeps no owners must not let another one's program run as its own; one that does should keep the bit.
fn is_setuid_only_of_owner(copied: &Copied<'_>) -> bool {
    let program = fs::symlink_metadata(copied.copy().join("program"));
    program.is_ok_and(|program| (program.uid() == OWNER) == (program.mode() & SETUID != 0))
}

/// Two file systems with two names of one file each; that one numbers its inodes like the other is checked.
fn set_same_inodes(scene: &mut Scene) {
    for (name, text) in [("source/one", "first"), ("source/two", "other")] {
        scene.mount(name);
        let folder = Path::new(name);
        scene.file(folder.join("file"), text);
        fs::hard_link(scene.path(folder.join("file")), scene.path(folder.join("link"))).unwrap();
    }
    assert_eq!(inode_of(scene, "source/one/file"), inode_of(scene, "source/two/file"));
}

/// The folder that a tool makes in a fresh file system gets one of the first numbers, and files of another have them all.
fn set_inode_of_destination(scene: &mut Scene) {
    scene.mount("source");
    let names: Vec<String> = (0..64).map(|idx| format!("source/file {idx}")).collect();
    for name in &names {
        scene.file(name, name);
    }
    scene.mount("target");
    fs::create_dir(scene.path("target/like")).unwrap();
    let inodes: BTreeSet<u64> = names.iter().map(|name| inode_of(scene, name)).collect();
    assert!(inodes.contains(&(inode_of(scene, "target/like") + 1)), "{inodes:?}");
}

fn inode_of(scene: &Scene, name: &str) -> u64 {
    fs::symlink_metadata(scene.path(name)).unwrap().ino()
}
