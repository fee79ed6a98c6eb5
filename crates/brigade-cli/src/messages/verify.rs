//! What `brigade verify` says.

use brigade_copy::Aspect;

use crate::language::Language;

catalogue! {
    about_verify():
        "Compares SOURCE with DESTINATION: contents and all that a copy preserves. Writes to neither.",
        "比较源和目标：内容以及复制所保留的一切。两边都不会被写入。";
    usage_verify():
        "brigade verify [OPTIONS] SOURCE DESTINATION
      these two as they are, also if DESTINATION is a folder",
        "brigade verify [选项] 源 目标
      比较这两项本身，即使目标是文件夹";
    notes_verify():
        "Compared are type, contents, mode, owner, modification time to the nanosecond, target, device, extended attributes, ACLs, capabilities, and which names are hard links of each other; not access times, and not how holes lie.
After \"brigade copy A B\" into a folder B that was there before, the copy is B/A: brigade verify A B/A.
What the page cache holds of the destination is dropped first where the file system allows it, so that what is compared comes from the disk.
Only the top of a tree that one side lacks is named. An entry that cannot be read makes the status 2, also if others differ.",
        "比较类型、内容、权限、所有者、精确到纳秒的修改时间、链接目标、设备号、扩展属性、ACL、capabilities，以及哪些名称互为硬链接；不比较访问时间和空洞的位置。
如果 B 在 “brigade copy A B” 之前就是文件夹，副本是 B/A：brigade verify A B/A。
在文件系统允许时先丢弃目标在页缓存中的内容，因此所比较的内容来自磁盘。
一边缺少整个文件夹时只列出其顶层。只要有一项无法读取，状态就是 2，即使其他项不同。";
    verify_extra_operand(path: &str):
        "one source is compared with one destination; extra operand {path}",
        "只能比较一个源和一个目标；多余的参数 {path}";
    verifying(): "verifying", "正在校验";
    lane_verifying(): "reading", "校验";
    differs(path: &str, aspects: &str): "different: {path}: {aspects}", "不同：{path}：{aspects}";
    both_trees(): "SOURCE and DESTINATION themselves", "源和目标本身";
    verified_same(what: &str): "the same: {what}", "相同：{what}";
    verified_different(different: &str, what: &str): "{different} of {what} different", "{what}中有 {different} 项不同";
    verified_unread(failed: &str, what: &str):
        "could not compare {failed} of {what}",
        "{what}中有 {failed} 项无法比较";
    verify_interrupted(summary: &str): "interrupted: {summary}", "已中断：{summary}";
    verify_broke_off(reason: &str): "the comparison broke off: {reason}", "比较中断: {reason}";
    verify_within(path: &str):
        "was the copy made into that folder? then compare with {path}",
        "副本是否被复制到了该文件夹中？如果是，请与 {path} 比较";
}

/// The word for what differs.
pub fn aspect(language: Language, aspect: Aspect) -> String {
    let chinese = match (language, aspect) {
        (Language::English, _) => return aspect.to_string(),
        (Language::Chinese, Aspect::OnlyAtSource) => "只有源中有",
        (Language::Chinese, Aspect::OnlyAtDestination) => "只有目标中有",
        (Language::Chinese, Aspect::Type) => "类型",
        (Language::Chinese, Aspect::Contents) => "内容",
        (Language::Chinese, Aspect::Target) => "链接目标",
        (Language::Chinese, Aspect::Device) => "设备号",
        (Language::Chinese, Aspect::Mode) => "权限",
        (Language::Chinese, Aspect::Owner) => "所有者",
        (Language::Chinese, Aspect::Time) => "时间",
        (Language::Chinese, Aspect::Attributes) => "扩展属性",
        (Language::Chinese, Aspect::Acls) => "ACL",
        (Language::Chinese, Aspect::Capabilities) => "capabilities",
        (Language::Chinese, Aspect::HardLinks) => "硬链接",
    };
    chinese.to_owned()
}
