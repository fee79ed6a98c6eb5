//! Extended attributes, ACLs and capabilities in whole copies: kept, brought into line, or counted where they cannot be.
//! What a plain user sees of them is tested with the command, which can be run as one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "only the tests of whole trees need all of it")]
mod common;

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brigade_copy::{Action, Event, Facet, Plan, Request, Summary, Tally, Target};
use common::assert_same;
use rustix::fs::{XattrFlags, lgetxattr, lremovexattr, lsetxattr};
use rustix::io::Errno;
use torture::mounts::{Mount, Scratch, need_root, run};

/// Longer than any of these copies takes, however loaded the machine is.
const WATCHDOG: Duration = Duration::from_secs(120);

const ACCESS: &CStr = c"system.posix_acl_access";
const DEFAULT: &CStr = c"system.posix_acl_default";
const CAPABILITY: &CStr = c"security.capability";

/// `cap_net_raw=ep`, as the kernel stores it: revision 2 with the effective bit, then permitted and inheritable, low and high.
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Copies one source to exactly one place, and returns the failures with the account.
fn copy(source: &Path, destination: &Path) -> (Summary, Vec<(PathBuf, Action, String)>) {
    let request = Request {
        workers: std::num::NonZeroUsize::new(2),
        ..Request::new(vec![source.to_owned()], Target::Exactly(destination.to_owned()))
    };
    let failures = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&failures);
    let running = Plan::new(request)
        .unwrap()
        .start(move |event| {
            if let Event::Failed(error) = event {
                sink.lock().unwrap().push((error.path, error.action, error.cause.to_string()));
            }
        })
        .unwrap();
    let summary = running.wait_timeout(WATCHDOG).expect("the copy ends within the watchdog's time");
    drop(running);
    let failures = std::mem::take(&mut *failures.lock().unwrap());
    (summary, failures)
}

fn copy_all(source: &Path, destination: &Path) -> Summary {
    let (summary, failures) = copy(source, destination);
    assert_eq!(failures, []);
    assert_eq!(summary.broken, None);
    summary
}

fn set(path: &Path, name: &CStr, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|errno| panic!("cannot give {path:?} the attribute {name:?}: {errno}"));
}

fn get(path: &Path, name: &CStr) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 64 << 10];
    let n_bytes = lgetxattr(path, name, &mut value[..])?;
    value.truncate(n_bytes);
    Ok(value)
}

fn acl(user_rights: u16) -> Vec<u8> {
    torture::acl::acl(torture::acl::Rights { user: user_rights, others: 0 })
}

/// Attributes of every kind on every kind of entry.
fn grow_attributes(source: &Path) {
    let folder = source.join("folder");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("file");
    fs::write(&file, "contents").unwrap();
    set(&file, c"user.binary", b"\0\xff\n\0");
    set(&file, c"user.empty", b"");
    set(&file, c"user.longer", &[9; 2_000]);
    set(&file, c"trusted.of_file", b"t");
    set(&file, c"security.unknown", b"s");
    // More names than a small buffer takes.
    for idx in 0..60 {
        let name = std::ffi::CString::new(format!("user.one_of_very_many_{idx}")).unwrap();
        set(&folder, &name, b"x");
    }
    set(&folder, c"trusted.of_folder", b"t");
    set(&folder, ACCESS, &acl(5));
    set(&folder, DEFAULT, &acl(2));
    // Made under the default ACL, so it has one.
    fs::create_dir(folder.join("heir")).unwrap();
    fs::write(folder.join("heir/file"), "x").unwrap();
    assert!(get(&folder.join("heir/file"), ACCESS).is_ok());
    let plain = folder.join("plain");
    fs::write(&plain, "no ACL, although all around it have one").unwrap();
    lremovexattr(&plain, ACCESS).unwrap();
    let shared = source.join("shared");
    fs::write(&shared, "x").unwrap();
    set(&shared, ACCESS, &acl(6));
    let capable = source.join("capable");
    fs::write(&capable, "x").unwrap();
    lchown(&capable, Some(12345), Some(54321)).unwrap();
    fs::set_permissions(&capable, fs::Permissions::from_mode(0o755)).unwrap();
    set(&capable, CAPABILITY, &NET_RAW);
    symlink("nowhere", source.join("link")).unwrap();
    set(&source.join("link"), c"trusted.of_link", b"t");
    run(Command::new("mkfifo").arg("-m").arg("664").arg(source.join("fifo")));
    set(&source.join("fifo"), c"trusted.of_fifo", b"t");
    run(Command::new("mkfifo").arg("-m").arg("664").arg(source.join("shared fifo")));
    set(&source.join("shared fifo"), ACCESS, &acl(6));
}

