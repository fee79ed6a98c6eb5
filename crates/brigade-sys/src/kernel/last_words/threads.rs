//! A second stack for every thread that a child starts, so that an overflow there can be told too.
//!
//! std gives its threads such stacks only if the program has come through std's own start, before `main`. A child is taken
//! over earlier, and nothing public makes up for it. So the child's own table of addresses (the global offset table) gets
//! another entry for `pthread_create`: one that has the thread set its stack up first. That is done in children only, before
//! code of the user runs, and only where the word in question is what we take it for; a program without such a table
//! (statically linked) goes without, and an overflow in a thread then is a SIGSEGV without words.
#![expect(unsafe_code, reason = "the dynamic table of the program, and pthread_create")]

use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

use rustix::mm::MprotectFlags;

use super::stack::AlternateStack;

type Start = extern "C-unwind" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, Start, *mut c_void) -> c_int;

unsafe extern "C" {
    fn pthread_create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        start: Start,
        argument: *mut c_void,
    ) -> c_int;
}

/// The C library's own function.
static CREATE: OnceLock<Create> = OnceLock::new();

/// What a thread is to do, passed through `pthread_create`.
struct Errand {
    start: Start,
    argument: *mut c_void,
}

/// Takes the place of `pthread_create`.
unsafe extern "C" fn create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    let create = CREATE.get().expect("set before any call could come here");
    let errand = Box::into_raw(Box::new(Errand { start, argument }));
    // SAFETY: the caller's own obligations, and an errand that the thread takes over if it is made.
    let result = unsafe { create(thread, attributes, run, errand.cast()) };
    if result != 0 {
        // SAFETY: no thread was made, so the errand still is ours, made from a box just above.
        drop(unsafe { Box::from_raw(errand) });
    }
    result
}

extern "C-unwind" fn run(errand: *mut c_void) -> *mut c_void {
    // SAFETY: `create` passed it, to this thread only.
    let Errand { start, argument } = *unsafe { Box::from_raw(errand.cast::<Errand>()) };
    // Kept without a destructor: `pthread_exit` in C code unwinds this frame by force. Then the mapping stays behind.
    let stack = std::mem::ManuallyDrop::new(AlternateStack::new());
    let result = start(argument);
    drop(std::mem::ManuallyDrop::into_inner(stack));
    result
}

/// Has every thread that the program starts from now on begin with a second stack.
pub(super) fn give_stacks_to_new_threads() {
    let original = pthread_create as *const () as usize;
    let mut slots = Slots { original, found: Vec::new() };
    // SAFETY: the callback has the type that dl_iterate_phdr wants, and `slots` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut slots).cast()) };
    if CREATE.set(pthread_create).is_ok() {
        slots.found.into_iter().for_each(|slot| slot.redirect(original));
    }
}

/// A word of the program's table that holds the address of `pthread_create`.
struct Slot {
    address: usize,
    /// Whether the loader has made it read-only.
    is_protected: bool,
}

impl Slot {
    fn redirect(&self, original: usize) {
        const PAGE_BYTES: usize = 4096;
        let word = self.address as *mut usize;
        let page = (self.address & !(PAGE_BYTES - 1)) as *mut c_void;
        // SAFETY: the word is in the program's table; `visit` has read the same value there.
        debug_assert_eq!(unsafe { word.read_volatile() }, original);
        // SAFETY: the page belongs to the program's table, and nobody relies on its being read-only.
        let is_open = !self.is_protected
            || unsafe { rustix::mm::mprotect(page, PAGE_BYTES, MprotectFlags::READ | MprotectFlags::WRITE) }.is_ok();
        if is_open {
            // SAFETY:
            // - in bounds, aligned, writable: see above;
            // - the process has one thread, so nobody reads it meanwhile; whoever calls through it later finds a function
            //   of the same type.
            unsafe { word.write_volatile(create as *const () as usize) };
        }
        if self.is_protected {
            // SAFETY: as the loader had it.
            let _ = unsafe { rustix::mm::mprotect(page, PAGE_BYTES, MprotectFlags::READ) };
        }
    }
}

struct Slots {
    original: usize,
    found: Vec<Slot>,
}

/// What the program's dynamic section says, as addresses and byte counts; 0 where it says nothing.
#[derive(Default)]
struct Dynamic {
    symbols: usize,
    names: usize,
    relocations: [(usize, usize); 2],
}

/// Looks at the first object, which is the main executable, and ends the iteration.
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: `data` is the `Slots` that was passed, not touched by anybody else meanwhile.
    let slots = unsafe { &mut *data.cast::<Slots>() };
    // SAFETY: the C library passes a valid `dl_phdr_info` for the time of the callback.
    let info = unsafe { &*info };
    // SAFETY: `dlpi_phdr` points to `dlpi_phnum` program headers of a loaded object.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let bias = info.dlpi_addr as usize;
    let range_of = |kind| {
        let header = headers.iter().find(|header| header.p_type == kind)?;
        let start = bias.wrapping_add(header.p_vaddr as usize);
        Some(start..start.wrapping_add(header.p_memsz as usize))
    };
    let Some(section) = range_of(libc::PT_DYNAMIC) else {
        return 1;
    };
    let dynamic = read_dynamic(section.start, bias);
    if dynamic.symbols == 0 || dynamic.names == 0 {
        return 1;
    }
    let protected = range_of(libc::PT_GNU_RELRO).unwrap_or_default();
    for (start, n_bytes) in dynamic.relocations {
        for idx in 0..n_bytes / RELOCATION_BYTES {
            let relocation = start + idx * RELOCATION_BYTES;
            let (place, about) = (word(relocation), word(relocation + 8));
            let symbol = dynamic.symbols + (about >> 32) * SYMBOL_BYTES;
            let address = bias.wrapping_add(place);
            if about >> 32 != 0 && names_pthread_create(&dynamic, symbol) && word(address) == slots.original {
                slots.found.push(Slot { address, is_protected: protected.contains(&address) });
            }
        }
    }
    1
}

/// `Elf64_Rela`: where, what kind of which symbol, addend.
const RELOCATION_BYTES: usize = 24;
/// `Elf64_Sym`; its first four bytes say where its name is.
const SYMBOL_BYTES: usize = 24;

fn read_dynamic(section: usize, bias: usize) -> Dynamic {
    let mut dynamic = Dynamic::default();
    for at in (section..).step_by(16) {
        let value = word(at + 8);
        // The loader has turned these into addresses, or, in some C libraries, left them relative.
        let address = if value < bias { value + bias } else { value };
        match word(at) {
            0 => break,
            2 => dynamic.relocations[0].1 = value,
            5 => dynamic.names = address,
            6 => dynamic.symbols = address,
            7 => dynamic.relocations[1].0 = address,
            8 => dynamic.relocations[1].1 = value,
            23 => dynamic.relocations[0].0 = address,
            _ => {}
        }
    }
    dynamic
}

fn names_pthread_create(dynamic: &Dynamic, symbol: usize) -> bool {
    let name = dynamic.names + (word(symbol) & 0xffff_ffff);
    // SAFETY: the string table of a loaded executable holds names that end with a zero.
    unsafe { CStr::from_ptr(name as *const libc::c_char) == c"pthread_create" }
}

/// Reads a word of the program's own tables.
fn word(address: usize) -> usize {
    // SAFETY: the address was computed from the headers of a loaded executable, whose tables are readable; ELF aligns them.
    unsafe { (address as *const usize).read() }
}
