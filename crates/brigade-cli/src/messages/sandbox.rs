//! What is said of `--sandbox`.

use brigade_copy::{Confinement, Lack, Wall};

use crate::language::Language;

catalogue! {
    stats_sandbox(): "sandbox", "沙箱";
    refused_sandbox(): "cannot confine workers as '--sandbox=require' asks", "无法按 '--sandbox=require' 的要求限制工作进程";
    confined_jail():
        "workers see nothing but the trees that are copied (sandbox: jail)",
        "工作进程只能看到要复制的目录树（沙箱：jail）";
    confined_files():
        "workers open nothing outside of the trees that are copied (sandbox: files)",
        "工作进程不能打开要复制的目录树之外的任何文件（沙箱：files）";
    confined_calls():
        "workers make no other system calls than copying needs (sandbox: calls)",
        "工作进程只能使用复制所需的系统调用（沙箱：calls）";
    confined_off(): "workers are not confined (sandbox: off)", "工作进程不受限制（沙箱：off）";
    confined_workers(workers: &str, level: &str): "{workers} (sandbox: {level})", "{workers}（沙箱：{level}）";
    lack_links():
        "links are followed, and may lead anywhere",
        "链接会被跟随，可能指向任何地方";
    lack_kernel(): "the kernel is older than Linux 5.18", "内核早于 Linux 5.18";
    lack_mount():
        "a mount cannot be seen from another place, or the list of mounts cannot be read",
        "有挂载点无法从别处看到，或挂载点列表无法读取";
    wall_mounts():
        "mounts cannot be restricted (CAP_SYS_ADMIN, Linux 5.12)",
        "无法限制挂载点（需要 CAP_SYS_ADMIN、Linux 5.12）";
    wall_root(): "the root folder cannot be changed (CAP_SYS_CHROOT)", "无法更换根目录（需要 CAP_SYS_CHROOT）";
    wall_landlock():
        "access to files cannot be restricted (Landlock, Linux 5.19)",
        "无法限制文件访问（需要 Landlock、Linux 5.19）";
    wall_capabilities(): "capabilities cannot be given up", "无法放弃特权能力";
    wall_calls(): "system calls cannot be restricted (seccomp)", "无法限制系统调用（需要 seccomp）";
}

/// How strictly workers are confined, as a sentence.
pub fn confined(language: Language, confinement: Confinement) -> String {
    match confinement {
        Confinement::Jail => confined_jail(language),
        Confinement::Files => confined_files(language),
        Confinement::Calls => confined_calls(language),
        _ => confined_off(language),
    }
    .to_owned()
}

/// What stands in the way of a confinement.
pub fn lack(language: Language, lack: &Lack) -> String {
    match lack {
        Lack::LinksFollowed => lack_links(language).to_owned(),
        Lack::OldKernel => lack_kernel(language).to_owned(),
        Lack::HiddenMount => lack_mount(language).to_owned(),
        Lack::Refused { wall, cause } => {
            let sentence = match wall {
                Wall::Mounts => wall_mounts(language),
                Wall::Root => wall_root(language),
                Wall::Landlock => wall_landlock(language),
                Wall::Capabilities => wall_capabilities(language),
                _ => wall_calls(language),
            };
            format!("{sentence}: {}", crate::problem::reason(language, cause))
        }
        other => other.to_string(),
    }
}
