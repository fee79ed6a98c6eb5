//! `cargo xtask torture`: builds the campaigns that try to break the library, runs them one after another, and says how each
//! ended. What a campaign does is in `torture/`; its seed is printed, and asks for the same deaths again.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::{cargo, workspace};

/// A campaign: its program and arguments, in short and in full.
struct Campaign {
    program: &'static str,
    slice: &'static str,
    full: &'static str,
}

const CAMPAIGNS: [Campaign; 17] = [
    Campaign { program: "answers", slice: "--rounds 1", full: "--rounds 20" },
    Campaign { program: "scribbler", slice: "--rounds 1", full: "--rounds 50" },
    Campaign { program: "kill_storm", slice: "--tasks 10000 --kills 100", full: "--tasks 1000000 --kills 10000" },
    Campaign {
        program: "kill_storm",
        slice: "--tasks 10000 --kills 100 --retry never",
        full: "--tasks 1000000 --kills 10000 --retry never",
    },
    Campaign {
        program: "faultline",
        slice: "--campaign --program BRIGADE --points 100",
        full: "--campaign --program BRIGADE --points 20000",
    },
    Campaign {
        program: "flipper",
        slice: "--program BRIGADE --before-calls --seconds 5",
        full: "--program BRIGADE --before-calls --seconds 300",
    },
    Campaign { program: "flipper", slice: "--program BRIGADE --seconds 5", full: "--program BRIGADE --seconds 300" },
    Campaign { program: "cutoff", slice: "--program BRIGADE --every 197", full: "--program BRIGADE --every 1" },
    Campaign {
        program: "cutoff",
        slice: "--program BRIGADE --fs ext4 --every 197",
        full: "--program BRIGADE --fs ext4 --every 1",
    },
    Campaign { program: "stepkill", slice: "--points 3", full: "--points 150" },
    Campaign { program: "fidelity", slice: "--program BRIGADE --trees 24", full: "--program BRIGADE --trees 504" },
    Campaign { program: "fidelity", slice: "--program BRIGADE --seed 7", full: "--program BRIGADE --seed 7" },
    Campaign { program: "fullness", slice: "--program BRIGADE --levels 8", full: "--program BRIGADE --levels 500" },
    Campaign {
        program: "crashbox",
        slice: "--program BRIGADE --fs ext4 --method shutdown --cuts 20",
        full: "--program BRIGADE --fs ext4 --method shutdown --cuts 500",
    },
    Campaign {
        program: "crashbox",
        slice: "--program BRIGADE --fs xfs --method blocklog --cuts 20",
        full: "--program BRIGADE --fs xfs --method blocklog --cuts 500",
    },
    Campaign {
        program: "crashbox",
        slice: "--program BRIGADE --fs btrfs --method snapshot --cuts 20",
        full: "--program BRIGADE --fs btrfs --method snapshot --cuts 200",
    },
    Campaign {
        program: "crashbox",
        slice: "--reference --fs ext4 --method blocklog --cuts 10",
        full: "--reference --fs ext4 --method blocklog --cuts 100",
    },
];

/// Campaigns on what is known to be wrong: they succeed if they find it.
const RED_CONTROLS: [(&str, &str); 8] = [
    ("cutoff", "--red --program BRIGADE --workers 1 --every 40"),
    ("flipper", "--control --seconds 30"),
    ("answers", "--red"),
    ("scribbler", "--red"),
    ("kill_storm", "--red"),
    ("stepkill", "--red"),
    ("crashbox", "--red --fs ext4 --method shutdown"),
    ("crashbox", "--red --fs xfs --method blocklog"),
];

/// `--slice` or `--full`, and `--seed N`.
pub fn run(arguments: &[&str]) -> ExitCode {
    let is_full = arguments.contains(&"--full");
    let seed = arguments.iter().position(|word| *word == "--seed").and_then(|idx| arguments.get(idx + 1));
    let is_known = |word: &&str| ["--full", "--slice", "--seed"].contains(word) || Some(*word) == seed.copied();
    if !arguments.iter().all(is_known) || arguments.contains(&"--seed") && seed.is_none() {
        eprintln!("usage: cargo xtask torture [--slice | --full] [--seed N]");
        return ExitCode::from(2);
    }
    if !built() {
        return ExitCode::FAILURE;
    }
    let mut rows: Vec<(String, Duration, bool)> = Vec::new();
    for campaign in &CAMPAIGNS {
        let mut words: Vec<&str> = if is_full { campaign.full } else { campaign.slice }.split(' ').collect();
        if let Some(seed) = seed.filter(|_| campaign.program != "answers" && !words.contains(&"--seed")) {
            words.extend(["--seed", seed]);
        }
        rows.push(played(campaign.program, &words));
    }
    if is_full {
        rows.extend(RED_CONTROLS.iter().map(|(program, words)| played(program, &words.split(' ').collect::<Vec<_>>())));
    }
    eprintln!("── torture");
    for (line, took, is_good) in &rows {
        eprintln!("{:>8.1} s  {}  {line}", took.as_secs_f64(), if *is_good { "good  " } else { "FAILED" });
    }
    if rows.iter().all(|(.., is_good)| *is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// With optimization: single steps are counted in instructions.
fn built() -> bool {
    cargo()
        .args(["build", "--profile", "torture", "--package", "torture", "--package", "brigade-cli", "--bins"])
        .status()
        .is_ok_and(|status| status.success())
}

fn played(program: &str, words: &[&str]) -> (String, Duration, bool) {
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), std::path::PathBuf::from)
        .join("torture");
    let line = format!("{program} {}", words.join(" "));
    eprintln!("── {line}");
    // A folder for temporary files that no other program uses: what is found there afterwards was left behind.
    let temporary = folder.join("tmp");
    if let Err(error) = std::fs::create_dir_all(&temporary) {
        eprintln!("torture: cannot make {}: {error}", temporary.display());
    }
    let started = Instant::now();
    let mut campaign = Command::new(folder.join(program));
    let brigade = folder.join("brigade");
    let words = words.iter().map(|word| if *word == "BRIGADE" { brigade.as_os_str() } else { word.as_ref() });
    let status = campaign.args(words).env("TMPDIR", &temporary).current_dir(workspace()).status();
    if let Err(error) = &status {
        eprintln!("torture: cannot start {program}: {error}");
    }
    (line, started.elapsed(), status.is_ok_and(|status| status.success()))
}
