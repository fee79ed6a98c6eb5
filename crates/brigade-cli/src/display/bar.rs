//! The bar: one line of figures, a lane for each worker below it. The figures come from estimate.rs, the lanes from lanes.rs,
//! and screen.rs knows how to paint.

use std::time::Duration;

use brigade_copy::{Progress, Summary};

use super::estimate::Estimate;
use super::lanes;
use super::screen::{Room, Screen};
use crate::ink::{Ink, Tone};
use crate::language::Language;
use crate::messages;
use crate::units;
use crate::width;

/// A copy that ends sooner needs no bar.
pub const FIRST_AFTER: Duration = Duration::from_millis(250);

/// Narrower than this a bar says nothing; wider than the other it says no more.
const BAR_COLUMNS: std::ops::RangeInclusive<usize> = 10..=30;

/// Rows that are left to lines above the lanes.
const OTHER_ROWS: usize = 4;

/// A bar on standard error's terminal.
#[derive(Debug, Default)]
pub struct Bar {
    screen: Screen,
    is_drawn: bool,
}

impl Bar {
    /// Whether it is on the screen.
    pub fn is_drawn(&self) -> bool {
        self.is_drawn
    }

    /// What to write for a snapshot; `above` goes where it stays.
    pub fn paint(&mut self, language: Language, above: &str, progress: &Progress, estimate: &Estimate) -> String {
        let room = Room::now();
        self.is_drawn = true;
        let frame = frame(language, progress, estimate, room);
        self.screen.paint(above, &frame, room)
    }

    /// What to write at the end: the full bar stays if one was drawn and the run is complete, else nothing does.
    pub fn finish(&mut self, language: Language, above: &str, summary: &Summary) -> String {
        if !self.is_drawn {
            return above.to_owned();
        }
        let room = Room::now();
        self.is_drawn = false;
        let is_complete = !summary.interrupted && summary.broken.is_none();
        let frame = match is_complete {
            true => vec![full(language, summary, room.columns)],
            false => Vec::new(),
        };
        self.screen.paint(above, &frame, room)
    }

    /// What to write before text that does not come from here.
    pub fn erase(&mut self) -> String {
        self.is_drawn = false;
        self.screen.erase(Room::now())
    }
}

/// A part of the line of figures; parts of a higher rank give way first.
struct Part {
    rank: u8,
    text: String,
}

fn frame(language: Language, progress: &Progress, estimate: &Estimate, room: Room) -> Vec<String> {
    // A terminal would start a new row at the last column, or wait with it: each does as it likes.
    let columns = room.columns.saturating_sub(1);
    let figures = match estimate.percent() {
        None => joined(walking(language, progress, estimate), columns),
        Some(percent) => {
            let share = format!("{percent:>3}%");
            let rest = shown_rest(language, progress, estimate);
            with_bar(&share, percent, rest, columns)
        }
    };
    let mut lines = vec![figures];
    if room.rows >= progress.lanes.len() + OTHER_ROWS {
        lines.extend(lanes::lines(language, &progress.lanes, columns));
    }
    lines
}

fn full(language: Language, summary: &Summary, columns: usize) -> String {
    let n_done = units::grouped(summary.n_found);
    let parts = vec![part(1, messages::entries(language, &n_done)), part(2, units::bytes(summary.bytes))];
    with_bar("100%", 100, parts, columns.saturating_sub(1))
}

/// While the walk runs: counts and rates, no share of a total that nobody knows yet.
fn walking(language: Language, progress: &Progress, estimate: &Estimate) -> Vec<Part> {
    let entries_rate = units::count(estimate.entries_per_second());
    vec![
        part(4, lanes::activity(language, progress)),
        part(0, messages::found(language, &units::grouped(progress.n_found))),
        part(1, messages::done(language, &units::grouped(progress.n_done))),
        part(2, units::bytes(progress.bytes_done)),
        part(3, units::bytes_rate(estimate.bytes_per_second())),
        part(5, messages::entries_rate(language, &entries_rate)),
    ]
}

fn shown_rest(language: Language, progress: &Progress, estimate: &Estimate) -> Vec<Part> {
    let entries =
        format!("{}/{}", units::grouped(progress.n_done.min(progress.n_found)), units::grouped(progress.n_found));
    let bytes_done = progress.bytes_done.min(progress.bytes_found);
    let mut parts = vec![
        part(4, messages::entries(language, &entries)),
        part(3, units::bytes_of(bytes_done, progress.bytes_found)),
        part(2, units::bytes_rate(estimate.bytes_per_second())),
    ];
    if let Some(left) = estimate.time_left() {
        let left = units::whole(left, language);
        parts.push(part(1, messages::time_left(language, &left)));
    }
    parts
}

fn part(rank: u8, text: String) -> Part {
    Part { rank, text }
}

