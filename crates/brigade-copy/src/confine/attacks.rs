//! What a worker that somebody else has taken over tries, at each level, with the result that each attempt must have. The table was
//! written before it was run for the first time; nothing in it is excused.

use std::cell::RefCell;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use brigade::{Descriptor, Pool};
use brigade_sys::kernel::attempts::{ATTEMPTS, attempt};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timestamps, XattrFlags, chmodat, chownat, linkat, lsetxattr, mkdirat,
    mknodat, openat, renameat, setxattr, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, pidfd_open};
use torture::mounts::{Scratch, need_root};

use super::{Confinement, Purpose, Walls};

/// Who has no rights: `nobody`.
const PLAIN: u32 = 65534;

/// What a worker holds, and where everything lies.
struct Field {
    source: OwnedFd,
    destination: OwnedFd,
    /// Holds `source`, `destination` and `outside`, with a file in each.
    base: PathBuf,
    parent: Pid,
}

impl Field {
    fn outside(&self) -> PathBuf {
        self.base.join("outside/file")
    }
}

/// What must become of an attack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Must {
    Fail,
    /// Not prevented at this level, as docs/decisions says.
    Pass,
}
use Must::{Fail, Pass};

struct Attack {
    name: &'static str,
    jail: Must,
    plain: Must,
    /// Without walls, where that can be tried without harm: it shows that it is the walls that stop it.
    off: Option<Must>,
    act: fn(&Field) -> Result<(), Errno>,
}

const fn attack(
    name: &'static str,
    jail: Must,
    plain: Must,
    off: Option<Must>,
    act: fn(&Field) -> Result<(), Errno>,
) -> Attack {
    Attack { name, jail, plain, off, act }
}

fn opened(folder: impl std::os::fd::AsFd, path: impl rustix::path::Arg, flags: OFlags) -> Result<(), Errno> {
    openat(folder, path, flags, Mode::from_raw_mode(0o600)).map(drop)
}

