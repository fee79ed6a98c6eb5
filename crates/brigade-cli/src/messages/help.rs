//! The help text of every argument, and the headings of their groups.

use crate::language::Language;

/// Each row is for the argument of that name.
macro_rules! texts {
    ($function:ident: $($name:literal: $english:literal, $chinese:literal;)*) => {
        fn $function(language: Language, name: &str) -> Option<&'static str> {
            match (name, language) {
                $(
                    ($name, Language::English) => Some($english),
                    ($name, Language::Chinese) => Some($chinese),
                )*
                _ => None,
            }
        }
    };
}

/// The text for the argument of this name. `None` for one that is not shown.
pub fn help(language: Language, argument: &str) -> Option<&'static str> {
    [general, what, policy, fidelity, safety, speed, output, operands]
        .into_iter()
        .find_map(|group| group(language, argument))
}

/// The heading over a group of arguments.
pub fn group(language: Language, name: &str) -> Option<&'static str> {
    heading(language, name)
}

// The colon after a heading is clap's.
texts! { heading:
    "what": "What and where", "复制什么，复制到哪里";
    "policy": "What is there already", "已存在的内容";
    "fidelity": "Fidelity (everything is kept unless said otherwise)", "保真度（除非另有说明，一切都会保留）";
    "safety": "Safety", "安全";
    "speed": "Speed", "速度";
    "output": "Output", "输出";
    "operands": "Operands", "参数";
    "general": "General", "其他";
}

texts! { general:
    "help":
        "Print this help",
        "显示本帮助";
    "version":
        "Print the version",
        "显示版本";
    "lang":
        "Language: en or zh-CN [default: as LC_ALL, LC_MESSAGES or LANG says]",
        "语言：en 或 zh-CN [默认：由 LC_ALL、LC_MESSAGES 或 LANG 决定]";
}

texts! { what:
    "no_target_directory":
        "Copy as DESTINATION itself, also if it is a folder",
        "即使目标是文件夹，也复制为目标本身";
    "target_directory":
        "Copy all SOURCEs into the folder DIR",
        "把所有源复制到文件夹 DIR 中";
    "exclude":
        "Leave out what matches GLOB, by rsync's rules: the first match in the order typed decides",
        "不复制与 GLOB 匹配的项；规则同 rsync：按输入顺序，第一个匹配起决定作用";
    "include":
        "Copy what matches GLOB although a later rule would leave it out",
        "复制与 GLOB 匹配的项，即使后面的规则会排除它";
    "exclude_from":
        "Read rules from FILE, one a line; lines may begin with '+ ' or '- '; - is standard input",
        "从 FILE 读取规则，每行一条，行首可以是“+ ”或“- ”；- 表示标准输入";
    "files_from":
        "Copy only the names in FILE, one a line: a folder alone, NAME/ with what is in it; -r: with everything below; - is standard input",
        "只复制 FILE 中列出的名称，每行一个；文件夹不含内容，NAME/ 含其直接内容，-r 含全部内容；- 表示标准输入";
    "from0":
        "Lines in files of --files-from and --exclude-from end with a zero byte",
        "--files-from 和 --exclude-from 文件中的行以零字节结尾";
    "gitignore":
        "Leave out what .gitignore files in the source ignore, by git's rules",
        "不复制源中 .gitignore 文件所忽略的项，规则同 git";
    "one_file_system":
        "Do not enter other file systems: what is mounted becomes an empty folder",
        "不进入其他文件系统：挂载点复制为空文件夹";
    "dereference":
        "Follow symbolic links, and copy what they point to",
        "跟随符号链接，复制其指向的内容";
    "dereference_sources":
        "Follow only links that are named as SOURCE (in rsync -H is another thing)",
        "只跟随作为源给出的符号链接（与 rsync 的 -H 不同）";
    "no_dereference":
        "Copy symbolic links as links, which is the default",
        "把符号链接复制为链接（默认）";
}

texts! { policy:
    "no_clobber":
        "Skip whatever exists; folders are still merged (rsync's -n is --dry-run)",
        "跳过所有已存在的项；文件夹仍会合并（rsync 的 -n 是 --dry-run）";
    "update":
        "Skip what is newer at the destination",
        "跳过目标中较新的项";
    "checksum":
        "Compare files by their contents, not by size and time",
        "按内容而不是按大小和时间比较文件";
    "ignore_times":
        "Copy also files with the same size and time",
        "大小和时间相同的文件也复制";
    "force":
        "Let a file replace a folder with everything in it, and an empty folder a file",
        "允许文件替换文件夹（及其全部内容），允许空文件夹替换文件";
    "interactive":
        "Ask on the terminal before replacing anything (rsync's -i, a list of changes, is --dry-run)",
        "替换之前在终端上询问（rsync 的 -i 是列出变化，请用 --dry-run）";
    "backup":
        "Keep what is replaced under another name: simple (NAME~), numbered (NAME.~1~), existing (numbered if there are such) or none [default: VERSION_CONTROL, or existing]",
        "将被替换的内容改名保留：simple（名称~）、numbered（名称.~1~）、existing（已有编号备份时用编号）或 none [默认：VERSION_CONTROL，或 existing]";
    "suffix":
        "Keep it as NAME followed by SUFFIX [default: SIMPLE_BACKUP_SUFFIX, or ~]",
        "以“名称+SUFFIX”保留 [默认：SIMPLE_BACKUP_SUFFIX，或 ~]";
    "dry_run":
        "Write nothing, and tell what would be done and why",
        "不写入任何内容，只说明将做什么以及原因";
    "delete":
        "After the copy, delete from the destination what SOURCE, one folder, does not have; not if some of it could not be read, or if it is empty",
        "复制后删除目标中源（一个文件夹）所没有的内容；源的一部分无法读取或源为空时不删除";
    "delete_excluded":
        "Likewise, and also delete what is excluded",
        "同上，并且也删除被排除的内容";
}

