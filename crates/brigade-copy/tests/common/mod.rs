//! What the tests of this crate share: scratch folders, mounts that go away, and the comparison of trees.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{XattrFlags, lsetxattr};
use rustix::io::Errno;

/// A folder that is removed at the end.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("brigade-copy-").tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a folder, with those above it.
    pub fn folder(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }

    /// Makes a small file, with the folders above it.
    pub fn file(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        path
    }
}

/// A mount that goes away at the end.
pub struct Mount(PathBuf);

impl Mount {
    pub fn bind(from: &Path, to: &Path) -> Self {
        run(Command::new("mount").arg("--bind").arg(from).arg(to));
        Self(to.to_owned())
    }

    pub fn tmpfs(at: &Path, options: &str) -> Self {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at));
        Self(at.to_owned())
    }

    /// A file system that holds no extended attributes.
    pub fn ramfs(at: &Path) -> Self {
        run(Command::new("mount").args(["-t", "ramfs", "ramfs"]).arg(at));
        Self(at.to_owned())
    }

    /// A fresh ext4 of 64 MiB, in a file that is made for it.
    pub fn ext4(image: &Path, at: &Path) -> Self {
        fs::File::create(image).unwrap().set_len(64 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096"]).arg(image));
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(at));
        Self(at.to_owned())
    }

    /// A fresh xfs, in a file that is made for it. It cannot be smaller, but nearly all of it is a hole.
    pub fn xfs(image: &Path, at: &Path) -> Self {
        fs::File::create(image).unwrap().set_len(320 << 20).unwrap();
        run(Command::new("mkfs.xfs").args(["-q", "-f"]).arg(image));
        run(Command::new("mount").args(["-t", "xfs", "-o", "loop"]).arg(image).arg(at));
        Self(at.to_owned())
    }

    pub fn make_read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether owners can be given away.
pub fn has_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fails where file systems cannot be mounted: what is not checked must be seen.
pub fn need_root() {
    assert!(has_root(), "this test mounts a file system: run it as root");
}

/// Links, holes, odd names, modes and times, and a folder that is closed and old.
pub fn grow_oddities(root: &Path) {
    let odd = root.join("odd\nfolder");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join(OsStr::from_bytes(b"\xff\xfe")), "not UTF-8").unwrap();
    fs::write(odd.join("\x1b[2J"), "an escape sequence").unwrap();
    symlink("no/where", odd.join("dangling")).unwrap();
    symlink(".", odd.join("loop")).unwrap();
    let file = fs::File::create(odd.join("holes")).unwrap();
    file.set_len(5 << 20).unwrap();
    file.write_at(b"between holes", 1 << 20).unwrap();
    fs::write(odd.join("large"), vec![7; 1_500_000]).unwrap();
    fs::write(odd.join("setuid"), "x").unwrap();
    fs::set_permissions(odd.join("setuid"), fs::Permissions::from_mode(0o6711)).unwrap();
    fs::create_dir(odd.join("closed")).unwrap();
    fs::hard_link(odd.join("large"), odd.join("closed/again")).unwrap();
    run(Command::new("mkfifo").arg(odd.join("closed/fifo")));
    if has_root() {
        std::os::unix::fs::lchown(odd.join("setuid"), Some(12345), Some(54321)).unwrap();
        fs::set_permissions(odd.join("setuid"), fs::Permissions::from_mode(0o6711)).unwrap();
        std::os::unix::fs::lchown(odd.join("dangling"), Some(12345), Some(0)).unwrap();
        std::os::unix::fs::lchown(odd.join("closed"), Some(12345), Some(54321)).unwrap();
    }
    give_attributes(&odd);
    run(Command::new("touch")
        .args(["-h", "-d", "1950-01-02 03:04:05.123456789"])
        .arg(odd.join("dangling"))
        .arg(odd.join("holes")));
    fs::set_permissions(odd.join("closed"), fs::Permissions::from_mode(0o2550)).unwrap();
    run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.000000007"]).arg(odd.join("closed")).arg(&odd));
}

/// Attributes on a file, a folder and a link, as far as the file system and this user's rights go.
fn give_attributes(odd: &Path) {
    let set =
        |name: &str, attribute, value: &[u8]| match lsetxattr(odd.join(name), attribute, value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => panic!("cannot give {name:?} the attribute {attribute:?}: {errno}"),
        };
    set("large", c"user.binary", b"\0\xff");
    set("closed", c"user.empty", b"");
    if has_root() {
        set("setuid", c"trusted.note", b"x");
        set("dangling", c"trusted.note", b"x");
        set("closed/fifo", c"trusted.note", b"x");
    }
}

/// Fails with every difference between a tree and its copy.
pub fn assert_same(source: &Path, destination: &Path) {
    let differences = torture::tree::differences(source, destination).unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
