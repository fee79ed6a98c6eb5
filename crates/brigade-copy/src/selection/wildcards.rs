//! Matches a text with a pattern of `*`, `**`, `?`, `[...]` and `\`, in the dialects of rsync and of git. Both come from the
//! same ancestor and differ in what `**` is. Which part of a path is matched with which pattern is decided by the callers.
//!
//! Nothing is allocated and nothing recurs: of each kind of star only the last one is ever tried again, since whatever an
//! earlier one could reach, the last one can too. So the time is bounded by a product of lengths, whatever the pattern.

/// Whose rules for stars hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    /// Two or more stars match everything, slashes too, wherever they stand.
    Rsync,
    /// Two or more stars match slashes only where they are a whole component; then they may also match no component.
    Git,
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Compared {
    Matches,
    Differs,
    /// The text ended first, or the pattern is malformed: no later part of this text can match.
    TooShort,
}

/// Where to go on when what follows a star does not match: behind it in the pattern, one further in the text.
#[derive(Clone, Copy)]
struct Retry {
    pattern_idx: usize,
    text_idx: usize,
}

/// The state of one comparison.
struct Comparison<'a> {
    dialect: Dialect,
    pattern: &'a [u8],
    text: &'a [u8],
    pattern_idx: usize,
    text_idx: usize,
    /// The last star that matches no slash, if it stands behind the last one that does.
    narrow: Option<Retry>,
    /// The last stars that match slashes.
    wide: Option<Retry>,
}

/// Whether one step of a comparison fits.
enum Step {
    Fits,
    Fails,
    Ends(Compared),
}

/// Compares the whole text with the whole pattern.
pub(super) fn compare(dialect: Dialect, pattern: &[u8], text: &[u8]) -> Compared {
    let mut comparison = Comparison { dialect, pattern, text, pattern_idx: 0, text_idx: 0, narrow: None, wide: None };
    loop {
        let step = match comparison.step() {
            Step::Fails => comparison.retry(),
            step => step,
        };
        if let Step::Ends(compared) = step {
            return compared;
        }
    }
}

impl Comparison<'_> {
    fn step(&mut self) -> Step {
        let (Some(&element), byte) = (self.pattern.get(self.pattern_idx), self.text.get(self.text_idx)) else {
            let is_whole = self.text_idx == self.text.len();
            return if is_whole { Step::Ends(Compared::Matches) } else { Step::Fails };
        };
        if element == b'*' {
            return self.step_stars();
        }
        let Some(&byte) = byte else {
            return Step::Ends(Compared::TooShort);
        };
        let (fits, next) = match element {
            b'?' => (byte != b'/', self.pattern_idx + 1),
            b'\\' => (self.pattern.get(self.pattern_idx + 1) == Some(&byte), self.pattern_idx + 2),
            b'[' => match class(&self.pattern[self.pattern_idx + 1..], byte) {
                Some((is_in, n_bytes)) => (is_in && byte != b'/', self.pattern_idx + 1 + n_bytes),
                None => return Step::Ends(Compared::TooShort),
            },
            literal => (literal == byte, self.pattern_idx + 1),
        };
        if !fits {
            return Step::Fails;
        }
        self.pattern_idx = next;
        self.text_idx += 1;
        Step::Fits
    }

    fn step_stars(&mut self) -> Step {
        let start = self.pattern_idx;
        let n_stars = self.pattern[start..].iter().take_while(|&&element| element == b'*').count();
        self.pattern_idx += n_stars;
        let rest = &self.pattern[self.pattern_idx..];
        let is_wide = n_stars > 1
            && match self.dialect {
                Dialect::Rsync => true,
                Dialect::Git => (start == 0 || self.pattern[start - 1] == b'/') && (rest.is_empty() || rest[0] == b'/'),
            };
        let retry = Retry { pattern_idx: self.pattern_idx, text_idx: self.text_idx };
        if rest.is_empty() {
            let fits = is_wide || !self.text[self.text_idx..].contains(&b'/');
            return if fits { Step::Ends(Compared::Matches) } else { Step::Fails };
        }
        if is_wide {
            (self.wide, self.narrow) = (Some(retry), None);
            if self.dialect == Dialect::Git {
                // Git's `**/` matches nothing at all, or up to a slash.
                self.pattern_idx += 1;
                return Step::Fits;
            }
        } else {
            self.narrow = Some(retry);
        }
        if self.text_idx == self.text.len() { Step::Ends(Compared::TooShort) } else { Step::Fits }
    }

    /// Lets the last star take one byte more.
    fn retry(&mut self) -> Step {
        if let Some(narrow) = &mut self.narrow {
            if self.text[narrow.text_idx] != b'/' {
                narrow.text_idx += 1;
                (self.pattern_idx, self.text_idx) = (narrow.pattern_idx, narrow.text_idx);
                return self.step_on();
            }
            self.narrow = None;
        }
        let Some(wide) = &mut self.wide else {
            return Step::Ends(Compared::Differs);
        };
        match self.dialect {
            Dialect::Rsync => wide.text_idx += 1,
            Dialect::Git => match self.text[wide.text_idx..].iter().position(|&byte| byte == b'/') {
                Some(n_bytes) => {
                    wide.text_idx += n_bytes + 1;
                    (self.pattern_idx, self.text_idx) = (wide.pattern_idx + 1, wide.text_idx);
                    return Step::Fits;
                }
                None => return Step::Ends(Compared::TooShort),
            },
        }
        (self.pattern_idx, self.text_idx) = (wide.pattern_idx, wide.text_idx);
        self.step_on()
    }

    /// What follows a star takes at least one byte.
    fn step_on(&self) -> Step {
        if self.text_idx == self.text.len() { Step::Ends(Compared::TooShort) } else { Step::Fits }
    }
}

