//! The exit statuses: the one table behind the code, `--help` and README (a test compares them). Dying of a signal is done
//! in signals.rs.

use std::process::ExitCode;

use crate::language::Language;

/// How the command ended by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Everything was copied.
    Done = 0,
    /// Something was left undone, and it was said what.
    Incomplete = 1,
    /// Nothing was begun.
    Refused = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// One row of the table.
pub struct Row {
    /// What a shell sees in `$?`.
    pub status: &'static str,
    english: &'static str,
    chinese: &'static str,
}

impl Row {
    /// What the status says.
    pub fn meaning(&self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::Chinese => self.chinese,
        }
    }
}

/// All statuses, in order.
pub const TABLE: [Row; 6] = [
    Row { status: "0", english: "everything was copied", chinese: "全部复制完成" },
    Row {
        status: "1",
        english: "some entries failed, each named; or the run or its report broke off",
        chinese: "部分条目失败（逐一列出），或者复制或其报告中断",
    },
    Row {
        status: "2",
        english: "wrong use, or refused: nothing was written",
        chinese: "用法错误或被拒绝：没有写入任何内容",
    },
    Row { status: "129", english: "ended by SIGHUP, cleaned up", chinese: "被 SIGHUP 终止，已清理" },
    Row {
        status: "130", english: "ended by SIGINT (Ctrl-C), cleaned up", chinese: "被 SIGINT（Ctrl-C）终止，已清理"
    },
    Row { status: "143", english: "ended by SIGTERM, cleaned up", chinese: "被 SIGTERM 终止，已清理" },
];

/// The statuses of `brigade verify`, as far as they mean something else.
pub const VERIFY_TABLE: [Row; 3] = [
    Row { status: "0", english: "the same", chinese: "相同" },
    Row { status: "1", english: "different, each difference named", chinese: "不同（逐一列出）" },
    Row {
        status: "2",
        english: "could not compare: wrong use, or something could not be read",
        chinese: "无法比较：用法错误，或者有内容无法读取",
    },
];

/// The table as `--help` shows it.
pub fn table(language: Language) -> String {
    told(&TABLE, language)
}

/// The table of `brigade verify`.
pub fn verify_table(language: Language) -> String {
    told(&VERIFY_TABLE, language)
}

fn told(rows: &[Row], language: Language) -> String {
    let rows = rows.iter().map(|row| format!("  {:<5} {}", row.status, row.meaning(language)));
    rows.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments;

    fn help(language: Language) -> String {
        let mut command = arguments::command(language);
        let copy = command.find_subcommand_mut("copy").expect("there is such a command");
        copy.render_long_help().to_string()
    }

    #[test]
    fn help_shows_the_table_in_both_languages() {
        for language in [Language::English, Language::Chinese] {
            let help = help(language);
            for row in &TABLE {
                let line = format!("  {:<5} {}", row.status, row.meaning(language));
                assert!(help.lines().any(|told| told == line), "{line:?} in {help}");
            }
        }
    }

    #[test]
    fn readme_shows_the_same_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let readme = std::fs::read_to_string(path).expect("README.md is part of the workspace");
        for row in &TABLE {
            let line = format!("| {} | {} |", row.status, row.meaning(Language::English));
            assert!(readme.contains(&line), "README.md lacks the row {line:?}");
        }
    }

    #[test]
    fn the_codes_are_those_of_the_table() {
        let codes = [Exit::Done, Exit::Incomplete, Exit::Refused].map(|exit| (exit as u8).to_string());
        assert_eq!(codes, [TABLE[0].status, TABLE[1].status, TABLE[2].status]);
    }
}
