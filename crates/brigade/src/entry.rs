//! From a function to a place in the program, and back in another process; and the hook that takes a child over.
//! What a child does once it is taken over is in child.rs.
//!
//! A child executes the same file, so a function is named by its distance from an anchor in the same image. Only functions
//! without captures have such a place: `F` has size zero, so a value of it can be made from nothing. The distance is sent
//! with a fingerprint of the program's build and of all types involved; a child of another build refuses it.
#![expect(unsafe_code, reason = "turning a distance into a function, and a value of size zero from nothing")]

use std::any::type_name;
use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use brigade_sys::kernel::image::Image;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::parcel::{Arrival, Parcel};
use crate::wire::{DecodeError, EncodeError};

/// Calls a function with decoded arguments and encodes what it returns.
pub(crate) type Caller = fn(Arrival, &mut dyn FnMut()) -> Result<Parcel, CallError>;

/// Why a call gave no result although the function did not panic.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum CallError {
    DecodeArgs(DecodeError),
    EncodeResult(EncodeError),
}

/// A function as it is named to another process of the same program.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct EntryPoint {
    distance: i64,
    fingerprint: u64,
}

/// The function cannot be found by another process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NotInMainProgram;

/// Distances are measured from the hook's own word: unlike a function, which may have a copy in every codegen unit, a static
/// has one place.
fn anchor() -> usize {
    (&raw const START_UP).addr()
}

/// Refuses captures when the caller is built.
struct CapturesNothing<F>(F);

impl<F> CapturesNothing<F> {
    const CHECK: () = assert!(
        size_of::<F>() == 0,
        "the function captures variables, which cannot follow it into another process: pass them in the arguments"
    );
}

impl EntryPoint {
    /// Names the call of `F` with `A`.
    pub(crate) fn of<F, A, R>() -> Result<Self, NotInMainProgram>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let () = CapturesNothing::<F>::CHECK;
        let caller: Caller = call::<F, A, R>;
        let image = Image::main();
        let (here, there) = (anchor(), caller as usize);
        if !image.contains(here) || !image.contains(there) {
            return Err(NotInMainProgram);
        }
        Ok(Self { distance: there.wrapping_sub(here) as i64, fingerprint: fingerprint_again(type_name::<(F, A, R)>()) })
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.distance.to_le_bytes());
        bytes[8..].copy_from_slice(&self.fingerprint.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; 16]) -> Self {
        let number = u128::from_le_bytes(*bytes);
        Self { distance: number as u64 as i64, fingerprint: (number >> 64) as u64 }
    }

    /// The same with the place looked up, for a process of the same build.
    pub(crate) fn caller(self) -> Option<Caller> {
        let address = anchor().wrapping_add(self.distance as usize);
        if self.fingerprint == 0 || !Image::main().contains(address) {
            return None;
        }
        // SAFETY:
        // - the distance was computed by `of` in a process whose fingerprint `matches_build` has compared with ours, so the
        //   image is the same one and the address is that of a `Caller`;
        // - it lies in the main executable, which is never unloaded.
        Some(unsafe { std::mem::transmute::<usize, Caller>(address) })
    }
}

/// What `fingerprint` says, remembered for the types that this thread asked about last: whoever hands in many tasks hands in
/// the same kind. The address and the length of a name stand for it.
fn fingerprint_again(types: &'static str) -> u64 {
    thread_local! {
        static LAST: Cell<(&'static str, u64)> = const { Cell::new(("", 0)) };
    }
    let (last, number) = LAST.get();
    if std::ptr::eq(last, types) {
        return number;
    }
    let number = fingerprint(types);
    LAST.set((types, number));
    number
}

/// A number that differs between builds of a program, and between types.
fn fingerprint(types: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    build_fingerprint().hash(&mut hasher);
    types.hash(&mut hasher);
    hasher.finish() | 1
}

/// A number that differs between builds of a program.
pub(crate) fn build_fingerprint() -> u64 {
    let mut hasher = DefaultHasher::new();
    Image::main().build_id().hash(&mut hasher);
    // Without a build-id the layout stands in for it.
    let (here, hook) = (anchor(), start_up as extern "C" fn() as usize);
    hook.wrapping_sub(here).hash(&mut hasher);
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    hasher.finish()
}

/// `entered` is called once the arguments are decoded, just before the function.
fn call<F, A, R>(arguments: Arrival, entered: &mut dyn FnMut()) -> Result<Parcel, CallError>
where
    F: Fn(A) -> R + Copy + 'static,
    A: DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    let arguments = arguments.unpack().map_err(CallError::DecodeArgs)?;
    let () = CapturesNothing::<F>::CHECK;
    // SAFETY:
    // - `F` has size zero (checked when built), so nothing is read and any aligned address is valid;
    // - it is inhabited and may be copied: whoever named it had a value of it, and `F: Copy` has no drop to run twice.
    let function: F = unsafe { NonNull::dangling().read() };
    entered();
    Parcel::pack(&function(arguments)).map_err(CallError::EncodeResult)
}

/// The hook: the loader calls it before `main` in every program that contains this crate.
#[used]
#[unsafe(link_section = ".init_array")]
static START_UP: extern "C" fn() = start_up;

extern "C" fn start_up() {
    crate::child::take_over_if_child();
}

/// Makes the hook part of the program, and takes a child over where constructors do not run.
pub(crate) fn pin() {
    std::hint::black_box(&START_UP);
    crate::child::take_over_if_child();
}

/// Removes the variable that tells a child that it is one, so that no program which it starts takes itself for one.
pub(crate) fn remove_marker(name: &str) {
    // SAFETY: this runs in the hook before `main`, or in `init`, its first statement: there is no other thread yet that
    // could read the environment.
    unsafe { std::env::remove_var(name) };
}

/// Takes over what the parent passed.
pub(crate) fn take_given_descriptors(n_given: usize) -> std::io::Result<Vec<OwnedFd>> {
    // SAFETY: called by the hook before `main`, once the marker has said that the parent passed these descriptors: no code
    // of this process has opened any.
    unsafe { brigade_sys::kernel::child::take_given_descriptors(n_given) }
}
