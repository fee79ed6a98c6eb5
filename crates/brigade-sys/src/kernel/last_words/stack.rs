//! The stack of a thread: where it was when a signal came, the way up its frames, and the second stack that a handler needs
//! when the first one is used up.
#![expect(unsafe_code, reason = "the unwinder of the C compiler's library, signal contexts, sigaltstack")]

use std::ffi::{c_int, c_void};
use std::io;
use std::ops::Range;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::super::image::Image;

/// The most frames that are looked at.
pub const MAX_FRAMES: usize = 64;

/// Bytes of the second stack. Unwinding takes some 8 KiB, and the processor's registers up to 12 KiB; no page is taken before
/// it is touched.
const ALTERNATE_BYTES: usize = 64 << 10;
const PAGE_BYTES: usize = 4096;

/// The way to a place in a program, as addresses in the process that went it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frames {
    /// Where the program itself lay, without its libraries.
    pub image: Range<u64>,
    /// An address inside of each call, innermost first.
    pub addresses: Vec<u64>,
}

/// The frames of the calling thread, from the caller of this function on.
#[must_use]
pub fn walk() -> Frames {
    let mut addresses = Vec::with_capacity(MAX_FRAMES);
    walk_from(None, &mut |_, address| addresses.push(address as u64));
    let image = Image::main().bounds();
    Frames { image: image.start as u64..image.end as u64, addresses }
}

/// Passes on the frames of the calling thread: from that on which was interrupted at `place`, or all.
pub(super) fn walk_from(place: Option<usize>, take: &mut dyn FnMut(usize, usize)) {
    let mut walk = Walk { place, n_frames: 0, take };
    // SAFETY: the callback has the type that the unwinder wants, and `walk` outlives the call.
    unsafe { _Unwind_Backtrace(visit, (&raw mut walk).cast()) };
}

struct Walk<'a> {
    /// The frame to begin with, if it was not met yet.
    place: Option<usize>,
    n_frames: usize,
    take: &'a mut dyn FnMut(usize, usize),
}

/// The unwinder's opaque state.
#[repr(C)]
struct UnwindContext([u8; 0]);

const GO_ON: c_int = 0;
/// `_URC_NORMAL_STOP`.
const STOP: c_int = 4;

// Every Rust program is linked with an unwinder, also one that aborts on panic.
unsafe extern "C" {
    fn _Unwind_Backtrace(visit: extern "C" fn(*mut UnwindContext, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut UnwindContext, is_before: *mut c_int) -> usize;
}

extern "C" fn visit(context: *mut UnwindContext, data: *mut c_void) -> c_int {
    // SAFETY: `data` is the `Walk` that `walk_from` passed, not touched by anybody else meanwhile.
    let walk = unsafe { &mut *data.cast::<Walk<'_>>() };
    let mut is_before = 0;
    // SAFETY: the context is the unwinder's own, valid for the time of the callback.
    let address = unsafe { _Unwind_GetIPInfo(context, &raw mut is_before) };
    if address == 0 || walk.n_frames == MAX_FRAMES {
        return STOP;
    }
    if walk.place.is_none_or(|place| place == address) {
        walk.place = None;
        // A return address is behind its call; one where a signal came is the instruction's own.
        (walk.take)(walk.n_frames, if is_before == 0 { address - 1 } else { address });
        walk.n_frames += 1;
    }
    GO_ON
}

/// Where a signal interrupted the thread: program counter and stack pointer, where we know this processor's context.
pub(super) fn place(context: *mut c_void) -> Option<(usize, usize)> {
    // SAFETY: the kernel passes a valid `ucontext_t` for the time of the handler.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    {
        let registers = &context.uc_mcontext.gregs;
        Some((registers[libc::REG_RIP as usize] as usize, registers[libc::REG_RSP as usize] as usize))
    }
    #[cfg(target_arch = "aarch64")]
    {
        Some((context.uc_mcontext.pc as usize, context.uc_mcontext.sp as usize))
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = context;
        None
    }
}

/// A second stack for the calling thread.
pub(super) struct AlternateStack {
    start: *mut c_void,
}

/// Gives the calling thread a second stack, for as long as the process lives.
pub(super) fn give_alternate_stack() -> io::Result<()> {
    AlternateStack::new().map(std::mem::forget)
}

impl AlternateStack {
    /// Maps it, with a page below that nobody may touch, and makes it the thread's.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the address is chosen by the kernel, so nothing that exists is replaced.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                PAGE_BYTES + ALTERNATE_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let made = Self { start };
        // SAFETY: the page is the first of what was mapped just now.
        unsafe { rustix::mm::mprotect(start, PAGE_BYTES, MprotectFlags::empty())? };
        // SAFETY: the page lies within the mapping.
        let bottom = unsafe { start.add(PAGE_BYTES) };
        made.set(libc::stack_t { ss_sp: bottom, ss_flags: 0, ss_size: ALTERNATE_BYTES });
        Ok(made)
    }

    fn set(&self, stack: libc::stack_t) {
        // SAFETY: the stack is mapped as long as `self`, whose drop takes it back first; the old one is not asked for.
        unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        self.set(libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: ALTERNATE_BYTES });
        // SAFETY: the range is exactly what `new` mapped, and the thread uses it no more.
        let unmapped = unsafe { rustix::mm::munmap(self.start, PAGE_BYTES + ALTERNATE_BYTES) };
        debug_assert!(unmapped.is_ok(), "munmap of our own range cannot fail");
    }
}
