//! The catalogue: every sentence of the command, in both languages side by side. A message that lacks one does not compile.
//! When a sentence is said is decided elsewhere; the exit table is in exit.rs, the texts of the kernel's errors in problem.rs.

use brigade_copy::{Action, Reason};

use crate::language::Language;

/// Each entry becomes a function of that name: the language, the arguments, and the text.
macro_rules! catalogue {
    ($($name:ident($($argument:ident: $type:ty),*): $english:literal, $chinese:literal;)*) => {
        $(
            pub fn $name(language: Language $(, $argument: $type)*) -> String {
                match language {
                    Language::English => format!($english),
                    Language::Chinese => format!($chinese),
                }
            }
        )*
    };
}

mod commands;
mod delete;
mod fidelity;
mod help;
mod output;
mod policy;
mod resume;
mod room;
mod safety;
mod sandbox;
mod selection;
mod speed;
mod stall;
mod verify;

pub use commands::*;
pub use delete::*;
pub use fidelity::{facet_line, lost_of_entry, lost_words};
pub use help::{group, help};
pub use output::*;
pub use policy::*;
pub use resume::*;
pub use room::*;
pub use safety::*;
pub use sandbox::*;
pub use selection::*;
pub use speed::*;
pub use stall::*;
pub use verify::*;

// ---- Help ----

catalogue! {
    about():
        "Brigade copies folders with a pool of worker processes.",
        "Brigade 用一组工作进程复制文件夹。";
    about_copy():
        "Copies files and folders with a pool of worker processes, as cp -a does.",
        "用一组工作进程复制文件和文件夹，像 cp -a 一样忠实。";
    usage_heading(): "Usage:", "用法：";
    options_heading(): "Options:", "选项：";
    commands_heading(): "Commands:", "命令：";
    exit_heading(): "Exit status:", "退出状态：";
    usage():
        "brigade COMMAND [OPTIONS]",
        "brigade 命令 [选项]";
    usage_copy():
        "brigade copy [OPTIONS] SOURCE... DESTINATION
      into DESTINATION/NAME if DESTINATION is a folder, else as DESTINATION
  brigade copy [OPTIONS] SOURCE
      makes SOURCE_copy beside it
  brigade copy [OPTIONS]
      asks for the folder, on a terminal",
        "brigade copy [选项] 源... 目标
      目标是文件夹时复制为 目标/名称，否则复制为 目标
  brigade copy [选项] 源
      在旁边生成 源_复件
  brigade copy [选项]
      在终端上询问要复制的文件夹";
    notes_copy():
        "A trailing slash on SOURCE changes nothing; SOURCE/. means its contents.
-a -r -R -p -d (also --archive and --recursive) are accepted and change nothing: folders are always copied whole, with modes, owners, times, extended attributes, ACLs, capabilities, symbolic links and hard links.",
        "源末尾的斜杠没有影响；“源/.”表示其中的内容。
可以使用 -a -r -R -p -d（以及 --archive 和 --recursive），但它们不改变任何行为。
始终完整复制文件夹，并保留权限、所有者、时间、扩展属性、ACL、capabilities、符号链接和硬链接。";
}

// ---- Wrong use ----

