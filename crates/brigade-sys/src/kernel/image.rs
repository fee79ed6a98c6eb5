//! Where code lies in the running program: the main executable's range, and its build identity.
#![expect(unsafe_code, reason = "dl_iterate_phdr and reading the program's own notes")]

use std::ffi::{CStr, c_int, c_void};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

/// The main executable as it is mapped into this process.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Address ranges of its loaded segments.
    ranges: Vec<(usize, usize)>,
    /// The linker's build-id, empty if it made none.
    build_id: Vec<u8>,
}

impl Image {
    /// The main executable of this process.
    pub fn main() -> &'static Self {
        static MAIN: OnceLock<Image> = OnceLock::new();
        MAIN.get_or_init(|| {
            let mut image = Self::default();
            // SAFETY: the callback has the type that dl_iterate_phdr wants, and `image` outlives the call.
            unsafe { libc::dl_iterate_phdr(Some(visit), std::ptr::from_mut(&mut image).cast()) };
            image
        })
    }

    /// Whether an address lies in the main executable, and not in a library that it loaded.
    #[must_use]
    pub fn contains(&self, address: usize) -> bool {
        self.ranges.iter().any(|&(start, end)| (start..end).contains(&address))
    }

    /// From its lowest address to its highest.
    #[must_use]
    pub fn bounds(&self) -> Range<usize> {
        let start = self.ranges.iter().map(|&(start, _)| start).min().unwrap_or(0);
        let end = self.ranges.iter().map(|&(_, end)| end).max().unwrap_or(0);
        start..end
    }

    /// The linker's build-id, empty if it made none.
    #[must_use]
    pub fn build_id(&self) -> &[u8] {
        &self.build_id
    }
}

/// The name under which this program was executed, as the kernel was told; it may be relative to the folder of that time.
#[must_use]
pub fn executed_name() -> Option<&'static CStr> {
    // SAFETY: getauxval has no preconditions.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    // SAFETY: the kernel has put a NUL-terminated string there, above the stack, where it stays for as long as the process.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) })
}

/// The build-id in an executable file of this machine's kind, empty if the file has none.
///
/// # Errors
/// What reading says; `InvalidData` if it is no such file.
pub fn build_id_of(file: &File) -> io::Result<Vec<u8>> {
    const CLASS: u8 = if cfg!(target_pointer_width = "64") { 2 } else { 1 };
    const HEADERS_OFFSET: usize = if cfg!(target_pointer_width = "64") { 32 } else { 28 };
    const HEADER_COUNTS: usize = if cfg!(target_pointer_width = "64") { 54 } else { 42 };
    /// Notes are short; a file that says otherwise is none of ours.
    const MOST_NOTES_BYTES: u64 = 64 << 10;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it is not a program of this machine");
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0).map_err(|_| invalid())?;
    if head[..4] != *b"\x7fELF" || head[4] != CLASS {
        return Err(invalid());
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    let number = |bytes: &[u8]| {
        if cfg!(target_endian = "little") {
            number(bytes)
        } else {
            number(bytes).swap_bytes() >> (64 - 8 * bytes.len())
        }
    };
    let word = size_of::<usize>();
    let table = number(&head[HEADERS_OFFSET..HEADERS_OFFSET + word]);
    let header_bytes = number(&head[HEADER_COUNTS..HEADER_COUNTS + 2]);
    let n_headers = number(&head[HEADER_COUNTS + 2..HEADER_COUNTS + 4]);
    for header_idx in 0..n_headers {
        let mut header = [0; 56];
        let header = &mut header[..if word == 8 { 56 } else { 32 }];
        file.read_exact_at(header, table + header_idx * header_bytes)?;
        if number(&header[..4]) != u64::from(libc::PT_NOTE) {
            continue;
        }
        let (offset, n_bytes) = if word == 8 { (8, 32) } else { (4, 16) };
        let n_bytes = number(&header[n_bytes..n_bytes + word]);
        let mut notes = vec![0; usize::try_from(n_bytes.min(MOST_NOTES_BYTES)).map_err(|_| invalid())?];
        file.read_exact_at(&mut notes, number(&header[offset..offset + word]))?;
        if let Some(id) = build_id_in(&notes) {
            return Ok(id.to_vec());
        }
    }
    Ok(Vec::new())
}

/// Takes the first object, which is the main executable, and ends the iteration.
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: `data` is the `Image` that `Image::main` passed, not touched by anybody else meanwhile.
    let image = unsafe { &mut *data.cast::<Image>() };
    // SAFETY: the C library passes a valid `dl_phdr_info` for the time of the callback.
    let info = unsafe { &*info };
    // SAFETY: `dlpi_phdr` points to `dlpi_phnum` program headers of a loaded object.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers {
        let start = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
        let n_bytes = header.p_memsz as usize;
        match header.p_type {
            libc::PT_LOAD => image.ranges.push((start, start.wrapping_add(n_bytes))),
            libc::PT_NOTE => {
                // SAFETY: a PT_NOTE segment of a loaded executable lies within its loaded, readable segments.
                let notes = unsafe { std::slice::from_raw_parts(start as *const u8, n_bytes) };
                if let Some(id) = build_id_in(notes) {
                    image.build_id = id.to_vec();
                }
            }
            _ => {}
        }
    }
    1
}

/// Finds the GNU build-id among ELF notes: name size, descriptor size, type, then both padded to 4.
fn build_id_in(mut notes: &[u8]) -> Option<&[u8]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    loop {
        let (header, rest) = notes.split_at_checked(12)?;
        let word = |idx: usize| u32::from_ne_bytes([header[idx], header[idx + 1], header[idx + 2], header[idx + 3]]);
        let name_bytes = word(0) as usize;
        let descriptor_bytes = word(4) as usize;
        let name = rest.get(..name_bytes)?;
        let rest = rest.get(name_bytes.next_multiple_of(4)..)?;
        let descriptor = rest.get(..descriptor_bytes)?;
        if word(8) == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(descriptor);
        }
        notes = rest.get(descriptor_bytes.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_the_program_is_in_it_and_one_of_the_c_library_is_not() {
        assert!(Image::main().contains(build_id_in as *const () as usize));
        assert!(!Image::main().contains(libc::getpid as *const () as usize) || cfg!(target_feature = "crt-static"));
    }

    #[test]
    fn the_build_id_in_the_file_is_that_of_the_running_program() {
        let file = File::open("/proc/self/exe").unwrap();
        assert_eq!(build_id_of(&file).unwrap(), Image::main().build_id());
        assert!(build_id_of(&File::open("/etc/passwd").unwrap()).is_err());
    }

    #[test]
    fn a_cut_off_note_is_not_read_past_its_end() {
        let mut notes = Vec::new();
        for word in [4_u32, 20, 3] {
            notes.extend(word.to_ne_bytes());
        }
        notes.extend(b"GNU\0");
        notes.extend([7; 19]);
        assert_eq!(build_id_in(&notes), None);
        notes.push(7);
        assert_eq!(build_id_in(&notes), Some(&[7; 20][..]));
    }
}
