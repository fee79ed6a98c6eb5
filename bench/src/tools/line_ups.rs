//! Who copies with which options to show what. How a tool is found and called is said in ../tools.rs.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use torture::dangers::Form;

use super::{Onto, Reach, Wrap};

/// What is to be shown, and so which tools copy with which options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum LineUp {
    /// Everybody who copies, each as people call it; nobody waits for the disk.
    Copy,
    /// Ours with and without sandbox, cp, and what is left to gain.
    Goal,
    /// Ours with as much metadata as each of the others keeps, and without the sandbox that they lack.
    Equal,
    /// Who is done first when all must be on the disk at the end.
    Durable,
    /// Who sees holes, or shares blocks.
    Holes,
    /// Who is not held up by a file system that answers late.
    Slow,
    /// What confining the workers costs, of all that is done by default.
    Sandbox,
    /// What the display costs, with the counting ahead that it asks for.
    Display,
    /// Who replaces files of other contents fastest.
    Overwrite,
    /// Who sees first that there is nothing to do.
    Again,
    /// Who is done first where every second file is missing.
    Rest,
}

/// Ours, which is compared thoroughly.
pub const BRIGADE: &str = "brigade copy";
/// Ours without the sandbox.
pub const UNCONFINED: &str = "brigade copy --sandbox=off";
/// Ours with contents and names alone.
pub const CONTENTS: &str = "brigade copy --no-preserve=all";
/// Ours with what most tools call an archive.
pub const ARCHIVE: &str = "brigade copy --preserve=mode,ownership,timestamps";
/// Ours with all that it does by default, which includes that the disk has the data.
pub const DEFAULT: &str = "brigade copy, on disk";
/// Ours as `cp -p` without owners.
pub const MODES_AND_TIMES: &str = "brigade copy --preserve=mode,timestamps";
/// The row that shows what is left to gain.
pub const FLOOR: &str = "floor, equal work";
/// Ours on a terminal, with the display.
pub const BAR: &str = "brigade copy --progress=bar";
/// Ours on a terminal, without it.
pub const NO_BAR: &str = "brigade copy --progress=none";

/// Reads one folder, copies it, and says so for each file, as a tutorial for Python's multiprocessing does it.
const PYTHON_COPIER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/copy_pool.py");

/// How a tool stands in a line-up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) program: &'static str,
    pub(super) options: &'static [&'static str],
    pub(super) form: Form,
    pub(super) wrap: Wrap,
    pub(super) reach: Reach,
}

const fn entry(name: &'static str, program: &'static str, options: &'static [&'static str]) -> Entry {
    Entry { name, program, options, form: Form::Plain, wrap: Wrap::Nothing, reach: Reach::Trees }
}