fn system<T>(result: std::io::Result<T>) -> Result<(), Errno> {
    result.map(drop).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

const READ: OFlags = OFlags::RDONLY;
const NOFOLLOW: AtFlags = AtFlags::SYMLINK_NOFOLLOW;
const NOW: Timestamps = Timestamps {
    last_access: rustix::fs::Timespec { tv_sec: 5, tv_nsec: 5 },
    last_modification: rustix::fs::Timespec { tv_sec: 5, tv_nsec: 5 },
};

const ATTACKS: [Attack; 47] = [
    attack("read a file outside", Fail, Fail, Some(Pass), |f| opened(CWD, f.outside(), READ)),
    attack("write a file outside", Fail, Fail, Some(Pass), |f| opened(CWD, f.outside(), OFlags::WRONLY)),
    attack("truncate a file outside", Fail, Fail, Some(Pass), |f| {
        opened(CWD, f.outside(), OFlags::WRONLY | OFlags::TRUNC)
    }),
    attack("list a folder outside", Fail, Fail, Some(Pass), |_| opened(CWD, c"/etc", READ | OFlags::DIRECTORY)),
    attack("read the passwords", Fail, Fail, None, |_| opened(CWD, c"/etc/shadow", READ)),
    attack("read its own maps", Fail, Fail, Some(Pass), |_| opened(CWD, c"/proc/self/maps", READ)),
    attack("write its own memory", Fail, Fail, Some(Pass), |_| opened(CWD, c"/proc/self/mem", OFlags::RDWR)),
    attack("read the parent's environment", Fail, Fail, None, |f| {
        opened(CWD, format!("/proc/{}/environ", f.parent.as_raw_nonzero()), READ)
    }),
    attack("open a terminal", Fail, Fail, None, |_| opened(CWD, c"/dev/tty", OFlags::RDWR)),
    attack("open a disk", Fail, Fail, None, |_| opened(CWD, c"/dev/vda", READ)),
    attack("climb out of the source", Fail, Fail, Some(Pass), |f| opened(&f.source, c"../outside/file", READ)),
    attack("climb out of the destination", Fail, Fail, Some(Pass), |f| {
        opened(&f.destination, c"../outside/file", READ)
    }),
    attack("climb to the top and down", Fail, Fail, Some(Pass), |f| {
        opened(&f.destination, c"../../../../../../etc/passwd", READ)
    }),
    attack("go to the source and climb", Fail, Fail, Some(Pass), |f| {
        rustix::process::fchdir(&f.source)?;
        opened(CWD, c"../outside/file", READ)
    }),
    attack("follow a link out of the source", Fail, Fail, Some(Pass), |f| opened(&f.source, c"link", READ)),
    attack("plant a link and follow it", Fail, Fail, Some(Pass), |f| {
        symlinkat(f.outside(), &f.destination, c"planted")?;
        opened(&f.destination, c"planted", READ)
    }),
    attack("make a file outside", Fail, Fail, Some(Pass), |f| {
        opened(CWD, f.base.join("outside/new"), OFlags::WRONLY | OFlags::CREATE)
    }),
    attack("make a file beside the destination", Fail, Fail, Some(Pass), |f| {
        opened(&f.destination, c"../new", OFlags::WRONLY | OFlags::CREATE)?;
        // Where nothing is above, that is in the destination, where a worker may make what it likes.
        if rustix::fs::statat(&f.destination, c"new", NOFOLLOW).is_ok() { Err(Errno::EXIST) } else { Ok(()) }
    }),
    attack("make a folder outside", Fail, Fail, Some(Pass), |f| {
        mkdirat(CWD, f.base.join("outside/folder"), Mode::RWXU)
    }),
    attack("make a link outside", Fail, Fail, Some(Pass), |f| symlinkat(c"x", CWD, f.base.join("outside/symlink"))),
    attack("make a FIFO outside", Fail, Fail, Some(Pass), |f| {
        mknodat(CWD, f.base.join("outside/fifo"), FileType::Fifo, Mode::RWXU, 0)
    }),
    attack("link a file from outside", Fail, Fail, Some(Pass), |f| {
        linkat(CWD, f.outside(), &f.destination, c"linked", AtFlags::empty())
    }),
    attack("link a file of the source", Fail, Fail, Some(Pass), |f| {
        linkat(&f.source, c"file", &f.destination, c"linked2", AtFlags::empty())
    }),
    attack("rename a file to outside", Fail, Fail, Some(Pass), |f| {
        renameat(&f.destination, c"given", CWD, f.base.join("outside/given"))
    }),
    attack("rename a file outside", Fail, Fail, None, |f| {
        renameat(CWD, f.outside(), CWD, f.base.join("outside/other"))
    }),
    attack("remove a file outside", Fail, Fail, None, |f| unlinkat(CWD, f.outside(), AtFlags::empty())),
    attack("write to the source", Fail, Fail, Some(Pass), |f| opened(&f.source, c"file", OFlags::RDWR)),
    attack("truncate a file of the source", Fail, Fail, Some(Pass), |f| {
        opened(&f.source, c"file", OFlags::WRONLY | OFlags::TRUNC)
    }),
    attack("make a file in the source", Fail, Fail, Some(Pass), |f| {
        opened(&f.source, c"new", OFlags::WRONLY | OFlags::CREATE)
    }),
    attack("rename a file of the source", Fail, Fail, None, |f| renameat(&f.source, c"file", &f.source, c"other")),
    attack("remove a file of the source", Fail, Fail, None, |f| unlinkat(&f.source, c"file", AtFlags::empty())),
    attack("change a mode of the source", Fail, Fail, Some(Pass), |f| {
        chmodat(&f.source, c"file", Mode::from_raw_mode(0o777), AtFlags::empty())
    }),
    attack("change times of the source", Fail, Pass, Some(Pass), |f| utimensat(&f.source, c"file", &NOW, NOFOLLOW)),
    attack("change a mode outside", Fail, Fail, Some(Pass), |f| {
        chmodat(CWD, f.outside(), Mode::from_raw_mode(0o777), AtFlags::empty())
    }),
    attack("change times outside", Fail, Pass, Some(Pass), |f| utimensat(CWD, f.outside(), &NOW, NOFOLLOW)),
    attack("change times outside, following", Fail, Fail, Some(Pass), |f| {
        utimensat(CWD, f.outside(), &NOW, AtFlags::empty())
    }),
    attack("give a file outside away", Fail, Fail, Some(Pass), |f| {
        chownat(CWD, f.outside(), Some(rustix::fs::Uid::from_raw(7)), None, NOFOLLOW)
    }),
    attack("set an attribute outside, following", Fail, Fail, Some(Pass), |f| {
        setxattr(f.outside(), c"user.x", b"1", XattrFlags::empty())
    }),
    attack("set an attribute outside", Fail, Pass, Some(Pass), |f| {
        lsetxattr(f.outside(), c"user.x", b"1", XattrFlags::empty())
    }),
    attack("signal the parent", Fail, Fail, Some(Pass), |f| kill_process(f.parent, Signal::CONT)),
    attack("watch the parent", Fail, Fail, Some(Pass), |f| {
        pidfd_open(f.parent, rustix::process::PidfdFlags::empty()).map(drop)
    }),
    attack("run a program", Fail, Fail, Some(Pass), |_| system(std::process::Command::new("/bin/true").status())),
    attack("open a network socket", Fail, Fail, Some(Pass), |_| system(std::net::UdpSocket::bind("127.0.0.1:0"))),
    attack("open a local socket", Fail, Fail, Some(Pass), |_| system(std::os::unix::net::UnixDatagram::unbound())),
    attack("mount", Fail, Fail, None, |f| {
        rustix::mount::mount(c"none", f.base.join("outside"), c"tmpfs", rustix::mount::MountFlags::empty(), None)
    }),
    attack("change the root again", Fail, Fail, None, |_| rustix::process::chroot(c".")),
    attack("start a thread", Fail, Fail, Some(Pass), |_| {
        system(std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join()))
    }),
];

