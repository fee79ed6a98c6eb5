//! What is refused before the first write, and where copies go. Nothing is copied here.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use brigade_copy::{Plan, Refusal, Request, Target};
use torture::mounts::{Mount, Scratch, need_root};

fn plan(sources: &[&Path], target: Target) -> Result<Vec<(PathBuf, PathBuf)>, Refusal> {
    let sources = sources.iter().map(|&path| path.to_owned()).collect();
    let plan = Plan::new(Request::new(sources, target))?;
    Ok(plan.pairs().map(|(source, destination)| (source.to_owned(), destination.to_owned())).collect())
}

fn into_or_as(source: &Path, destination: &Path) -> Result<PathBuf, Refusal> {
    plan(&[source], Target::IntoOrAs(destination.to_owned())).map(|pairs| pairs[0].1.clone())
}

fn exactly(source: &Path, destination: &Path) -> Result<PathBuf, Refusal> {
    plan(&[source], Target::Exactly(destination.to_owned())).map(|pairs| pairs[0].1.clone())
}

fn beside(source: &Path) -> Result<PathBuf, Refusal> {
    plan(&[source], Target::Beside { suffix: "_copy".into(), other_suffixes: Vec::new() })
        .map(|pairs| pairs[0].1.clone())
}

macro_rules! assert_refused {
    ($planned:expr, $refusal:pat) => {
        let planned = $planned;
        assert!(matches!(planned, Err($refusal)), "{planned:?}");
    };
}

#[test]
fn a_copy_goes_where_cp_would_put_it() {
    let scratch = Scratch::new();
    let (source, folder) = (scratch.folder("a/photos"), scratch.folder("there"));
    assert_eq!(into_or_as(&source, &folder).unwrap(), folder.join("photos"));
    assert_eq!(into_or_as(&source.join(""), &folder).unwrap(), folder.join("photos"));
    assert_eq!(into_or_as(&scratch.path("a/photos/."), &folder).unwrap(), folder);
    assert_eq!(into_or_as(&scratch.path("a/photos/../photos/."), &scratch.path("new")).unwrap(), scratch.path("new"));
    assert_eq!(into_or_as(&source, &scratch.path("new")).unwrap(), scratch.path("new"));
    assert_eq!(into_or_as(&source, &scratch.path("new/")).unwrap(), scratch.path("new"));
    assert_eq!(exactly(&source, &folder).unwrap(), folder);
    let file = scratch.file("a/file");
    assert_eq!(into_or_as(&file, &folder).unwrap(), folder.join("file"));
    assert_eq!(into_or_as(&file, &scratch.path("other")).unwrap(), scratch.path("other"));
    let link = scratch.path("link");
    symlink(&folder, &link).unwrap();
    assert_eq!(into_or_as(&source, &link).unwrap(), link.join("photos"));
    assert_eq!(exactly(&source, &link).unwrap(), link);
}

#[test]
fn a_copy_beside_takes_the_resolved_name_and_the_next_free_number() {
    let scratch = Scratch::new();
    let photos = scratch.folder("photos");
    scratch.folder("photos/inner");
    assert_eq!(beside(&photos).unwrap(), scratch.path("photos_copy"));
    assert_eq!(beside(&photos.join("")).unwrap(), scratch.path("photos_copy"));
    assert_eq!(beside(&photos.join(".")).unwrap(), scratch.path("photos_copy"));
    assert_eq!(beside(&photos.join("inner/..")).unwrap(), scratch.path("photos_copy"));
    scratch.file("photos_copy");
    assert_eq!(beside(&photos).unwrap(), scratch.path("photos_copy_2"));
    symlink("nowhere", scratch.path("photos_copy_2")).unwrap();
    assert_eq!(beside(&photos).unwrap(), scratch.path("photos_copy_3"));
    assert_refused!(beside(Path::new("/")), Refusal::RootBeside);
    let link = scratch.path("link");
    symlink("photos", &link).unwrap();
    assert_eq!(beside(&link).unwrap(), scratch.path("link_copy"));
    assert_eq!(beside(&link.join("")).unwrap(), scratch.path("photos_copy_3"));
}

#[test]
fn what_is_missing_or_of_the_wrong_type_is_refused() {
    let scratch = Scratch::new();
    let (folder, file) = (scratch.folder("folder"), scratch.file("file"));
    let missing = scratch.path("missing");
    assert_refused!(plan(&[], Target::IntoOrAs(folder.clone())), Refusal::NoSource);
    assert_refused!(into_or_as(&missing, &folder), Refusal::Source { .. });
    assert_refused!(into_or_as(&scratch.path("file/."), &folder), Refusal::Source { .. });
    assert_refused!(into_or_as(&folder, &missing.join("deeper")), Refusal::Destination { .. });
    assert_refused!(into_or_as(&file, &scratch.path("missing/")), Refusal::Destination { .. });
    assert_refused!(into_or_as(&folder, &file), Refusal::TypeMismatch { .. });
    assert_refused!(exactly(&file, &folder), Refusal::TypeMismatch { .. });
    scratch.folder("there/file");
    assert_refused!(into_or_as(&file, &scratch.path("there")), Refusal::TypeMismatch { .. });
    scratch.file("there/folder");
    assert_refused!(into_or_as(&folder, &scratch.path("there")), Refusal::TypeMismatch { .. });
    symlink("nowhere", scratch.path("dangling")).unwrap();
    assert_refused!(into_or_as(&folder, &scratch.path("dangling")), Refusal::TypeMismatch { .. });
}