catalogue! {
    try_help(command: &str):
        "try '{command} --help'",
        "请尝试 '{command} --help'";
    unknown_option(option: &str): "unknown option {option}", "未知选项 {option}";
    unknown_command(command: &str): "unknown command {command}", "未知命令 {command}";
    similar(name: &str): "did you mean '{name}'?", "您是不是想用 '{name}'？";
    needs_value(option: &str): "option '{option}' needs a value", "选项 '{option}' 需要一个值";
    takes_no_value(option: &str): "option '{option}' takes no value", "选项 '{option}' 不接受值";
    bad_value(option: &str, value: &str):
        "{value} is not a value for '{option}'",
        "{value} 不是 '{option}' 的有效值";
    possible_values(values: &str): "it takes {values}", "可用的值：{values}";
    workers_range(most: usize):
        "it takes a whole number from 1 to {most}",
        "应为 1 到 {most} 的整数";
    not_together(one: &str, other: &str):
        "'{one}' and '{other}' cannot be used together",
        "'{one}' 和 '{other}' 不能同时使用";
    dry_run_of_rsync():
        "what rsync calls -n is '--dry-run'",
        "rsync 的 -n 在这里是 '--dry-run'";
    missing_source(): "missing source", "缺少源";
    missing_destination_after(path: &str):
        "missing destination after {path}",
        "{path} 之后缺少目标";
    extra_operand(path: &str):
        "with -T there is one source and one destination; extra operand {path}",
        "使用 -T 时只能有一个源和一个目标；多余的参数 {path}";
    not_a_folder(path: &str): "{path} is not a folder", "{path} 不是文件夹";
    nobody_to_ask():
        "no folder given, and standard input is not a terminal to ask on",
        "没有给出文件夹，标准输入也不是可以询问的终端";
}

// ---- The question for the folder ----

catalogue! {
    ask_folder(): "Folder to copy: ", "请输入要复制的文件夹：";
    asked_missing(path: &str): "there is no folder {path}", "没有文件夹 {path}";
    asked_not_folder(path: &str): "{path} is not a folder", "{path} 不是文件夹";
    asked_unusable(path: &str, reason: &str): "cannot use {path}: {reason}", "无法使用 {path}: {reason}";
    followed(link: &str, folder: &str):
        "{link} is a symbolic link; copying the folder {folder}",
        "{link} 是符号链接；将复制文件夹 {folder}";
    making(destination: &str): "making {destination}", "正在生成 {destination}";
}

// ---- While it runs ----

catalogue! {
    copying(): "copying", "正在复制";
    found(count: &str): "{count} found", "找到 {count}";
    done(count: &str): "{count} done", "完成 {count}";
    entries(counts: &str): "{counts} entries", "{counts} 项";
    entries_rate(count: &str): "{count} entries/s", "{count} 项/秒";
    time_left(time: &str): "{time} left", "剩余 {time}";
    lane_idle(): "waiting", "等待";
    lane_listing(): "listing", "列目录";
    lane_copying(): "copying", "复制";
    worker_started(pid: u32): "worker {pid} started", "工作进程 {pid} 已启动";
    worker_killed(pid: u32, signal: i32):
        "worker {pid} was killed by signal {signal}; its task goes to another",
        "工作进程 {pid} 被信号 {signal} 终止；其任务交给另一个进程";
    worker_ended(pid: u32):
        "worker {pid} ended before its time; its task goes to another",
        "工作进程 {pid} 提前结束；其任务交给另一个进程";
    file_copied(source: &str, destination: &str): "{source} -> {destination}", "{source} -> {destination}";
    file_unchanged(destination: &str): "unchanged: {destination}", "未变：{destination}";
    file_skipped(destination: &str): "skipped: {destination}", "跳过：{destination}";
    output_closed(reason: &str):
        "cannot write to standard output: {reason}; the copy goes on without it",
        "无法写入标准输出: {reason}；复制继续进行，但不再输出";
}

// ---- The end ----

catalogue! {
    copied(what: &str): "copied {what}", "已复制 {what}";
    copied_to(what: &str, destination: &str): "copied {what} to {destination}", "已复制 {what}到 {destination}";
    stopping(): "stopping; another Ctrl-C ends it at once", "正在停止；再按一次 Ctrl-C 立即结束";
    interrupted(summary: &str): "interrupted: {summary}", "已中断：{summary}";
    unfinished(summary: &str): "not finished: {summary}", "未完成：{summary}";
    nothing(): "nothing", "0 项";
    within(time: &str): " in {time}", "，用时 {time}";
    sized(bytes: &str): " ({bytes})", "（{bytes}）";
    ledger(found: &str, copied: &str, unchanged: &str, skipped: &str, failed: &str):
        "found {found} = copied {copied} + unchanged {unchanged} + skipped {skipped} + failed {failed}",
        "找到 {found} = 已复制 {copied} + 未变 {unchanged} + 跳过 {skipped} + 失败 {failed}";
    broke_off(reason: &str): "the copy broke off: {reason}", "复制中断: {reason}";
    to_go_on(command: &str): "to go on: {command}", "继续复制请运行：{command}";
}

