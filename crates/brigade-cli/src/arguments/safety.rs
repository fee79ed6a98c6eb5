//! How much a copy trusts what it works with.

use std::path::PathBuf;
use std::time::Duration;

use brigade_copy::{Durability, Sandbox};
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

/// How much a copy trusts what it works with.
#[derive(Args, Debug)]
#[command(next_help_heading = "safety")]
pub struct SafetyArguments {
    /// When what was copied is on disk.
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "batch",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub sync: Sync,
    /// How long a worker may wait for one and the same thing; zero is for ever.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub stall_timeout: Option<Duration>,
    /// What was written is read back.
    #[arg(long)]
    pub verify: bool,
    /// Where the hashes of all files go.
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Runs that were cut off are not gone on with.
    #[arg(long)]
    pub no_resume: bool,
    /// How strictly workers are confined.
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_default_value = true, hide_possible_values = true)]
    pub sandbox: SandboxWord,
}

/// A word for how strictly workers are confined.
#[derive(Clone, Copy, Debug)]
pub struct SandboxWord(pub Sandbox);

impl ValueEnum for SandboxWord {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self(Sandbox::Auto), Self(Sandbox::Require), Self(Sandbox::Off)]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self.0 {
            Sandbox::Auto => "auto",
            Sandbox::Require => "require",
            Sandbox::Off => "off",
        }))
    }
}

/// When what was copied is on disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Sync {
    /// In groups, while others are copied.
    Batch,
    /// At the end.
    End,
    /// Each file as soon as it is written.
    File,
    /// When the system gets to it.
    None,
}

impl From<Sync> for Durability {
    fn from(sync: Sync) -> Self {
        match sync {
            Sync::Batch => Self::Batch,
            Sync::End => Self::End,
            Sync::File => Self::File,
            Sync::None => Self::Never,
        }
    }
}

/// A whole number with a unit: `500ms`, `60s`, `2m`, `1h`; without one, seconds.
///
/// The sentence for one that does not fit is chosen in usage.rs, so the error needs no words of its own.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(n_digits);
    let count: u64 = digits.parse().map_err(|_| "not a whole number")?;
    let milliseconds = match unit {
        "ms" => Some(count),
        "s" | "" => count.checked_mul(1000),
        "m" => count.checked_mul(60_000),
        "h" => count.checked_mul(3_600_000),
        _ => return Err("unknown unit"),
    };
    milliseconds.map(Duration::from_millis).ok_or("out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, milliseconds) in
            [("500ms", 500), ("60s", 60_000), ("60", 60_000), ("2m", 120_000), ("1h", 3_600_000), ("0", 0), ("0ms", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "1 s", "-1s", "1.5s", "1d", "1S", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
