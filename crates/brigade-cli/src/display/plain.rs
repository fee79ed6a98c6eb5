//! A line of figures for logs and for terminals that cannot draw: the same figures as the bar's, without any control sequence.

use brigade_copy::Progress;

use super::estimate::Estimate;
use super::lanes;
use crate::language::Language;
use crate::messages;
use crate::units;

/// The line for a snapshot, without its end.
pub fn line(language: Language, progress: &Progress, estimate: &Estimate) -> String {
    let rate = units::bytes_rate(estimate.bytes_per_second());
    let found = units::grouped(progress.n_found);
    let done = units::grouped(progress.n_done.min(progress.n_found));
    let parts = match estimate.percent() {
        None => vec![
            lanes::activity(language, progress),
            messages::found(language, &found),
            messages::done(language, &done),
            units::bytes(progress.bytes_done),
            rate,
        ],
        Some(percent) => {
            let bytes_done = progress.bytes_done.min(progress.bytes_found);
            let mut parts = vec![
                format!("{percent}%"),
                messages::entries(language, &format!("{done}/{found}")),
                units::bytes_of(bytes_done, progress.bytes_found),
                rate,
            ];
            if let Some(left) = estimate.time_left() {
                parts.push(messages::time_left(language, &units::whole(left, language)));
            }
            parts
        }
    };
    parts.join(messages::comma(language))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_tells_the_share_once_it_is_known() {
        let mut progress =
            Progress { n_found: 29_000, n_done: 12_345, bytes_done: 1_288_490_188, ..Progress::default() };
        let mut estimate = Estimate::default();
        estimate.update(&progress, Duration::from_secs(4));
        assert_eq!(
            line(Language::English, &progress, &estimate),
            "copying, 29 000 found, 12 345 done, 1.2 GiB, 307 MiB/s"
        );
        progress.walk_finished = true;
        progress.bytes_found = 3_113_851_289;
        estimate.update(&progress, Duration::from_secs(4));
        assert_eq!(
            line(Language::Chinese, &progress, &estimate),
            "41%，12 345/29 000 项，1.2/2.9 GiB，307 MiB/s，剩余 6 秒"
        );
    }
}