/// Something that is counted; the number comes grouped, and alone for the plural.
macro_rules! counted {
    ($($name:ident: $one:literal, $many:literal, $chinese:literal;)*) => {
        $(
            pub fn $name(language: Language, count: u64) -> String {
                let number = crate::units::grouped(count);
                match language {
                    Language::English if count == 1 => format!("{number} {}", $one),
                    Language::English => format!("{number} {}", $many),
                    Language::Chinese => format!("{number} {}", $chinese),
                }
            }
        )*
    };
}

counted! {
    files: "file", "files", "个文件";
    folders: "folder", "folders", "个文件夹";
    symlinks: "symlink", "symlinks", "个符号链接";
    hard_links: "hard link", "hard links", "个硬链接";
    entries_in_all: "entry", "entries", "项";
    special_files: "special file", "special files", "个特殊文件";
    unchanged: "unchanged", "unchanged", "项未变";
    skipped: "skipped", "skipped", "项跳过";
    failed: "failed", "failed", "项失败";
    deleted: "deleted", "deleted", "项已删除";
    would_be_deleted: "would be deleted", "would be deleted", "项将被删除";
    not_deleted: "could not be deleted", "could not be deleted", "项无法删除";
    changed: "changed while being read", "changed while being read", "项在读取时发生变化";
    workers: "worker", "workers", "个工作进程";
    verified: "verified", "verified", "个文件已校验";
    rewritten: "read back wrong and written again", "read back wrong and written again", "个文件读回有误并已重写";
    lost_workers: "worker lost", "workers lost", "个工作进程丢失";
}

/// Between two sentences of one line.
pub fn semicolon(language: Language) -> &'static str {
    match language {
        Language::English => "; ",
        Language::Chinese => "；",
    }
}

/// Between the parts of a list.
pub fn comma(language: Language) -> &'static str {
    match language {
        Language::English => ", ",
        Language::Chinese => "，",
    }
}

// ---- What the engine reports ----

catalogue! {
    refused_no_source(): "no source given", "没有给出源";
    refused_source(path: &str): "cannot stat {path}", "无法读取 {path} 的信息";
    refused_destination(path: &str): "cannot use destination {path}", "无法使用目标 {path}";
    refused_same(source: &str, destination: &str):
        "{source} and {destination} are the same",
        "{source} 和 {destination} 是同一个";
    refused_inside_source(source: &str, destination: &str):
        "cannot copy {source} into itself, {destination}",
        "无法将 {source} 复制到它自身之中：{destination}";
    refused_inside_destination(source: &str, destination: &str):
        "{source} lies inside its own destination {destination}",
        "{source} 位于它自己的目标 {destination} 之中";
    refused_type(what: &str, destination: &str, there: &str):
        "cannot put {what} over {destination}, which is {there}",
        "无法用{what}替换 {destination}，后者{there}";
    refused_not_folder(destination: &str):
        "destination {destination} is not a folder, and there are several sources",
        "目标 {destination} 不是文件夹，而源有多个";
    refused_collision(destination: &str):
        "two sources would both become {destination}",
        "两个源都会成为 {destination}";
    refused_several():
        "only one source can be copied to exactly one place",
        "只能把一个源复制到指定的一个位置";
    refused_root(): "the root folder cannot be copied beside itself", "根文件夹无法复制到它自己的旁边";
    refused_workers(): "cannot start the worker processes", "无法启动工作进程";
    refused_signals(): "cannot watch for signals", "无法监听信号";
}

