//! Cuts the power while a tree is copied: `torture::crashbox` for the command line.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use torture::arguments::Arguments;
use torture::crashbox::{Copier, Kind, Method, Options, Seen, Size, campaign};
use torture::mounts::need_root;
use torture::random::Random;

const USAGE: &str = "usage: crashbox --fs KIND --method METHOD [--program BRIGADE | --red | --reference] [OPTIONS]

  --fs KIND           ext4, xfs or btrfs
  --method METHOD     shutdown (not on btrfs), snapshot or blocklog
  --program BRIGADE   the command that copies (brigade beside this program)
  --sync WHAT         its --sync=WHAT
  --red               `cp -a` copies and `cp -au` mends: succeeds if that is found to be wrong
  --reference         `rsync -a --fsync` copies: it must be found to be right
  --cuts N            power cuts (50)
  --seed N            asks for the same trees and kinds of cuts again
  --files N           regular files of each tree (600)
  --most-bytes N      of most of them (16384)
  --flush-ms N        what a flush takes, with blocklog (0)
  --keep FOLDER       keeps the images of cuts with faults there

It mounts file systems, so it needs the right to.";

fn main() -> ExitCode {
    let mut arguments = Arguments::of_program(USAGE);
    let (is_red, is_reference) = (arguments.flag("--red"), arguments.flag("--reference"));
    let options = options(&mut arguments, is_red, is_reference);
    let Some(options) = options.filter(|options| options.method.works_on(options.kind)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    arguments.finish();
    need_root();
    println!("crashbox: {} {:?}, seed {}", options.kind.name(), options.method, options.seed);
    let began = Instant::now();
    match campaign(&options) {
        Ok(seen) => {
            seen.faults.iter().for_each(|fault| println!("{fault}"));
            let is_good = if is_red { seen.n_wrong > 0 } else { seen.n_wrong == 0 };
            println!("{}", told(&seen, began.elapsed()));
            println!("crashbox: {}", if is_good { "good" } else { "FAILED" });
            if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("crashbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &mut Arguments, is_red: bool, is_reference: bool) -> Option<Options> {
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("brigade")));
    let program = arguments.text("--program").map(PathBuf::from).or(beside);
    let words = arguments.text("--sync").map(|what| format!("--sync={what}"));
    let copier = match (is_red, is_reference) {
        (true, _) => Copier::Cp,
        (_, true) => Copier::Rsync,
        _ => Copier::Brigade(program?, words.into_iter().collect()),
    };
    Some(Options {
        kind: Kind::named(&arguments.text("--fs")?)?,
        method: Method::named(&arguments.text("--method")?)?,
        copier,
        n_cuts: arguments.number("--cuts").unwrap_or(50),
        seed: arguments.number("--seed").unwrap_or_else(Random::fresh_seed),
        size: Size {
            n_files: arguments.number("--files").unwrap_or(600),
            most_bytes: arguments.number("--most-bytes").unwrap_or(16 << 10),
        },
        flush_delay: Duration::from_millis(arguments.number("--flush-ms").unwrap_or(0)),
        keep: arguments.text("--keep").map(PathBuf::from),
    })
}

fn told(seen: &Seen, took: Duration) -> String {
    format!(
        "crashbox: {} cuts, {} of them wrong, {} after the end; 30 % of the files were reported done before {} of them ({} %); done \
         again: {} files, after one cut at most {} with {} KiB; {:.2} s a cut",
        seen.n_cuts,
        seen.n_wrong,
        seen.n_over,
        seen.n_ahead,
        seen.n_ahead * 100 / seen.n_cuts.max(1),
        seen.n_redone,
        seen.most_redone.0,
        seen.most_redone.1 >> 10,
        took.as_secs_f64() / seen.n_cuts.max(1) as f64
    )
}
