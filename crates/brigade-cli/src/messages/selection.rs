//! What is said about the options that select entries.

use crate::language::Language;

catalogue! {
    no_pattern(option: &str, value: &str):
        "--{option} {value}: a rule has no pattern",
        "--{option} {value}：规则缺少模式";
    list_needs_one_folder():
        "with --files-from there is exactly one source, and it is a folder",
        "使用 --files-from 时只能有一个源，而且必须是文件夹";
    listed_upwards(name: &str):
        "--files-from has a name with '..' in it: {name}",
        "--files-from 中有含“..”的名称：{name}";
    listed_zero_byte(name: &str):
        "--files-from has a name with a zero byte in it, try -0: {name}",
        "--files-from 中有含零字节的名称，请试用 -0：{name}";
    standard_input_twice():
        "--files-from and --exclude-from cannot both be read from standard input",
        "--files-from 和 --exclude-from 不能都从标准输入读取";
    unreadable_list(path: &str): "cannot read the list {path}", "无法读取列表 {path}";
}
