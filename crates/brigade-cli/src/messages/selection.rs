//! What is said about the options that select entries.

use crate::language::Language;

catalogue! {
    no_pattern(option: &str, value: &str):
        "--{option} {value}: a rule has no pattern",
        "--{option} {value}：规则缺少模式";
    unreadable_list(path: &str): "cannot read the list {path}", "无法读取列表 {path}";
}
