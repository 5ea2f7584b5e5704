//! Whether the process's stacks must be executable: the flags of `PT_GNU_STACK` in all loaded objects.

use crate::sys::atomic::{AtomicBool, AtomicU64, Ordering};
use core::ffi::{c_int, c_void};
use core::slice;

use crate::sys;

/// How many objects had been loaded when they were last looked at, and whether one of them wants executable
/// stacks, on which the code lies that a compiler makes for nested functions.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LOADED: AtomicU64 = AtomicU64::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static EXECUTABLE: AtomicBool = AtomicBool::new(false);

struct Look {
    known: u64,
    loaded: u64,
    executable: bool,
}

/// Looks at the objects that have been loaded since the last look.
pub(crate) fn look() {
    let known = LOADED.load(Ordering::Acquire);
    let mut look = Look { known, loaded: known, executable: false };
    // SAFETY: `look_at` takes what it is given here.
    unsafe { sys::dl_iterate_phdr(Some(look_at), (&raw mut look).cast()) };
    if look.executable {
        EXECUTABLE.store(true, Ordering::Relaxed);
    }
    if look.loaded != known {
        LOADED.store(look.loaded, Ordering::Release);
    }
}

/// Whether an object that a call of `look` has seen wants executable stacks.
pub(crate) fn is_wanted() -> bool {
    EXECUTABLE.load(Ordering::Relaxed)
}

/// Called for each object; nonzero ends that.
unsafe extern "C" fn look_at(object: *mut libc::dl_phdr_info, _: usize, look: *mut c_void) -> c_int {
    // SAFETY: the loader describes the object and counts all; the rest is what `look` gave.
    let (object, look) = unsafe { (&*object, &mut *look.cast::<Look>()) };
    if object.dlpi_adds == look.known || object.dlpi_phdr.is_null() {
        return c_int::from(object.dlpi_adds == look.known);
    }
    look.loaded = object.dlpi_adds;
    // SAFETY: the loader's own, and not NULL.
    let headers = unsafe { slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    look.executable |=
        headers.iter().any(|header| header.p_type == libc::PT_GNU_STACK && header.p_flags & libc::PF_X != 0);
    0
}
