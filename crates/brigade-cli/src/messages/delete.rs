//! What is said about removing what the source does not have.

use brigade_copy::RemovalCeased;

use crate::language::Language;

catalogue! {
    deleting_from(destination: &str, source: &str):
        "after the copy, everything in {destination} that {source} does not have will be deleted",
        "复制完成后，将删除 {destination} 中 {source} 所没有的一切";
    deleted_entry(path: &str): "deleted: {path}", "已删除：{path}";
    delete_needs_one_folder():
        "with --delete there is exactly one source, and it is a folder",
        "使用 --delete 时只能有一个源，而且必须是文件夹";
    lane_removing(): "erasing", "删除";
}

/// Why something was left that was to go.
pub fn removal_ceased(language: Language, why: RemovalCeased) -> String {
    let text = match (language, why) {
        (Language::English, RemovalCeased::SourceUnread) => {
            "nothing was deleted from here on: some of the source could not be read"
        }
        (Language::Chinese, RemovalCeased::SourceUnread) => "此后没有删除任何内容：源的一部分无法读取",
        (Language::English, RemovalCeased::SourceEmpty) => {
            "nothing was deleted: the source is empty, as if it were not mounted"
        }
        (Language::Chinese, RemovalCeased::SourceEmpty) => "没有删除任何内容：源是空的，可能没有挂载",
    };
    text.to_owned()
}
