//! Threads that are blocked in `exit`, while another thread is in it, and threads that the system has ended.
//!
//! Since glibc 2.41, only one thread at a time calls the exit handlers. Another thread that calls `exit` blocks before
//! it calls any, so that this library does not learn of it. If the exit waited for that thread, neither would end.
//!
//! A thread that the system has ended, as a seccomp filter does, has called no destructor, and so has not left the
//! registry.

use crate::sys::{blocked_thread, pthread};
use crate::thread::object::{TIMER, Thread};
use crate::thread::registry;
use crate::time::Deadline;

/// How many threads are looked at after one lock of the registry.
const BATCH: usize = 64;

/// Called by a thread that waits in the process exit. Excludes the threads that are blocked until the exit is complete,
/// as if they were in it themselves, and lets the timers end whose functions they run. Removes the threads that the
/// system has ended.
#[cold]
pub(crate) fn exclude_blocked_threads() {
    let mut first = 0;
    loop {
        let mut batch: [Option<&'static Thread>; BATCH] = [None; BATCH];
        let mut count = 0;
        {
            let registry = registry::lock();
            let running = registry
                .alive
                .iter()
                .filter(|thread| registry::is_awaited(thread) && thread.native_id() != 0);
            for thread in running.skip(first).take(BATCH) {
                // Used below without the mutex. A thread whose reference count is at its maximum is left out.
                batch[count] = thread.handle().internal_ref().is_ok().then_some(thread);
                count += 1;
            }
        }
        let mut excluded = 0;
        for thread in batch.into_iter().flatten() {
            // The thread is not among those of the next batch any more.
            if blocked_thread::waits_for_caller(thread.native_id()) {
                excluded += usize::from(exclude(thread));
            } else {
                excluded += usize::from(remove_if_gone(thread));
            }
            thread.handle().internal_unref();
        }
        if count < BATCH {
            return;
        }
        first += BATCH - excluded;
    }
}

/// Returns false if no shutdown waited for the thread any more.
#[cold]
fn exclude(thread: &'static Thread) -> bool {
    if thread.has_flag(TIMER) {
        registry::finish_timer_at_exit(thread)
    } else {
        registry::exclude_from_shutdowns(thread)
    }
}

/// Returns whether the system has ended the thread, or that of a timer's function.
#[cold]
fn remove_if_gone(thread: &'static Thread) -> bool {
    if thread.has_flag(TIMER) {
        return !pthread::thread_exists(thread.native_id()) && registry::finish_timer_at_exit(thread);
    }
    // The thread is in the list of those that are alive, or was just before. The join does not wait.
    thread.is_done() && thread.join(Deadline(0)).is_ok()
}

#[cfg(all(test, target_os = "linux", target_env = "gnu", not(model)))]
mod tests {
    use core::ffi::c_void;
    use core::ptr;
    use std::time::Duration;

    use super::*;
    use crate::handle::Handle;
    use crate::sys::fd;
    use crate::thread::object::IN_SHUTDOWN;
    use crate::time::Timeout;

    unsafe extern "C" {
        fn flockfile(file: *mut libc::FILE);
        fn funlockfile(file: *mut libc::FILE);
    }

    unsafe extern "C-unwind" fn wait_for_file(file: *mut c_void) -> *mut c_void {
        // SAFETY: the file is open.
        unsafe {
            flockfile(file.cast());
            funlockfile(file.cast());
        }
        ptr::null_mut()
    }

    /// How many of this number of blocked threads one call excludes.
    fn excluded(count: usize) -> usize {
        // SAFETY: the file stays open until no thread uses it.
        unsafe {
            let file = libc::tmpfile();
            flockfile(file);
            let start = |_| {
                let thread = Handle::<Thread>::new(Some(wait_for_file), file.cast()).unwrap();
                thread.start().unwrap();
                thread
            };
            let threads: Vec<_> = (0..count).map(start).collect();
            let object = |thread: &Handle<Thread>| thread.check().unwrap().0;
            for thread in threads.iter().map(object) {
                while thread.native_id() == 0 || !blocked_thread::waits_for_caller(thread.native_id()) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            exclude_blocked_threads();
            let excluded = threads.iter().filter(|thread| object(thread).has_flag(IN_SHUTDOWN)).count();
            funlockfile(file);
            for thread in threads {
                assert_eq!(thread.join(Timeout::FOREVER), Ok(true));
                thread.free().unwrap();
            }
            libc::fclose(file);
            excluded
        }
    }

    #[test]
    fn one_call_excludes_more_threads_than_a_batch_has() {
        let mut text = [0; 32];
        let length = fd::read_beginning(c"/proc/self/syscall", &mut text);
        if !text[..length].starts_with(format!("{} ", libc::SYS_read).as_bytes()) {
            eprintln!("skipped: the system does not show in which system call a thread is blocked");
            return;
        }
        // The end of another test's thread may change the places of these ones in the list.
        assert!((0..50).any(|_| excluded(3 * BATCH) == 3 * BATCH));
    }
}
