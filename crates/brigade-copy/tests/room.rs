//! What is refused or warned of for want of room at the destination.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brigade_copy::{Event, Note, Plan, Refusal, Request, Summary, Target, Totals, Want};
use torture::mounts::{Mount, Scratch, need_root};

/// Longer than any of these copies takes, however loaded the machine is.
const WATCHDOG: Duration = Duration::from_secs(120);

fn request(source: &Path, destination: PathBuf) -> Request {
    Request { totals: Totals::Wanted, ..Request::new(vec![source.to_owned()], Target::Exactly(destination)) }
}

fn want_of(source: &Path, destination: PathBuf) -> Option<Want> {
    match Plan::new(request(source, destination)) {
        Err(Refusal::NoRoom { want, .. }) => Some(want),
        Ok(_) => None,
        Err(other) => panic!("{other}"),
    }
}

fn copy(source: &Path, destination: PathBuf) -> (Summary, Vec<Note>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&notes);
    let keep = move |event| {
        if let Event::Note(note) = event {
            sink.lock().unwrap().push(note);
        }
    };
    let running = Plan::new(request(source, destination)).unwrap().start(keep).unwrap();
    let summary = running.wait_timeout(WATCHDOG).expect("the copy ends within the watchdog's time");
    let notes = std::mem::take(&mut *notes.lock().unwrap());
    (summary, notes)
}

#[test]
fn a_destination_that_cannot_be_written_is_refused_before_the_first_write() {
    need_root();
    let scratch = Scratch::new();
    scratch.file("source/file");
    let source = scratch.path("source");
    let mount = Mount::tmpfs(&scratch.folder("mounted"), "size=64k,nr_inodes=20");
    let new = || scratch.path("mounted/new");
    assert_eq!(want_of(&source, new()), None);

    let _ = fs::write(scratch.path("mounted/filler"), vec![1; 1 << 20]);
    assert_eq!(want_of(&source, new()), Some(Want::Bytes));
    fs::write(scratch.path("empty"), "").unwrap();
    assert_eq!(want_of(&scratch.path("empty"), new()), None);
    fs::remove_file(scratch.path("mounted/filler")).unwrap();

    let n_made = (0..100).take_while(|idx| fs::write(scratch.path(format!("mounted/{idx}")), "").is_ok()).count();
    assert!(n_made < 20);
    assert_eq!(want_of(&scratch.path("empty"), new()), Some(Want::Entries));
    // What is there already may be right as it is.
    assert_eq!(want_of(&scratch.path("empty"), scratch.path("mounted/0")), None);

    mount.make_read_only();
    assert_eq!(want_of(&scratch.path("empty"), new()), Some(Want::Writable));
    assert_eq!(want_of(&scratch.path("empty"), scratch.path("mounted/0")), None);
}

#[test]
fn a_walk_that_finds_more_than_is_free_is_told_once_and_nothing_is_broken_off() {
    need_root();
    let scratch = Scratch::new();
    for idx in 0..40 {
        fs::write(scratch.folder("source").join(format!("{idx}")), vec![1; 64 << 10]).unwrap();
    }
    let _mount = Mount::tmpfs(&scratch.folder("mounted"), "size=1m,nr_inodes=30");
    let (summary, notes) = copy(&scratch.path("source"), scratch.path("mounted/copy"));
    assert!(summary.n_failed > 0 && summary.n_copied > 1, "{summary:?}");
    let n_bytes = notes.iter().filter(|note| matches!(note, Note::BytesShort { .. })).count();
    let n_entries = notes.iter().filter(|note| matches!(note, Note::EntriesShort { .. })).count();
    assert_eq!((n_bytes, n_entries), (1, 1), "{notes:?}");
}

#[test]
fn what_is_there_already_and_holes_need_no_room() {
    need_root();
    let scratch = Scratch::new();
    for idx in 0..10 {
        fs::write(scratch.folder("source").join(format!("{idx}")), vec![1; 64 << 10]).unwrap();
    }
    fs::File::create(scratch.path("source/sparse")).unwrap().set_len(1 << 30).unwrap();
    let _mount = Mount::tmpfs(&scratch.folder("mounted"), "size=1m");
    for n_unchanged in [0, 12] {
        let (summary, notes) = copy(&scratch.path("source"), scratch.path("mounted/copy"));
        assert_eq!((summary.n_failed, summary.n_unchanged), (0, n_unchanged));
        assert_eq!(notes, []);
    }
}
