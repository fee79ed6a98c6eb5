//! Text measured in terminal columns: a Chinese character takes two. What the text says is not decided here.

use std::ffi::OsStr;

use brigade_copy::shown;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr};

/// What stands for a part that was cut out. ASCII, since `…` is one column in some terminals and two in others.
const GAP: &str = "...";

/// The columns that a text takes; colours take none.
pub fn columns(text: &str) -> usize {
    let mut parts = text.split("\x1b[");
    let plain = parts.next().map_or(0, UnicodeWidthStr::width);
    plain + parts.map(|part| part.split_once('m').map_or(part, |(_, rest)| rest).width()).sum::<usize>()
}

/// The text, followed by blanks up to `width` columns.
pub fn padded(text: &str, width: usize) -> String {
    let n_blanks = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(n_blanks))
}

/// A path for a display line: escaped, without quotes, its middle cut out if it is wider than `width` columns.
///
/// More of the end stays than of the beginning: the name says more than the first folders.
pub fn path(path: &OsStr, width: usize) -> String {
    let quoted = shown(path).to_string();
    let plain = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(&quoted);
    shortened(plain, width)
}

fn shortened(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let Some(room) = width.checked_sub(GAP.len()).filter(|room| *room >= 2) else {
        return prefix(text, width).to_owned();
    };
    let head = prefix(text, room / 3);
    let tail = suffix(text, room - columns(head));
    format!("{head}{GAP}{tail}")
}

/// The longest beginning of `text` that is at most `width` columns wide.
pub fn prefix(text: &str, width: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, character)| {
        used += character.width().unwrap_or(0);
        used > width
    });
    end.map_or(text, |(idx, _)| &text[..idx])
}

fn suffix(text: &str, width: usize) -> &str {
    let mut used = 0;
    let before = text.char_indices().rev().find(|(_, character)| {
        used += character.width().unwrap_or(0);
        used > width
    });
    before.map_or(text, |(idx, character)| &text[idx + character.len_utf8()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_path_loses_its_middle() {
        let cut = |text: &str, width| path(OsStr::new(text), width);
        assert_eq!(cut("short", 20), "short");
        assert_eq!(cut("one/two/three/four/five.txt", 20), "one/t...our/five.txt");
        assert_eq!(cut("照片/二月/三月/四月.jpg", 16), "照片.../四月.jpg");
        assert_eq!(cut("abcdef", 4), "abcd");
        assert_eq!(cut("abcdef", 0), "");
    }

    #[test]
    fn no_path_is_wider_than_its_room() {
        let text = "a照b片c/é́d/x\u{301}y/日本語のファイル名.tar.gz";
        for width in 0..60 {
            let cut = path(OsStr::new(text), width);
            assert!(columns(&cut) <= width, "{cut:?} in {width}");
        }
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        let text = path(OsStr::new("a\n\x1b[2J"), 40);
        assert_eq!(text, r"a\x0a\x1b[2J");
    }
}
