//! The state that libc and the CPU keep for each thread, and that is reset for each timer's function.

use core::ffi::c_int;
use core::ptr;

use crate::sys;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_ENABLE: c_int = if cfg!(target_vendor = "apple") { 1 } else { 0 };
const PTHREAD_CANCEL_DEFERRED: c_int = if cfg!(target_vendor = "apple") { 2 } else { 0 };
/// `LC_GLOBAL_LOCALE`.
const GLOBAL_LOCALE: libc::locale_t = ptr::without_provenance_mut(usize::MAX);

/// Restores what a function may have changed in libc and in the CPU. Called immediately after the function, since the
/// code after it must not be cancelled.
#[inline]
pub(crate) fn restore_libc_state() {
    if cfg!(model) {
        return;
    }
    // SAFETY: each call changes only the calling thread's state.
    unsafe {
        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, ptr::null_mut());
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, ptr::null_mut());
        libc::uselocale(GLOBAL_LOCALE);
    }
    restore_floating_point();
}

/// Sets `errno` to 0, which each function begins with.
#[inline(always)]
pub(crate) fn clear_errno() {
    // SAFETY: the address of the calling thread's `errno` is always valid.
    unsafe { *sys::errno_location() = 0 };
}

#[cfg(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse")))]
#[inline(always)]
fn restore_floating_point() {
    const MXCSR: u32 = 0x1f80;
    const X87: u16 = 0x37f;
    const EXCEPTIONS: u16 = 0x7f;
    let (mut mxcsr, mut control) = (0_u32, 0_u16);
    let status: u16;
    // SAFETY: reads the registers into these variables.
    unsafe {
        core::arch::asm!(
            "stmxcsr [{mxcsr}]",
            "fnstcw [{control}]",
            "fnstsw ax",
            mxcsr = in(reg) &mut mxcsr,
            control = in(reg) &mut control,
            out("ax") status,
            options(nostack, preserves_flags),
        );
    }
    if mxcsr != MXCSR {
        let default = MXCSR;
        // SAFETY: the value with which programs begin.
        unsafe {
            core::arch::asm!("ldmxcsr [{}]", in(reg) &default, options(nostack, readonly, preserves_flags))
        };
    }
    if control != X87 || status & EXCEPTIONS != 0 {
        // SAFETY: between function calls, the x87 registers contain no values.
        unsafe {
            core::arch::asm!(
                "fninit",
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                options(nomem, nostack),
            );
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn restore_floating_point() {
    // SAFETY: the values with which programs begin.
    unsafe { core::arch::asm!("msr fpcr, xzr", "msr fpsr, xzr", options(nomem, nostack)) };
}

#[cfg(any(target_arch = "riscv64", target_arch = "riscv32"))]
#[inline(always)]
fn restore_floating_point() {
    // SAFETY: the value with which programs begin.
    unsafe { core::arch::asm!("csrw fcsr, zero", options(nomem, nostack)) };
}

#[cfg(all(target_arch = "arm", target_abi = "eabihf"))]
#[inline(always)]
fn restore_floating_point() {
    // SAFETY: the value with which programs begin.
    unsafe { core::arch::asm!("vmsr fpscr, {}", in(reg) 0, options(nomem, nostack)) };
}

#[cfg(target_arch = "s390x")]
#[inline(always)]
fn restore_floating_point() {
    // SAFETY: the value with which programs begin.
    unsafe { core::arch::asm!("sfpc {}", in(reg) 0, options(nomem, nostack)) };
}

/// On other architectures, only libm knows the default environment, and programs may be linked without libm.
#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "x86", target_feature = "sse"),
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "riscv32",
    all(target_arch = "arm", target_abi = "eabihf"),
    target_arch = "s390x"
)))]
#[inline(always)]
fn restore_floating_point() {}
