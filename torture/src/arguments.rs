//! The few options that campaigns take. A wrong one ends the program with its usage, before anything is begun.

/// The words after the program's name, taken one option at a time.
#[derive(Debug)]
pub struct Arguments {
    usage: &'static str,
    words: Vec<String>,
}

impl Arguments {
    /// The words this program was called with.
    #[must_use]
    pub fn of_program(usage: &'static str) -> Self {
        Self { usage, words: std::env::args().skip(1).collect() }
    }

    /// These words.
    #[must_use]
    pub fn of_words(usage: &'static str, words: Vec<String>) -> Self {
        Self { usage, words }
    }

    /// Takes `name` out; whether it was there.
    pub fn flag(&mut self, name: &str) -> bool {
        let place = self.words.iter().position(|word| word == name);
        place.inspect(|&idx| drop(self.words.remove(idx))).is_some()
    }

    /// Takes `name` and the word after it out.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let idx = self.words.iter().position(|word| word == name)?;
        if idx + 1 == self.words.len() {
            self.refuse(&format!("{name} needs a value"));
        }
        self.words.remove(idx);
        Some(self.words.remove(idx))
    }

    /// Takes `name` and the number after it out.
    pub fn number(&mut self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        Some(text.parse().unwrap_or_else(|_| self.refuse(&format!("{name} needs a number, not {text}"))))
    }

    /// Takes `name` and the word after it out, which is one of `words`; which one, the first if it is not there.
    pub fn one_of(&mut self, name: &str, words: &[&str]) -> usize {
        let Some(text) = self.text(name) else { return 0 };
        let place = words.iter().position(|word| *word == text);
        place.unwrap_or_else(|| self.refuse(&format!("{name} is one of {}", words.join(", "))))
    }

    /// Nothing else may be left.
    pub fn finish(self) {
        if let Some(word) = self.words.first() {
            self.refuse(&format!("unknown: {word}"));
        }
    }

    fn refuse(&self, reason: &str) -> ! {
        eprintln!("{reason}\n{}", self.usage);
        std::process::exit(2)
    }
}
