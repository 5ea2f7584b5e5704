//! The interface to the operating system, libc and the race detectors, and functions of libc that preserve `errno`.
//!
//! The library reports errors by statuses. No call of it changes `errno`, whether the call succeeds, times out or
//! fails. The functions below save and restore `errno` around the libc function of the same name. The rest of the
//! library calls libc through them, except for functions that cannot set `errno` (the tests below contain the list).
//! Callbacks are not wrapped: a value that a callback stores in the calling thread's `errno` is kept.
#![cfg_attr(
    any(model, feature = "portable"),
    allow(
        dead_code,
        reason = "some functions are used only by the Linux futex backend, or only outside models"
    )
)]

pub(crate) mod annotate;
pub(crate) mod asymmetric_fence;
pub(crate) mod atomic;
pub(crate) mod baseline;
pub(crate) mod blocked_thread;
pub(crate) mod calling_thread;
pub(crate) mod exec_stack;
pub(crate) mod fd;
pub(crate) mod futex;
pub(crate) mod libc_hooks;
pub(crate) mod libc_state;
pub(crate) mod memory;
pub(crate) mod offsets;
pub(crate) mod prefetch;
pub(crate) mod probe;
pub(crate) mod pthread;
pub(crate) mod restartable_store;
pub(crate) mod thread_state;
pub(crate) mod tls;

#[cfg(target_os = "linux")]
use core::ffi::c_ulong;
use core::ffi::{c_char, c_int, c_long, c_void};

#[cfg(not(target_vendor = "apple"))]
use libc::dl_phdr_info;
use libc::{off_t, pthread_attr_t, pthread_key_t, pthread_t, rlimit, sigset_t};
/// The type, whose name is also that of a function.
type SignalAction = libc::sigaction;

/// Returns the address of the calling thread's `errno`.
#[cfg(target_os = "linux")]
pub(crate) use libc::__errno_location as errno_location;
/// Returns the address of the calling thread's `errno`.
#[cfg(any(target_os = "freebsd", target_vendor = "apple"))]
pub(crate) use libc::__error as errno_location;

/// Returns the value of an environment variable; `None` also if the process has more privileges than its caller.
pub(crate) fn secure_getenv(name: &core::ffi::CStr) -> Option<&'static core::ffi::CStr> {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            fn secure_getenv(name: *const c_char) -> *const c_char;
        }
        // SAFETY: the name ends with NUL.
        let value = unsafe { secure_getenv(name.as_ptr()) };
        // SAFETY: the value ends with NUL. It is read while the library is loaded, when no other thread changes it.
        (!value.is_null()).then(|| unsafe { core::ffi::CStr::from_ptr(value) })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = name;
        None
    }
}

/// Ends the process abnormally.
pub(crate) fn abort() -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::abort() }
}

/// Returns the calling thread's `errno`.
pub(crate) fn errno() -> c_int {
    // SAFETY: the address of the calling thread's `errno` is always valid.
    unsafe { errno_location().read_volatile() }
}

/// The value that `errno` had when this value was created, which is restored when it is dropped, on the same thread.
pub(crate) struct SavedErrno {
    errno: *mut c_int,
    before: c_int,
}

impl SavedErrno {
    #[inline(always)]
    pub(crate) fn new() -> SavedErrno {
        // SAFETY: as in `errno`.
        unsafe {
            let errno = errno_location();
            // Volatile, since compilers assume that malloc() does not change `errno`, and would remove the code that
            // restores it.
            SavedErrno { errno, before: errno.read_volatile() }
        }
    }
}

impl Drop for SavedErrno {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the value is dropped on the thread that created it.
        unsafe { self.errno.write_volatile(self.before) };
    }
}

/// Runs `call` and restores the value that `errno` had before.
#[inline]
pub(crate) fn preserving_errno<R>(call: impl FnOnce() -> R) -> R {
    let _errno = SavedErrno::new();
    call()
}

