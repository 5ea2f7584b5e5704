//! Whether the process's stacks must be executable: the flags of `PT_GNU_STACK` in all loaded objects.

use crate::sys::atomic::{AtomicBool, AtomicU64, Ordering};
use core::ffi::{c_int, c_void};
use core::slice;

use crate::sys;

/// How many objects had been loaded when they were last looked at, and whether one of them wants executable
/// stacks, on which the code lies that a compiler makes for nested functions.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LOADED_OBJECTS: AtomicU64 = AtomicU64::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static EXEC_STACK_REQUIRED: AtomicBool = AtomicBool::new(false);

struct PhdrScan {
    known: u64,
    loaded: u64,
    executable: bool,
}

/// Looks at the objects that have been loaded since the last scan.
pub(crate) fn scan() {
    let known = LOADED_OBJECTS.load(Ordering::Acquire);
    let mut scan = PhdrScan { known, loaded: known, executable: false };
    // SAFETY: `scan_object` takes what it is given here.
    unsafe { sys::dl_iterate_phdr(Some(scan_object), (&raw mut scan).cast()) };
    if scan.executable {
        EXEC_STACK_REQUIRED.store(true, Ordering::Relaxed);
    }
    if scan.loaded != known {
        LOADED_OBJECTS.store(scan.loaded, Ordering::Release);
    }
}

/// Whether an object that a call of `scan` has seen wants executable stacks.
pub(crate) fn is_wanted() -> bool {
    EXEC_STACK_REQUIRED.load(Ordering::Relaxed)
}

/// Called for each object; nonzero ends that.
unsafe extern "C" fn scan_object(object: *mut libc::dl_phdr_info, _: usize, scan: *mut c_void) -> c_int {
    // SAFETY: the loader describes the object and counts all; the rest is what `scan` gave.
    let (object, scan) = unsafe { (&*object, &mut *scan.cast::<PhdrScan>()) };
    if object.dlpi_adds == scan.known || object.dlpi_phdr.is_null() {
        return c_int::from(object.dlpi_adds == scan.known);
    }
    scan.loaded = object.dlpi_adds;
    // SAFETY: the loader's own, and not NULL.
    let headers = unsafe { slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    scan.executable |=
        headers.iter().any(|header| header.p_type == libc::PT_GNU_STACK && header.p_flags & libc::PF_X != 0);
    0
}
