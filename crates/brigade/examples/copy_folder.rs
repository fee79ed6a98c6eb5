//! Lesson 6: a folder is copied by a pool, file by file.
//!
//! Run it: `cargo run --example copy_folder`. It asks for a folder NAME and makes NAME_copy beside it. How far it is, you
//! see in lesson 7. The plain file work is in common/folder.rs.

#[macro_use]
#[path = "common/language.rs"]
mod language;
#[path = "common/folder.rs"]
mod folder;

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use brigade::Pool;

const N_WORKERS: usize = 5;

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

    // One task for each file. A path goes as an `OsString`, which may be any name: serde wants paths to be UTF-8.
    let pool = Pool::new(N_WORKERS)?;
    let mut tasks = Vec::new();
    for file in &job.files {
        let from = job.source.join(file).into_os_string();
        let to = job.copy.join(file).into_os_string();
        tasks.push(pool.apply_async((from, to), copy_file)?);
    }

    // There are two ways to fail: the function returned an error, or it did not return, as when its worker was killed.
    for (file, task) in job.files.iter().zip(tasks) {
        let result = task.get().unwrap_or_else(|error| Err(error.to_string()));
        if let Err(reason) = result {
            job.failures.push(format!("{}: {reason}", file.display()));
        }
    }
    pool.close();
    pool.join();
    Ok(folder::conclude(&job.failures))
}

/// Runs in a worker. An `io::Error` cannot travel to another process, its text can.
fn copy_file((from, to): (OsString, OsString)) -> Result<(), String> {
    folder::copy_one(Path::new(&from), Path::new(&to)).map_err(|error| error.to_string())?;
    say!("创建文件成功", "file created");
    Ok(())
}
