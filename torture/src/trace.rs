//! Reads what strace(1) has written about the processes of a run, one file for each thread, as `strace -ff -ttt -o` makes
//! them. What the calls must be like is for those who read them.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// What one thread did, in order.
#[derive(Debug)]
pub struct Thread {
    /// Its number, and that of its process if it is the first.
    pub id: u32,
    /// Its calls.
    pub calls: Vec<Call>,
}

/// One call to the kernel.
#[derive(Debug)]
pub struct Call {
    /// When it was made, in seconds.
    pub at: f64,
    /// Its name; `syscall_0x…` where strace does not know it.
    pub name: String,
    /// Its arguments as strace shows them.
    pub arguments: Vec<String>,
    /// What came of it, likewise.
    pub result: String,
}

impl Call {
    /// An argument that is text, without its quotes; others are none.
    #[must_use]
    pub fn text(&self, argument_idx: usize) -> Option<&str> {
        self.arguments.get(argument_idx)?.strip_prefix('"')?.strip_suffix('"')
    }

    /// Whether an argument names this flag.
    #[must_use]
    pub fn has(&self, argument_idx: usize, flag: &str) -> bool {
        self.arguments.get(argument_idx).is_some_and(|flags| flags.split('|').any(|word| word.trim() == flag))
    }
}

/// The command, watched by strace, which writes into `folder`.
#[must_use]
pub fn traced(command: &Command, folder: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-ff", "-ttt", "-qq", "-s", "4096", "-o"]).arg(folder.join("trace"));
    traced.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(at) = command.get_current_dir() {
        traced.current_dir(at);
    }
    traced
}

/// All threads that were watched, the oldest first.
#[must_use]
pub fn threads(folder: &Path) -> Vec<Thread> {
    let mut threads: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let id = path.extension().unwrap().to_str().unwrap().parse().unwrap();
            let calls = String::from_utf8_lossy(&fs::read(path).unwrap()).lines().filter_map(call_in).collect();
            Thread { id, calls }
        })
        .collect();
    threads.sort_by(|a: &Thread, b| {
        let began = |thread: &Thread| thread.calls.first().map_or(f64::INFINITY, |call| call.at);
        began(a).total_cmp(&began(b))
    });
    threads
}

/// The call in a line; signals and ends are none.
fn call_in(line: &str) -> Option<Call> {
    let (at, rest) = line.split_once(' ')?;
    let (name, rest) = rest.split_once('(')?;
    if name.contains(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
        return None;
    }
    let (arguments, rest) = arguments_in(rest);
    let result = rest.trim_start().trim_start_matches('=').trim().to_owned();
    Some(Call { at: at.parse().ok()?, name: name.to_owned(), arguments, result })
}

/// What stands between the commas, up to the parenthesis that closes, and what follows that.
fn arguments_in(text: &str) -> (Vec<String>, &str) {
    let (mut arguments, mut argument) = (Vec::new(), String::new());
    let (mut depth, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                arguments.extend((!argument.trim().is_empty()).then(|| argument.trim().to_owned()));
                return (arguments, &text[at + 1..]);
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(argument.trim().to_owned());
                argument.clear();
                continue;
            }
            _ => {}
        }
        argument.push(letter);
    }
    arguments.push(argument.trim().to_owned());
    (arguments, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_parentheses_in_names_part_nothing() {
        let call = call_in(r#"12.5 openat(3, "a,\"b)", O_RDONLY|O_NOFOLLOW, 0600) = 4"#).unwrap();
        assert_eq!((call.name.as_str(), call.at, call.result.as_str()), ("openat", 12.5, "4"));
        assert_eq!(call.arguments, ["3", r#""a,\"b)""#, "O_RDONLY|O_NOFOLLOW", "0600"]);
        assert_eq!(call.text(1), Some(r#"a,\"b)"#));
        assert!(call.has(2, "O_NOFOLLOW") && !call.has(2, "O_NO"));
        let call = call_in("1.0 fstat(3, {st_mode=S_IFREG|0644, st_size=1, ...}) = 0").unwrap();
        assert_eq!(call.arguments.len(), 2);
        assert_eq!(call_in("1.0 getpid()                = 7").unwrap().arguments.len(), 0);
        assert!(call_in("1.0 +++ exited with 0 +++").is_none());
    }
}
