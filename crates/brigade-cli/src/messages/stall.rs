//! What is said of workers that get no answer, or fail themselves.

use std::path::Path;
use std::time::Duration;

use brigade_copy::shown;

use crate::language::Language;
use crate::units;

catalogue! {
    duration_form():
        "it takes a whole number with ms, s, m or h, such as 500ms, 60s or 2m; 0 is never",
        "应为带单位 ms、s、m 或 h 的整数，例如 500ms、60s 或 2m；0 表示永不";
    refused_no_answer(path: &str, pid: u32):
        "cannot look at {path}: its file system does not answer; process {pid} waits for it and is left behind",
        "无法查看 {path}：其文件系统没有应答；等待它的进程 {pid} 被留下";
    worker_panicked(report: &str):
        "a worker has a defect and is replaced: {report}",
        "工作进程出现缺陷，已被替换：{report}";
    stalled(pid: u32, path: &str, time: &str):
        "worker {pid} has got no answer for {time} at {path}: it is given up, the others go on",
        "工作进程 {pid} 在 {path} 处等待了 {time} 没有得到应答：已放弃该进程，其余继续";
}

/// A worker that is stuck.
pub fn worker_stalled(language: Language, pid: u32, path: &Path, silent_for: Duration) -> String {
    stalled(language, pid, &shown(path).to_string(), &units::elapsed(silent_for, language))
}
