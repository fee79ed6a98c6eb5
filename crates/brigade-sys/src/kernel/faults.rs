//! Faults on purpose, for tests of what is told about them: with the feature `faults` only, never in a program.
#![expect(unsafe_code, reason = "each of these is the fault that its name says")]

use std::io;

/// Reads from an address where nothing is: SIGSEGV. The address is `at`, in the first page.
#[inline(never)]
pub fn access_nothing(at: usize) -> u8 {
    assert!(at < 4096, "only the first page is never there");
    // SAFETY: none: the first page is never mapped, so the processor refuses, which is what the caller wants.
    unsafe { std::ptr::without_provenance::<u8>(at).read_volatile() }
}

/// Reads past the end of a file that is mapped: SIGBUS.
///
/// # Errors
/// What memfd_create(2) and mmap(2) say; otherwise it does not return.
#[inline(never)]
pub fn read_past_the_end() -> io::Result<u8> {
    use rustix::mm::{MapFlags, ProtFlags};
    let empty = rustix::fs::memfd_create(c"empty", rustix::fs::MemfdFlags::CLOEXEC)?;
    // SAFETY: the address is chosen by the kernel, so nothing that exists is replaced.
    let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, ProtFlags::READ, MapFlags::SHARED, &empty, 0)? };
    // SAFETY: none: the file has no byte there, so the kernel refuses, which is what the caller wants.
    Ok(unsafe { start.cast::<u8>().read_volatile() })
}

/// Executes an instruction that no processor knows: SIGILL.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
pub fn execute_nonsense() -> ! {
    // SAFETY: none: the processor refuses, which is what the caller wants.
    unsafe { std::arch::asm!("ud2", options(noreturn)) }
}

/// Divides by zero without a check: SIGFPE.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
pub fn divide_by_zero() -> ! {
    // SAFETY: none: the processor refuses, which is what the caller wants.
    unsafe { std::arch::asm!("xor ecx, ecx", "xor edx, edx", "div ecx", "ud2", options(noreturn)) }
}
