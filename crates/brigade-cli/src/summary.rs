//! The account of a run as one line. Its figures come from the engine; where it is printed is decided in display/mod.rs.

use std::path::Path;
use std::time::Duration;

use brigade_copy::{Confinement, FidelityReport, Limit, Summary, Writing, shown};

use crate::language::Language;
use crate::messages;
use crate::stats;
use crate::units;

/// What the engine's figures do not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// The destination, where the user did not name it.
    pub made: Option<&'a Path>,
}

/// A count, and the words for it.
type Count = (u64, fn(Language, u64) -> String);

/// Shorter runs have no time to be limited by anything in particular.
const WORTH_A_WORD: Duration = Duration::from_secs(1);

/// What limited a run, in words.
pub fn limit(language: Language, limit: Limit) -> String {
    match limit {
        Limit::Processor => messages::limit_processor(language),
        Limit::Source => messages::limit_source(language),
        Limit::Destination => messages::limit_destination(language),
        Limit::DestinationFolder => messages::limit_destination_folder(language),
        Limit::Disk => messages::limit_disk(language),
    }
}

/// The summary line. Parts that are zero are left out.
pub fn line(language: Language, summary: &Summary, circumstances: Circumstances<'_>) -> String {
    let copied = match circumstances.made {
        Some(path) if summary.writing == Writing::Rehearsed => {
            messages::would_have_copied_to(language, &what(language, summary), &shown(path).to_string())
        }
        None if summary.writing == Writing::Rehearsed => {
            messages::would_have_copied(language, &what(language, summary))
        }
        Some(path) => messages::copied_to(language, &what(language, summary), &shown(path).to_string()),
        None => messages::copied(language, &what(language, summary)),
    };
    let time = units::elapsed(summary.elapsed, language);
    let mut parts = vec![format!("{copied}{}", messages::within(language, &time))];
    if let Some(rate) = rate(summary).filter(|_| summary.writing == Writing::Real) {
        parts.push(rate);
    }
    parts.push(workers(language, summary.n_workers, summary.sandbox));
    // Where the processor is the limit, all is as it should be, and a moment says little.
    let is_worth_a_word = |limit: &Limit| *limit != Limit::Processor && summary.elapsed >= WORTH_A_WORD;
    let limit_of_note = summary.limited_by.filter(is_worth_a_word);
    parts.extend(limit_of_note.map(|by| messages::limited_by(language, &limit(language, by))));
    let deleted = if summary.writing == Writing::Rehearsed { messages::would_be_deleted } else { messages::deleted };
    let counts: &[Count] = &[
        (summary.n_unchanged, messages::unchanged),
        (summary.n_skipped, messages::skipped),
        (summary.n_failed, messages::failed),
        (summary.n_deleted, deleted),
        (summary.n_undeleted, messages::not_deleted),
        (summary.n_changed, messages::changed),
        (summary.n_verified, messages::verified),
        (summary.n_rewritten, messages::rewritten),
        (summary.n_lost_workers, messages::lost_workers),
    ];
    for &(count, text) in counts {
        if count > 0 {
            parts.push(text(language, count));
        }
    }
    let line = parts.join(messages::comma(language));
    match summary {
        Summary { interrupted: true, .. } => messages::interrupted(language, &line),
        Summary { broken: Some(_), .. } => messages::unfinished(language, &line),
        _ => line,
    }
}

/// How many workers there were, and how strictly they were confined.
pub fn workers(language: Language, n_workers: usize, sandbox: Confinement) -> String {
    messages::confined_workers(language, &messages::workers(language, n_workers as u64), sandbox.word())
}

/// The ledger: everything that was found, and what became of it.
pub fn ledger(language: Language, summary: &Summary) -> String {
    messages::ledger(
        language,
        &units::grouped(summary.n_found),
        &units::grouped(summary.n_copied),
        &units::grouped(summary.n_unchanged),
        &units::grouped(summary.n_skipped),
        &units::grouped(summary.n_failed),
    )
}

/// What could not be kept, one line for each facet.
pub fn losses(language: Language, report: &FidelityReport) -> Vec<String> {
    report.losses().map(|(facet, tally)| messages::facet_line(language, facet, tally)).collect()
}