const fn ours(name: &'static str, options: &'static [&'static str]) -> Entry {
    entry(name, "brigade", options)
}

impl Entry {
    const fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    const fn wrapped(self, wrap: Wrap) -> Self {
        Self { wrap, ..self }
    }
}

const OURS: Entry = ours(BRIGADE, &["copy", "-T", "--sync=none"]);
const OURS_UNCONFINED: Entry = ours(UNCONFINED, &["copy", "-T", "--sync=none", "--sandbox=off"]);
const OURS_ARCHIVE: Entry =
    ours(ARCHIVE, &["copy", "-T", "--sync=none", "--sandbox=off", "--preserve=mode,ownership,timestamps"]);
const OURS_CONTENTS: Entry = ours(CONTENTS, &["copy", "-T", "--sync=none", "--sandbox=off", "--no-preserve=all"]);
const OURS_DURABLE: Entry = ours(BRIGADE, &["copy", "-T"]);
const OURS_DURABLE_UNCONFINED: Entry = ours(UNCONFINED, &["copy", "-T", "--sandbox=off"]);
const CP_DURABLE: Entry = entry("cp -a && sync -f", "cp", &["-aT"]).wrapped(Wrap::Flush);
const CPZ_DURABLE: Entry = entry("cpz && sync -f", "cpz", &["-f"]).wrapped(Wrap::Flush);
const RSYNC_DURABLE: Entry = entry("rsync -a --fsync", "rsync", &["-a", "--fsync"]).form(Form::Slashes);
const OURS_DEFAULT: Entry = ours(DEFAULT, &["copy", "-T"]);
const OURS_MODES_AND_TIMES: Entry = ours(MODES_AND_TIMES, &["copy", "-T", "--sync=none", "--preserve=mode,timestamps"]);
const OURS_WITH_BAR: Entry = ours(BAR, &["copy", "-T", "--sync=none", "--progress=bar"]).wrapped(Wrap::Terminal);
const OURS_WITHOUT_BAR: Entry = ours(NO_BAR, &["copy", "-T", "--sync=none", "--progress=none"]).wrapped(Wrap::Terminal);
const CP_A: Entry = entry("cp -a", "cp", &["-aT"]);
const CP_R: Entry = entry("cp -r", "cp", &["-rT"]);
const CP_AU: Entry = entry("cp -au", "cp", &["-auT"]);
const RSYNC: Entry = entry("rsync -a", "rsync", &["-a"]).form(Form::Slashes);
const RSYNC_ALL: Entry = entry("rsync -aHAX", "rsync", &["-aHAX"]).form(Form::Slashes);
const XCP: Entry = entry("xcp", "xcp", &["-r", "-T", "--ownership", "--no-progress"]);
const FCP: Entry = entry("fcp", "fcp", &[]).form(Form::Into);
const CPZ: Entry = entry("cpz", "cpz", &["-f"]);
const CPX: Entry = entry("cpx -a", "cpx", &["copy", "-a"]).form(Form::Into);
const SYQ: Entry = entry("syq rsync -a", "syq", &["rsync", "-a"]).form(Form::Slashes);
const RCP: Entry = entry("rcp --preserve", "rcp", &["--preserve", "--overwrite"]);
const TAR_TAR: Entry = entry("tar \\| tar", "tar", &[]).wrapped(Wrap::Pipe);
const PYTHON: Entry = Entry { reach: Reach::FewFiles, ..entry("Python's Pool", "python3", &[PYTHON_COPIER]) };
const EQUAL_FLOOR: Entry = entry(FLOOR, "floor", &["--equal-work"]);
/// What is left to gain for whoever has all of it on the disk at the end, and no order in which it gets there.
const FLOOR_DURABLE: Entry = entry("floor, equal work && sync -f", "floor", &["--equal-work"]).wrapped(Wrap::Flush);
const BARE_FLOOR: Entry = entry("floor, bare", "floor", &[]);
const WIDE_FLOOR: Entry = entry("floor, bare, 32 processes", "floor", &["--processes", "32"]);

impl LineUp {
    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What stands behind the heading of its table.
    #[must_use]
    pub fn addition(self) -> &'static str {
        match self {
            Self::Copy | Self::Goal | Self::Holes | Self::Slow => "",
            Self::Equal => "; with only what each of the others keeps, too",
            Self::Durable => "; on the disk when it is done",
            Self::Sandbox => "; what confining the workers costs",
            Self::Display => "; with the display, and what it asks to be counted",
            Self::Overwrite => "; every file is there, with other contents",
            Self::Again => "; the copy is there, there is nothing to do",
            Self::Rest => "; every second file is there",
        }
    }

    /// The row that ratios of speed are taken to.
    #[must_use]
    pub fn baseline(self) -> &'static str {
        match self {
            Self::Copy | Self::Goal | Self::Equal | Self::Holes | Self::Slow | Self::Overwrite => CP_A.name,
            Self::Durable => "cp -a && sync -f",
            Self::Sandbox => UNCONFINED,
            Self::Display => NO_BAR,
            Self::Again | Self::Rest => RSYNC_ALL.name,
        }
    }

    /// What is there before each copy.
    #[must_use]
    pub fn onto(self) -> Onto {
        match self {
            Self::Overwrite => Onto::Other,
            Self::Again => Onto::Whole,
            Self::Rest => Onto::Half,
            _ => Onto::Nothing,
        }
    }

    pub(super) fn entries(self) -> &'static [Entry] {
        match self {
            Self::Copy => &[
                OURS,
                OURS_UNCONFINED,
                CP_A,
                CP_R,
                RSYNC,
                XCP,
                FCP,
                CPZ,
                CPX,
                SYQ,
                RCP,
                TAR_TAR,
                PYTHON,
                EQUAL_FLOOR,
                BARE_FLOOR,
            ],
            Self::Goal => &[OURS, OURS_UNCONFINED, CP_A, CP_R, EQUAL_FLOOR],
            Self::Equal => &[
                OURS_UNCONFINED,
                OURS_ARCHIVE,
                OURS_CONTENTS,
                CP_A,
                CP_R,
                RSYNC,
                XCP,
                FCP,
                CPZ,
                CPX,
                SYQ,
                RCP,
                TAR_TAR,
            ],
            Self::Durable => &[OURS_DURABLE, CP_DURABLE, CPZ_DURABLE, RSYNC_DURABLE, FLOOR_DURABLE],
            Self::Holes => &[OURS, OURS_UNCONFINED, CP_A, CP_R, XCP, CPX],
            Self::Slow => {
                &[OURS, OURS_DEFAULT, OURS_MODES_AND_TIMES, CP_A, CP_R, XCP, FCP, CPZ, CPX, SYQ, RCP, WIDE_FLOOR]
            }
            Self::Sandbox => &[OURS_DURABLE, OURS_DURABLE_UNCONFINED],
            Self::Display => &[OURS_WITH_BAR, OURS_WITHOUT_BAR],
            // fcp copies into no folder that is there.
            Self::Overwrite => &[OURS, OURS_UNCONFINED, CP_A, CP_R, RSYNC_ALL, XCP, CPZ, CPX, SYQ, RCP, TAR_TAR],
            Self::Again | Self::Rest => &[OURS, RSYNC_ALL, RSYNC, CP_AU, SYQ],
        }
    }
}
