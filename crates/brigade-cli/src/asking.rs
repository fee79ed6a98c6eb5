//! Asks on the terminal about what is in the place of an entry, one question at a time, while the copy goes on. Nothing here waits:
//! the keys are looked for now and then. Questions come from the engine, which gets the answers.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use brigade_copy::{Answer, Question, shown};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::language::Language;
use crate::messages;

/// Questions on their way from the engine.
pub type Questions = Arc<Mutex<VecDeque<Question>>>;

/// What is asked, and what has been answered for all.
#[derive(Debug)]
pub struct Asking {
    language: Language,
    questions: Questions,
    open: Option<Question>,
    typed: Vec<u8>,
    for_all: Option<Answer>,
}

/// What the user typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Reply {
    answer: Answer,
    scope: Scope,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scope {
    One,
    All,
}

impl Asking {
    /// Nothing is asked yet.
    pub fn new(language: Language, questions: Questions) -> Self {
        Self { language, questions, open: None, typed: Vec::new(), for_all: None }
    }

    /// Whether a question is on the screen.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The next question, to be shown; those that are answered for all are answered with `reply`.
    pub fn next(&mut self, mut reply: impl FnMut(u64, Answer)) -> Option<String> {
        if self.open.is_some() {
            return None;
        }
        loop {
            let question = self.questions.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
            if let Some(answer) = self.for_all {
                reply(question.id, answer);
                continue;
            }
            let why = question.why.map_or("", |why| messages::why(self.language, why));
            let text = messages::ask_to_replace(self.language, &shown(&question.destination).to_string(), why);
            self.open = Some(question);
            return Some(text);
        }
    }

    /// Looks whether a line has been typed; if so, gives the answer to `reply` and returns true.
    pub fn look(&mut self, reply: impl FnOnce(u64, Answer)) -> bool {
        let Some(line) = self.line() else { return false };
        let Some(question) = self.open.take() else { return false };
        let Reply { answer, scope } = read(&line);
        if scope == Scope::All {
            self.for_all = Some(answer);
        }
        reply(question.id, answer);
        true
    }

    /// A line from the terminal, if one is there. The end of the input is an answer for all: nobody is there any more.
    fn line(&mut self) -> Option<Vec<u8>> {
        let stdin = io::stdin();
        loop {
            if let Some(end) = self.typed.iter().position(|&byte| byte == b'\n') {
                return Some(self.typed.drain(..=end).collect());
            }
            let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
            let none = Timespec { tv_sec: 0, tv_nsec: 0 };
            if !matches!(poll(&mut ready, Some(&none)), Ok(n_ready) if n_ready > 0) {
                return None;
            }
            let mut bytes = [0; 256];
            match rustix::io::read(&stdin, &mut bytes) {
                Ok(0) => return Some(b"none".to_vec()),
                Ok(n_read) => self.typed.extend_from_slice(&bytes[..n_read]),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Some(b"none".to_vec()),
            }
        }
    }
}

/// What was meant. As in `cp`, whatever is no yes is a no.
fn read(line: &[u8]) -> Reply {
    let word = std::str::from_utf8(line).unwrap_or_default().trim().to_lowercase();
    let (answer, scope) = match word.as_str() {
        "a" | "all" | "全部" => (Answer::Replace, Scope::All),
        "none" | "全不" => (Answer::Keep, Scope::All),
        word if word.starts_with('y') || word.starts_with('是') => (Answer::Replace, Scope::One),
        _ => (Answer::Keep, Scope::One),
    };
    Reply { answer, scope }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_no_yes_is_a_no() {
        for (line, answer, scope) in [
            ("y\n", Answer::Replace, Scope::One),
            (" Yes \n", Answer::Replace, Scope::One),
            ("是\n", Answer::Replace, Scope::One),
            ("all\n", Answer::Replace, Scope::All),
            ("A\n", Answer::Replace, Scope::All),
            ("none", Answer::Keep, Scope::All),
            ("n\n", Answer::Keep, Scope::One),
            ("\n", Answer::Keep, Scope::One),
            ("perhaps\n", Answer::Keep, Scope::One),
        ] {
            assert_eq!(read(line.as_bytes()), Reply { answer, scope }, "{line:?}");
        }
    }

    #[test]
    fn an_answer_for_all_answers_what_comes_later() {
        let questions = Questions::default();
        let ask = |id| Question { id, source: "a".into(), destination: "b".into(), why: None };
        questions.lock().unwrap().extend([ask(1), ask(2)]);
        let mut asking = Asking::new(Language::English, questions);
        assert_eq!(asking.next(|_, _| unreachable!()).unwrap(), "replace 'b' ()? y(es), n(o), a(ll), none: ");
        asking.typed = b"all\n".to_vec();
        let mut replies = Vec::new();
        assert!(asking.look(|id, answer| replies.push((id, answer))));
        assert_eq!(asking.next(|id, answer| replies.push((id, answer))), None);
        assert_eq!(replies, [(1, Answer::Replace), (2, Answer::Replace)]);
    }
}
