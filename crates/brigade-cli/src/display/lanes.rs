//! A line for each worker process: its number, what it does, and the file. How many lines there is room for is decided in bar.rs.

use brigade_copy::{Lane, LaneState, Progress};

use crate::language::Language;
use crate::messages;
use crate::{units, width};

const STATES: [LaneState; 6] = [
    LaneState::Idle,
    LaneState::Listing,
    LaneState::Copying,
    LaneState::Verifying,
    LaneState::Removing,
    LaneState::Flushing,
];

/// What is done, in one word: copies are verified file by file, so as long as a worker copies that is what is told.
pub fn activity(language: Language, progress: &Progress) -> String {
    if progress.is_flushing {
        messages::flushing(language, &units::bytes(progress.bytes_unflushed))
    } else if is_verifying(&progress.lanes) {
        messages::verifying(language)
    } else {
        messages::copying(language)
    }
}

/// Whether what is done is reading back, and nothing else.
pub fn is_verifying(lanes: &[Lane]) -> bool {
    let has = |state| lanes.iter().any(|lane| lane.state == state);
    has(LaneState::Verifying) && !has(LaneState::Copying)
}

/// The lanes as lines, none wider than `columns`.
pub fn lines(language: Language, lanes: &[Lane], columns: usize) -> Vec<String> {
    let pid_columns = lanes.iter().map(|lane| lane.pid.to_string().len()).max();
    let pid_columns = pid_columns.unwrap_or(0);
    let state_columns = STATES.iter().map(|state| width::columns(&word(language, *state))).max().unwrap_or(0);
    let line = |lane: &Lane| {
        let state = width::padded(&word(language, lane.state), state_columns);
        let head = format!("  {:>pid_columns$}  {state}  ", lane.pid);
        let room = columns.saturating_sub(width::columns(&head));
        let path = match lane.state {
            LaneState::Idle | LaneState::Flushing => String::new(),
            LaneState::Listing | LaneState::Copying | LaneState::Verifying | LaneState::Removing => {
                width::path(lane.path.as_os_str(), room)
            }
        };
        let line = format!("{head}{path}");
        width::prefix(line.trim_end(), columns).to_owned()
    };
    lanes.iter().map(line).collect()
}

fn word(language: Language, state: LaneState) -> String {
    match state {
        LaneState::Idle => messages::lane_idle(language),
        LaneState::Listing => messages::lane_listing(language),
        LaneState::Copying => messages::lane_copying(language),
        LaneState::Verifying => messages::lane_verifying(language),
        LaneState::Removing => messages::lane_removing(language),
        LaneState::Flushing => messages::lane_flushing(language),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_name_cannot_leave_its_lane() {
        let lane = Lane {
            pid: 7,
            state: LaneState::Copying,
            path: std::ffi::OsString::from_vec(b"a\nb\x1b[2J\xff".to_vec()).into(),
        };
        assert_eq!(lines(Language::English, &[lane], 60), [r"  7  copying  a\x0ab\x1b[2J\xff"]);
    }
}
