//! Sentences about the figures of `--stats` and about files that are written beside the copy.

use crate::language::Language;

catalogue! {
    stats_entries(): "entries", "条目";
    stats_kinds(): "copied", "已复制";
    stats_bytes(): "bytes", "字节";
    stats_unchanged(): "unchanged", "未变";
    stats_rate(): "rate", "速率";
    stats_time(): "time", "用时";
    stats_workers(): "workers", "进程";
    stats_limit(): "limited by", "瓶颈";
    limited_by(what: &str): "limited by {what}", "瓶颈：{what}";
    limit_processor(): "the processor", "处理器";
    limit_source(): "the source", "源";
    limit_destination(): "the destination", "目标";
    limit_destination_folder(): "a folder of the destination, which takes one entry at a time", "目标中的一个文件夹，一次只能写入一个条目";
    limit_disk(): "the disk", "磁盘";
    stats_slowest(): "slowest", "最慢";
    stats_bytes_copied(all: &str, written: &str, shared: &str, holes: &str, kept: &str):
        "{all}: {written} written, {shared} shared with the source, {holes} in holes, {kept} there before",
        "{all}：写入 {written}，与源共享 {shared}，空洞 {holes}，此前已写入 {kept}";
    stats_times(all: &str, walk: &str):
        "{all}; everything was found after {walk}",
        "{all}；{walk}后找到了全部条目";
    cannot_open_output(path: &str, reason: &str): "cannot open {path}: {reason}", "无法打开 {path}: {reason}";
    no_error_list(path: &str):
        "{path} is not a list that --errors has written",
        "{path} 不是 --errors 写出的列表";
    other_error_list(path: &str):
        "{path} lists errors of another copy: source or destination differ",
        "{path} 列出的是另一次复制的错误：源或目标不同";
    file_lost(path: &str, reason: &str):
        "cannot write to {path}: {reason}; the copy goes on without it",
        "无法写入 {path}: {reason}；复制继续进行，但不再写入该文件";
}
