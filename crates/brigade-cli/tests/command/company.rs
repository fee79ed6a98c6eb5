//! Several commands of one user at once: none fails or gives up anything because of the others, and what they copy is whole.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use torture::facts::wait_until;
use torture::random::Random;
use torture::tree::differences;

use crate::support::{Scene, wait};

const N_FILES: usize = 300;
/// When all files were last written to, since 1970.
const SECONDS: u64 = 1_000_000_000;

fn begun<const N: usize>(scene: &Scene, arguments: [&str; N]) -> Child {
    scene.copy(arguments).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn sixteen_copies_at_once_all_succeed_and_remove_what_killed_runs_have_left() {
    let scene = Scene::new();
    scene.many_files("source", 200);
    let litter = |idx: usize| format!("copy {idx}/001/.brigade-{idx:032x}");
    let copies: Vec<_> = (0..16).map(|idx| format!("copy {idx}")).collect();
    for idx in 0..16 {
        scene.file(litter(idx), "left behind");
    }
    let children: Vec<_> = copies.iter().map(|copy| begun(&scene, ["-j2", "-T", "source", copy])).collect();
    for (mut child, copy) in children.into_iter().zip(&copies) {
        assert_eq!(wait(&mut child).code(), Some(0), "{copy}");
        assert_eq!(differences(&scene.path("source"), &scene.path(copy)).unwrap(), [""; 0], "{copy}");
    }
}

fn contents(source: &str, idx: usize) -> String {
    source.repeat(100 + idx * 40)
}

/// Files of two kinds, by the same names.
fn make_sources(scene: &Scene) {
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(SECONDS);
    for source in ["one", "two"] {
        for idx in 0..N_FILES {
            let name = format!("{source}/{idx}");
            scene.file(&name, &contents(source, idx));
            File::open(scene.path(&name)).unwrap().set_modified(modified).unwrap();
        }
    }
}

fn assert_each_is_whole(copy: &Path) {
    for idx in 0..N_FILES {
        let file = copy.join(idx.to_string());
        let found = std::fs::read_to_string(&file).unwrap();
        assert!(["one", "two"].iter().any(|source| found == contents(source, idx)), "{idx} is neither of both");
        let data = std::fs::metadata(&file).unwrap();
        assert_eq!((data.mode() & 0o7777, data.mtime()), (0o644, SECONDS as i64), "{idx}");
    }
}

#[test]
fn of_two_copies_to_one_place_one_succeeds_whenever_the_other_is_killed() {
    let seed = std::env::var("BRIGADE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(Random::fresh_seed);
    println!("BRIGADE_SEED={seed}");
    let mut random = Random::new(seed);
    for (scene, n_rounds) in [(Scene::new(), 2), (Scene::on_disk(), 4)] {
        make_sources(&scene);
        for round in 0..n_rounds {
            let copy = format!("copy {round}");
            std::fs::create_dir(scene.path(&copy)).unwrap();
            let mut doomed = begun(&scene, ["-j2", "--no-resume", "-T", "one", &copy]);
            let mut other = begun(&scene, ["-j2", "--no-resume", "-T", "two", &copy]);
            let n_there = random.below(N_FILES as u64) as usize;
            wait_until("some files are there", || std::fs::read_dir(scene.path(&copy)).unwrap().count() >= n_there);
            doomed.kill().unwrap();
            doomed.wait().unwrap();
            assert_eq!(wait(&mut other).code(), Some(0), "killed when {n_there} files were there");
            assert_each_is_whole(&scene.path(&copy));
        }
    }
}