#[test]
fn several_sources_need_a_folder_and_different_names() {
    let scratch = Scratch::new();
    let (one, two) = (scratch.file("a/x"), scratch.file("b/x"));
    let other = scratch.file("b/y");
    let folder = scratch.folder("there");
    assert_eq!(plan(&[&one, &other], Target::IntoOrAs(folder.clone())).unwrap().len(), 2);
    assert_refused!(plan(&[&one, &other], Target::IntoOrAs(scratch.path("new"))), Refusal::NotAFolder { .. });
    assert_refused!(plan(&[&one, &other], Target::IntoOrAs(one.clone())), Refusal::NotAFolder { .. });
    assert_refused!(plan(&[&one, &two], Target::IntoOrAs(folder.clone())), Refusal::Collision { .. });
    assert_refused!(plan(&[&one, &other], Target::Exactly(folder)), Refusal::SeveralSources);
    assert_refused!(
        plan(&[&one, &other], Target::Beside { suffix: "_copy".into(), other_suffixes: Vec::new() }),
        Refusal::SeveralSources
    );
}

#[test]
fn a_source_is_not_copied_onto_itself_by_any_name() {
    let scratch = Scratch::new();
    let (folder, file) = (scratch.folder("folder"), scratch.file("file"));
    assert_refused!(exactly(&folder, &folder), Refusal::SameEntry { .. });
    assert_refused!(into_or_as(&folder, &scratch.path(".")), Refusal::SameEntry { .. });
    assert_refused!(into_or_as(&file, &file), Refusal::SameEntry { .. });
    let link = scratch.path("link");
    symlink("folder", &link).unwrap();
    assert_refused!(exactly(&folder, &link), Refusal::SameEntry { .. });
    assert_refused!(exactly(&link.join(""), &folder), Refusal::SameEntry { .. });
    fs::hard_link(&file, scratch.path("hard")).unwrap();
    assert_refused!(into_or_as(&file, &scratch.path("hard")), Refusal::SameEntry { .. });
    let to_file = scratch.path("to-file");
    symlink("file", &to_file).unwrap();
    assert_refused!(into_or_as(&to_file, &file), Refusal::SameEntry { .. });
    assert_refused!(into_or_as(&file, &to_file), Refusal::SameEntry { .. });
    // Two links to one file are two entries: this is what a second run meets.
    scratch.folder("there");
    symlink(&file, scratch.path("there/to-file")).unwrap();
    assert!(into_or_as(&to_file, &scratch.path("there")).is_ok());
}

#[test]
fn neither_lies_inside_the_other() {
    let scratch = Scratch::new();
    let folder = scratch.folder("x");
    scratch.folder("x/y/x");
    assert_refused!(into_or_as(&folder, &scratch.path("x/y")), Refusal::InsideSource { .. });
    assert_refused!(into_or_as(&folder, &scratch.path("x/new")), Refusal::InsideSource { .. });
    assert_refused!(into_or_as(&folder, &folder), Refusal::InsideSource { .. });
    let link = scratch.path("link");
    symlink("x/y", &link).unwrap();
    assert_refused!(into_or_as(&folder, &link), Refusal::InsideSource { .. });
    assert_refused!(into_or_as(&scratch.path("x/y/x"), &scratch.path(".")), Refusal::InsideDestination { .. });
    assert_refused!(exactly(&scratch.path("x/y"), &folder), Refusal::InsideDestination { .. });
    assert!(into_or_as(&scratch.path("x/y/x"), &scratch.path("new")).is_ok());
}

#[test]
fn bind_mounts_hide_nothing() {
    need_root();
    let scratch = Scratch::new();
    let folder = scratch.folder("x");
    let inner = scratch.folder("x/inner");
    let _whole = Mount::bind(&folder, &scratch.folder("whole"));
    let _part = Mount::bind(&inner, &scratch.folder("part of it"));
    assert_refused!(exactly(&folder, &scratch.path("whole")), Refusal::SameEntry { .. });
    assert_refused!(into_or_as(&folder, &scratch.path("whole/new")), Refusal::InsideSource { .. });
    assert_refused!(into_or_as(&folder, &scratch.path("part of it/new")), Refusal::InsideSource { .. });
    assert_refused!(into_or_as(&folder, &scratch.path("part of it")), Refusal::InsideSource { .. });
    assert_refused!(exactly(&scratch.path("part of it"), &folder), Refusal::InsideDestination { .. });
}
