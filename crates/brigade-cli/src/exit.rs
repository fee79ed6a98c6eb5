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
    Row {
        status: "0",
        english: "everything was copied",
        chinese: "全部复制完成",
    },
    Row {
        status: "1",
        english: "some entries failed (each is named), or the run or its JSON report broke off",
        chinese: "部分条目失败（逐一列出），或者复制或 JSON 报告中断",
    },
    Row {
        status: "2",
        english: "wrong use, or refused: nothing was written",
        chinese: "用法错误或被拒绝：没有写入任何内容",
    },
    Row {
        status: "129",
        english: "ended by SIGHUP, cleaned up",
        chinese: "被 SIGHUP 终止，已清理",
    },
    Row {
        status: "130",
        english: "ended by SIGINT (Ctrl-C), cleaned up",
        chinese: "被 SIGINT（Ctrl-C）终止，已清理",
    },
    Row {
        status: "143",
        english: "ended by SIGTERM, cleaned up",
        chinese: "被 SIGTERM 终止，已清理",
    },
];

/// The table as `--help` shows it.
pub fn table(language: Language) -> String {
    let rows = TABLE
        .iter()
        .map(|row| format!("  {:<5} {}", row.status, row.meaning(language)));
    rows.collect::<Vec<_>>().join("\n")
}