/// `12 345 files, 678 folders (1.2 GiB)`.
fn what(language: Language, summary: &Summary) -> String {
    let counts: [Count; 5] = [
        (summary.n_files, messages::files),
        (summary.n_directories, messages::folders),
        (summary.n_symlinks, messages::symlinks),
        (summary.n_hard_links, messages::hard_links),
        (summary.n_special, messages::special_files),
    ];
    let parts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, text)| text(language, *count)).collect();
    if parts.is_empty() {
        return messages::nothing(language);
    }
    let sized = match summary.n_files {
        0 => String::new(),
        _ => messages::sized(language, &units::bytes(summary.bytes)),
    };
    format!("{}{sized}", parts.join(messages::comma(language)))
}

/// Nothing for a run that copied no contents, or was too short for its time to mean anything.
fn rate(summary: &Summary) -> Option<String> {
    let is_telling = summary.bytes > 0 && summary.elapsed >= Duration::from_millis(10);
    is_telling.then(|| units::bytes_rate(stats::bytes_per_second(summary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large() -> Summary {
        Summary {
            n_found: 13_113,
            n_copied: 13_113,
            n_files: 12_345,
            n_directories: 678,
            n_symlinks: 90,
            bytes: 1_294_152_499,
            elapsed: Duration::from_millis(3_400),
            n_workers: 5,
            sandbox: Confinement::Jail,
            ..Summary::default()
        }
    }

    fn both(summary: &Summary, circumstances: Circumstances<'_>) -> [String; 2] {
        [Language::English, Language::Chinese].map(|language| line(language, summary, circumstances))
    }

    #[test]
    fn a_whole_copy_is_told_in_one_line() {
        assert_eq!(
            both(&large(), Circumstances::default()),
            [
                "copied 12 345 files, 678 folders, 90 symlinks (1.2 GiB) in 3.4 s, 363 MiB/s, 5 workers \
                 (sandbox: jail)",
                "已复制 12 345 个文件，678 个文件夹，90 个符号链接（1.2 GiB），用时 3.4 秒，363 MiB/s，5 个工作进程\
                 （沙箱：jail）",
            ]
        );
    }

    #[test]
    fn what_limited_a_run_is_told_if_it_is_worth_a_word() {
        let circumstances = Circumstances::default;
        let slow = Summary { limited_by: Some(Limit::Source), ..large() };
        let [english, chinese] = both(&slow, circumstances());
        assert!(english.contains("), limited by the source"), "{english}");
        assert!(chinese.contains("，瓶颈：源"), "{chinese}");
        let usual = Summary { limited_by: Some(Limit::Processor), ..large() };
        let short = Summary { elapsed: Duration::from_millis(999), ..slow };
        for summary in [usual, short] {
            assert!(!both(&summary, circumstances())[0].contains("limited"));
        }
    }

    #[test]
    fn what_is_not_zero_is_told() {
        let summary = Summary {
            n_files: 1,
            n_directories: 0,
            n_symlinks: 0,
            n_hard_links: 2,
            n_special: 1,
            n_unchanged: 1_200,
            n_skipped: 3,
            n_failed: 2,
            n_changed: 1,
            n_lost_workers: 1,
            bytes: 5,
            elapsed: Duration::from_millis(31),
            n_workers: 1,
            ..Summary::default()
        };
        let circumstances = Circumstances { made: Some(Path::new("photos_copy_2")) };
        assert_eq!(
            both(&summary, circumstances),
            [
                "copied 1 file, 2 hard links, 1 special file (5 B) to 'photos_copy_2' in 0.03 s, 161 B/s, 1 worker \
                 (sandbox: off), 1 200 unchanged, 3 skipped, 2 failed, 1 changed while being read, 1 worker lost",
                "已复制 1 个文件，2 个硬链接，1 个特殊文件（5 B）到 'photos_copy_2'，用时 0.03 秒，161 B/s，1 个工作进程\
                 （沙箱：off），1 200 项未变，3 项跳过，2 项失败，1 项在读取时发生变化，1 个工作进程丢失",
            ]
        );
    }

    #[test]
    fn an_end_before_the_end_is_told_first() {
        let nothing = Summary { n_workers: 2, interrupted: true, ..Summary::default() };
        assert_eq!(
            both(&nothing, Circumstances::default()),
            [
                "interrupted: copied nothing in 0.00 s, 2 workers (sandbox: off)",
                "已中断：已复制 0 项，用时 0.00 秒，2 个工作进程（沙箱：off）",
            ]
        );
        let broken = Summary { broken: Some("the pool".into()), ..large() };
        assert!(line(Language::English, &broken, Circumstances::default()).starts_with("not finished: copied"));
    }

    #[test]
    fn the_ledger_shows_the_sum() {
        let text = ledger(Language::English, &large());
        assert_eq!(text, "found 13 113 = copied 13 113 + unchanged 0 + skipped 0 + failed 0");
    }
}
