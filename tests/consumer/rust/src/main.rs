//! The smallest Rust program that notices a broken crate: a thread counts under a lock, and the end of the process
//! waits for a thread that nobody joins, after the exit callbacks, the last one first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use threading::{Lock, Result, Thread, Timeout};

fn main() -> Result {
    let lock = Lock::new()?;
    let count = Arc::new(AtomicU32::new(0));
    let thread = {
        let (lock, count) = (lock.clone(), count.clone());
        Thread::new(move || {
            let _guard = lock.lock();
            count.fetch_add(1, Ordering::Relaxed);
        })?
    };
    thread.start()?;
    assert!(thread.join(Timeout::FOREVER)?);
    println!("counted {}", count.load(Ordering::Relaxed));

    threading::atexit(|| println!("first given, last called"))?;
    threading::atexit(|| println!("last given, first called"))?;
    let straggler = Thread::new(|| {
        threading::sleep(Timeout::new(0.2).expect("a fifth of a second"));
        println!("waited for");
    })?;
    straggler.start()
}