macro_rules! from_libc {
    ($($(#[$condition:meta])? fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        $(#[$condition])?
        /// The function of libc; preserves `errno`.
        ///
        /// # Safety
        /// As for libc's function.
        pub(crate) unsafe fn $name($($arg: $type),*) -> $result {
            // SAFETY: guaranteed by the caller.
            preserving_errno(|| unsafe { libc::$name($($arg),*) })
        }
    )*};
}

#[cfg(not(target_os = "linux"))]
unsafe extern "C" {
    /// The function of libc, which the crate `libc` does not declare here.
    pub(crate) fn pthread_attr_setstack(
        attributes: *mut pthread_attr_t,
        base: *mut c_void,
        bytes: usize,
    ) -> c_int;
}

type ForkHandler = Option<unsafe extern "C" fn()>;
type KeyDestructor = Option<unsafe extern "C" fn(*mut c_void)>;
#[cfg(not(target_vendor = "apple"))]
type PhdrCallback = Option<unsafe extern "C" fn(*mut dl_phdr_info, usize, *mut c_void) -> c_int>;
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = c_int;

from_libc! {
    fn malloc(bytes: usize) -> *mut c_void;
    fn free(memory: *mut c_void) -> ();
    fn mmap(at: *mut c_void, bytes: usize, access: c_int, flags: c_int, file: c_int, offset: off_t) -> *mut c_void;
    fn munmap(memory: *mut c_void, bytes: usize) -> c_int;
    fn mprotect(memory: *mut c_void, bytes: usize, access: c_int) -> c_int;
    fn madvise(memory: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    fn getrlimit(resource: Resource, limit: *mut rlimit) -> c_int;
    fn sysconf(name: c_int) -> c_long;
    fn open(path: *const c_char, flags: c_int) -> c_int;
    fn read(file: c_int, buffer: *mut c_void, bytes: usize) -> isize;
    fn write(file: c_int, buffer: *const c_void, bytes: usize) -> isize;
    fn close(file: c_int) -> c_int;
    #[cfg(target_os = "linux")]
    fn access(path: *const c_char, mode: c_int) -> c_int;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn pthread_sigmask(how: c_int, set: *const sigset_t, previous: *mut sigset_t) -> c_int;
    fn sigaction(signal: c_int, action: *const SignalAction, former: *mut SignalAction) -> c_int;
    #[cfg(target_os = "linux")]
    fn prctl(operation: c_int, two: c_ulong, three: c_ulong, four: c_ulong, five: c_ulong) -> c_int;
    #[cfg(target_os = "linux")]
    fn sched_getcpu() -> c_int;
    fn atexit(handler: extern "C" fn()) -> c_int;
    #[cfg(not(target_vendor = "apple"))]
    fn dl_iterate_phdr(callback: PhdrCallback, data: *mut c_void) -> c_int;
    fn pthread_atfork(prepare: ForkHandler, parent: ForkHandler, child: ForkHandler) -> c_int;
    fn pthread_attr_init(attributes: *mut pthread_attr_t) -> c_int;
    fn pthread_attr_destroy(attributes: *mut pthread_attr_t) -> c_int;
    #[cfg(target_os = "linux")]
    fn pthread_attr_setstack(attributes: *mut pthread_attr_t, base: *mut c_void, bytes: usize) -> c_int;
    #[cfg(all(target_os = "linux", not(target_env = "gnu")))]
    fn pthread_getattr_np(thread: pthread_t, attributes: *mut pthread_attr_t) -> c_int;
    fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int;
    fn pthread_detach(thread: pthread_t) -> c_int;
    fn pthread_key_create(key: *mut pthread_key_t, destructor: KeyDestructor) -> c_int;
    fn pthread_key_delete(key: pthread_key_t) -> c_int;
    fn pthread_setspecific(key: pthread_key_t, value: *const c_void) -> c_int;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_preserves_errno() {
        const UNUSED: c_int = 9999;
        // SAFETY: changes only the calling thread's `errno`; the path ends with NUL.
        unsafe {
            *errno_location() = UNUSED;
            assert_eq!(open(c"/nonexistent".as_ptr(), libc::O_RDONLY), -1);
        }
        assert_eq!(errno(), UNUSED);
    }

    /// Functions that do not change `errno`, as libc documents, and functions that do not return.
    const SET_NO_ERRNO: [&str; 12] = [
        "__errno_location",
        "clock_gettime", // with a valid clock
        "exit",
        "getpid",
        "gettid",
        "pthread_attr_getstacksize",
        "pthread_attr_setdetachstate",
        "pthread_attr_setstacksize",
        "pthread_self",
        "sigfillset", // with a valid pointer
        "strcmp",
        "syscall", // only inside `preserving_errno`, as the test checks
    ];

    fn sources(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn the_c_tests_check_errno_for_each_exported_function() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let macros = std::fs::read_to_string(root.join("tests/c/keeps_errno.h")).unwrap();
        let mut files = Vec::new();
        sources(&root.join("src/capi"), &mut files);
        let mut functions = 0;
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            for exported in text.split("#[unsafe(no_mangle)]").skip(1) {
                let (_, function) = exported.split_once(" fn ").unwrap();
                let name = function.split('(').next().unwrap();
                assert!(
                    macros.contains(&format!("#define {name}(...)")),
                    "tests/c/keeps_errno.h does not contain {name}"
                );
                functions += 1;
            }
        }
        assert!(functions > 100);
    }

    #[test]
    fn the_library_calls_libc_through_this_module() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&root, &mut files);
        assert!(files.len() > 40, "{files:?}");
        for file in files.iter().filter(|file| !file.starts_with(root.join("sys"))) {
            let text = std::fs::read_to_string(file).unwrap();
            let text = text.split("\nmod tests {").next().unwrap();
            for call in text.split("libc::").skip(1) {
                let name: String =
                    call.chars().take_while(|&letter| letter.is_ascii_lowercase() || letter == '_').collect();
                if !call[name.len()..].starts_with('(') {
                    continue;
                }
                assert!(
                    SET_NO_ERRNO.contains(&&*name),
                    "{} calls libc::{name} instead of sys::{name}, which preserves errno",
                    file.display()
                );
            }
            let syscalls = text.matches("libc::syscall(").count();
            let preserved = text.matches("preserving_errno(").count();
            assert!(syscalls <= preserved, "{} calls libc::syscall outside preserving_errno", file.display());
        }
    }
}
