//! Cuts copies off at one system call after another: `torture::faultline::cutoff` for the command line.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use torture::arguments::Arguments;
use torture::faultline::cutoff::{Copier, Options, campaign};
use torture::mounts::{Image, Mount};
use torture::random::Random;

const USAGE: &str =
    "usage: cutoff --program BRIGADE [--red] [--fs KIND] [--every K] [--workers N] [--seed N] [--folder DIR]

  --program BRIGADE   the command that copies
  --red               cp copies, and Brigade without its records: both must be found wrong
  --fs KIND           tmpfs (what is at DIR), ext4, xfs or btrfs, in an image there
  --every K           one call of K is met (1: every call of every process)
  --workers N         only with so many workers (1, 2 and 8)
  --seed N            which of the K; K seeds in a row together meet every call
  --folder DIR        where the trees are made (/dev/shm)";

/// File systems that the trees are made on, and what they are in.
const KINDS: [(&str, Option<Image<'static>>); 4] =
    [("tmpfs", None), ("ext4", Some(Image::EXT4)), ("xfs", Some(Image::XFS)), ("btrfs", Some(Image::BTRFS))];

fn main() -> ExitCode {
    let mut arguments = Arguments::of_program(USAGE);
    let Some(program) = arguments.text("--program").map(PathBuf::from) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let is_red = arguments.flag("--red");
    let (kind, image) = KINDS[arguments.one_of("--fs", &KINDS.map(|(name, _)| name))];
    let widths = arguments.number("--workers").map_or_else(|| vec![1, 2, 8], |n_workers| vec![n_workers as u32]);
    let every = arguments.number("--every").unwrap_or(1).max(1);
    let seed = arguments.number("--seed").unwrap_or_else(Random::fresh_seed);
    let folder = PathBuf::from(arguments.text("--folder").unwrap_or_else(|| "/dev/shm".to_owned()));
    arguments.finish();
    println!("cutoff: seed {seed}, every {every}, on {kind}");
    let place = folder.join(format!("cutoff-{}", std::process::id()));
    let options = Options { copier: Copier::Brigade(program.clone(), Vec::new()), seed, every, widths };
    let is_good = if is_red {
        let forgetful = Copier::Brigade(program, vec!["--no-resume".to_owned()]);
        [Copier::Cp, forgetful].map(|copier| played(&Options { copier, ..options.clone() }, &place, image))
            == [Some(false); 2]
    } else {
        played(&options, &place, image) == Some(true)
    };
    println!("{}", if is_good { "good" } else { "FAILED" });
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a campaign at a place that is made for it. Whether nothing was wrong, if it could be run.
fn played(options: &Options, place: &Path, image: Option<Image<'_>>) -> Option<bool> {
    let started = Instant::now();
    let image_file = place.with_extension("image");
    let ended = std::fs::create_dir(place).and_then(|()| {
        let mount = image.map(|image| Mount::fresh(&image, &image_file, place));
        let ended = campaign(options, place, |line| println!("{line}"));
        drop(mount);
        ended
    });
    let _ = std::fs::remove_dir_all(place);
    let _ = std::fs::remove_file(image_file);
    match ended {
        Ok(report) => {
            let (n_killed, n_wrong) = (report.n_killed, report.findings.len());
            let seconds = started.elapsed().as_secs_f64();
            println!("{n_killed} killed in {seconds:.0} s, by {:?}; {n_wrong} wrong", options.copier);
            Some(n_wrong == 0)
        }
        Err(error) => {
            eprintln!("cutoff: {error}");
            None
        }
    }
}
