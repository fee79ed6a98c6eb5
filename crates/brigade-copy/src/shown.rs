//! How a path becomes text: the one place where names, which are bytes, are made fit for a terminal, a log or an error.
//! What is printed where is left to the caller.

use std::ffi::OsStr;
use std::fmt::{self, Display, Write as _};
use std::os::unix::ffi::OsStrExt as _;

/// Quotes a path for a human: `'b/x'`.
///
/// Bytes that are not UTF-8 and ASCII control characters become `\x1b`, other characters that cannot be seen or that turn
/// text around become `\u{202e}`, and `'` and `\` get a `\` before them. So two different paths never look the same, and no
/// path can move the cursor or end its own quotes.
pub fn shown<P: AsRef<OsStr> + ?Sized>(path: &P) -> impl Display + '_ {
    Shown(path.as_ref().as_bytes())
}

struct Shown<'a>(&'a [u8]);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('\'')?;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\'' | '\\' => write!(f, "\\{character}")?,
                    '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", u32::from(character))?,
                    _ if is_unseen(character) => write!(f, "{}", character.escape_unicode())?,
                    _ => f.write_char(character)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('\'')
    }
}

/// Characters without a shape of their own, or which change the direction of others: Unicode's categories Cc, Cf, Zl and Zp,
/// its default-ignorable code points, and blanks that are wide or narrow but look like a space or like nothing.
fn is_unseen(character: char) -> bool {
    matches!(
        u32::from(character),
        0x80..=0xa0 | 0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2
            | 0x115f..=0x1160 | 0x1680 | 0x17b4..=0x17b5 | 0x180b..=0x180f
            | 0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x2800 | 0x3164
            | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb
            | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
            | 0xe0000..=0xe0fff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        shown(OsStr::from_bytes(bytes)).to_string()
    }

    #[test]
    fn a_plain_path_stands_in_single_quotes() {
        assert_eq!(text(b"b/x"), "'b/x'");
        assert_eq!(text("照片/三月 1.jpg".as_bytes()), "'照片/三月 1.jpg'");
    }

    #[test]
    fn control_characters_and_foreign_bytes_are_escaped() {
        assert_eq!(text(b"a\nb\x1b[2Jc\x7f"), r"'a\x0ab\x1b[2Jc\x7f'");
        assert_eq!(text(b"\xff\xfe\xe4\xbd"), r"'\xff\xfe\xe4\xbd'");
        assert_eq!(text("\u{9b}2J".as_bytes()), r"'\u{9b}2J'");
        assert_eq!(text("a\u{202e}gpj.exe\u{200b}".as_bytes()), r"'a\u{202e}gpj.exe\u{200b}'");
    }

    #[test]
    fn different_paths_never_look_the_same() {
        assert_eq!(text(br"a\x0a"), r"'a\\x0a'");
        assert_ne!(text(br"a\x0a"), text(b"a\n"));
        assert_eq!(text(b"it's"), r"'it\'s'");
        assert_ne!(text(b"\x85"), text("\u{85}".as_bytes()));
    }
}
