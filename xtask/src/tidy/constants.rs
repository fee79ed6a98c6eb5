//! The numbers that the constants of a Rust file stand for, as far as they can be worked out without a compiler: literals,
//! names of other constants of the file, `+ - * <<`. Which of them ought to be there is asked in heads.rs.

use std::collections::{HashMap, HashSet};

/// The value of each constant in `code`, and each number in the definition of one: `Lock::at(64)` gives 64.
pub(super) fn numbers(code: &str) -> HashSet<u64> {
    let all: Vec<(&str, &str)> = definitions(code).collect();
    // Two modules may have constants of one name. The first one counts where another refers to it.
    let by_name: HashMap<&str, &str> = all.iter().rev().copied().collect();
    let mut numbers = HashSet::new();
    for (_, definition) in all {
        numbers.extend(literals(definition));
        numbers.extend(value(definition, &by_name, 0));
        // Arguments of a call are worked out one by one: `Watchers::at(4, 1 << 10)`.
        numbers.extend(definition.split(['(', ')', ',', '[', ']']).filter_map(|part| value(part, &by_name, 0)));
    }
    numbers
}

/// Each number that is written out in `code`.
pub(super) fn literals(code: &str) -> HashSet<u64> {
    tokens(code).into_iter().filter_map(literal).collect()
}

/// Name and definition of each constant.
fn definitions(code: &str) -> impl Iterator<Item = (&str, &str)> {
    code.split("const ").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once(':')?;
        let (_, rest) = rest.split_once('=')?;
        let (definition, _) = rest.split_once(';')?;
        Some((name.trim(), definition.trim()))
    })
}

/// Constants that are defined by each other do not build; this ends anyway.
const MOST_STEPS: usize = 16;

/// What an expression of literals, names and `+ - * <<` stands for; `*` binds most, `<<` least, as in Rust.
fn value(expression: &str, definitions: &HashMap<&str, &str>, n_steps: usize) -> Option<u64> {
    if n_steps > MOST_STEPS {
        return None;
    }
    let tokens = tokens(expression);
    let mut parser = Parser { tokens: &tokens, definitions, n_steps };
    let value = parser.shifts()?;
    parser.tokens.is_empty().then_some(value)
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    definitions: &'a HashMap<&'a str, &'a str>,
    n_steps: usize,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let is_next = self.tokens.first() == Some(&token);
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }

    fn shifts(&mut self) -> Option<u64> {
        let mut value = self.sums()?;
        while self.take("<<") {
            value = value.checked_shl(u32::try_from(self.sums()?).ok()?)?;
        }
        Some(value)
    }

    fn sums(&mut self) -> Option<u64> {
        let mut value = self.products()?;
        loop {
            if self.take("+") {
                value = value.checked_add(self.products()?)?;
            } else if self.take("-") {
                value = value.checked_sub(self.products()?)?;
            } else {
                return Some(value);
            }
        }
    }

    fn products(&mut self) -> Option<u64> {
        let mut value = self.atom()?;
        while self.take("*") {
            value = value.checked_mul(self.atom()?)?;
        }
        Some(value)
    }

    fn atom(&mut self) -> Option<u64> {
        if self.take("(") {
            let value = self.shifts()?;
            return self.take(")").then_some(value);
        }
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        literal(first).or_else(|| value(self.definitions.get(first)?, self.definitions, self.n_steps + 1))
    }
}

/// Words, `<<`, and every other character by itself.
fn tokens(expression: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let n_bytes = if is_word(first) {
            rest.find(|character| !is_word(character)).unwrap_or(rest.len())
        } else if rest.starts_with("<<") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..n_bytes]);
        rest = rest[n_bytes..].trim_start();
    }
    tokens
}

/// A number as Rust writes it: `1_024`, `0x7f`, `4u32`.
fn literal(token: &str) -> Option<u64> {
    let digits = token.replace('_', "");
    let digits =
        ["usize", "u64", "u32", "u16", "u8"].iter().find_map(|kind| digits.strip_suffix(kind)).unwrap_or(&digits);
    match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_worked_out() {
        let code = "const A: usize = 4 << 10;\npub(crate) const B: usize = A + (512 << 2) * 3;\nconst C: Lock = Lock::at(0x40);\n\
            const D: Row = Row::at(3, A + 1_000);\nconst E: [usize; 2] = [8, 32];\nconst F: u32 = other(E);\nfn f() { 99 }\n";
        let numbers = numbers(code);
        for number in [4096, 4096 + 2048 * 3, 64, 3, 5096, 8, 32] {
            assert!(numbers.contains(&number), "{number} of {numbers:?}");
        }
        assert!(!numbers.contains(&99) && !numbers.contains(&5));
    }

    #[test]
    fn what_is_defined_by_itself_has_no_value() {
        assert_eq!(numbers("const A: u32 = B;\nconst B: u32 = A;\n"), HashSet::new());
    }
}
