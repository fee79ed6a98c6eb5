//! Copies of trees that somebody else changes to lead the copier astray, or watches to see more than he may.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use torture::flipper::{Copier, Moments, Options, Outcome, Until, campaign};
use torture::mounts::{Scratch, need_root};
use torture::random::Random;

use crate::support::{self, Scene};

fn flip(copier: Copier, moments: Moments, duration: Duration, until: Until) -> Outcome {
    let seed = Random::fresh_seed();
    eprintln!("BRIGADE_SEED={seed}");
    let scratch = Scratch::in_memory();
    campaign(&Options { copier, moments, duration, until, seed }, &scratch.path(".")).unwrap()
}

#[test]
fn swaps_on_both_sides_lead_no_worker_out_of_the_trees() {
    need_root();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_brigade"));
    for moments in [Moments::Any, Moments::BeforeCalls] {
        let outcome = flip(Copier::Brigade(program.clone()), moments, Duration::from_secs(4), Until::Over);
        assert!(outcome.faults.is_empty(), "{moments:?}: {outcome:#?}");
        assert!(outcome.n_swaps.values().filter(|&&n| n > 0).count() >= 8, "{moments:?}: {outcome:#?}");
    }
}

/// What the judge of the test above is worth. When `cp` meets a swap is chance, so it has as long as a busy machine may need.
#[test]
fn the_same_swaps_lead_cp_out_of_the_trees() {
    need_root();
    for moments in [Moments::Any, Moments::BeforeCalls] {
        let outcome = flip(Copier::Cp, moments, Duration::from_secs(120), Until::FirstLeak);
        assert!(outcome.n_rounds_with_leaks > 0, "{moments:?}: {outcome:#?}");
    }
}

/// S-04. What was planted gives way; where it leads nothing changes.
#[test]
fn links_planted_at_the_destination_lead_nowhere() {
    for options in [&[][..], &["--ignore-times"], &["--checksum"], &["--backup"], &["--force"], &["--delete"]] {
        let scene = Scene::new();
        for name in ["link", "hard-link", "alike", "folder/inner"] {
            scene.file(format!("source/{name}"), "from the source");
            scene.file(format!("victim/{name}"), "of the victim!!");
            for tree in ["source", "victim"] {
                File::open(scene.path(tree).join(name)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            }
        }
        fs::write(scene.path("victim/alike"), "from the source").unwrap();
        File::open(scene.path("victim/alike")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        fs::create_dir(scene.path("copy")).unwrap();
        symlink(scene.path("victim/link"), scene.path("copy/link")).unwrap();
        symlink(scene.path("victim/folder"), scene.path("copy/folder")).unwrap();
        for name in ["hard-link", "alike"] {
            fs::set_permissions(scene.path("victim").join(name), fs::Permissions::from_mode(0o604)).unwrap();
            fs::hard_link(scene.path("victim").join(name), scene.path("copy").join(name)).unwrap();
        }
        let before = looks(&scene.path("victim"));
        let ended = scene.run(options.iter().chain(&["-T", "source", "copy"]));
        assert_eq!(looks(&scene.path("victim")), before, "{options:?}: {}", ended.stderr);
        for name in ["link", "hard-link", "alike"] {
            let copied = scene.path("copy").join(name);
            assert!(!copied.is_symlink(), "{options:?}: {name}");
            assert_eq!(fs::read_to_string(&copied).unwrap(), "from the source", "{options:?}: {name}");
        }
    }
}

/// Contents, modes and times of the files of a tree.
fn looks(folder: &Path) -> Vec<(PathBuf, String, u32, SystemTime)> {
    let mut found = Vec::new();
    for name in support::tree(folder).into_keys() {
        let path = folder.join(name);
        let data = fs::symlink_metadata(&path).unwrap();
        if data.is_file() {
            let contents = fs::read_to_string(&path).unwrap();
            found.push((path, contents, data.permissions().mode(), data.modified().unwrap()));
        }
    }
    found
}

/// S-09. Who cannot give a file to its owner does not give its rights to anybody either.
#[test]
fn setuid_bits_are_not_kept_without_the_owner() {
    need_root();
    let scene = Scene::new();
    scene.file("source/program", "runs as root");
    fs::set_permissions(scene.path("source/program"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(scene.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let built = scene.copy(["-T", "source", "copy"]);
    let program = scene.path("brigade");
    fs::copy(built.get_program(), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).args(built.get_args());
    command.current_dir(scene.path(".")).env("LANG", "C.UTF-8").env("HOME", scene.path("."));
    let ended = support::ended(&mut command);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(fs::metadata(scene.path("copy/program")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(ended.stderr.contains("denied to this user"), "{}", ended.stderr);
}
