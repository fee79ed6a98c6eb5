//! What the tests of this crate share: an odd tree and the comparison of trees.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{XattrFlags, lsetxattr};
use rustix::io::Errno;
use torture::mounts::{has_root, run};

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
