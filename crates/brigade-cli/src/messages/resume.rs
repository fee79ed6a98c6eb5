//! What is said of runs that were cut off, and of what is kept to go on with them.

use crate::language::Language;

catalogue! {
    going_on(destination: &str): "going on with {destination}", "继续复制到 {destination}";
    record_ignored(path: &str):
        "warning: {path} is ignored: it is no record of this user's unfinished copies, or is damaged",
        "警告：忽略 {path}：它不是此用户的未完成复制记录，或已损坏";
    run_not_recorded(folder: &str, reason: &str):
        "nothing is kept in {folder} to go on with if this is cut off: {reason}",
        "无法在 {folder} 中保存中断后继续所需的记录：{reason}";
    nowhere_to_record():
        "nothing is kept to go on with if this is cut off: neither XDG_STATE_HOME nor HOME says where",
        "不保存中断后继续所需的记录：XDG_STATE_HOME 和 HOME 均未设置";
}