/// Share, bar and figures. The bar's length depends on the terminal only: one that followed the figures would jump.
fn with_bar(share: &str, percent: u8, parts: Vec<Part>, columns: usize) -> String {
    let bar_columns = (columns / 5).clamp(*BAR_COLUMNS.start(), *BAR_COLUMNS.end());
    let bar = format!("{share} [{}] ", drawn(percent, bar_columns));
    let Some(room) = columns.checked_sub(width::columns(&bar)) else {
        return width::prefix(share, columns).to_owned();
    };
    let bar = format!("{share} [{}] ", Ink::now().on(Tone::Done, &drawn(percent, bar_columns)));
    format!("{bar}{}", joined(parts, room)).trim_end().to_owned()
}

/// `====>     `. ASCII, since the block characters are two columns wide in some Chinese terminals.
fn drawn(percent: u8, columns: usize) -> String {
    let n_full = columns * usize::from(percent) / 100;
    let full = "=".repeat(n_full);
    if n_full == columns {
        return full;
    }
    format!("{full}>{}", " ".repeat(columns - n_full - 1))
}

/// The parts that fit, in their order.
fn joined(mut parts: Vec<Part>, columns: usize) -> String {
    const GAP: &str = "  ";
    loop {
        let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
        let line = texts.join(GAP);
        if width::columns(&line) <= columns {
            return line;
        }
        let last = parts.iter().map(|part| part.rank).max();
        parts.retain(|part| Some(part.rank) != last);
    }
}

#[cfg(test)]
mod tests {
    use brigade_copy::{Lane, LaneState};

    use super::*;

    fn snapshot() -> Progress {
        let lane = |pid, state, path: &str| Lane { pid, state, path: path.into() };
        Progress {
            n_found: 29_000,
            n_done: 12_345,
            bytes_found: 3_113_851_289,
            bytes_done: 1_288_490_188,
            walk_finished: true,
            lanes: vec![
                lane(4711, LaneState::Copying, "doc/照片/三月/a very long name.jpg"),
                lane(4712, LaneState::Listing, "icons"),
                lane(4713, LaneState::Idle, ""),
            ],
            ..Progress::default()
        }
    }

    fn painted(progress: &Progress, language: Language, columns: usize, rows: usize) -> Vec<String> {
        let mut estimate = Estimate::default();
        estimate.update(progress, Duration::from_secs(4));
        frame(language, progress, &estimate, Room { columns, rows })
    }

    #[test]
    fn the_walk_is_told_in_counts_and_rates() {
        let mut progress = snapshot();
        progress.walk_finished = false;
        assert_eq!(
            painted(&progress, Language::English, 100, 24)[0],
            "copying  29 000 found  12 345 done  1.2 GiB  307 MiB/s  3 086 entries/s"
        );
        assert_eq!(painted(&progress, Language::Chinese, 40, 24)[0], "找到 29 000  完成 12 345  1.2 GiB");
    }

    #[test]
    fn the_copy_is_told_as_a_share_of_the_total() {
        assert_eq!(
            painted(&snapshot(), Language::English, 100, 24),
            [
                " 41% [=======>           ] 12 345/29 000 entries  1.2/2.9 GiB  307 MiB/s  6 s left",
                "  4711  copying  doc/照片/三月/a very long name.jpg",
                "  4712  listing  icons",
                "  4713  waiting",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_keeps_what_matters() {
        assert_eq!(
            painted(&snapshot(), Language::Chinese, 40, 24),
            [
                " 41% [====>     ] 307 MiB/s  剩余 6 秒",
                "  4711  复制    doc/照... long name.jpg",
                "  4712  列目录  icons",
                "  4713  等待",
            ]
        );
        assert_eq!(painted(&snapshot(), Language::English, 12, 24)[0], " 41%");
    }

    #[test]
    fn a_low_terminal_has_no_lanes() {
        assert_eq!(painted(&snapshot(), Language::English, 80, 6).len(), 1);
        assert_eq!(painted(&snapshot(), Language::English, 80, 7).len(), 4);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for language in [Language::English, Language::Chinese] {
            for columns in 1..200 {
                for line in painted(&snapshot(), language, columns, 24) {
                    assert!(width::columns(&line) < columns, "{line:?} in {columns}");
                }
            }
        }
    }

    #[test]
    fn only_the_end_shows_a_full_bar() {
        let summary = Summary { n_found: 29_000, bytes: 3_113_851_289, ..Summary::default() };
        assert_eq!(full(Language::English, &summary, 60), "100% [===========] 29 000 entries  2.9 GiB");
        assert_eq!(drawn(99, 10), "=========>");
        assert_eq!(drawn(0, 10), ">         ");
    }

    #[test]
    fn a_bar_that_was_never_drawn_leaves_nothing() {
        let mut bar = Bar::default();
        assert_eq!(bar.finish(Language::English, "said\n", &Summary::default()), "said\n");
    }
}
