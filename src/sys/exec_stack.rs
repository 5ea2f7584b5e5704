//! Whether the process needs executable stacks: the flags of `PT_GNU_STACK` in all loaded objects.

#[cfg(not(target_vendor = "apple"))]
use crate::sys::atomic::AtomicU64;
use crate::sys::atomic::{AtomicBool, Ordering};
#[cfg(not(target_vendor = "apple"))]
use core::ffi::{c_int, c_void};
#[cfg(not(target_vendor = "apple"))]
use core::slice;

#[cfg(not(target_vendor = "apple"))]
use crate::sys;

/// The number of objects that the process had loaded by the last scan, unloaded ones included (`dlpi_adds`).
#[cfg(not(target_vendor = "apple"))]
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LOADED_OBJECTS: AtomicU64 = AtomicU64::new(0);
/// Whether one of them needs executable stacks, for example for the trampolines of GCC's nested functions.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static EXEC_STACK_REQUIRED: AtomicBool = AtomicBool::new(false);

#[cfg(not(target_vendor = "apple"))]
struct PhdrScan {
    known: u64,
    loaded: u64,
    executable: bool,
}

/// Scans the loaded objects, if any has been loaded since the last scan.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn scan() {
    let known = LOADED_OBJECTS.load(Ordering::Acquire);
    let mut scan = PhdrScan { known, loaded: known, executable: false };
    // SAFETY: `scan_object` takes a pointer to a `PhdrScan`.
    unsafe { sys::dl_iterate_phdr(Some(scan_object), (&raw mut scan).cast()) };
    if scan.executable {
        EXEC_STACK_REQUIRED.store(true, Ordering::Relaxed);
    }
    if scan.loaded != known {
        LOADED_OBJECTS.store(scan.loaded, Ordering::Release);
    }
}

/// On systems without ELF, no object needs executable stacks.
#[cfg(target_vendor = "apple")]
pub(crate) fn scan() {}

/// Returns whether an object that `scan` has seen needs executable stacks.
pub(crate) fn is_required() -> bool {
    EXEC_STACK_REQUIRED.load(Ordering::Relaxed)
}

/// Called for each object. A nonzero result ends the iteration.
#[cfg(not(target_vendor = "apple"))]
unsafe extern "C" fn scan_object(object: *mut libc::dl_phdr_info, _: usize, scan: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid description of the object, and the pointer that `scan` has passed.
    let (object, scan) = unsafe { (&*object, &mut *scan.cast::<PhdrScan>()) };
    if object.dlpi_adds == scan.known || object.dlpi_phdr.is_null() {
        return c_int::from(object.dlpi_adds == scan.known);
    }
    scan.loaded = object.dlpi_adds;
    const PT_GNU_STACK: u32 = 0x6474_e551;
    const PF_X: u32 = 1;
    // SAFETY: the loader's table of this length, not NULL.
    let headers = unsafe { slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    scan.executable |=
        headers.iter().any(|header| header.p_type == PT_GNU_STACK && header.p_flags & PF_X != 0);
    0
}
