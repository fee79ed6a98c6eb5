//! The sentences about what is at the destination already: what would be done, questions, and policies that contradict each other.

use brigade_copy::Ground;

use crate::language::Language;

catalogue! {
    would_copy(source: &str, destination: &str, reason: &str):
        "would copy {source} -> {destination} ({reason})",
        "将复制 {source} -> {destination}（{reason}）";
    would_delete(path: &str): "would delete {path}", "将删除 {path}";
    would_make(destination: &str): "would make {destination}", "将创建 {destination}";
    would_skip(destination: &str, reason: &str):
        "would skip {destination} ({reason})",
        "将跳过 {destination}（{reason}）";
    would_have_copied(what: &str): "would copy {what}", "将复制 {what}";
    would_have_copied_to(what: &str, destination: &str):
        "would copy {what} to {destination}",
        "将复制 {what}到 {destination}";
    ask_to_replace(destination: &str, reason: &str):
        "replace {destination} ({reason})? y(es), n(o), a(ll), none: ",
        "替换 {destination}（{reason}）？y（是）、n（否）、a（全部）、none（全不）：";
    nobody_to_ask_about_files():
        "'--interactive' asks on a terminal, and there is none",
        "'--interactive' 需要在终端上询问，但没有终端";
    bad_suffix(suffix: &str):
        "{suffix} is not a suffix for backups; it takes characters other than '/'",
        "{suffix} 不能作为备份后缀；应为不含 '/' 的字符";
    bad_version_control(value: &str):
        "{value} in VERSION_CONTROL is no kind of backup; it takes none, off, simple, never, existing, nil, numbered, t",
        "VERSION_CONTROL 中的 {value} 不是备份方式；可用的值：none, off, simple, never, existing, nil, numbered, t";
}

/// Ground an entry is copied or skipped.
pub fn why(language: Language, why: Ground) -> &'static str {
    let (english, chinese) = match why {
        Ground::New => ("new", "新"),
        Ground::TypeDiffers => ("type differs", "类型不同"),
        Ground::SizeDiffers => ("size differs", "大小不同"),
        Ground::TimeDiffers => ("time differs", "时间不同"),
        Ground::ContentsDiffer => ("contents differ", "内容不同"),
        Ground::TargetDiffers => ("target differs", "链接目标不同"),
        Ground::NotLinked => ("not linked", "未链接"),
        Ground::Shared => ("metadata differs", "元数据不同"),
        Ground::ChangedSince => ("changed since the unfinished copy began", "在未完成的复制开始后有改动"),
        Ground::TimesIgnored => ("times ignored", "忽略时间"),
        Ground::Exists => ("exists", "已存在"),
        Ground::NewerThere => ("newer there", "目标较新"),
        Ground::Declined => ("declined", "已拒绝"),
    };
    match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
}
