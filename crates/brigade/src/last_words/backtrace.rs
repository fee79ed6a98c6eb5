//! The way to a place in the program, sent as distances within the program and turned into names by who wants to read it.
//! Walking up the stack is done in brigade-sys.

use std::fmt::Write;
use std::path::Path;
use std::sync::OnceLock;

use brigade_sys::kernel::image::Image;
use brigade_sys::kernel::last_words::Frames;
use serde::{Deserialize, Serialize};

use crate::entry;

/// Frames of another process, innermost first.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Backtrace {
    /// The build of the program whose frames these are: only there the distances mean something.
    build: u64,
    frames: Vec<Frame>,
    #[serde(skip)]
    told: OnceLock<Told>,
}

/// An address inside of a call.
#[derive(Clone, Copy, Eq, PartialEq, Serialize, Deserialize)]
enum Frame {
    /// Its distance from the start of the program.
    InProgram(u64),
    /// In a library, which lies elsewhere in each process.
    Elsewhere(u64),
}

/// The frames with their names.
#[derive(Clone, Default)]
struct Told {
    text: String,
    place: Option<String>,
}

impl Backtrace {
    pub(super) fn new(frames: &Frames) -> Self {
        let frame = |&address: &u64| {
            let is_in_program = frames.image.contains(&address);
            if is_in_program { Frame::InProgram(address - frames.image.start) } else { Frame::Elsewhere(address) }
        };
        Self {
            build: entry::build_fingerprint(),
            frames: frames.addresses.iter().map(frame).collect(),
            told: OnceLock::new(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn text(&self) -> &str {
        &self.told().text
    }

    pub(super) fn place(&self) -> Option<&str> {
        self.told().place.as_deref()
    }

    fn told(&self) -> &Told {
        self.told.get_or_init(|| tell(&self.frames, self.build == entry::build_fingerprint()))
    }
}

impl PartialEq for Backtrace {
    fn eq(&self, other: &Self) -> bool {
        self.build == other.build && self.frames == other.frames
    }
}

impl Eq for Backtrace {}

impl std::fmt::Debug for Backtrace {
    /// Only their number: an error that is printed should not look all names up.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} frames", self.frames.len())
    }
}

/// A function on the way, as far as it is known.
struct Step {
    name: String,
    place: Option<String>,
    is_of_rust: bool,
}

fn tell(frames: &[Frame], is_our_build: bool) -> Told {
    let mut steps: Vec<Step> = frames.iter().flat_map(|&frame| steps_of(frame, is_our_build)).collect();
    // As std does it: what follows is how a panic works, and what comes before it how a function is entered.
    if let Some(idx) = steps.iter().position(|step| step.name.contains("__rust_end_short_backtrace")) {
        steps.drain(..=idx);
    }
    let is_entry = |step: &Step| {
        step.name.contains("__rust_begin_short_backtrace") || step.name.starts_with("brigade::entry::call")
    };
    if let Some(idx) = steps.iter().position(is_entry) {
        steps.truncate(idx);
    }
    let mut text = String::new();
    for (idx, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "{idx:4}: {}", step.name);
        if let Some(place) = &step.place {
            let _ = writeln!(text, "             at {place}");
        }
    }
    let place = steps.into_iter().find(|step| !step.is_of_rust && step.place.is_some()).and_then(|step| step.place);
    Told { text, place }
}

/// The functions at an address: several, if some were compiled into others.
fn steps_of(frame: Frame, is_our_build: bool) -> Vec<Step> {
    let nameless = |name: String| vec![Step { name, place: None, is_of_rust: true }];
    let distance = match frame {
        Frame::InProgram(distance) if is_our_build => distance,
        Frame::InProgram(distance) => return nameless(format!("the program + {distance:#x}")),
        Frame::Elsewhere(address) => return nameless(format!("a library, at {address:#x}")),
    };
    let address = Image::main().bounds().start.wrapping_add(distance as usize);
    let mut steps = Vec::new();
    backtrace::resolve(std::ptr::without_provenance_mut(address), |symbol| {
        let file = symbol.filename().map(Path::to_string_lossy);
        let place = file.as_ref().zip(symbol.lineno()).map(|(file, line)| match symbol.colno() {
            Some(column) => format!("{file}:{line}:{column}"),
            None => format!("{file}:{line}"),
        });
        steps.push(Step {
            name: symbol.name().map_or_else(|| "?".to_owned(), |name| format!("{name:#}")),
            place,
            // The compiler writes its own library's places like this.
            is_of_rust: file.is_some_and(|file| file.starts_with("/rustc/")),
        });
    });
    if steps.is_empty() { nameless(format!("the program + {distance:#x}")) } else { steps }
}
