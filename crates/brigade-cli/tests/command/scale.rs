//! Trees of unusual measures: very many small files beside a huge one, offsets that 32 bits do not hold, and more names of one
//! file than a file system takes. What faults do to a copy is in faults.rs.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use torture::faultline::{Act, Role, Rule, When, run};
use torture::mounts::{Image, Mount, need_root};
use torture::tree::differences;

use crate::support::Scene;

/// No copy takes as long.
const LIMIT: Duration = Duration::from_secs(60);

const GIB: u64 = 1 << 30;

#[track_caller]
fn assert_same(source: &Path, copy: &Path) {
    assert_eq!(differences(source, copy).unwrap(), [""; 0]);
}

/// A file of this length in which a few places are not zero: the first bytes, the last, and those about each boundary.
fn write_places(path: &Path, n_bytes: u64, boundaries: &[u64]) -> File {
    let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    file.set_len(n_bytes).unwrap();
    for &place in boundaries.iter().chain([&5, &(n_bytes - 5)]) {
        file.write_all_at(&place.to_be_bytes(), place - 4).unwrap();
    }
    file
}

#[test]
fn very_many_small_files_beside_a_huge_one_arrive() {
    let scene = Scene::new();
    scene.many_files("source/small", 20_000);
    for idx in 1..20_usize {
        scene.file(format!("source/mixed/{idx}"), &"mixed".repeat(idx * 17_000));
    }
    write_places(&scene.path("source/huge"), 3 * GIB, &[GIB, 2 * GIB]);
    let ended = scene.run(["--progress=json", "source", "copy"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_same(&scene.path("source"), &scene.path("copy"));
}

#[test]
fn offsets_that_32_bits_do_not_hold_are_copied_in_the_kernel_and_by_reading() {
    need_root();
    let scene = Scene::new();
    fs::create_dir(scene.path("at")).unwrap();
    let image = Image { n_bytes: 8 * GIB, ..Image::XFS };
    let mount = Mount::fresh(&image, &scene.path("image"), &scene.path("at"));
    let (source, copy) = (mount.at().join("source"), mount.at().join("copy"));
    fs::create_dir(&source).unwrap();
    let n_bytes = 5 * GIB;
    let boundaries = [2 * GIB, 4 * GIB];
    // Room is taken for all of it, so that there are no holes to go around; on the disk there is next to nothing.
    let full = write_places(&source.join("full"), n_bytes, &boundaries);
    fallocate(&full, FallocateFlags::empty(), 0, n_bytes).unwrap();
    write_places(&source.join("sparse"), n_bytes, &boundaries);
    full.sync_all().unwrap();
    assert!(fs::metadata(source.join("full")).unwrap().blocks() * 512 >= n_bytes);

    let mut command = Command::new(env!("CARGO_BIN_EXE_brigade"));
    command.args(["copy", "-T", "--lang=en"]).arg(&source).arg(&copy);
    // A clone would take no offsets at all.
    let no_clone = Rule::of("ioctl", Act::Fail(Errno::OPNOTSUPP)).by(Role::Worker).below(&copy);
    let ranges = Rule::of("copy_file_range", Act::Nothing).below(source.join("full")).when(When::Nth(u64::MAX));
    let ended = run(command, vec![no_clone, ranges], LIMIT).unwrap();
    assert!(!ended.is_hung && ended.n_done[0] > 0, "{ended:?}");
    // At most this much at a time.
    assert!(ended.n_met[1] >= n_bytes / (8 << 20), "{ended:?}");
    assert_eq!(ended.output.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.output.stderr));
    assert_same(&source, &copy);
}

/// A file with this many names, in folders of a hundred.
fn many_names(scene: &Scene, n_names: usize) {
    scene.file("source/000/0", "one file");
    for idx in 1..n_names {
        let folder = scene.path(format!("source/{:03}", idx / 100));
        if idx % 100 == 0 {
            fs::create_dir(&folder).unwrap();
        }
        fs::hard_link(scene.path("source/000/0"), folder.join(idx.to_string())).unwrap();
    }
}

/// How many names each file below a folder has there, the largest number first.
fn groups(folder: &Path) -> Vec<usize> {
    let mut found: HashMap<u64, usize> = HashMap::new();
    for below in fs::read_dir(folder).unwrap() {
        for entry in fs::read_dir(below.unwrap().path()).unwrap() {
            *found.entry(entry.unwrap().metadata().unwrap().ino()).or_default() += 1;
        }
    }
    let mut sizes: Vec<_> = found.into_values().collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    sizes
}

#[test]
fn ten_thousand_names_of_one_file_stay_one_file() {
    let scene = Scene::new();
    many_names(&scene, 10_000);
    let ended = scene.run(["source", "copy"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(groups(&scene.path("copy")), [10_000]);
    assert_same(&scene.path("source"), &scene.path("copy"));
}

#[test]
fn more_names_than_the_destination_takes_for_one_file_all_arrive_and_it_is_told() {
    let scene = Scene::new();
    many_names(&scene, 300);
    let mut command = scene.copy(["-T", "source", "copy"]);
    command.env("LC_ALL", "C.UTF-8");
    // Ext4 says so after 65 000 names.
    let refused = Rule::of("linkat", Act::Fail(Errno::MLINK)).by(Role::Worker).when(When::Nth(100));
    let ended = run(command, vec![refused], LIMIT).unwrap();
    let error = String::from_utf8(ended.output.stderr).unwrap();
    assert!(!ended.is_hung && ended.output.status.code() == Some(0), "{error}");
    // Which names go with which file depends on what the workers were about.
    let groups = groups(&scene.path("copy"));
    assert_eq!((ended.n_done[0], groups.len(), groups.iter().sum::<usize>()), (1, 2, 300), "{groups:?}");
    assert!(error.contains("298 kept, 1 not supported by the destination\n"), "{error}");
    for idx in 0..300 {
        let copy = scene.path(format!("copy/{:03}/{idx}", idx / 100));
        assert_eq!(fs::read_to_string(copy).unwrap(), "one file");
    }
}