/// The engine's own words for types of entries, as they stand in a refusal.
pub fn entry_type(language: Language, english: &'static str) -> &'static str {
    match (language, english) {
        (Language::Chinese, "a folder") => "文件夹",
        (Language::Chinese, "a file") => "文件",
        (Language::Chinese, "not a folder") => "不是文件夹",
        _ => english,
    }
}

/// What could not be done to a path.
pub fn cannot(language: Language, action: Action, path: &str) -> String {
    match language {
        Language::English => format!("cannot {action} {path}"),
        Language::Chinese => cannot_in_chinese(action, path),
    }
}

/// Why an entry could not be copied, where the reason is none of the kernel's.
pub fn copy_reason(language: Language, reason: &Reason) -> String {
    let chinese = match (language, reason) {
        (_, Reason::Lost(lost)) => return fidelity::reason_lost(language, &lost_words(language, *lost)),
        (Language::English, _) => return reason.to_string(),
        (Language::Chinese, Reason::Changed) => "复制过程中源文件一直在变化",
        (Language::Chinese, Reason::BecameOther) => "复制过程中它变成了别的类型",
        (Language::Chinese, Reason::FolderInTheWay) => "同名文件夹挡住了位置",
        (Language::Chinese, Reason::NoFolder) => "同名的非文件夹项挡住了位置",
        (Language::Chinese, Reason::Replaced) => "它的位置已被别的东西占据",
        (Language::Chinese, Reason::Spoilt) => "读回的内容与写入的不同，重新写入后仍然如此",
        (Language::Chinese, Reason::ChangedInComparison) => "比较过程中它发生了变化",
        (Language::Chinese, Reason::MountPoint) => "那里挂载了另一个文件系统",
        (Language::Chinese, Reason::NameTaken) => "源中的另一项已经占用了这个名称",
        (Language::Chinese, Reason::Stalled) => "其文件系统没有应答",
        (Language::Chinese, Reason::WorkersDied) => "每个处理它的工作进程都意外结束了",
        (Language::Chinese, Reason::Endless) => "内核即时生成的内容没有尽头",
        (Language::Chinese, Reason::LinkLoop) => "它指回了上层文件夹",
        (Language::Chinese, Reason::InsideCopy) => "它指向副本内部",
        // The engine may learn of more; its own words are better than none.
        (Language::Chinese, other) => return other.to_string(),
    };
    chinese.to_owned()
}

fn cannot_in_chinese(action: Action, path: &str) -> String {
    match action {
        Action::Stat => format!("无法读取 {path} 的信息"),
        Action::Open => format!("无法打开 {path}"),
        Action::List | Action::ListDestination => format!("无法读取文件夹 {path}"),
        Action::Reach => format!("无法到达 {path}"),
        Action::Read => format!("无法读取 {path}"),
        Action::Create => format!("无法创建文件 {path}"),
        Action::CreateDirectory => format!("无法创建文件夹 {path}"),
        Action::CreateSymlink => format!("无法创建符号链接 {path}"),
        Action::CreateHardLink => format!("无法创建硬链接 {path}"),
        Action::CreateSpecial => format!("无法创建特殊文件 {path}"),
        Action::Write => format!("无法写入 {path}"),
        Action::Rename => format!("无法重命名 {path}"),
        Action::Remove => format!("无法删除 {path}"),
        Action::SetOwner => format!("无法设置 {path} 的所有者"),
        Action::SetMode => format!("无法设置 {path} 的权限"),
        Action::ReadAttributes => format!("无法读取 {path} 的扩展属性"),
        Action::SetAttributes => format!("无法设置 {path} 的扩展属性"),
        Action::SetTimes => format!("无法设置 {path} 的时间"),
        Action::Copy => format!("无法复制 {path}"),
        Action::Replace => format!("无法替换 {path}"),
        Action::Compare => format!("无法比较 {path}"),
        Action::Clone => format!("无法克隆 {path}"),
        Action::Preserve => format!("无法完整保留 {path}"),
        Action::Verify => format!("无法校验 {path}"),
        Action::Flush => format!("无法把 {path} 写入磁盘"),
        Action::Commit => format!("无法完成 {path}"),
        // The engine may learn to do more; its own verb is better than none.
        other => format!("无法处理 {path}（{other}）"),
    }
}
