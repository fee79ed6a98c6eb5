//! What must come of an error in a call of a worker on one of the two trees: the same table stands in docs/copying.md, for
//! people. Calls of the library below, such as waiting and starting processes, are not in it.

use rustix::io::Errno;

/// The errors that are injected into every call.
pub(super) const ERRORS: [(&str, Errno); 25] = [
    ("EIO", Errno::IO),
    ("ENOSPC", Errno::NOSPC),
    ("EDQUOT", Errno::DQUOT),
    ("EACCES", Errno::ACCESS),
    ("EPERM", Errno::PERM),
    ("ENOMEM", Errno::NOMEM),
    ("EMFILE", Errno::MFILE),
    ("ENFILE", Errno::NFILE),
    ("EINTR", Errno::INTR),
    ("EAGAIN", Errno::AGAIN),
    ("EROFS", Errno::ROFS),
    ("ENODEV", Errno::NODEV),
    ("ENXIO", Errno::NXIO),
    ("ESTALE", Errno::STALE),
    ("ELOOP", Errno::LOOP),
    ("ENAMETOOLONG", Errno::NAMETOOLONG),
    ("EMLINK", Errno::MLINK),
    ("EXDEV", Errno::XDEV),
    ("EFBIG", Errno::FBIG),
    ("ETXTBSY", Errno::TXTBSY),
    ("EBUSY", Errno::BUSY),
    ("ENOTEMPTY", Errno::NOTEMPTY),
    ("ENOSYS", Errno::NOSYS),
    ("EOPNOTSUPP", Errno::OPNOTSUPP),
    ("EINVAL", Errno::INVAL),
];

/// What an error must lead to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expected {
    /// The copy is as if nothing had been.
    Whole,
    /// The copy succeeds; what could not be kept is counted.
    Success,
    /// The entry fails and is named, the rest is copied.
    Partial,
    /// Any of these, as long as what is said is true: it depends on what the call was for.
    Truth,
}

/// Where a call leads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Tree {
    Source,
    Destination,
    Neither,
}

/// Which errors the kernel can give to calls that are on neither tree: those of the library below, which starts processes,
/// maps memory and waits. The pages of the calls list them. What only refuses wrong arguments is not here, nor is what the C
/// library needs before our first instruction, and dies without a word if it fails. `futex` can be interrupted only where it
/// waits, and its number does not tell that.
const WITHOUT_TREE: [(&[&str], &[Errno]); 8] = [
    (&["epoll_pwait", "ppoll", "waitid", "wait4"], &[Errno::INTR]),
    (&["getrandom"], &[Errno::INTR, Errno::NOSYS]),
    (&["clone", "clone3"], &[Errno::AGAIN, Errno::NOMEM, Errno::NOSPC, Errno::PERM, Errno::NOSYS]),
    (
        &["memfd_create", "eventfd2", "epoll_create1", "socketpair", "pidfd_open"],
        &[Errno::MFILE, Errno::NFILE, Errno::NOMEM],
    ),
    (&["epoll_ctl"], &[Errno::NOMEM, Errno::NOSPC]),
    (&["sendmsg", "recvmsg", "recvfrom", "sendto"], &[Errno::INTR, Errno::NOMEM, Errno::MFILE]),
    (&["fcntl"], &[Errno::MFILE]),
    (&["ftruncate", "fallocate"], &[Errno::INTR, Errno::NOMEM, Errno::NOSPC]),
];

/// Calls on files outside of the trees that may fail with anything: what is told of this machine, programs, reports.
const OF_FILES: [&str; 12] = [
    "openat",
    "newfstatat",
    "statx",
    "fstat",
    "read",
    "write",
    "readlinkat",
    "getdents64",
    "execve",
    "statfs",
    "fstatfs",
    "pread64",
];

/// Whether the kernel could give this error.
pub(super) fn is_possible(call: &str, tree: Tree, errno: Errno) -> bool {
    // "There is no data from here on" and "there are no attributes here" are answers.
    let is_answer = (call == "lseek" && errno == Errno::NXIO)
        || (call.ends_with("listxattr") && matches!(errno, Errno::OPNOTSUPP | Errno::NOSYS));
    let is_on_tree = tree != Tree::Neither && !is_answer;
    is_on_tree
        || OF_FILES.contains(&call)
        || WITHOUT_TREE.iter().any(|(calls, errors)| calls.contains(&call) && errors.contains(&errno))
}

/// What an error in a worker's call must lead to.
pub(super) fn expected(call: &str, tree: Tree, errno: Errno) -> Expected {
    use Expected::{Partial, Success, Truth, Whole};
    // Whatever was interrupted or asked to come again is tried again.
    if matches!(errno, Errno::INTR | Errno::AGAIN) {
        return if call == "close" && errno == Errno::AGAIN { Truth } else { Whole };
    }
    match (call, tree, errno) {
        (
            "ioctl",
            _,
            Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::XDEV | Errno::TXTBSY | Errno::PERM | Errno::ACCESS,
        )
        | ("lseek", _, Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS)
        | (
            "copy_file_range",
            _,
            Errno::NOSYS
            | Errno::OPNOTSUPP
            | Errno::INVAL
            | Errno::XDEV
            | Errno::TXTBSY
            | Errno::PERM
            | Errno::ACCESS
            | Errno::FBIG,
        ) => Whole,
        // What is there already is looked at before it is changed.
        ("flistxattr" | "llistxattr", Tree::Destination, _) => Truth,
        ("fchown" | "fchownat", _, Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::ACCESS)
        | (
            "fsetxattr" | "lsetxattr" | "fgetxattr" | "lgetxattr" | "flistxattr" | "llistxattr" | "fremovexattr"
            | "lremovexattr",
            _,
            Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS,
        )
        | ("linkat", _, Errno::MLINK | Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS)
        | ("fchmod" | "fchmodat2" | "utimensat", _, Errno::NOSYS | Errno::OPNOTSUPP) => Success,
        // Whose entry it is decides whether it could have been changed, and a time may be out of range.
        ("fchmod" | "fchmodat2" | "utimensat", _, Errno::PERM | Errno::ACCESS | Errno::INVAL) => Truth,
        ("ioctl" | "copy_file_range", ..)
        | ("read" | "pread64" | "getdents64" | "readlinkat", Tree::Source, _)
        | ("write" | "pwrite64" | "ftruncate", Tree::Destination, _)
        | (
            "fchmod" | "fchmodat2" | "utimensat" | "fchown" | "fchownat" | "linkat" | "symlinkat" | "mknodat"
            | "mkdirat",
            ..,
        )
        | ("renameat" | "renameat2", Tree::Destination, _) => Partial,
        _ => Truth,
    }
}
