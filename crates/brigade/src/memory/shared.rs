//! `Shared<T>`: one value of plain data that several processes read and replace, never torn. A value that is worked on for a
//! while under a lock is in mutex.rs.
//!
//! ```text
//!   0  mapped_bytes u64
//! 128  a value of at most eight bytes, as one word; a larger one lies as whole.rs has it
//! ```

use brigade_sys::kernel::fork;
use brigade_sys::shared::atomics::{AtomicU64, Ordering};
use brigade_sys::shared::bytes::SharedBytes;
use bytemuck::{Pod, Zeroable};

use super::whole::{Whole, handle_to_value};
use crate::error::MemoryError;
use crate::session::WindowKind;

const WORD_BYTES: usize = 8;
/// Where a value of at most one word lies.
const WORD: usize = 128;

/// One value of plain data in memory that all processes with a handle see.
///
/// A `Shared` is a handle, to be cloned and sent as a [`Queue`](crate::Queue) is. Whoever reads gets a value that was
/// stored as a whole, never parts of two, whatever its size; a process killed at any moment leaves the value before or the
/// value after its change. Values of up to 8 bytes are one atomic word: nobody ever waits. Larger ones have a lock for those
/// who write; those who read do not wait for them. In a process made by `fork()` nobody can be named as the owner of a lock, so
/// there changing a larger value panics.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let n_done = brigade::Shared::new(0_u32)?;
/// let counting = brigade::spawn(n_done.clone(), |n_done| {
///     n_done.update(|n| n + 1);
/// })?;
/// n_done.fetch_add(1);
/// counting.join()?;
/// assert_eq!(n_done.load(), 2);
/// # Ok(())
/// # }
/// ```
///
/// A structure is plain data if it derives `Pod`:
/// ```
/// use bytemuck::{Pod, Zeroable};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
/// #[repr(C)]
/// struct Position {
///     x: f64,
///     y: f64,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let position = brigade::Shared::new(Position { x: 1.0, y: 2.0 })?;
/// let before = position.update(|at| Position { x: at.x + 1.0, ..at });
/// assert_eq!((before.x, position.load().x), (1.0, 2.0));
/// # Ok(())
/// # }
/// ```
pub struct Shared<T> {
    whole: Whole<T>,
}

impl<T: Pod> Shared<T> {
    const IS_WORD: bool = size_of::<T>() <= WORD_BYTES;

    /// Shares a value.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it.
    pub fn new(value: T) -> Result<Self, MemoryError> {
        if Self::IS_WORD {
            let shared = Self { whole: Whole::create(WindowKind::Shared, &T::zeroed())? };
            shared.store(value);
            return Ok(shared);
        }
        Ok(Self { whole: Whole::create(WindowKind::Shared, &value)? })
    }

    /// The value now.
    #[must_use]
    pub fn load(&self) -> T {
        if Self::IS_WORD {
            // Acquire: pairs with the Release in `store` and `compare_exchange_word`.
            return of_word(self.word().load(Ordering::Acquire));
        }
        self.whole.load()
    }

    /// Replaces the value. One of more than 8 bytes waits while another process is inside of [`update`](Self::update).
    pub fn store(&self, value: T) {
        if Self::IS_WORD {
            // Release: pairs with the Acquire in `load`.
            self.word().store(to_word(value), Ordering::Release);
            return;
        }
        self.locked(|_| (Some(value), ()));
    }

    /// Replaces the value by what `change` makes of it, as one step for all processes, and returns what was there before.
    ///
    /// A process killed inside, or a panic there, leaves the value as it was. For up to 8 bytes nothing is locked, and
    /// `change` is called again when somebody else was faster. Larger values are locked meanwhile: calling a method of the
    /// same value inside `change`, other than `load`, would wait for ever.
    pub fn update(&self, mut change: impl FnMut(T) -> T) -> T {
        if Self::IS_WORD {
            let mut seen = self.word().load(Ordering::Acquire);
            loop {
                let new = to_word(change(of_word(seen)));
                match self.word().compare_exchange_weak(seen, new, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(before) => return of_word(before),
                    Err(now) => seen = now,
                }
            }
        }
        self.locked(|before| (Some(change(before)), before))
    }

    /// Replaces the value by `new` if it is `current`, byte for byte, as one step for all processes.
    ///
    /// # Errors
    /// The value that was there instead.
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        if Self::IS_WORD {
            let exchanged =
                self.word().compare_exchange(to_word(current), to_word(new), Ordering::AcqRel, Ordering::Acquire);
            return exchanged.map(of_word).map_err(of_word);
        }
        self.locked(|before| {
            if bytemuck::bytes_of(&before) == bytemuck::bytes_of(&current) {
                (Some(new), Ok(before))
            } else {
                (None, Err(before))
            }
        })
    }

    fn word(&self) -> &AtomicU64 {
        self.whole.mapping().word64(WORD)
    }

    /// Runs `decide` while nobody else writes, and commits the value that it gives, if it gives one.
    fn locked<R>(&self, decide: impl FnOnce(T) -> (Option<T>, R)) -> R {
        let of_parent = "this process was made by fork(), and what it has a copy of belongs to its parent";
        assert!(!fork::is_forked(), "{of_parent}");
        let taken = self.whole.lock(None);
        assert!(taken.is_ok(), "without a deadline a lock is always taken");
        let unlocking = Unlocking(&self.whole);
        let (new, result) = decide(self.whole.load_locked());
        if let Some(new) = new {
            self.whole.store_locked(&new);
        }
        drop(unlocking);
        result
    }
}

/// Unlocks also when the user's function panics.
struct Unlocking<'a, T>(&'a Whole<T>);

impl<T> Drop for Unlocking<'_, T> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

fn to_word<T: Pod>(value: T) -> u64 {
    let mut word = [0; WORD_BYTES];
    word[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
    u64::from_ne_bytes(word)
}

fn of_word<T: Pod>(word: u64) -> T {
    let mut value: T = Zeroable::zeroed();
    bytemuck::bytes_of_mut(&mut value).copy_from_slice(&word.to_ne_bytes()[..size_of::<T>()]);
    value
}

/// What whole numbers can do besides.
macro_rules! counting {
    ($($number:ty),*) => {$(
        impl Shared<$number> {
            /// Adds as one step for all processes, and returns what was there before. Wraps around.
            pub fn fetch_add(&self, increment: $number) -> $number {
                self.update(|value| value.wrapping_add(increment))
            }

            /// Subtracts as one step for all processes, and returns what was there before. Wraps around.
            pub fn fetch_sub(&self, decrement: $number) -> $number {
                self.update(|value| value.wrapping_sub(decrement))
            }
        }
    )*};
}

counting!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

handle_to_value!(Shared, Shared);