#[derive(serde::Serialize, serde::Deserialize)]
struct Start {
    source: Descriptor,
    destination: Descriptor,
    base: String,
    parent: i32,
    walls: Walls,
    is_plain: bool,
}

thread_local! {
    static FIELD: RefCell<Option<Field>> = const { RefCell::new(None) };
}

fn begin(start: Start) {
    crate::run::process::let_go_of_standard_streams();
    if start.is_plain {
        let (user, group) = (rustix::fs::Uid::from_raw(PLAIN), rustix::fs::Gid::from_raw(PLAIN));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(group, group, group).unwrap();
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
    }
    let parent = Pid::from_raw(start.parent).unwrap();
    let (source, destination) = (start.source.into_owned_fd(), start.destination.into_owned_fd());
    start.walls.close([(source.as_fd(), destination.as_fd())].into_iter()).unwrap();
    FIELD.set(Some(Field { source, destination, base: start.base.into(), parent }));
}

fn scene() -> Scratch {
    let scratch = Scratch::new();
    for folder in ["source", "destination", "outside"] {
        scratch.folder(folder);
        fs::write(scratch.path(folder).join("file"), folder).unwrap();
    }
    fs::write(scratch.path("destination/given"), "given").unwrap();
    std::os::unix::fs::symlink(scratch.path("outside/file"), scratch.path("source/link")).unwrap();
    for path in
        ["source", "destination", "outside", "source/file", "destination/file", "destination/given", "outside/file"]
    {
        std::os::unix::fs::chown(scratch.path(path), Some(PLAIN), Some(PLAIN)).unwrap();
    }
    std::os::unix::fs::chown(scratch.path(""), Some(PLAIN), Some(PLAIN)).unwrap();
    scratch
}

