//! Kills a process after any number of instructions of what it does, again and again, and looks whether the others go on.
//!
//! What is done and what must hold is in the scenarios; how a victim is led to its death is in campaign.rs.
#![forbid(unsafe_code)]

mod attended;
mod campaign;
mod handles;
mod memory;
mod pipe;
mod pool;
mod queue;
mod red;
mod sync;

use std::process::ExitCode;

use campaign::{Options, Report};
use torture::arguments::Arguments;
use torture::random::Random;

const USAGE: &str = "usage: stepkill [--seed N] [--points N] [--only NAME] [--red]

  --seed N      choose the points of death as run N did
  --points N    points of death for each scenario (300)
  --only NAME   scenarios whose name contains this
  --red         the same on structures that are known to be wrong: here it must fail";

fn main() -> ExitCode {
    brigade::init();
    let mut arguments = Arguments::of_program(USAGE);
    let options = Options {
        seed: arguments.number("--seed").unwrap_or_else(Random::fresh_seed),
        n_points: arguments.number("--points").unwrap_or(300) as usize,
        only: arguments.text("--only"),
    };
    let is_red = arguments.flag("--red");
    arguments.finish();
    println!("stepkill: seed {}", options.seed);
    let report = if is_red { red_scenarios(&options) } else { scenarios(&options) };
    report.print();
    // A red control shows that the campaign can fail: there every scenario has to.
    let is_good = if is_red { report.all_failed() } else { report.none_failed() };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn scenarios(options: &Options) -> Report {
    let mut report = Report::default();
    report.add::<queue::PutInRing>(options);
    report.add::<queue::PutInLog>(options);
    report.add::<queue::GetFromRing>(options);
    report.add::<queue::GetFromLog>(options);
    report.add::<queue::PutBlocked>(options);
    report.add::<queue::GetBlocked>(options);
    report.add::<queue::Close>(options);
    report.add::<pipe::Send>(options);
    report.add::<pipe::Receive>(options);
    report.add::<attended::PutForSleeper>(options);
    report.add::<attended::GetForSleeper>(options);
    report.add::<attended::LeaseAndDone>(options);
    report.add::<pool::ResultAndTask>(options);
    report.add::<pool::ResultAndTaskAgain>(options);
    report.add::<sync::LockAndUnlock>(options);
    report.add::<sync::LockFromTheDead>(options);
    report.add::<sync::UnlockForSleeper>(options);
    report.add::<sync::EventSet>(options);
    report.add::<sync::EventWait>(options);
    report.add::<sync::PermitAndBack>(options);
    report.add::<sync::PermitForSleeper>(options);
    report.add::<sync::ReadThenWrite>(options);
    report.add::<sync::NotifyForSleeper>(options);
    report.add::<sync::BarrierParty>(options);
    report.add::<memory::SharedUpdate>(options);
    report.add::<memory::MutexCommit>(options);
    report.add::<handles::MakeAndSend>(options);
    report.add::<handles::ReceiveAndDrop>(options);
    report.add::<handles::StartAsked>(options);
    report.add::<handles::StartDone>(options);
    report.add::<handles::Reap>(options);
    report
}

fn red_scenarios(options: &Options) -> Report {
    let mut report = Report::default();
    report.add::<red::NaiveLock>(options);
    report.add::<red::ClaimThenPublish>(options);
    report
}
