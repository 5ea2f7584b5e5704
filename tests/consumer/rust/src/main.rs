//! The smallest Rust program that notices a broken crate: a thread counts under a lock, and the end of the process
//! waits for a thread that nobody joins, after the exit callbacks, the last one first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use threading::{Handle, Lock, Owned, Result, Thread, Timeout};

fn main() -> Result {
    let lock = Owned(Handle::<Lock>::new()?);
    let count = Arc::new(AtomicU32::new(0));
    let thread = {
        let (lock, count) = (lock.clone(), count.clone());
        Owned(Handle::<Thread>::from_fn(move || {
            let _held = lock.hold();
            count.fetch_add(1, Ordering::Relaxed);
        })?)
    };
    thread.start()?;
    assert!(thread.join(Timeout::FOREVER)?);
    println!("counted {}", count.load(Ordering::Relaxed));

    threading::atexit(|| println!("first given, last called"))?;
    threading::atexit(|| println!("last given, first called"))?;
    let straggler = Owned(Handle::<Thread>::from_fn(|| {
        threading::sleep(Timeout::new(0.2).expect("a fifth of a second"));
        println!("waited for");
    })?);
    straggler.start()
}
