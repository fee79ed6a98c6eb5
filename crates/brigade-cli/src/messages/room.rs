//! What is said about room at the destination.

use brigade_copy::Want;

use crate::language::Language;

catalogue! {
    refused_room(destination: &str, want: &str):
        "cannot write {destination}: its file system {want}",
        "无法写入 {destination}：其文件系统{want}";
    bytes_short(needed: &str, free: &str):
        "warning: more was found than there is room for: {needed} so far, {free} free",
        "警告：找到的内容超出可用空间：目前 {needed}，可用 {free}";
    entries_short(needed: &str, free: &str):
        "warning: more entries were found than there are free inodes: {needed} so far, {free} free",
        "警告：找到的条目多于可用的 inode：目前 {needed} 项，可用 {free} 个";
}

/// What a file system lacks.
pub fn want(language: Language, want: Want) -> String {
    let chinese = match (language, want) {
        (Language::English, want) => return want.to_string(),
        (Language::Chinese, Want::Writable) => "是只读的",
        (Language::Chinese, Want::Bytes) => "已满",
        (Language::Chinese, Want::Entries) => "没有可用的 inode",
        (Language::Chinese, Want::LargeFiles) => "不支持这么大的文件",
        // The engine may learn of more; its own words are better than none.
        (Language::Chinese, other) => return other.to_string(),
    };
    chinese.to_owned()
}
