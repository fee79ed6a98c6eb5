//! What is copied, compared with the programs whose rules these are. Seeds are printed; `BRIGADE_SEED` repeats one, and
//! `BRIGADE_FILTER_LISTS` asks for more lists than the test makes by itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "only the tests that copy whole trees need all of it")]
mod common;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use brigade_copy::{
    Choice, Delete, Depth, IgnoreFiles, Lines, Links, NameList, Plan, Refusal, Request, Selection, Summary, Target,
};
use torture::mounts::Scratch;
use torture::random::Random;

/// Lists that the default run compares.
const N_LISTS: u64 = 300;

/// Lists that are compared with one tree.
const LISTS_PER_TREE: u64 = 15;

/// Components of paths, among them all that means something in a pattern.
const NAMES: [&[u8]; 22] = [
    b"a",
    b"b",
    b"ab",
    b"foo",
    b"bar",
    b"foobar",
    b"a.o",
    b"b.o",
    b".hidden",
    b"x[1]",
    b"x1",
    b"a*b",
    b"q?",
    b"back\\slash",
    b"]",
    b"-",
    b"!",
    b"# note",
    b"+ plus",
    "é".as_bytes(),
    b"\xff\xfe",
    b"sp ace ",
];

fn seed() -> u64 {
    let seed = std::env::var("BRIGADE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(Random::fresh_seed);
    println!("BRIGADE_SEED={seed}");
    seed
}

fn n_lists() -> u64 {
    std::env::var("BRIGADE_FILTER_LISTS").ok().and_then(|text| text.parse().ok()).unwrap_or(N_LISTS)
}

fn one_of<'a, T: ?Sized>(random: &mut Random, all: &[&'a T]) -> &'a T {
    all[random.below(all.len() as u64) as usize]
}

/// Makes a tree and returns the paths in it.
fn grow(random: &mut Random, root: &Path) -> Vec<Vec<u8>> {
    let mut folders = vec![Vec::new()];
    let mut paths = Vec::new();
    for _ in 0..80 {
        let mut path: Vec<u8> = folders[random.below(folders.len() as u64) as usize].clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(one_of(random, &NAMES));
        let place = root.join(OsStr::from_bytes(&path));
        if place.symlink_metadata().is_ok() {
            continue;
        }
        match random.below(8) {
            0..4 => {
                fs::create_dir(&place).unwrap();
                folders.push(path.clone());
            }
            4 => std::os::unix::fs::symlink("target", &place).unwrap(),
            _ => fs::write(&place, "x").unwrap(),
        }
        paths.push(path);
    }
    paths
}

/// One rule: a path or a part of one, with wildcards put into it.
fn pattern(random: &mut Random, paths: &[Vec<u8>], root_name: &[u8]) -> Vec<u8> {
    let mut path = paths[random.below(paths.len() as u64) as usize].clone();
    if random.below(2) == 0 {
        path = [root_name, b"/", &path].concat();
    }
    let components: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    let first = random.below(components.len() as u64) as usize;
    let n_taken = 1 + random.below((components.len() - first) as u64) as usize;
    let mut pattern = Vec::new();
    if (first == 0 && random.below(2) == 0) || random.below(6) == 0 {
        pattern.push(b'/');
    }
    for (idx, component) in components[first..first + n_taken].iter().enumerate() {
        if idx > 0 {
            pattern.push(b'/');
        }
        match random.below(12) {
            0 => pattern.extend_from_slice(one_of(random, &[b"*".as_slice(), b"**", b"***", b"?", b"*.o", b"[!a]*"])),
            1..5 => blur(random, component, &mut pattern),
            _ => pattern.extend_from_slice(component),
        }
    }
    if random.below(5) == 0 {
        pattern.extend_from_slice(one_of(random, &[b"/".as_slice(), b"/*", b"/**", b"/***", b"**", b"***", b"*"]));
    }
    pattern
}

/// A component with some of its bytes replaced by what matches them, or nearly.
fn blur(random: &mut Random, component: &[u8], pattern: &mut Vec<u8>) {
    for &byte in component {
        match random.below(12) {
            0 => pattern.push(b'?'),
            1 => pattern.push(b'*'),
            2 => pattern.extend_from_slice(b"**"),
            3 => pattern.extend([b'[', byte, b']']),
            4 => pattern.extend([b'[', one_of(random, &[b"!", b"^"])[0], byte, b']']),
            5 => pattern.extend([b'[', byte.saturating_sub(2), b'-', byte.saturating_add(1), b']']),
            6 => pattern.extend([b'\\', byte]),
            7 => pattern.extend_from_slice(one_of(
                random,
                &[b"[[:alpha:]]".as_slice(), b"[[:punct:]x]", b"[]\\-]", b"[a-", b"[[:no:]]", b"[^[:space:]]"],
            )),
            _ => pattern.push(byte),
        }
    }
}

