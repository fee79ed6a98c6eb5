//! The figures of `--stats`, as a block for people and as an object for programs. They come from the engine's summary.

use std::time::Duration;

use brigade_copy::{Summary, shown};
use serde::Serialize;

use crate::display::Named;
use crate::language::Language;
use crate::messages;
use crate::summary;
use crate::units;
use crate::width;

/// Whether figures are wanted at the end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Stats {
    /// The summary is enough.
    #[default]
    NotWanted,
    /// A block of them.
    Wanted,
}

/// The lines of the block.
pub fn lines(language: Language, summary: &Summary) -> Vec<String> {
    let mut rows = vec![
        (messages::stats_entries(language), summary::ledger(language, summary)),
        (messages::stats_kinds(language), kinds(language, summary)),
        (messages::stats_bytes(language), bytes(language, summary)),
        (messages::stats_unchanged(language), exact(summary.bytes_unchanged)),
        (messages::stats_rate(language), rate(language, summary)),
        (messages::stats_time(language), time(language, summary)),
        (messages::stats_workers(language), workers(language, summary)),
        (messages::stats_sandbox(language), summary.sandbox.word().to_owned()),
    ];
    rows.extend(summary.limited_by.map(|limit| (messages::stats_limit(language), summary::limit(language, limit))));
    rows.extend(summary.slowest.iter().map(|slow| {
        let text = format!("{}  {}", units::elapsed(slow.elapsed, language), shown(&slow.path));
        (messages::stats_slowest(language), text)
    }));
    let columns = rows.iter().map(|(label, _)| width::columns(label)).max().unwrap_or_default();
    rows.into_iter().map(|(label, text)| format!("{}  {text}", width::padded(&label, columns))).collect()
}

fn kinds(language: Language, summary: &Summary) -> String {
    let counts = [
        messages::files(language, summary.n_files),
        messages::folders(language, summary.n_directories),
        messages::symlinks(language, summary.n_symlinks),
        messages::hard_links(language, summary.n_hard_links),
        messages::special_files(language, summary.n_special),
    ];
    counts.join(messages::comma(language))
}

fn bytes(language: Language, summary: &Summary) -> String {
    messages::stats_bytes_copied(
        language,
        &exact(summary.bytes),
        &units::bytes(written(summary)),
        &units::bytes(summary.bytes_reflinked),
        &units::bytes(summary.bytes_in_holes),
        &units::bytes(summary.bytes_kept),
    )
}

fn rate(language: Language, summary: &Summary) -> String {
    let entries = messages::entries_rate(language, &units::count(per_second(summary.n_found, summary.elapsed)));
    format!("{}{}{entries}", units::bytes_rate(bytes_per_second(summary)), messages::comma(language))
}

fn time(language: Language, summary: &Summary) -> String {
    let elapsed = units::elapsed(summary.elapsed, language);
    match summary.walk_elapsed {
        Some(walk) => messages::stats_times(language, &elapsed, &units::elapsed(walk, language)),
        None => elapsed,
    }
}

fn workers(language: Language, summary: &Summary) -> String {
    let at_work = messages::workers(language, summary.n_workers as u64);
    let lost = messages::lost_workers(language, summary.n_lost_workers);
    if summary.n_lost_workers == 0 { at_work } else { format!("{at_work}{}{lost}", messages::comma(language)) }
}

/// `1 294 152 499 (1.2 GiB)`.
fn exact(n_bytes: u64) -> String {
    let rounded = units::bytes(n_bytes);
    if n_bytes < 1024 { rounded } else { format!("{} B ({rounded})", units::grouped(n_bytes)) }
}

/// What was neither shared with the source nor a hole, and not there before.
fn written(summary: &Summary) -> u64 {
    summary.bytes.saturating_sub(summary.bytes_reflinked + summary.bytes_in_holes + summary.bytes_kept)
}

