//! A minimal Rust program that detects a broken crate: a thread increments a counter under a lock. Process exit calls
//! the exit callbacks in reverse order and then waits for a thread that is not joined.

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

    threading::atexit(|| println!("registered first, called last"))?;
    threading::atexit(|| println!("registered last, called first"))?;
    let unjoined = Thread::new(|| {
        threading::sleep(Timeout::new(0.2).expect("a fifth of a second"));
        println!("joined at exit");
    })?;
    unjoined.start()
}
