//! Mounts a folder through a file system that misbehaves, until it is interrupted: `torture::fuse` for the command line.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use torture::arguments::Arguments;
use torture::fuse::{Fault, FaultFs, Operation, Options, Rule, Spelling};

const USAGE: &str = "usage: faultfs [OPTIONS] --folder FOLDER --at MOUNT_POINT

  --delay-ms N            each request takes so much longer
  --case-insensitive      A and a are the same name
  --forgetful             the kernel may remember no names and attributes
  --threads N             requests that are served at the same time (32)
  --fail OPERATION=ERRNO  such a request (or 'any') fails, with this number
  --hang OPERATION        such a request (or 'any') is never answered
  --flip OPERATION        a bit is flipped on 'read' or on 'write'
  --only PATH             these three only for this path below the mount, and below it
  --from N                and only from this byte of a file, or entry of a folder, on

It ends with SIGINT or SIGTERM, and then prints what it was asked, and how often.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faultfs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = Arguments::of_program(USAGE);
    let folder = arguments.text("--folder").ok_or(USAGE)?;
    let point = arguments.text("--at").ok_or(USAGE)?;
    let defaults = Options::default();
    let options = Options {
        delay: arguments.number("--delay-ms").map_or(defaults.delay, Duration::from_millis),
        spelling: if arguments.flag("--case-insensitive") { Spelling::CaseInsensitive } else { Spelling::Exact },
        memory: if arguments.flag("--forgetful") { Duration::ZERO } else { defaults.memory },
        n_threads: arguments.number("--threads").map_or(Ok(defaults.n_threads), usize::try_from)?,
    };
    let rules = rules(&mut arguments)?;
    arguments.finish();
    // Before the mount, so that no signal finds it without somebody to take it away.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let mounted = FaultFs::mount(Path::new(&folder), Path::new(&point), options)?;
    rules.into_iter().for_each(|rule| mounted.add(rule));
    println!("mounted at {}", mounted.point().display());
    signals.forever().next();
    for operation in Operation::ALL.iter().filter(|operation| mounted.count(**operation) > 0) {
        println!("{:>12} {}", operation.name(), mounted.count(*operation));
    }
    Ok(())
}

fn rules(arguments: &mut Arguments) -> Result<Vec<Rule>, Box<dyn std::error::Error>> {
    let path = arguments.text("--only").map(PathBuf::from);
    let offset = arguments.number("--from").unwrap_or(0);
    let mut faults = Vec::new();
    while let Some(text) = arguments.text("--fail") {
        let (operation, errno) = text.split_once('=').ok_or("--fail needs OPERATION=ERRNO")?;
        faults.push((operation.to_owned(), Fault::Error(Errno::from_raw_os_error(errno.parse()?))));
    }
    while let Some(operation) = arguments.text("--hang") {
        faults.push((operation, Fault::Hang));
    }
    while let Some(operation) = arguments.text("--flip") {
        faults.push((operation, Fault::FlipBit));
    }
    let rule_of = |(name, fault): (String, Fault)| -> Result<Rule, Box<dyn std::error::Error>> {
        let mut rule = Rule::new(fault).from(offset);
        if name != "any" {
            rule = rule.on(name.parse().map_err(|()| format!("there is no operation {name}"))?);
        }
        Ok(match &path {
            Some(path) => rule.at(path),
            None => rule,
        })
    };
    faults.into_iter().map(rule_of).collect()
}
