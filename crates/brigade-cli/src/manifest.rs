//! `--manifest`: a line with the BLAKE3 of each file of the copy, as `b3sum --check` reads it in DESTINATION. The lines wait in a file
//! without a name and appear as a whole when the copy has ended. What they hold is found out by the engine.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use brigade_copy::shown;
use rustix::fs::{CWD, Mode, OFlags, Timespec, Timestamps, fstat, futimens, openat};

use crate::exit::Exit;
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::usage;

/// Names that b3sum cannot hold and that are told one by one; more are only counted.
const MOST_TOLD: u64 = 20;

/// A manifest that is being made.
pub struct Manifest {
    language: Language,
    place: Place,
    /// What the paths in it are relative to.
    base: PathBuf,
    lines: BufWriter<File>,
    n_unlisted: u64,
    unlisted: Vec<PathBuf>,
    failure: Option<io::Error>,
}

/// Where it goes.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Place {
    StandardOutput,
    File(PathBuf),
}

impl Manifest {
    /// Makes sure that the manifest can be written, as far as that is possible before the copy.
    ///
    /// `pairs` are source and destination of each source, `destination` is what the user named as that.
    ///
    /// # Errors
    /// It would lie in the way of the copy, or nowhere; this has been said.
    pub fn begin(
        file: &Path,
        pairs: &[(PathBuf, PathBuf)],
        destination: Option<&Path>,
        language: Language,
    ) -> Result<Self, Exit> {
        let refuse = |sentence: String| Err(usage::refuse_plainly(&sentence));
        let place = if file == "-" { Place::StandardOutput } else { Place::File(file.to_owned()) };
        if place != Place::StandardOutput
            && let Some(sentence) = objection(file, pairs, language)
        {
            return refuse(sentence);
        }
        match spool() {
            Ok(spool) => Ok(Self {
                language,
                place,
                base: base(pairs, destination),
                lines: BufWriter::new(spool),
                n_unlisted: 0,
                unlisted: Vec::new(),
                failure: None,
            }),
            Err(cause) => {
                let path = shown(file).to_string();
                let reason = problem::reason(language, &cause);
                refuse(messages::manifest_failed(language, &path, &reason))
            }
        }
    }

    /// Takes note of a file of the copy.
    pub fn take(&mut self, destination: &Path, hash: &[u8; 32]) {
        let below = destination.strip_prefix(&self.base).ok().filter(|path| !path.as_os_str().is_empty());
        let path = below.or_else(|| destination.file_name().map(Path::new)).unwrap_or(destination);
        let Some(line) = line(path, hash) else {
            self.n_unlisted += 1;
            if self.n_unlisted <= MOST_TOLD {
                self.unlisted.push(destination.to_owned());
            }
            return;
        };
        if let Err(cause) = self.lines.write_all(line.as_bytes()) {
            self.failure.get_or_insert(cause);
        }
    }

    /// Puts the manifest in its place. Returns what there is to say about it, and whether it is there.
    pub fn finish(mut self) -> (Vec<String>, Exit) {
        let language = self.language;
        let mut said: Vec<_> = self
            .unlisted
            .iter()
            .map(|path| messages::manifest_cannot_hold(language, &shown(path).to_string()))
            .collect();
        if self.n_unlisted > 0 {
            said.push(messages::manifest_without(language, &messages::files(language, self.n_unlisted)));
        }
        let written = match self.failure.take() {
            Some(cause) => Err(cause),
            None => self.place_lines(),
        };
        let exit = match written {
            Ok(()) => Exit::Done,
            Err(cause) => {
                let path = match &self.place {
                    Place::StandardOutput => "-".to_owned(),
                    Place::File(file) => shown(file).to_string(),
                };
                let reason = problem::reason(language, &cause);
                said.push(format!("brigade: {}", messages::manifest_failed(language, &path, &reason)));
                Exit::Incomplete
            }
        };
        (said, exit)
    }

    fn place_lines(&mut self) -> io::Result<()> {
        self.lines.flush()?;
        let spool = self.lines.get_mut();
        spool.seek(SeekFrom::Start(0))?;
        match &self.place {
            Place::StandardOutput => {
                let mut out = io::stdout().lock();
                io::copy(spool, &mut out)?;
                out.flush()
            }
            Place::File(file) => replace(file, spool),
        }
    }
}