/// Rules as rsync's options, and as ours.
#[derive(Debug, Default)]
struct List {
    options: Vec<OsString>,
    selection: Selection,
}

fn list(random: &mut Random, paths: &[Vec<u8>], root_name: &[u8], file: &Path) -> List {
    let mut list = List::default();
    for _ in 0..1 + random.below(6) {
        let (choice, option) = match random.below(3) {
            0 => (Choice::Include, "--include="),
            _ => (Choice::Exclude, "--exclude="),
        };
        let mut rule = pattern(random, paths, root_name);
        if random.below(8) == 0 {
            let sign: &[u8] = one_of(random, &[b"+ ", b"- "]);
            rule.splice(0..0, sign.iter().copied());
        }
        list.selection.rules.add(choice, &rule).unwrap();
        list.options.push([option.as_bytes(), &rule].concat().into_os_string());
    }
    if random.below(4) == 0 {
        let contents = file_of_rules(random, paths, root_name);
        fs::write(file, &contents).unwrap();
        list.options.push(format!("--exclude-from={}", file.display()).into());
        list.selection.rules.add_file(Choice::Exclude, &contents, Lines::Text).unwrap();
    }
    if random.below(5) == 0 {
        list.options.push("--exclude=*".into());
        list.selection.rules.add(Choice::Exclude, b"*").unwrap();
    }
    list
}

fn file_of_rules(random: &mut Random, paths: &[Vec<u8>], root_name: &[u8]) -> Vec<u8> {
    let mut contents = b"# a comment\n\n; another\r\n".to_vec();
    for _ in 0..3 {
        contents.extend_from_slice(one_of(random, &[b"".as_slice(), b"+ ", b"- "]));
        contents.extend(pattern(random, paths, root_name));
        contents.extend_from_slice(one_of(random, &[b"\n".as_slice(), b"\r\n", b"\n!\n", b"\n\n"]));
    }
    contents
}

trait IntoOsString {
    fn into_os_string(self) -> OsString;
}

impl IntoOsString for Vec<u8> {
    fn into_os_string(self) -> OsString {
        OsString::from_vec(self)
    }
}

/// The paths of all entries below a folder.
fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path.clone());
            }
            found.insert(path.strip_prefix(folder).unwrap().to_owned());
        }
    }
    found
}

fn copy(request: Request) -> Summary {
    let request = Request { workers: std::num::NonZeroUsize::new(2), ..request };
    let summary = Plan::new(request).unwrap().start(|_| {}).unwrap().wait();
    assert_eq!((summary.n_failed, &summary.broken), (0, &None));
    assert_eq!(summary.n_found, summary.n_copied + summary.n_unchanged);
    summary
}

/// Names of a tree as a list may write them, some of them of nothing.
fn names(random: &mut Random, root: &Path, paths: &[Vec<u8>], end: u8) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.below(9) {
        let path = &paths[random.below(paths.len() as u64) as usize];
        let place = root.join(OsStr::from_bytes(path));
        text.extend_from_slice(one_of(random, &[b"".as_slice(), b"", b"/", b"./", b"//./"]));
        text.extend_from_slice(path);
        if !place.is_symlink() {
            text.extend_from_slice(one_of(random, &[b"".as_slice(), b"", b"/", b"/.", b"//"]));
        }
        if random.below(12) == 0 {
            text.extend_from_slice(one_of(random, &[b"/missing".as_slice(), b"missing", b"/missing/more"]));
        }
        text.push(end);
        if random.below(10) == 0 {
            text.extend_from_slice(one_of(random, &[b"".as_slice(), b"# note", b"; note", b".", b"./"]));
            text.push(end);
        }
    }
    text
}

