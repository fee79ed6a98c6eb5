//! What each command is for, how it is called, and what stands below its options: for `--help` and the manual page.

use crate::language::Language;

/// The commands, in the order of the help.
pub const COMMANDS: [&str; 4] = ["copy", "verify", "completions", "man"];

/// The texts of one command.
#[derive(Clone, Debug, Default)]
pub struct CommandTexts {
    /// One sentence.
    pub about: String,
    /// The ways to call it: each begins with `brigade` two columns in, and is explained six columns in.
    pub usage: String,
    /// Paragraphs for below the options.
    pub notes: String,
}

/// The texts of the command of this name.
pub fn command_texts(language: Language, name: &str) -> CommandTexts {
    match name {
        "copy" => CommandTexts {
            about: super::about_copy(language),
            usage: super::usage_copy(language),
            notes: super::notes_copy(language),
        },
        "verify" => CommandTexts {
            about: super::about_verify(language),
            usage: super::usage_verify(language),
            notes: super::notes_verify(language),
        },
        "completions" => CommandTexts {
            about: about_completions(language),
            usage: usage_completions(language),
            notes: notes_completions(language),
        },
        _ => CommandTexts { about: about_man(language), usage: usage_man(language), notes: notes_man(language) },
    }
}

catalogue! {
    about_completions():
        "Prints a script with which a shell completes the command's arguments.",
        "输出 shell 补全脚本。";
    usage_completions():
        "brigade completions SHELL
      SHELL is bash, zsh, fish, elvish or powershell",
        "brigade completions SHELL
      SHELL 为 bash、zsh、fish、elvish 或 powershell";
    notes_completions():
        "For the bash that is running: source <(brigade completions bash)",
        "在当前的 bash 中启用：source <(brigade completions bash)";
    about_man():
        "Prints the manual page, for man -l or a folder of manual pages.",
        "输出手册页，可交给 man -l 或放入手册页文件夹。";
    usage_man(): "brigade man", "brigade man";
    notes_man():
        "To read it: brigade man | man -l -",
        "阅读方法：brigade man | man -l -";
    cannot_print(reason: &str): "cannot write to standard output: {reason}", "无法写入标准输出: {reason}";
    missing_shell():
        "missing SHELL: bash, zsh, fish, elvish or powershell",
        "缺少 SHELL：bash、zsh、fish、elvish 或 powershell";
}

// ---- The headings of the manual page ----

catalogue! {
    manual_name(): "NAME", "名称";
    manual_synopsis(): "SYNOPSIS", "概要";
    manual_description(): "DESCRIPTION", "描述";
    manual_options(): "OPTIONS", "选项";
    manual_exit(): "EXIT STATUS", "退出状态";
    manual_title(): "Brigade Manual", "Brigade 手册";
}
