//! How the allocator treats pages.

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// `mi_option_purge_delay` of mimalloc.h, which the bindings do not name.
const PURGE_DELAY: mi_option_t = 15;
const NEVER: i64 = -1;

/// Keeps pages that were freed, where mimalloc is the program's allocator. Inference allocates and frees the same large buffers over
/// and over; pages that went back to the system in between would have to be cleared again.
pub fn keep_pages() {
    // SAFETY: sets a number; options may be set at any time.
    unsafe { mi_option_set(PURGE_DELAY, NEVER as _) }
}
