//! Runs a command and answers its system calls in place of the kernel, or runs the campaign that does so with each call of a
//! copy. How calls are answered is in the library, faultline.rs.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use torture::arguments::Arguments;
use torture::faultline::campaign::{Options, campaign, error_named};
use torture::faultline::{Act, Answer, Asked, Role, Rule, When, calls, run};
use torture::random::Random;

const USAGE: &str = "usage: faultline [RULE] -- COMMAND...
       faultline --campaign [--program BRIGADE] [--seed N] [--points N] [--only CALL] [--folder DIR]

  --call NAME,…   the calls the rule is about; without it all calls are counted and listed
  --fail ERRNO    they fail with this error (EIO)
  --part          one byte is moved, one entry listed
  --nothing       they return 0 and do nothing
  --delay MS      they come so much later
  --kill          their process is killed
  --nth N         only the N-th of them; --from N: this and all after it; --every-other: the first, the third…
  --role ROLE     only those of the command or of a worker
  --below PATH    only those on this file or below it
  --limit SECONDS after which everything is killed (60)

  --campaign      injects errors into copies of a small tree, N of them (5000), as run N did
  --program PATH  the command to copy with (brigade beside this program)
  --only CALL     only this call
  --folder DIR    where the trees are made (/dev/shm)";

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let command = words.iter().position(|word| word == "--").map(|idx| words.split_off(idx)).unwrap_or_default();
    let mut arguments = Arguments::of_words(USAGE, words);
    if arguments.flag("--campaign") { run_campaign(arguments) } else { run_command(arguments, &command) }
}

fn run_campaign(mut arguments: Arguments) -> ExitCode {
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("brigade")));
    let options = Options {
        program: arguments.text("--program").map(PathBuf::from).or(beside).unwrap_or_default(),
        seed: arguments.number("--seed").unwrap_or_else(Random::fresh_seed),
        n_points: arguments.number("--points").unwrap_or(5000) as usize,
        only: arguments.text("--only"),
    };
    let folder = arguments.text("--folder").unwrap_or_else(|| "/dev/shm".to_owned());
    arguments.finish();
    println!("faultline: seed {}", options.seed);
    let started = Instant::now();
    let folder = PathBuf::from(folder).join(format!("faultline-{}", std::process::id()));
    let made = std::fs::create_dir(&folder);
    let ended = made.and_then(|()| campaign(&options, &folder, |line| println!("{line}")));
    let _ = std::fs::remove_dir_all(&folder);
    match ended {
        Ok(report) => {
            println!(
                "{} errors injected, {} not met, in {:.0} s: {:?}; {} wrong",
                report.n_injected,
                report.n_missed,
                started.elapsed().as_secs_f64(),
                report.verdicts,
                report.findings.len()
            );
            if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("faultline: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_command(mut arguments: Arguments, command: &[String]) -> ExitCode {
    let limit = Duration::from_secs(arguments.number("--limit").unwrap_or(60));
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let rule = rule_of(&mut arguments, &counts);
    arguments.finish();
    let Some((program, words)) = command.get(1..).and_then(<[String]>::split_first) else {
        eprintln!("no command\n{USAGE}");
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args(words);
    match run(command, vec![rule], limit) {
        Ok(ended) => {
            let _ = std::io::stdout().write_all(&ended.output.stdout);
            let _ = std::io::stderr().write_all(&ended.output.stderr);
            for ((role, call), n_made) in counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                eprintln!("faultline: {role:?} {call}: {n_made}");
            }
            let hung = if ended.is_hung { ", killed" } else { "" };
            eprintln!("faultline: met {}, acted {}: {}{hung}", ended.n_met[0], ended.n_done[0], ended.output.status);
            ExitCode::from(ended.output.status.code().map_or(3, |code| code as u8))
        }
        Err(error) => {
            eprintln!("faultline: {program}: {error}");
            ExitCode::from(2)
        }
    }
}

type Counts = Arc<Mutex<BTreeMap<(Role, &'static str), u64>>>;

fn rule_of(arguments: &mut Arguments, counts: &Counts) -> Rule {
    let Some(names) = arguments.text("--call") else {
        let counts = Arc::clone(counts);
        let count = move |asked: &Asked| {
            *counts.lock().unwrap_or_else(PoisonError::into_inner).entry((asked.role, asked.name())).or_default() += 1;
            Answer::GoOn
        };
        return Rule::of_each(calls::ALL.iter().map(|call| call.name), Act::Hook(Box::new(count)));
    };
    let act = match () {
        () if arguments.flag("--part") => Act::Part,
        () if arguments.flag("--nothing") => Act::Nothing,
        () if arguments.flag("--kill") => Act::Kill,
        () => match arguments.number("--delay") {
            Some(milliseconds) => Act::Delay(Duration::from_millis(milliseconds)),
            None => Act::Fail(arguments.text("--fail").and_then(|name| error_named(&name)).unwrap_or(Errno::IO)),
        },
    };
    let when = match (arguments.number("--nth"), arguments.number("--from"), arguments.flag("--every-other")) {
        (Some(n), ..) => When::Nth(n),
        (_, Some(n), _) => When::From(n),
        (.., true) => When::EveryOther,
        _ => When::Always,
    };
    let mut rule = Rule::of_each(names.split(','), act).when(when);
    match arguments.one_of("--role", &["any", "command", "worker"]) {
        1 => rule = rule.by(Role::Command),
        2 => rule = rule.by(Role::Worker),
        _ => {}
    }
    match arguments.text("--below") {
        Some(path) => rule.below(path),
        None => rule,
    }
}