/// Writes a file beside its place and renames it. The time of the folder stays as it was: the folder may be one that was copied.
fn replace(file: &Path, contents: &mut File) -> io::Result<()> {
    let (Some(name), folder) = (file.file_name(), folder_of(file)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let held = File::open(&folder)?;
    let before = fstat(&held)?;
    let mut temporary = std::ffi::OsString::from(format!(".brigade-{}-", std::process::id()));
    temporary.push(name);
    let temporary = folder.join(temporary);
    let mut put = || {
        let mut new = File::create_new(&temporary)?;
        io::copy(contents, &mut new)?;
        new.sync_all()?;
        fs::rename(&temporary, file)
    };
    let put = put();
    if put.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: before.st_atime, tv_nsec: before.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: before.st_mtime, tv_nsec: before.st_mtime_nsec as _ },
    };
    // Somebody else's folder keeps its new time, as with any file that is put into it.
    let _ = futimens(&held, &times);
    put
}

/// A file that no name leads to, for as many lines as there will be.
fn spool() -> io::Result<File> {
    let folder = std::env::temp_dir();
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    if let Ok(file) = openat(CWD, &folder, flags, Mode::RUSR | Mode::WUSR) {
        return Ok(file.into());
    }
    // Not every file system has files without a name.
    let path = folder.join(format!(".brigade-manifest-{}", std::process::id()));
    let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// What speaks against writing a manifest there.
fn objection(file: &Path, pairs: &[(PathBuf, PathBuf)], language: Language) -> Option<String> {
    let text = shown(file).to_string();
    if file.file_name().is_none() || fs::metadata(file).is_ok_and(|metadata| metadata.is_dir()) {
        return Some(messages::manifest_is_folder(language, &text));
    }
    let place = resolved(file);
    for (source, destination) in pairs {
        let (source, destination) = (resolved(source), resolved(destination));
        if place.starts_with(&source) {
            return Some(messages::manifest_in_source(language, &text));
        }
        let in_the_way = place.strip_prefix(&destination).ok().map(|below| source.join(below));
        if in_the_way.is_some_and(|there| there.symlink_metadata().is_ok()) {
            return Some(messages::manifest_in_the_way(language, &text));
        }
    }
    let folder = folder_of(file);
    let will_be_made = pairs.iter().any(|(_, destination)| resolved(&folder) == resolved(destination));
    match fs::metadata(&folder) {
        Err(cause) if !will_be_made => {
            Some(messages::manifest_failed(language, &text, &problem::reason(language, &cause)))
        }
        _ => None,
    }
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A path without links in it, as far as it leads to something.
fn resolved(path: &Path) -> PathBuf {
    match (fs::canonicalize(path), path.file_name()) {
        (Ok(resolved), _) => resolved,
        // What is not there is a name in a folder, which may not be there either. Where we are is always there.
        (Err(_), Some(name)) => resolved(&folder_of(path)).join(name),
        (Err(_), None) => path.to_owned(),
    }
}

/// DESTINATION as the user means it: the folder that was copied into, or the copy itself.
fn base(pairs: &[(PathBuf, PathBuf)], destination: Option<&Path>) -> PathBuf {
    match (pairs, destination) {
        ([(_, copy)], Some(named)) if copy.components().ne(named.components()) => named.to_owned(),
        ([(_, copy)], _) => copy.clone(),
        (_, named) => named.unwrap_or(Path::new("")).to_owned(),
    }
}

/// `HASH  PATH`, or with a backslash before it where the path needs escapes. `None`: b3sum would not read it back.
fn line(path: &Path, hash: &[u8; 32]) -> Option<String> {
    let name = std::str::from_utf8(path.as_os_str().as_bytes()).ok()?;
    if name.contains(char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    if name.contains(['\\', '\n']) {
        let name = name.replace('\\', r"\\").replace('\n', r"\n");
        return Some(format!("\\{hash}  {name}\n"));
    }
    Some(format!("{hash}  {name}\n"))
}
