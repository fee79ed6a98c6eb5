//! Tells in what a copy differs from its source: `treecmp --source FOLDER --copy FOLDER`. Ends with 1 if anything differs that
//! the destination's file system could hold.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use torture::arguments::Arguments;
use torture::treecmp::compare;

const USAGE: &str = "usage: treecmp --source FOLDER --copy FOLDER";

fn main() -> ExitCode {
    let mut arguments = Arguments::of_program(USAGE);
    let (source, copy) = (arguments.text("--source"), arguments.text("--copy"));
    arguments.finish();
    let (Some(source), Some(copy)) = (source, copy) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match compare(Path::new(&source), Path::new(&copy)) {
        Err(error) => {
            eprintln!("treecmp: {error}");
            ExitCode::from(2)
        }
        Ok(compared) => {
            for difference in &compared.differences {
                println!("{difference}{}", if difference.is_predicted { " (a limit of the destination)" } else { "" });
            }
            ExitCode::from(u8::from(compared.differences.iter().any(|difference| !difference.is_predicted)))
        }
    }
}
