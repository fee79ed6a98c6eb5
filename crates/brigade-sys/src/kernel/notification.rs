//! Answers the system calls of other processes: a thread takes a seccomp filter on itself, which all that it starts inherit, and
//! whoever holds the listener decides what becomes of each call that the filter names. With the feature `notification` only,
//! for tests. Which call gets which answer is not known here.
#![expect(unsafe_code, reason = "seccomp(2) and its ioctls")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

/// The instructions of a classic packet filter that are needed here, from linux/bpf_common.h.
const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_IF_GREATER_OR_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Where the number of the call stands in `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;

/// Which calls are asked about, and which are refused without asking. Calls of other architectures are not told apart.
#[derive(Clone, Debug)]
pub struct Filter {
    program: Vec<libc::sock_filter>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { program: vec![instruction(LOAD_WORD, NUMBER_OFFSET)] }
    }
}

impl Filter {
    /// Asks about these calls.
    #[must_use]
    pub fn ask_about(mut self, calls: impl IntoIterator<Item = u32>) -> Self {
        for call in calls {
            self.add(JUMP_IF_EQUAL, call, libc::SECCOMP_RET_USER_NOTIF);
        }
        self
    }

    /// Lets this call fail with an error number.
    #[must_use]
    pub fn refuse(mut self, call: u32, errno: u16) -> Self {
        self.add(JUMP_IF_EQUAL, call, libc::SECCOMP_RET_ERRNO | u32::from(errno));
        self
    }

    /// Lets this call and all with higher numbers fail with an error number.
    #[must_use]
    pub fn refuse_from(mut self, call: u32, errno: u16) -> Self {
        self.add(JUMP_IF_GREATER_OR_EQUAL, call, libc::SECCOMP_RET_ERRNO | u32::from(errno));
        self
    }

    fn add(&mut self, condition: u16, operand: u32, verdict: u32) {
        // If it does not hold, the verdict is jumped over.
        self.program.push(libc::sock_filter { code: condition, jt: 0, jf: 1, k: operand });
        self.program.push(instruction(RETURN, verdict));
    }

    /// Puts the calling thread, and all that it starts from now on, under this filter for ever. The listener hears of the calls;
    /// if it is closed, they fail with `ENOSYS`.
    ///
    /// # Errors
    /// What seccomp(2) says: `EINVAL` for a filter that is too long, `EBUSY` if the thread has a listener already.
    pub fn install(mut self) -> io::Result<OwnedFd> {
        self.program.push(instruction(RETURN, libc::SECCOMP_RET_ALLOW));
        rustix::thread::set_no_new_privs(true)?;
        let program = libc::sock_fprog {
            len: self.program.len().try_into().map_err(|_| rustix::io::Errno::INVAL)?,
            filter: self.program.as_mut_ptr(),
        };
        // SAFETY:
        // - the pointer is to a `sock_fprog` that lives until the end of this function;
        // - that one names as many instructions as `self.program` has, which lives as long.
        let listener = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                &raw const program,
            )
        };
        if listener < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(listener as i32) })
    }
}

fn instruction(code: u16, operand: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k: operand }
}

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Call {
    /// Names it in the answer.
    pub id: u64,
    /// The thread that makes it.
    pub thread: u32,
    /// Which call it is.
    pub number: u32,
    /// What it was given.
    pub arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The kernel does it.
    GoOn,
    /// It returns this without having been done by the kernel.
    Return(i64),
    /// It fails with this error number.
    Fail(i32),
}

/// Takes the next call, waiting for one. `None` if its thread was killed or interrupted before it could be taken.
///
/// # Errors
/// What the ioctl says.
pub fn receive(listener: impl AsFd) -> io::Result<Option<Call>> {
    let mut asked = MaybeUninit::<libc::seccomp_notif>::zeroed();
    // SAFETY:
    // - the descriptor is open for as long as it is borrowed;
    // - the pointer is to room for what this ioctl writes, and is zero everywhere, as it demands.
    let done =
        unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, asked.as_mut_ptr()) };
    if done < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENOENT | libc::EINTR) => Ok(None),
            _ => Err(error),
        };
    }
    // SAFETY: it was zero everywhere, which is a value of this structure of numbers, and then written by the kernel.
    let asked = unsafe { asked.assume_init() };
    Ok(Some(Call {
        id: asked.id,
        thread: asked.pid,
        number: asked.data.nr.cast_unsigned(),
        arguments: asked.data.args,
    }))
}

/// Answers a call. That its thread is gone meanwhile is no error.
///
/// # Errors
/// What the ioctl says.
pub fn answer(listener: impl AsFd, call: &Call, answer: Answer) -> io::Result<()> {
    let mut response = libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags: 0 };
    match answer {
        Answer::GoOn => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        Answer::Return(value) => response.val = value,
        Answer::Fail(errno) => response.error = -errno,
    }
    // SAFETY:
    // - the descriptor is open for as long as it is borrowed;
    // - the pointer is to a structure of the kind that this ioctl reads.
    let done =
        unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut response) };
    match io::Error::last_os_error() {
        error if done < 0 && error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}
