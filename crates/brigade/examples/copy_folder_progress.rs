//! Lesson 7: the same copy, and the workers tell how far it is.
//!
//! Run it: `cargo run --example copy_folder_progress`. The plain file work is in common/folder.rs. The whole command, with
//! many small files in one task, with owners and times, is `brigade copy`.

#[macro_use]
#[path = "common/language.rs"]
mod language;
#[path = "common/folder.rs"]
mod folder;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use brigade::{ManagedQueue, Manager, Pool};

const N_WORKERS: usize = 5;
/// Reports that may be under way. A worker that is further ahead of the display waits.
const N_REPORTS: usize = 100;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    brigade::init();

    let mut job = match folder::prepare() {
        Ok(job) => job,
        Err(mistake) => {
            eprintln!("{mistake}");
            return Ok(ExitCode::from(2));
        }
    };
    say!("创建文件夹成功", "folder created");

    // The manager is a process that holds the queue. A worker puts `()` into it for each file that it has copied.
    let manager = Manager::start()?;
    let reports = manager.queue(N_REPORTS)?;
    let pool = Pool::new(N_WORKERS)?;
    let mut tasks = Vec::new();
    for file in &job.files {
        let from = job.source.join(file).into_os_string();
        let to = job.copy.join(file).into_os_string();
        tasks.push(pool.apply_async((reports.clone(), from, to), copy_file)?);
    }

    // Waiting for one report for each file could be waiting for ever: a file that cannot be copied sends none. But every
    // task ends, well or badly. So one thread shows reports until the queue is closed, and this one closes it at the end.
    std::thread::scope(|scope| {
        scope.spawn(|| show_reports(&reports, job.files.len()));
        for (file, task) in job.files.iter().zip(tasks) {
            let result = task.get().unwrap_or_else(|error| Err(error.to_string()));
            if let Err(reason) = result {
                job.failures.push(format!("{}: {reason}", file.display()));
            }
        }
        reports.close();
    });
    pool.close();
    pool.join();
    Ok(folder::conclude(&job.failures))
}

/// Runs in a worker.
fn copy_file((reports, from, to): (ManagedQueue<()>, OsString, OsString)) -> Result<(), String> {
    folder::copy_one(Path::new(&from), Path::new(&to)).map_err(|error| error.to_string())?;
    // The file is copied, also if its report cannot be put: only the display misses it.
    let _ = reports.put(());
    Ok(())
}

/// Shows the progress until the queue is closed and empty.
fn show_reports(reports: &ManagedQueue<()>, n_files: usize) {
    // A display that nobody sees any more (`| head`) is no reason to stop copying, so its errors end here.
    let _ = show_share(0, n_files);
    let mut arriving = reports.iter();
    for (n_copied, ()) in (1..).zip(&mut arriving) {
        let _ = show_share(n_copied, n_files);
    }
    let _ = writeln!(io::stdout());
    if let Some(error) = arriving.error().filter(|error| !error.is_closed()) {
        eprintln!("{}", text!("不再有进度信息: {error}", "no more progress is known: {error}"));
    }
}

fn show_share(n_copied: usize, n_files: usize) -> io::Result<()> {
    // Rounded down, so that 100.00 is said only when it is true. Nothing to copy is all copied.
    let hundredths = (10_000 * n_copied).checked_div(n_files).unwrap_or(10_000);
    let percent = hundredths as f64 / 100.0;
    let mut stdout = io::stdout();
    write!(stdout, "{}", text!("\r已拷贝文件{percent:.2} %", "\rcopied {percent:.2} %"))?;
    stdout.flush()
}