/// What was there before does not make a copy fast.
pub fn bytes_per_second(summary: &Summary) -> f64 {
    per_second(summary.bytes.saturating_sub(summary.bytes_kept), summary.elapsed)
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// The figures for a program.
#[derive(Serialize)]
pub struct Figures<'a> {
    bytes_written: u64,
    bytes_reflinked: u64,
    bytes_in_holes: u64,
    bytes_kept: u64,
    bytes_unchanged: u64,
    bytes_per_second: f64,
    entries_per_second: f64,
    walk_seconds: Option<f64>,
    slowest: Vec<Slow<'a>>,
}

#[derive(Serialize)]
struct Slow<'a> {
    #[serde(flatten)]
    path: Named<'a>,
    seconds: f64,
}

impl<'a> Figures<'a> {
    /// Those of a run.
    pub fn of(summary: &'a Summary) -> Self {
        let slowest = summary
            .slowest
            .iter()
            .map(|slow| Slow { path: Named::of(&slow.path), seconds: slow.elapsed.as_secs_f64() });
        Self {
            bytes_written: written(summary),
            bytes_reflinked: summary.bytes_reflinked,
            bytes_in_holes: summary.bytes_in_holes,
            bytes_kept: summary.bytes_kept,
            bytes_unchanged: summary.bytes_unchanged,
            bytes_per_second: bytes_per_second(summary).round(),
            entries_per_second: per_second(summary.n_found, summary.elapsed).round(),
            walk_seconds: summary.walk_elapsed.map(|walk| walk.as_secs_f64()),
            slowest: slowest.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use brigade_copy::SlowEntry;

    use super::*;

    fn summary() -> Summary {
        Summary {
            n_found: 20,
            n_copied: 13,
            n_unchanged: 7,
            n_files: 12,
            n_directories: 1,
            bytes: 1_294_152_499,
            bytes_reflinked: 1 << 30,
            bytes_in_holes: 4096,
            bytes_kept: 64 << 20,
            bytes_unchanged: 512,
            elapsed: Duration::from_secs(2),
            walk_elapsed: Some(Duration::from_millis(500)),
            slowest: vec![SlowEntry { path: "a\nb".into(), elapsed: Duration::from_millis(1250) }],
            n_workers: 2,
            limited_by: Some(brigade_copy::Limit::Disk),
            ..Summary::default()
        }
    }

    #[test]
    fn the_block_tells_what_became_of_entries_bytes_and_time() {
        assert_eq!(
            lines(Language::English, &summary()),
            [
                "entries     found 20 = copied 13 + unchanged 7 + skipped 0 + failed 0",
                "copied      12 files, 1 folder, 0 symlinks, 0 hard links, 0 special files",
                "bytes       1 294 152 499 B (1.2 GiB): 146 MiB written, 1.0 GiB shared with the source, 4.0 KiB in holes, 64.0 MiB there before",
                "unchanged   512 B",
                "rate        585 MiB/s, 10 entries/s",
                "time        2.0 s; everything was found after 0.5 s",
                "workers     2 workers",
                "sandbox     off",
                "limited by  the disk",
                r"slowest     1.2 s  'a\x0ab'",
            ]
        );
    }

    #[test]
    fn the_block_is_aligned_in_chinese_too() {
        let lines = lines(Language::Chinese, &summary());
        let starts: Vec<usize> = lines
            .iter()
            .map(|line| width::columns(&line[..line.len() - line.split_once("  ").unwrap().1.trim_start().len()]))
            .collect();
        assert!(starts.iter().all(|start| *start == starts[0]), "{lines:#?}");
    }

    #[test]
    fn a_program_gets_exact_figures() {
        let figures = serde_json::to_value(Figures::of(&summary())).unwrap();
        assert_eq!(figures["bytes_written"], 1_294_152_499_u64 - (1 << 30) - 4096 - (64 << 20));
        assert_eq!(figures["slowest"][0], serde_json::json!({ "path": "a\nb", "seconds": 1.25 }));
        assert_eq!(figures["walk_seconds"], 0.5);
    }
}
