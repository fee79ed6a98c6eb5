//! The program behind `cargo xtask bench`: reads what is wanted; the measuring is in the library beside it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "bench", about = "Measures brigade against its peers, in turn and in one run")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Copies data sets with brigade, its peers and the floor.
    Copy(bench::copy::Request),
    /// Measures what is wanted of the command, row by row, into a folder.
    Goals(bench::goals::Request),
    /// Writes docs/measurements.md and its pictures from such a folder.
    Report(bench::goals::Report),
    /// Tries what destroys sources, hangs or lies with each tool that is here.
    Dangers(bench::dangers::Request),
    /// Times pool, queue, process and shared memory, and those of other libraries.
    Library(bench::library::Request),
    /// Looks at the memory of all processes while brigade copies very many entries.
    Memory(bench::memory::Request),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().what {
        What::Copy(request) => bench::copy::run(&request),
        What::Goals(request) => bench::goals::run(&request),
        What::Report(request) => bench::goals::report(&request),
        What::Dangers(request) => bench::dangers::run(&request),
        What::Library(request) => bench::library::run(&request),
        What::Memory(request) => bench::memory::run(&request),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            let interrupted = error.is::<bench::Interrupted>();
            ExitCode::from(if interrupted { 130 } else { 1 })
        }
    }
}
