//! Whether looking again and again makes sense before sleeping.

use std::sync::OnceLock;

/// How many turns a waiter may look before it sleeps: none where only one processor is available, since then the one it waits
/// for cannot run meanwhile.
pub(crate) fn budget(n_turns: u32) -> u32 {
    static HAS_SEVERAL: OnceLock<bool> = OnceLock::new();
    let has_several = *HAS_SEVERAL.get_or_init(|| crate::current::available_cpus() > 1);
    if has_several { n_turns } else { 0 }
}
