//! Medians and how they are written down.

use std::time::Duration;

/// The middle, the least and the greatest of some durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Half of the values are less.
    pub median: Duration,
    /// The least.
    pub min: Duration,
    /// The greatest.
    pub max: Duration,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut values: Vec<Duration> = values.into_iter().collect();
        values.sort_unstable();
        let (min, median, max) = middle(&values, |one, other| (one + other) / 2)?;
        Some(Self { median, min, max })
    }
}

/// The same of plain numbers, such as ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Middle {
    /// Half of the values are less.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Middle {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let (min, median, max) = middle(&values, f64::midpoint)?;
        Some(Self { median, min, max })
    }

    /// Of one divided by each value.
    pub fn inverse(self) -> Self {
        Self { median: 1.0 / self.median, min: 1.0 / self.max, max: 1.0 / self.min }
    }

    /// With two decimals.
    pub fn text(self) -> String {
        format!("{:.2} ({:.2}–{:.2})", self.median, self.min, self.max)
    }
}

/// The least, the middle and the greatest of values that are sorted.
fn middle<T: Copy>(sorted: &[T], between: impl Fn(T, T) -> T) -> Option<(T, T, T)> {
    let (least, greatest) = (*sorted.first()?, *sorted.last()?);
    let half = sorted.len() / 2;
    let middle = if sorted.len().is_multiple_of(2) { between(sorted[half - 1], sorted[half]) } else { sorted[half] };
    Some((least, middle, greatest))
}

/// A unit for a column of durations, so that all its figures can be compared at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// With three decimals.
    Seconds,
    /// With two decimals.
    Milliseconds,
}

impl Unit {
    /// Milliseconds where the shortest is under a tenth of a second.
    pub fn for_shortest(shortest: Duration) -> Self {
        if shortest < Duration::from_millis(100) { Self::Milliseconds } else { Self::Seconds }
    }

    /// Its sign.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
        }
    }

    /// The figure alone.
    pub fn figure(self, duration: Duration) -> String {
        match self {
            Self::Seconds => format!("{:.3}", duration.as_secs_f64()),
            Self::Milliseconds => format!("{:.2}", duration.as_secs_f64() * 1e3),
        }
    }

    /// Median, least and greatest.
    pub fn spread(self, spread: Spread) -> String {
        let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| self.figure(value));
        format!("{median} ({min}–{max})")
    }
}

/// 1234567 as `1 234 567`, in threes.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut output = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            output.push(' ');
        }
        output.push(digit);
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(values: &[u64]) -> Option<Spread> {
        Spread::of(values.iter().copied().map(Duration::from_millis))
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(milliseconds(&[]), None);
        let odd = milliseconds(&[30, 10, 20]).unwrap();
        assert_eq!(Unit::Milliseconds.spread(odd), "20.00 (10.00–30.00)");
        assert_eq!(milliseconds(&[40, 10, 20, 30]).unwrap().median, Duration::from_millis(25));
    }

    #[test]
    fn short_times_are_told_in_milliseconds() {
        assert_eq!(Unit::for_shortest(Duration::from_millis(3)).sign(), "ms");
        assert_eq!(Unit::for_shortest(Duration::from_secs(1)).figure(Duration::from_millis(1500)), "1.500");
    }

    #[test]
    fn long_numbers_are_grouped_in_threes() {
        assert_eq!([7, 123, 1234, 1_234_567].map(grouped), ["7", "123", "1 234", "1 234 567"]);
    }
}
