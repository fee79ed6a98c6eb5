//! Numbers as people read them: grouped counts, bytes, rates, times. The words around them are not here: see messages.rs.

use std::time::Duration;

use crate::language::Language;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `12345` as `12 345`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `1.2 GiB`.
pub fn bytes(count: u64) -> String {
    let unit_idx = unit_for(count);
    format!("{} {}", in_unit(count, unit_idx), UNITS[unit_idx])
}

/// `1.2/2.9 GiB`.
pub fn bytes_of(done: u64, total: u64) -> String {
    let unit_idx = unit_for(total);
    let done = in_unit(done, unit_idx);
    format!("{done}/{} {}", in_unit(total, unit_idx), UNITS[unit_idx])
}

/// `363 MiB/s`.
pub fn bytes_rate(per_second: f64) -> String {
    format!("{}/s", bytes(rounded(per_second)))
}

/// A count that comes with a fraction, rounded to whole ones.
pub fn count(amount: f64) -> String {
    grouped(rounded(amount))
}

/// `0.03 s`, `3.4 s`, `3 min 25 s`, `2 h 03 min`.
pub fn elapsed(time: Duration, language: Language) -> String {
    let seconds = time.as_secs_f64();
    let second = match language {
        Language::English => "s",
        Language::Chinese => "秒",
    };
    if seconds < 0.095 {
        format!("{seconds:.2} {second}")
    } else if seconds < 59.95 {
        format!("{seconds:.1} {second}")
    } else {
        whole(time, language)
    }
}

/// The same without fractions, for estimates.
pub fn whole(time: Duration, language: Language) -> String {
    let seconds = rounded(time.as_secs_f64());
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let (h, min, s) = match language {
        Language::English => ("h", "min", "s"),
        Language::Chinese => ("小时", "分", "秒"),
    };
    match (hours, minutes) {
        (0, 0) => format!("{seconds} {s}"),
        (0, _) => format!("{minutes} {min} {:02} {s}", seconds % 60),
        _ => format!("{hours} {h} {minutes:02} {min}"),
    }
}

/// The largest unit of which there is at least one, so that a number has at most four digits before its point.
fn unit_for(count: u64) -> usize {
    let bits = u64::BITS - count.leading_zeros();
    (bits.saturating_sub(1) / 10) as usize
}

fn in_unit(count: u64, unit_idx: usize) -> String {
    let value = count as f64 / (1u64 << (10 * unit_idx)) as f64;
    if unit_idx == 0 || value >= 99.95 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn rounded(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_three() {
        let texts = [0, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1 000", "12 345", "1 234 567"]);
    }

    #[test]
    fn bytes_have_a_unit_of_1024() {
        let texts = [0, 1023, 1024, 1536, 380_633_088, 1 << 32, u64::MAX].map(bytes);
        assert_eq!(texts, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "363 MiB", "4.0 GiB", "16.0 EiB"]);
        assert_eq!(bytes_of(1 << 30, 5 << 29), "1.0/2.5 GiB");
        assert_eq!(bytes_rate(380_633_088.4), "363 MiB/s");
    }

    #[test]
    fn times_are_as_fine_as_they_are_long() {
        let text = |milliseconds| elapsed(Duration::from_millis(milliseconds), Language::English);
        assert_eq!(text(31), "0.03 s");
        assert_eq!(text(3_440), "3.4 s");
        assert_eq!(text(205_000), "3 min 25 s");
        assert_eq!(text(7_380_000), "2 h 03 min");
        let chinese = elapsed(Duration::from_secs(205), Language::Chinese);
        assert_eq!(chinese, "3 分 25 秒");
    }
}