/// Whether a byte is in the class whose text behind the `[` is given, and how long that text is. `None`: it is malformed.
fn class(text: &[u8], byte: u8) -> Option<(bool, usize)> {
    let is_negated = matches!(text.first(), Some(b'!' | b'^'));
    let first = usize::from(is_negated);
    let mut idx = first;
    let mut is_in = false;
    // The lower end of a range, if one may begin.
    let mut low = None;
    loop {
        let mut element = *text.get(idx)?;
        if element == b']' && idx > first {
            return Some((is_in != is_negated, idx + 1));
        }
        let next = text.get(idx + 1).copied();
        if let (b'-', Some(from), Some(mut to)) = (element, low, next)
            && to != b']'
        {
            idx += 1;
            if to == b'\\' {
                idx += 1;
                to = *text.get(idx)?;
            }
            is_in |= (from..=to).contains(&byte);
            low = None;
        } else if element == b'[' && next == Some(b':') {
            let n_bytes = text[idx + 2..].iter().position(|&element| element == b']')?;
            match text[idx + 2..idx + 2 + n_bytes].strip_suffix(b":") {
                Some(name) => {
                    is_in |= is_of_class(name, byte)?;
                    idx += 2 + n_bytes;
                    low = None;
                }
                // No name of a class after all.
                None => {
                    is_in |= byte == b'[';
                    low = Some(b'[');
                }
            }
        } else {
            if element == b'\\' {
                idx += 1;
                element = *text.get(idx)?;
            }
            is_in |= byte == element;
            low = Some(element);
        }
        idx += 1;
    }
}

/// Whether a byte is of a named class, as in the C locale. `None`: there is none of this name.
fn is_of_class(name: &[u8], byte: u8) -> Option<bool> {
    Some(match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use torture::random::Random;

    use super::*;

    /// What patterns are made of here: everything that has a meaning of its own, and two letters.
    const ELEMENTS: [&[u8]; 8] = [b"a", b"/", b"*", b"?", b"[!a]", b"[ab]", b"\\*", b"b"];
    const BYTES: [u8; 4] = *b"a/b*";

    /// What a pattern means by its definition, however long that takes: every star tries everything that it may match.
    fn means(dialect: Dialect, pattern: &[u8], before: Option<u8>, text: &[u8]) -> bool {
        let Some(&element) = pattern.first() else {
            return text.is_empty();
        };
        if element == b'*' {
            let n_stars = pattern.iter().take_while(|&&byte| byte == b'*').count();
            let rest = &pattern[n_stars..];
            let is_component = before.is_none_or(|byte| byte == b'/') && rest.first().is_none_or(|&byte| byte == b'/');
            let mut ends = 0..=text.len();
            return match (dialect, n_stars > 1) {
                (Dialect::Git, true) if is_component && !rest.is_empty() => {
                    let is_begin = |end: usize| end == 0 || text[end - 1] == b'/';
                    ends.any(|end| is_begin(end) && means(dialect, &rest[1..], Some(b'/'), &text[end..]))
                }
                (Dialect::Git, true) if is_component => true,
                (Dialect::Rsync, true) => ends.any(|end| means(dialect, rest, Some(b'*'), &text[end..])),
                _ => ends.any(|end| !text[..end].contains(&b'/') && means(dialect, rest, Some(b'*'), &text[end..])),
            };
        }
        let Some((&byte, text)) = text.split_first() else {
            return false;
        };
        let (fits, n_bytes) = match element {
            b'?' => (byte != b'/', 1),
            b'\\' => (pattern[1] == byte, 2),
            b'[' if pattern[1] == b'!' => (byte != pattern[2] && byte != b'/', 4),
            b'[' => (pattern[1..3].contains(&byte), 4),
            literal => (literal == byte, 1),
        };
        fits && means(dialect, &pattern[n_bytes..], Some(pattern[n_bytes - 1]), text)
    }

    fn assert_means(pattern: &[u8], text: &[u8]) {
        for dialect in [Dialect::Rsync, Dialect::Git] {
            let matches = compare(dialect, pattern, text) == Compared::Matches;
            let expected = means(dialect, pattern, None, text);
            assert_eq!(matches, expected, "{dialect:?}: '{}' on '{}'", pattern.escape_ascii(), text.escape_ascii());
        }
    }

    /// Everything that consists of at most so many of the parts.
    fn all_of<const N: usize>(parts: [&[u8]; N], n_most: usize) -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new()];
        let mut begin = 0;
        for _ in 0..n_most {
            let end = all.len();
            for idx in begin..end {
                all.extend(parts.map(|part| [all[idx].as_slice(), part].concat()));
            }
            begin = end;
        }
        all
    }

    #[test]
    fn every_short_pattern_means_on_every_short_text_what_it_is_defined_to() {
        let texts = all_of([b"a", b"/", b"b", b"*"], 4);
        for pattern in all_of(ELEMENTS, 4) {
            texts.iter().for_each(|text| assert_means(&pattern, text));
        }
    }

    #[test]
    fn random_long_patterns_mean_what_they_are_defined_to() {
        let seed = std::env::var("BRIGADE_SEED").map_or_else(|_| Random::fresh_seed(), |seed| seed.parse().unwrap());
        println!("BRIGADE_SEED={seed}");
        let mut random = Random::new(seed);
        for _ in 0..20_000 {
            let n_elements = random.below(10);
            let pattern = (0..n_elements).flat_map(|_| ELEMENTS[random.below(6) as usize]).copied().collect::<Vec<_>>();
            let n_bytes = random.below(14);
            let text = (0..n_bytes).map(|_| BYTES[random.below(4) as usize]).collect::<Vec<_>>();
            assert_means(&pattern, &text);
        }
    }
}
