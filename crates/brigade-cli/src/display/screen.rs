//! A few lines at the bottom of a terminal that are painted over and over. What they say is not decided here.
//!
//! Painted by hand rather than by a progress library: a frame is a pure function of figures and size and so can be tested, the
//! lines are cut to the width before they are painted, and no thread or cursor state has to be put right when a signal ends us.

use std::fmt::Write as _;
use std::io;

use crate::width;

/// How much room a terminal has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

impl Room {
    /// What standard error's terminal has now; a terminal that does not know is taken for the classic one.
    pub fn now() -> Self {
        let known = rustix::termios::tcgetwinsize(io::stderr()).ok();
        let known = known.filter(|room| room.ws_col > 0 && room.ws_row > 0);
        known.map_or(Self { columns: 80, rows: 24 }, |room| Self {
            columns: room.ws_col.into(),
            rows: room.ws_row.into(),
        })
    }
}

/// The lines that are on the screen now. The cursor stands in the row below them, where a sudden end leaves it well.
#[derive(Debug, Default)]
pub struct Screen {
    painted_columns: Vec<usize>,
}

impl Screen {
    /// What to write so that `above` stands where the last frame began, and `frame` below it.
    ///
    /// No line of `frame` may be wider than `room`, nor may there be as many as it has rows.
    pub fn paint(&mut self, above: &str, frame: &[String], room: Room) -> String {
        let mut text = self.back_to_start(room);
        for line in above.lines().chain(frame.iter().map(String::as_str)) {
            // The end of a line is cleared after it was written, so that nothing flickers.
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.painted_columns = frame.iter().map(|line| width::columns(line)).collect();
        text
    }

    /// What to write so that nothing is left of the last frame.
    pub fn erase(&mut self, room: Room) -> String {
        if self.painted_columns.is_empty() {
            return String::new();
        }
        let mut text = self.back_to_start(room);
        text.push_str("\x1b[J");
        self.painted_columns.clear();
        text
    }

    /// Terminals wrap the lines that they show when they become narrower, so the rows are counted for the present width.
    fn back_to_start(&self, room: Room) -> String {
        let rows_of = |columns: &usize| columns.div_ceil(room.columns).max(1);
        let n_rows: usize = self.painted_columns.iter().map(rows_of).sum();
        let mut text = String::from("\r");
        if n_rows > 0 {
            write!(text, "\x1b[{n_rows}A").expect("a string takes all text");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(columns: usize) -> Room {
        Room { columns, rows: 24 }
    }

    #[test]
    fn a_frame_is_painted_over_the_last_one() {
        let mut screen = Screen::default();
        let frame = ["one".to_owned(), "two".to_owned()];
        assert_eq!(screen.paint("", &frame, room(80)), "\rone\x1b[K\ntwo\x1b[K\n\x1b[J");
        assert_eq!(screen.paint("said\n", &frame[..1], room(80)), "\r\x1b[2Asaid\x1b[K\none\x1b[K\n\x1b[J");
        assert_eq!(screen.erase(room(80)), "\r\x1b[1A\x1b[J");
        assert_eq!(screen.erase(room(80)), "");
    }

    #[test]
    fn a_frame_that_was_wrapped_by_a_resize_is_cleared_whole() {
        let mut screen = Screen::default();
        let frame = ["x".repeat(70), "照".repeat(15), String::new()];
        screen.paint("", &frame, room(80));
        // 70 columns take three rows of 30, 30 take one, an empty line one.
        assert!(screen.erase(room(30)).starts_with("\r\x1b[5A"));
    }
}