/// A file system, in a folder with the name of its kind below `name`.
fn mount(scratch: &Scratch, name: &str, kind: &str) -> (PathBuf, Mount) {
    let at = scratch.folder(format!("{name}/{kind}"));
    let image = scratch.path(format!("{name}/{kind}.image"));
    let mount = match kind {
        "ext4" => Mount::ext4(&image, &at),
        "xfs" => Mount::xfs(&image, &at),
        "ramfs" => Mount::ramfs(&at),
        _ => Mount::tmpfs(&at, "size=64m"),
    };
    (at, mount)
}

#[test]
fn attributes_of_every_kind_arrive() {
    need_root();
    let kinds = ["tmpfs", "ext4", "xfs"];
    let scratch = Scratch::new();
    let (from, _mounts_from): (Vec<_>, Vec<_>) = kinds.iter().map(|kind| mount(&scratch, "from", kind)).unzip();
    let (to, _mounts_to): (Vec<_>, Vec<_>) = kinds.iter().map(|kind| mount(&scratch, "to", kind)).unzip();
    for (from_kind, from) in kinds.iter().zip(&from) {
        let source = from.join("source");
        grow_attributes(&source);
        for to in &to {
            let copied = to.join(from_kind);
            let summary = copy_all(&source, &copied);
            assert_eq!(summary.fidelity.losses().collect::<Vec<_>>(), [], "{copied:?}");
            assert_same(&source, &copied);
            assert_eq!(get(&copied.join("folder/file"), c"user.binary").unwrap(), b"\0\xff\n\0");
            assert_eq!(get(&copied.join("capable"), CAPABILITY).unwrap(), NET_RAW);
            assert_eq!(get(&copied.join("link"), c"trusted.of_link").unwrap(), b"t");
            assert_eq!(get(&copied.join("folder/plain"), ACCESS), Err(Errno::NODATA));
            assert_eq!(get(&copied.join("folder"), DEFAULT).unwrap(), acl(2));
            // The second run finds nothing to do, and leaves everything as it is.
            let summary = copy_all(&source, &copied);
            assert_eq!((summary.n_unchanged, summary.fidelity.losses().count()), (summary.n_found, 0));
            assert_same(&source, &copied);
        }
    }
}

#[test]
fn an_attribute_may_be_as_long_as_the_kernel_allows() {
    need_root();
    let scratch = Scratch::new();
    let (there, _mount) = mount(&scratch, "there", "tmpfs");
    fs::create_dir(there.join("source")).unwrap();
    let file = there.join("source/file");
    fs::write(&file, "x").unwrap();
    set(&file, c"user.long", &[7; 60 << 10]);
    set(&file, c"trusted.longest", &[8; 64 << 10]);
    copy_all(&there.join("source"), &there.join("copy"));
    assert_same(&there.join("source"), &there.join("copy"));
}

#[test]
fn a_default_acl_of_the_destination_reaches_nothing() {
    need_root();
    for kind in ["tmpfs", "ext4", "xfs"] {
        let scratch = Scratch::new();
        let (there, _mount) = mount(&scratch, "there", kind);
        let source = there.join("source");
        grow_attributes(&source);
        fs::create_dir(source.join("merged")).unwrap();
        fs::create_dir(source.join("merged/inner")).unwrap();
        run(Command::new("mkfifo").arg("-m").arg("622").arg(source.join("merged/fifo")));
        for name in ["merged/file", "merged/inner/file"] {
            fs::write(source.join(name), "x").unwrap();
        }
        // A default ACL that takes rights from everybody, from the owner too.
        let mut closed = acl(0);
        closed[6] = 1;
        let (parent, merged) = (there.join("parent"), there.join("parent/copy/merged"));
        fs::create_dir_all(&merged).unwrap();
        fs::write(merged.join("file"), "another, which is replaced").unwrap();
        for folder in [&parent, &merged] {
            set(folder, DEFAULT, &closed);
        }
        copy_all(&source, &parent.join("copy"));
        assert_same(&source, &parent.join("copy"));
        copy_all(&source, &parent.join("fresh"));
        assert_same(&source, &parent.join("fresh"));
        copy_all(&source.join("shared"), &parent.join("file"));
        assert_same(&source.join("shared"), &parent.join("file"));
        copy_all(&source.join("capable"), &parent.join("other file"));
        assert_same(&source.join("capable"), &parent.join("other file"));
        assert_eq!(get(&parent, DEFAULT).unwrap(), closed, "{kind}");
    }
}

