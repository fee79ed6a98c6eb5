//! What is said of `--verify` and `--manifest`.

use crate::language::Language;

catalogue! {
    flushing(in_memory: &str): "flushing {in_memory}", "正在写入磁盘，剩余 {in_memory}";
    lane_flushing(): "syncing", "写盘";
    manifest_failed(path: &str, reason: &str):
        "cannot write manifest {path}: {reason}",
        "无法写入清单 {path}: {reason}";
    manifest_is_folder(path: &str): "cannot write manifest {path}: it is a folder", "无法写入清单 {path}：它是文件夹";
    manifest_in_source(path: &str):
        "cannot write manifest {path}: it lies inside the source",
        "无法写入清单 {path}：它位于源之中";
    manifest_in_the_way(path: &str):
        "cannot write manifest {path}: an entry of the source is copied there",
        "无法写入清单 {path}：源中有一项要复制到那里";
    manifest_and_json():
        "'--manifest=-' and '--progress=json' cannot both write to standard output",
        "'--manifest=-' 和 '--progress=json' 不能同时写入标准输出";
    manifest_cannot_hold(path: &str):
        "not in the manifest, since b3sum cannot hold its name: {path}",
        "未列入清单（b3sum 无法表示其名称）：{path}";
    manifest_without(files: &str):
        "{files} not in the manifest",
        "清单中缺少 {files}";
}