/// The results of all attacks from one worker: those of the table, and those by number.
fn results(level: Confinement, is_plain: bool, chosen: Vec<usize>) -> (Vec<(usize, bool)>, Vec<i32>) {
    let scratch = scene();
    let base = scratch.path("");
    let open = |name: &str| openat(CWD, base.join(name), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let (mut source, mut destination) = (open("source"), open("destination"));
    let _mounts = (level == Confinement::Jail)
        .then(|| super::jail::build(&mut [(&mut source, &mut destination)], Purpose::Copying).unwrap());
    let walls = Walls { level, purpose: Purpose::Copying };
    let start = Start {
        source: source.into(),
        destination: destination.into(),
        base: base.to_str().unwrap().to_owned(),
        parent: std::process::id() as i32,
        walls,
        is_plain,
    };
    let pool = Pool::builder().workers(1).env_clear().initializer(start, begin).build().unwrap();
    let of_table = chosen.into_iter().map(|idx| {
        let passed = pool
            .apply(idx, |idx: usize| FIELD.with_borrow(|field| (ATTACKS[idx].act)(field.as_ref().unwrap()).is_ok()));
        (idx, passed.unwrap())
    });
    let of_table = of_table.collect();
    let by_number = match level {
        Confinement::Off => Vec::new(),
        _ => (0..ATTEMPTS.len())
            .map(|idx| {
                pool.apply(idx, |idx: usize| attempt(idx).map_or_else(|error| error.raw_os_error().unwrap(), |()| 0))
                    .unwrap()
            })
            .collect(),
    };
    pool.close();
    pool.join();
    if level == Confinement::Jail {
        assert_eq!(fs::read(scratch.path("outside/file")).unwrap(), b"outside");
        assert_eq!(fs::read_dir(scratch.path("outside")).unwrap().count(), 1, "something is new outside");
        assert_eq!(fs::read_dir(scratch.path("source")).unwrap().count(), 2, "something is new in the source");
    }
    (of_table, by_number)
}

fn judge(level: Confinement, is_plain: bool, must: fn(&Attack) -> Option<Must>) {
    need_root();
    let chosen = (0..ATTACKS.len()).filter(|&idx| must(&ATTACKS[idx]).is_some()).collect();
    let (of_table, by_number) = results(level, is_plain, chosen);
    let wrong: Vec<_> = of_table
        .into_iter()
        .filter(|&(idx, passed)| must(&ATTACKS[idx]) != Some(if passed { Pass } else { Fail }))
        .map(|(idx, passed)| format!("{}: {}", ATTACKS[idx].name, if passed { "passed" } else { "failed" }))
        .collect();
    assert!(wrong.is_empty(), "{level:?}: {wrong:#?}");
    for (idx, errno) in by_number.into_iter().enumerate() {
        assert_eq!(errno, Errno::PERM.raw_os_error(), "{level:?}: {}", ATTEMPTS[idx].0);
    }
}

#[test]
fn a_hijacked_worker_of_root_gains_nothing_outside_of_its_jail() {
    judge(Confinement::Jail, false, |attack| Some(attack.jail));
}

#[test]
fn a_hijacked_worker_of_a_plain_user_gains_nothing_but_what_is_documented() {
    judge(Confinement::Files, true, |attack| Some(attack.plain));
}

/// The control: without walls the same attacks succeed.
#[test]
fn without_walls_the_same_attacks_succeed() {
    judge(Confinement::Off, false, |attack| attack.off);
}

#[test]
fn a_worker_has_nothing_but_the_trees_and_the_line_to_its_parent() {
    let (level, scratch) = (Confinement::Off, scene());
    let open = |name: &str| openat(CWD, scratch.path(name), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let start = Start {
        source: open("source").into(),
        destination: open("destination").into(),
        base: String::new(),
        parent: std::process::id() as i32,
        walls: Walls { level, purpose: Purpose::Copying },
        is_plain: false,
    };
    let pool = Pool::builder().workers(1).env_clear().initializer(start, begin).build().unwrap();
    let variables = pool.apply((), |()| std::env::vars_os().count()).unwrap();
    let pid = pool.workers()[0].pid;
    let held: Vec<PathBuf> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
        .collect();
    pool.close();
    pool.join();
    assert_eq!(variables, 0);
    let trees = [scratch.path("source"), scratch.path("destination"), PathBuf::from("/dev/null")];
    let is_known = |path: &PathBuf| {
        let text = path.to_str().unwrap();
        trees.contains(path) || text.starts_with("socket:") || text.starts_with("/memfd:brigade")
    };
    let foreign: Vec<_> = held.iter().filter(|path| !is_known(path)).collect();
    assert!(foreign.is_empty(), "{held:?}");
}