texts! { fidelity:
    "preserve":
        "Keep these and nothing else: mode (with acl), ownership, timestamps, links, context, xattr (with capabilities), acl, capabilities, all; without a list mode,ownership,timestamps",
        "只保留这些：mode（含 acl）、ownership、timestamps、links、context、xattr（含 capabilities）、acl、capabilities、all；省略列表时为 mode,ownership,timestamps";
    "no_preserve":
        "Keep everything but these",
        "保留除这些以外的一切";
    "strict":
        "An entry that loses anything fails",
        "任何项只要有内容未能保留，即视为失败";
    "reflink":
        "Share contents with the source: auto, always (or fail) or never [default: auto; without WHEN: always]",
        "与源共享数据块：auto、always（否则失败）或 never [默认：auto；省略 WHEN 时为 always]";
    "sparse":
        "Holes: auto (those of the source), always (also for blocks of zeros) or never [default: auto]",
        "空洞：auto（与源相同）、always（全零的块也成为空洞）或 never [默认：auto]";
}

texts! { safety:
    "sync":
        "Flush files in groups while others are copied (batch), all at the end (end), each one (file), or none (none); until a file is on disk it has mode 0600 and a time in 1902 [default: batch]",
        "分组写入磁盘，同时继续复制（batch）；最后一次写入（end）；逐个文件写入（file）；不写入（none）。文件写入磁盘之前权限为 0600，时间为 1902 年 [默认：batch]";
    "stall_timeout":
        "Give up a worker that waits so long for one answer of a file system: 500ms, 60s, 2m; 0 = never [default: 60s]",
        "工作进程等待文件系统的同一个应答超过此时间即放弃：500ms、60s、2m；0 = 永不 [默认：60s]";
    "verify":
        "Read each file back from the disk after it was written, and compare (BLAKE3)",
        "每个文件写入后从磁盘读回并比较（BLAKE3）";
    "manifest":
        "Write the BLAKE3 of each file of the copy to FILE (- for standard output), for b3sum --check in DESTINATION",
        "把副本中每个文件的 BLAKE3 写入 FILE（- 表示标准输出），可在目标中用 b3sum --check 检查";
    "no_resume":
        "Neither go on with a copy of SOURCE that was cut off, nor keep what is needed to go on with this one",
        "不继续之前中断的复制，也不保存继续本次复制所需的记录";
    "sandbox":
        "Confine workers: auto (as strictly as can be), require (or refuse to copy) or off [default: auto]",
        "限制工作进程的权限：auto（尽可能严格）、require（做不到即拒绝复制）或 off [默认：auto]";
}

texts! { speed:
    "workers":
        "Worker processes [default: one for each processor, more where they wait and that pays]",
        "工作进程数 [默认：每个处理器一个，等待较多且有益时增加]";
    "bwlimit":
        "Move at most RATE bytes per second, all workers together; K, M, G = 1024; reflinks are not counted",
        "所有工作进程合计每秒最多复制 RATE 字节；K、M、G 以 1024 计；不计 reflink";
    "nice":
        "Nice value of the workers, from -20 (first) to 19 (last)",
        "工作进程的 nice 值，从 -20（最优先）到 19（最后）";
}

texts! { output:
    "progress":
        "auto, bar, plain (a line now and then), json (events on standard output) or none [default: auto]",
        "进度：auto、bar、plain（偶尔一行）、json（标准输出上的事件）或 none [默认：auto]";
    "verbose":
        "Print a line for each file",
        "每个文件输出一行";
    "quiet":
        "Print errors only",
        "只输出错误";
    "quiet_verify":
        "Print differences and errors only",
        "只输出不同之处和错误";
    "stats":
        "Print figures at the end: entries, bytes, rates, times, the slowest entries",
        "结束时输出统计：条目、字节、速率、用时、最慢的条目";
    "color":
        "auto, always or never; NO_COLOR and CLICOLOR_FORCE are respected [default: auto]",
        "颜色：auto、always 或 never；遵循 NO_COLOR 和 CLICOLOR_FORCE [默认：auto]";
    "errors":
        "List the entries that failed in FILE, for --retry-from",
        "把失败的条目列入 FILE，供 --retry-from 使用";
    "retry_from":
        "Copy only the entries that FILE lists, with the same SOURCE and DESTINATION",
        "只复制 FILE 中列出的条目，源和目标须与之前相同";
    "log_file":
        "Append a line with the time for each entry and each error to FILE (in English, UTC)",
        "把每个条目和每个错误连同时间追加到 FILE（英文，UTC）";
}

texts! { operands:
    "shell":
        "The shell: bash, zsh, fish, elvish or powershell",
        "shell：bash、zsh、fish、elvish 或 powershell";
}