fn rsync(options: &[OsString], sources: &[PathBuf], destination: &Path) {
    let mut command = Command::new("rsync");
    command.arg("-a").args(options).args(sources).arg([destination.as_os_str(), OsStr::new("/")].concat());
    let output = command.output().expect("rsync is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

trait Concat {
    fn concat(self) -> OsString;
}

impl Concat for [&OsStr; 2] {
    fn concat(self) -> OsString {
        let [mut one, other] = self.map(OsStr::to_owned);
        one.push(other);
        one
    }
}

/// The ways to name the sources: ours, and rsync's for the same.
fn sources(random: &mut Random, root: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let with = |suffix: &str| PathBuf::from([root.as_os_str(), OsStr::new(suffix)].concat());
    let every_entry = || {
        let mut paths: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    match random.below(4) {
        0 => (vec![with("/.")], vec![with("/")]),
        1 => (vec![with("/")], vec![with("")]),
        2 => (every_entry(), every_entry()),
        _ => (vec![with("")], vec![with("")]),
    }
}

#[test]
fn random_lists_of_rules_select_what_rsync_selects() {
    let seed = seed();
    let mut n_selected = 0;
    let mut n_left_out = 0;
    for tree_idx in 0..n_lists().div_ceil(LISTS_PER_TREE) {
        let mut random = Random::new(seed.wrapping_add(tree_idx));
        let scratch = Scratch::in_memory();
        let root = scratch.path("root");
        fs::create_dir(&root).unwrap();
        let paths = grow(&mut random, &root);
        for list_idx in 0..LISTS_PER_TREE {
            let list = list(&mut random, &paths, b"root", &scratch.path("rules"));
            let (ours, theirs) = sources(&mut random, &root);
            let place = |whose: &str| scratch.path(format!("{whose}{list_idx}"));
            fs::create_dir(place("ours")).unwrap();
            fs::create_dir(place("theirs")).unwrap();
            let request = Request::new(ours, Target::IntoOrAs(place("ours")));
            copy(Request { selection: list.selection.clone(), ..request });
            rsync(&list.options, &theirs, &place("theirs"));
            let (ours, theirs) = (entries(&place("ours")), entries(&place("theirs")));
            assert_eq!(ours, theirs, "BRIGADE_SEED={}: {list:#?}", seed.wrapping_add(tree_idx));
            n_selected += ours.len();
            n_left_out += paths.len().saturating_sub(ours.len());
        }
    }
    // Lists that select all or nothing would show nothing.
    assert!(n_selected > 1000 && n_left_out > 1000, "{n_selected} selected, {n_left_out} left out");
}

/// Whether an entry has the mode and the times of its original.
fn is_faithful(copy: &Path, original: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let [copy, original] = [copy, original].map(|path| path.symlink_metadata().unwrap());
    let described = [copy, original].map(|data| (data.mode(), data.mtime(), data.mtime_nsec()));
    described[0] == described[1]
}

fn above_a_name(folder: &Path, text: &[u8], end: u8) -> bool {
    let lines = text.split(|&byte| byte == end).filter(|line| !matches!(line.first(), None | Some(b'#' | b';')));
    let mut names = lines.map(|line| {
        let components = line.split(|&byte| byte == b'/').filter(|component| !matches!(*component, b"" | b"."));
        components.map(OsStr::from_bytes).collect::<PathBuf>()
    });
    names.any(|name| name != folder && name.starts_with(folder))
}

#[test]
fn random_lists_of_names_copy_what_rsync_copies() {
    let seed = seed();
    let (mut n_copied, mut n_left_out, mut n_missed, mut n_exact) = (0, 0, 0, 0);
    for tree_idx in 0..n_lists().div_ceil(3 * LISTS_PER_TREE) {
        let mut random = Random::new(seed.wrapping_add(tree_idx));
        let scratch = Scratch::in_memory();
        let root = scratch.path("root");
        fs::create_dir(&root).unwrap();
        let paths = grow(&mut random, &root);
        let file = scratch.path("names");
        for list_idx in 0..LISTS_PER_TREE {
            let mut list = match random.below(2) {
                0 => List::default(),
                _ => list(&mut random, &paths, b"root", &scratch.path("rules")),
            };
            // Files with rules are read in the same way, and those have lines.
            let has_file = list.options.iter().any(|option| option.as_bytes().starts_with(b"--exclude-from"));
            let is_text = has_file || random.below(2) == 0;
            let (lines, end) = if is_text { (Lines::Text, b'\n') } else { (Lines::ZeroEnded, 0) };
            let text = names(&mut random, &root, &paths, end);
            fs::write(&file, &text).unwrap();
            list.options.push([OsStr::new("--files-from="), file.as_os_str()].concat());
            if !is_text {
                list.options.push("-0".into());
            }
            let depth = if random.below(3) == 0 { Depth::Whole } else { Depth::Shallow };
            if depth == Depth::Whole {
                list.options.push("-r".into());
            }
            let place = |whose: &str| scratch.path(format!("{whose}{list_idx}"));
            fs::create_dir(place("ours")).unwrap();
            fs::create_dir(place("theirs")).unwrap();
            let names = NameList::new(&text, lines, depth).unwrap();
            let (copied, target) = match random.below(2) {
                0 => (place("ours"), Target::Exactly(place("ours"))),
                _ => (place("ours").join("root"), Target::IntoOrAs(place("ours"))),
            };
            let mut request = Request::new(vec![root.clone()], target);
            request.selection = Selection { list: Some(names), ..list.selection.clone() };
            request.workers = std::num::NonZeroUsize::new(2);
            let summary = Plan::new(request).unwrap().start(|_| {}).unwrap().wait();
            assert_eq!(summary.n_found, summary.n_copied + summary.n_unchanged + summary.n_failed);
            let mut command = Command::new("rsync");
            let output = command.arg("-a").args(&list.options).args([&root, &place("theirs")]).output().unwrap();
            let context = format!("BRIGADE_SEED={}: {list:#?} {}", seed.wrapping_add(tree_idx), text.escape_ascii());
            let (ours, theirs) = (entries(&copied), entries(&place("theirs")));
            assert!(ours.is_superset(&theirs), "{ours:?} {theirs:?} {context}");
            // rsync does not make the folders above a name that is missing or excluded.
            let above = |path: &PathBuf| above_a_name(path, &text, end) && root.join(path).is_dir();
            assert!(ours.difference(&theirs).all(above), "{ours:?} {theirs:?} {context}");
            n_exact += u32::from(ours == theirs && !ours.is_empty());
            // Folders above what is named, too.
            for path in &ours {
                assert!(is_faithful(&copied.join(path), &root.join(path)), "{path:?} {context}");
            }
            let is_missed = output.status.code() == Some(23);
            assert!(is_missed || output.status.success(), "{context}");
            assert_eq!(summary.n_failed > 0, is_missed, "{context}");
            n_copied += ours.len();
            n_left_out += paths.len().saturating_sub(ours.len());
            n_missed += u32::from(is_missed);
        }
    }
    let figures =
        format!("{n_copied} copied, {n_left_out} left out, {n_missed} lists with missing names, {n_exact} exact");
    assert!(n_copied > 500 && n_left_out > 1000 && n_missed > 10 && n_exact > 30, "{figures}");
}

#[test]
fn every_name_of_a_long_list_is_copied_and_nothing_else() {
    let scratch = Scratch::in_memory();
    let root = scratch.path("root");
    let mut text = Vec::new();
    for folder_idx in 0..2 {
        fs::create_dir_all(root.join(format!("{folder_idx}"))).unwrap();
        for file_idx in 0..20_000 {
            let name = format!("{folder_idx}/{file_idx}");
            fs::write(root.join(&name), "").unwrap();
            if file_idx % 3 > 0 {
                text.extend_from_slice(format!("{name}\n").as_bytes());
            }
        }
    }
    let names = NameList::new(&text, Lines::Text, Depth::Shallow).unwrap();
    let mut request = Request::new(vec![root], Target::Exactly(scratch.path("copy")));
    request.selection.list = Some(names);
    copy(request);
    let copied: Vec<_> = entries(&scratch.path("copy")).into_iter().collect();
    let mut expected: Vec<_> = text.split(|&byte| byte == b'\n').filter(|name| !name.is_empty()).collect();
    expected.extend([b"0".as_slice(), b"1"]);
    let expected: BTreeSet<_> = expected.into_iter().map(|name| PathBuf::from(OsStr::from_bytes(name))).collect();
    assert!(copied.into_iter().eq(expected));
}

#[test]
fn names_below_a_link_are_refused_unless_links_are_followed() {
    let scratch = Scratch::in_memory();
    let root = scratch.path("root");
    fs::create_dir_all(root.join("folder")).unwrap();
    fs::write(root.join("folder/file"), "x").unwrap();
    std::os::unix::fs::symlink("folder", root.join("link")).unwrap();
    for (links, n_failed) in [(Links::Keep, 1), (Links::Follow, 0)] {
        let place = scratch.path(format!("{links:?}"));
        let mut request = Request::new(vec![root.clone()], Target::Exactly(place.clone()));
        let list = NameList::new(b"folder\nlink/file\n", Lines::Text, Depth::Shallow).unwrap();
        request.selection = Selection { list: Some(list), links, ..Selection::default() };
        let summary = Plan::new(request).unwrap().start(|_| {}).unwrap().wait();
        assert_eq!((summary.n_failed, summary.n_found), (n_failed, 4 - n_failed));
        assert_eq!(place.join("link/file").exists(), n_failed == 0);
        assert!(place.join("folder").is_dir() && !place.join("folder/file").exists());
    }
}

#[test]
fn a_list_needs_one_folder_and_deletes_nothing() {
    let scratch = Scratch::in_memory();
    let (folder, file) = (scratch.path("folder"), scratch.path("file"));
    fs::create_dir(&folder).unwrap();
    fs::write(&file, "x").unwrap();
    for sources in [vec![folder.clone(), file.clone()], vec![file]] {
        let mut request = Request::new(sources, Target::IntoOrAs(scratch.path("")));
        request.selection.list = Some(NameList::new(b"x", Lines::Text, Depth::Shallow).unwrap());
        request.target = Target::IntoOrAs(folder.clone());
        let refused = Plan::new(request).err();
        assert!(matches!(refused, Some(Refusal::ListNeedsOneFolder)), "{refused:?}");
    }
    let mut request = Request::new(vec![folder], Target::Exactly(scratch.path("copy")));
    request.selection.list = Some(NameList::new(b"x", Lines::Text, Depth::Shallow).unwrap());
    request.delete = Delete::Extra;
    assert!(matches!(Plan::new(request), Err(Refusal::ListWithDelete)));
}

/// A `.gitignore` of patterns that were drawn for a tree, with what else such files may hold.
fn ignore_file(random: &mut Random, paths: &[Vec<u8>]) -> Vec<u8> {
    let mut contents = one_of(random, &[b"".as_slice(), b"\xef\xbb\xbf", b"# comment\n\n"]).to_vec();
    for _ in 0..1 + random.below(4) {
        if random.below(4) == 0 {
            contents.push(b'!');
        }
        contents.extend(pattern(random, paths, b"root"));
        contents.extend_from_slice(one_of(random, &[b"\n".as_slice(), b"\r\n", b"  \n", b"\\ \n", b""]));
    }
    contents
}

/// The entries that are no folders and that git does not ignore.
fn not_ignored(root: &Path, repository: &Path) -> BTreeSet<PathBuf> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").current_dir(root);
        command.env("GIT_DIR", repository).env("GIT_WORK_TREE", root).env("XDG_CONFIG_HOME", repository);
        let output = command.args(arguments).output().expect("git is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    git(&["init", "--quiet", "--template="]);
    let listed = git(&["ls-files", "--others", "--exclude-standard", "-z"]);
    let names = listed.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect()
}

#[test]
fn random_ignore_files_leave_out_what_git_ignores() {
    let seed = seed();
    let mut n_selected = 0;
    let mut n_left_out = 0;
    for tree_idx in 0..n_lists() / 3 {
        let mut random = Random::new(seed.wrapping_add(tree_idx));
        let scratch = Scratch::in_memory();
        let root = scratch.path("root");
        fs::create_dir(&root).unwrap();
        let paths = grow(&mut random, &root);
        let mut files = Vec::new();
        for folder in [&root].into_iter().chain(&[root.join("a"), root.join("b"), root.join("foo"), root.join("a/b")]) {
            if folder.is_dir() && !folder.is_symlink() && random.below(3) > 0 {
                let contents = ignore_file(&mut random, &paths);
                fs::write(folder.join(".gitignore"), &contents).unwrap();
                files.push((folder.clone(), contents.escape_ascii().to_string()));
            }
        }
        let copied = scratch.path("copy");
        let request = Request::new(vec![root.clone()], Target::IntoOrAs(copied.clone()));
        copy(Request { selection: Selection { ignore_files: IgnoreFiles::Obey, ..Selection::default() }, ..request });
        let mut ours = entries(&copied);
        ours.retain(|path| !copied.join(path).is_dir() || copied.join(path).is_symlink());
        let theirs = not_ignored(&root, &scratch.path("repository"));
        assert_eq!(ours, theirs, "BRIGADE_SEED={}: {files:#?}", seed.wrapping_add(tree_idx));
        n_selected += ours.len();
        n_left_out += paths.len().saturating_sub(ours.len());
    }
    assert!(n_selected > 300 && n_left_out > 300, "{n_selected} selected, {n_left_out} left out");
}
