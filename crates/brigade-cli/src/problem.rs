//! Errors of the engine and of the kernel as sentences in the user's language: the chain of causes, joined with `: ` once.
//! The words are in messages.rs, but for the kernel's, which stand here beside their numbers.

use std::error::Error;
use std::io;
use std::path::Path;

use brigade_copy::{PathError, Reason, Refusal, shown};
use rustix::io::Errno;

use crate::language::Language;
use crate::messages;

/// Why a copy was not begun.
pub fn refusal(language: Language, refusal: &Refusal) -> String {
    let text = |path: &Path| shown(path).to_string();
    match refusal {
        Refusal::NoSource => messages::refused_no_source(language),
        Refusal::Source { path, cause } => {
            let sentence = messages::refused_source(language, &text(path));
            format!("{sentence}: {}", reason(language, cause))
        }
        Refusal::Destination { path, cause } => {
            let sentence = messages::refused_destination(language, &text(path));
            format!("{sentence}: {}", reason(language, cause))
        }
        Refusal::NoAnswer { path, pid } => messages::refused_no_answer(language, &text(path), *pid),
        Refusal::SameEntry { source_path, destination } => {
            messages::refused_same(language, &text(source_path), &text(destination))
        }
        Refusal::InsideSource { source_path, destination } => {
            messages::refused_inside_source(language, &text(source_path), &text(destination))
        }
        Refusal::InsideDestination { source_path, destination } => {
            messages::refused_inside_destination(language, &text(source_path), &text(destination))
        }
        Refusal::TypeMismatch { destination, what, there } => messages::refused_type(
            language,
            messages::entry_type(language, what),
            &text(destination),
            messages::entry_type(language, there),
        ),
        Refusal::NotAFolder { destination } => messages::refused_not_folder(language, &text(destination)),
        Refusal::Collision { destination } => messages::refused_collision(language, &text(destination)),
        Refusal::DeleteNeedsOneFolder => messages::delete_needs_one_folder(language),
        Refusal::ListNeedsOneFolder => messages::list_needs_one_folder(language),
        Refusal::SeveralSources => messages::refused_several(language),
        Refusal::RootBeside => messages::refused_root(language),
        Refusal::NoRoom { destination, want } => {
            messages::refused_room(language, &text(destination), &messages::want(language, *want))
        }
        Refusal::Niceness(cause) => {
            format!("{}: {}", messages::refused_nice(language), reason(language, cause))
        }
        Refusal::Sandbox(lack) => {
            format!("{}: {}", messages::refused_sandbox(language), messages::lack(language, lack))
        }
        Refusal::Workers(cause) => {
            let sentence = messages::refused_workers(language);
            format!("{sentence}: {}", chain(language, cause.as_ref()))
        }
        // A reason that this command does not know yet is told in the engine's words.
        other => chain(language, other),
    }
}

/// What could not be done, to which path, and why.
pub fn path_error(language: Language, error: &PathError) -> String {
    let path = shown(&error.path).to_string();
    let sentence = messages::cannot(language, error.action, &path);
    format!("{sentence}: {}", reason(language, &error.cause))
}

/// The reason alone, with the kernel's number where there is one.
pub fn reason(language: Language, cause: &io::Error) -> String {
    if let Some(reason) = cause.get_ref().and_then(|inner| inner.downcast_ref::<Reason>()) {
        return messages::copy_reason(language, reason);
    }
    let number = cause.raw_os_error();
    match (language, number, number.and_then(in_chinese)) {
        (Language::Chinese, Some(number), Some(text)) => format!("{text} (os error {number})"),
        _ => cause.to_string(),
    }
}

fn chain(language: Language, error: &(dyn Error + 'static)) -> String {
    let sentence = match error.downcast_ref::<io::Error>() {
        Some(cause) => reason(language, cause),
        None => error.to_string(),
    };
    match error.source() {
        Some(source) => format!("{sentence}: {}", chain(language, source)),
        None => sentence,
    }
}

/// The errors that a copy meets, in the words that the C library uses under a Chinese locale.
fn in_chinese(number: i32) -> Option<&'static str> {
    Some(match Errno::from_raw_os_error(number) {
        Errno::PERM => "不允许的操作",
        Errno::NOENT => "没有那个文件或目录",
        Errno::IO => "输入/输出错误",
        Errno::ACCESS => "权限不够",
        Errno::EXIST => "文件已存在",
        Errno::NOTDIR => "不是目录",
        Errno::ISDIR => "是一个目录",
        Errno::MFILE => "打开的文件过多",
        Errno::NOSPC => "设备上没有空间",
        Errno::ROFS => "只读文件系统",
        Errno::PIPE => "断开的管道",
        Errno::NAMETOOLONG => "文件名过长",
        Errno::LOOP => "符号链接的层数过多",
        Errno::DQUOT => "超出磁盘限额",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use brigade_copy::{Action, EntryName};

    use super::*;

    fn denied(action: Action, path: &str) -> PathError {
        PathError { action, path: path.into(), cause: io::Error::from_raw_os_error(1), entry: EntryName::default() }
    }

    #[test]
    fn an_error_names_action_path_and_reason() {
        let error = denied(Action::SetTimes, "b/x");
        assert_eq!(
            path_error(Language::English, &error),
            "cannot set times of 'b/x': Operation not permitted (os error 1)"
        );
        assert_eq!(path_error(Language::Chinese, &error), "无法设置 'b/x' 的时间: 不允许的操作 (os error 1)");
    }

    #[test]
    fn the_english_words_are_the_engines_own() {
        for error in [denied(Action::Replace, "a\nb"), denied(Action::CreateHardLink, "x")] {
            let engine = format!("{error}: {}", error.cause);
            assert_eq!(path_error(Language::English, &error), engine);
        }
        let refused = Refusal::InsideSource { source_path: "a".into(), destination: "a/b".into() };
        assert_eq!(refusal(Language::English, &refused), refused.to_string());
        let refused = Refusal::TypeMismatch { destination: "a".into(), what: "a folder", there: "not a folder" };
        assert_eq!(refusal(Language::English, &refused), refused.to_string());
        assert_eq!(refusal(Language::Chinese, &refused), "无法用文件夹替换 'a'，后者不是文件夹");
    }

    #[test]
    fn a_cause_below_a_refusal_is_told_once() {
        let refused = Refusal::Source { path: "gone".into(), cause: io::Error::from_raw_os_error(2) };
        assert_eq!(refusal(Language::English, &refused), "cannot stat 'gone': No such file or directory (os error 2)");
        assert_eq!(refusal(Language::Chinese, &refused), "无法读取 'gone' 的信息: 没有那个文件或目录 (os error 2)");
        let refused = Refusal::Workers(Box::new(io::Error::from_raw_os_error(12)));
        assert_eq!(refusal(Language::Chinese, &refused), "无法启动工作进程: Cannot allocate memory (os error 12)");
    }

    #[test]
    fn an_unknown_cause_keeps_its_own_text() {
        let cause = io::Error::other("a reason of its own");
        assert_eq!(reason(Language::Chinese, &cause), "a reason of its own");
        let cause = io::Error::other(Reason::Changed);
        assert_eq!(reason(Language::English, &cause), "it changed while it was being copied");
        assert_eq!(reason(Language::Chinese, &cause), "复制过程中源文件一直在变化");
    }
}