#[test]
fn what_is_unchanged_is_brought_into_line() {
    need_root();
    let scratch = Scratch::new();
    let (there, _mount) = mount(&scratch, "there", "ext4");
    let (source, copied) = (there.join("source"), there.join("copy"));
    grow_attributes(&source);
    copy_all(&source, &copied);
    let file = copied.join("folder/file");
    lremovexattr(&file, c"user.empty").unwrap();
    set(&file, c"user.binary", b"other");
    set(&file, c"user.extra", b"x");
    set(&file, c"trusted.extra", b"x");
    set(&file, ACCESS, &acl(7));
    set(&file, CAPABILITY, &NET_RAW);
    set(&copied.join("capable"), c"user.extra", b"x");
    lchown(copied.join("capable"), Some(1), Some(1)).unwrap();
    lremovexattr(copied.join("shared"), ACCESS).unwrap();
    let folder = copied.join("folder");
    set(&folder, c"user.extra", b"x");
    set(&folder, DEFAULT, &acl(7));
    set(&folder.join("heir"), ACCESS, &acl(7));
    set(&copied.join("link"), c"trusted.of_link", b"other");
    set(&copied.join("fifo"), c"trusted.extra", b"x");
    set(&copied, DEFAULT, &acl(7));
    // A label of the system's own.
    set(&copied.join("shared"), c"security.label", b"x");
    let summary = copy_all(&source, &copied);
    assert_eq!((summary.n_unchanged, summary.fidelity.losses().count()), (summary.n_found, 0));
    assert_eq!(get(&copied.join("shared"), c"security.label").unwrap(), b"x");
    lremovexattr(copied.join("shared"), c"security.label").unwrap();
    assert_same(&source, &copied);
}

#[test]
fn a_destination_without_attributes_fails_nothing_and_each_loss_is_counted() {
    need_root();
    let scratch = Scratch::new();
    let (there, _mount) = mount(&scratch, "there", "ramfs");
    let (from, _from_mount) = mount(&scratch, "from", "tmpfs");
    let (source, copied) = (from.join("source"), there.join("copy"));
    grow_attributes(&source);
    let unsupported = |n_unsupported| Tally { n_unsupported, ..Tally::default() };
    // The file, the folder, the link and the FIFO; the folder, what inherited from it, and what else is shared.
    let expected =
        [(Facet::Xattr, unsupported(4)), (Facet::Acl, unsupported(5)), (Facet::Capabilities, unsupported(1))];
    // The second time nothing is copied, and what is lost is still told.
    for _ in 0..2 {
        let summary = copy_all(&source, &copied);
        assert_eq!(summary.fidelity.losses().collect::<Vec<_>>(), expected);
        let differences = torture::tree::differences(&source, &copied).unwrap();
        assert_eq!(differences.len(), 9, "{}", differences.join("\n"));
        assert!(differences.iter().all(|line| line.contains("extended attributes")), "{}", differences.join("\n"));
    }
}

#[test]
fn an_attribute_that_no_block_holds_is_lost_and_one_without_room_fails_its_entry() {
    need_root();
    let scratch = Scratch::new();
    let (there, _mount) = mount(&scratch, "there", "ext4");
    let (from, _from_mount) = mount(&scratch, "from", "tmpfs");
    fs::create_dir(from.join("source")).unwrap();
    for name in ["source/long", "source/short"] {
        fs::write(from.join(name), name).unwrap();
    }
    // More than ext4 takes without a feature of its own.
    set(&from.join("source/long"), c"user.long", &[7; 60 << 10]);
    let summary = copy_all(&from.join("source"), &there.join("copy"));
    let expected = Tally { n_unsupported: 1, ..Tally::default() };
    assert_eq!(summary.fidelity.losses().collect::<Vec<_>>(), [(Facet::Xattr, expected)]);
    assert_eq!(fs::read(there.join("copy/long")).unwrap(), b"source/long");
    // The same where nothing is free.
    let filler = fs::File::create(there.join("filler")).unwrap();
    let _ = rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, 40 << 20);
    let mut rest = filler.try_clone().unwrap();
    while std::io::Write::write(&mut rest, &[1; 4096]).is_ok() {}
    set(&from.join("source/short"), c"user.middling", &[7; 3 << 10]);
    let (summary, mut failures) = copy(&from.join("source"), &there.join("copy"));
    failures.sort_by(|one, other| one.0.cmp(&other.0));
    let full = "No space left on device (os error 28)".to_owned();
    let expected = ["copy/long", "copy/short"].map(|name| (there.join(name), Action::SetAttributes, full.clone()));
    assert_eq!(failures, expected);
    assert_eq!(summary.n_failed, 2);
}
