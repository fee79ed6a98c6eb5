//! How much of the machine a copy takes.

use std::num::NonZeroUsize;

use clap::Args;

/// More worker processes than this are taken for a typing error.
pub const MOST_WORKERS: usize = 1024;

/// How much of the machine a copy takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "speed")]
pub struct SpeedArguments {
    /// Worker processes.
    #[arg(short = 'j', long, value_name = "N", value_parser = worker_count)]
    pub workers: Option<NonZeroUsize>,
    /// Bytes per second; 0 is no limit.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub bwlimit: Option<u64>,
    /// The nice value of the workers.
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = nice)]
    pub nice: Option<i32>,
}

/// The sentence for a number that does not fit is chosen in usage.rs, so the error needs no words of its own.
pub(super) fn worker_count(text: &str) -> Result<NonZeroUsize, &'static str> {
    let count = text.parse().map_err(|_| "not a whole number")?;
    NonZeroUsize::new(count).filter(|count| count.get() <= MOST_WORKERS).ok_or("out of range")
}

/// Bytes, with K, M or G for powers of 1024: `500K`, `1.5M`.
fn rate(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "no rate";
    let (number, factor) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1_u64 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let bytes = number.parse::<f64>().ok().filter(|_| is_plain).ok_or(WRONG)? * factor as f64;
    if bytes < u64::MAX as f64 { Ok(bytes.ceil() as u64) } else { Err(WRONG) }
}

fn nice(text: &str) -> Result<i32, &'static str> {
    text.parse().ok().filter(|nice| (-20..=19).contains(nice)).ok_or("out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_in_powers_of_1024() {
        let rates = ["0", "1", "1K", "1.5M", "2g", "0.1"].map(rate);
        assert_eq!(rates, [Ok(0), Ok(1), Ok(1024), Ok(1_572_864), Ok(2 << 30), Ok(1)]);
        for wrong in ["", "K", "-1", "1e3", "1KB", "inf", "nan", "1.2.3", "99999999999G", "1 M"] {
            assert!(rate(wrong).is_err(), "{wrong:?}");
        }
    }
}
