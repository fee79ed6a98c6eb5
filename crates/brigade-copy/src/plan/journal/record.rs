//! What stands in the record of a run: a line of text for whoever looks, and a line by which it is known to be whole and to be of
//! the run that it is named after. Anything else is no record.

use std::fmt::Write as _;

/// The first words of a record. Another format will have another number.
const MAGIC: &str = "brigade-run 2";

/// How the place of the copy was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// `SOURCE... DESTINATION`.
    IntoOrAs,
    /// `-T SOURCE DESTINATION`.
    Exactly,
    /// `SOURCE` alone.
    Beside,
}

/// By which a run knows what it has left of files that it was cut off in, and by which nobody else could make the like.
pub(crate) type Key = [u64; 4];

/// A run that was begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) form: Form,
    /// A moment before its first write.
    pub(super) started: (i64, i64),
    pub(super) key: Key,
    pub(super) top: Top,
}

/// The place of the copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Top {
    /// It was there before the run.
    There,
    /// It was not; this is the folder that the run made, if that is known.
    New(Option<Birth>),
}

/// What tells a folder from one that was made in its place: the number, and when it was made, or 0 where nobody knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Birth {
    pub(super) inode: u64,
    pub(super) born: (i64, i64),
}

const FORMS: [(Form, &str); 3] = [(Form::IntoOrAs, "into-or-as"), (Form::Exactly, "exactly"), (Form::Beside, "beside")];

impl Record {
    /// The record as text; `name` is that of the file it stands in.
    pub(super) fn text(&self, name: &str) -> String {
        let form = FORMS.iter().find(|(form, _)| *form == self.form).map_or("", |(_, word)| word);
        let (seconds, nanoseconds) = self.started;
        let top = match self.top {
            Top::There => "there",
            Top::New(_) => "new",
        };
        let key = self.key.map(|part| format!("{part:016x}")).join("-");
        let mut text = sealed(&format!("{MAGIC} {form} {seconds} {nanoseconds} {key} {top}"), name);
        if let Top::New(Some(Birth { inode, born: (seconds, nanoseconds) })) = self.top {
            text.push_str(&sealed(&format!("made {inode} {seconds} {nanoseconds}"), name));
        }
        text
    }

    /// Reads a record. A second part that is not whole was being written when the run was cut off.
    pub(super) fn read(text: &[u8], name: &str) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (first, rest) = unsealed(text, name)?;
        let mut words = first.strip_prefix(MAGIC)?.strip_prefix(' ')?.split(' ');
        let word = words.next()?;
        let (form, _) = *FORMS.iter().find(|(_, known)| *known == word)?;
        let started = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let key = key_in(words.next()?)?;
        let top = match words.next()? {
            "there" => Top::There,
            "new" => Top::New(unsealed(rest, name).and_then(|(second, _)| made(second))),
            _ => return None,
        };
        words.next().is_none().then_some(Self { form, started, key, top })
    }
}

fn key_in(word: &str) -> Option<Key> {
    let parts: Option<Vec<u64>> = word.split('-').map(|part| u64::from_str_radix(part, 16).ok()).collect();
    parts?.try_into().ok()
}

fn made(line: &str) -> Option<Birth> {
    let mut words = line.strip_prefix("made ")?.split(' ');
    let mut number = || words.next();
    let inode = number()?.parse().ok()?;
    let born = (number()?.parse().ok()?, number()?.parse().ok()?);
    words.next().is_none().then_some(Birth { inode, born })
}

/// A line, and one that only this line in a file of this name has.
fn sealed(line: &str, name: &str) -> String {
    let mut text = String::new();
    writeln!(text, "{line}\n{}", seal(line, name)).expect("a string takes all that is written to it");
    text
}

/// The first line of a text, if what follows belongs to it, and the rest.
fn unsealed<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let (line, rest) = text.split_once('\n')?;
    let (found, rest) = rest.split_once('\n')?;
    (found == seal(line, name)).then_some((line, rest))
}

fn seal(line: &str, name: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes()).update(b"\n").update(line.as_bytes());
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "0123.run";

    fn records() -> [Record; 3] {
        let made = Birth { inode: u64::MAX, born: (1_795_379_701, 5) };
        [
            Record {
                form: Form::IntoOrAs,
                started: (1_795_379_701, 999_999_999),
                key: [0, 1, 2, u64::MAX],
                top: Top::New(Some(made)),
            },
            Record { form: Form::Exactly, started: (-1, 0), key: [7; 4], top: Top::There },
            Record { form: Form::Beside, started: (0, 1), key: [u64::MAX; 4], top: Top::New(None) },
        ]
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        for record in records() {
            assert_eq!(Record::read(record.text(NAME).as_bytes(), NAME), Some(record));
        }
    }

    /// what is read is what was written, without which folder was made at most, or nothing at all.
    #[test]
    fn a_record_that_is_cut_flipped_or_of_another_run_is_none() {
        for record in records() {
            let text = record.text(NAME).into_bytes();
            let less = match record.top {
                Top::New(_) => Record { top: Top::New(None), ..record },
                Top::There => record,
            };
            let is_harmless = |read: Option<Record>| read.is_none_or(|read| read == record || read == less);
            for n_bytes in 0..text.len() {
                assert!(is_harmless(Record::read(&text[..n_bytes], NAME)), "cut after {n_bytes}");
            }
            for bit in 0..text.len() * 8 {
                let mut flipped = text.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let read = Record::read(&flipped, NAME);
                assert!(is_harmless(read), "bit {bit}: {read:?}");
            }
            assert_eq!(Record::read(&text, "4567.run"), None);
        }
    }
}
