//! Where code lies in the running program: the main executable's range, and its build identity.
#![expect(unsafe_code, reason = "dl_iterate_phdr and reading the program's own notes")]

use std::ffi::{c_int, c_void};
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

    /// The linker's build-id, empty if it made none.
    #[must_use]
    pub fn build_id(&self) -> &[u8] {
        &self.build_id
    }
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
