//! Models of the local: freeing it while threads exit. For shuttle only: the tables of values are on the heap, and loom
//! needs atomics whose addresses are the same in each run.
#![cfg(model = "shuttle")]

use core::ffi::{CStr, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use threading::model::{Model, spawn};
use threading::{Error, Handle, Local, Result};

unsafe extern "C-unwind" fn count(value: *mut c_void) {
    // SAFETY: each value is a counter, which outlives the local.
    unsafe { &*value.cast::<AtomicU32>() }.fetch_add(1, SeqCst);
}

fn local() -> Handle<Local> {
    // SAFETY: all values are counters, which outlive the local.
    unsafe { Handle::<Local>::new(Some(count)) }.unwrap()
}

fn value(counter: &Arc<AtomicU32>) -> *mut c_void {
    Arc::as_ptr(counter).cast_mut().cast()
}

fn set(local: Handle<Local>, counter: &Arc<AtomicU32>) -> Result {
    // SAFETY: a counter, as the local's destructor takes it.
    unsafe { local.set(value(counter)) }
}

fn set_attr(local: Handle<Local>, name: &CStr, counter: &Arc<AtomicU32>) -> Result {
    // SAFETY: as above.
    unsafe { local.set_attr(name, value(counter)) }
}

#[test]
fn each_value_is_destroyed_once() {
    Model::new("local: each value is destroyed once, by thread exit or by free").check(|| {
        let local = local();
        let destroyed = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let destroyed = destroyed.clone();
                spawn(move || match set(local, &destroyed) {
                    Ok(()) => true,
                    Err(error) => {
                        assert_eq!(error, Error::Handle);
                        false
                    }
                })
            })
            .collect();
        local.free().unwrap();
        let set = threads.into_iter().map(|thread| u32::from(thread.join().unwrap())).sum::<u32>();
        // After a failed set, the value still belongs to the caller; each value that was set is destroyed.
        assert_eq!(destroyed.load(SeqCst), set);
    });
}

#[test]
fn each_attribute_is_destroyed_once() {
    Model::new("local: each attribute is destroyed once").check(|| {
        let local = local();
        let destroyed = Arc::new(AtomicU32::new(0));
        let thread = {
            let destroyed = destroyed.clone();
            spawn(move || {
                let set = set_attr(local, c"a", &destroyed).is_ok();
                u32::from(set) + u32::from(set_attr(local, c"b", &destroyed).is_ok())
            })
        };
        local.free().unwrap();
        let set = thread.join().unwrap();
        assert_eq!(destroyed.load(SeqCst), set);
    });
}

#[test]
fn a_replaced_value_is_destroyed_once() {
    Model::new("local: a replaced value is destroyed once").check(|| {
        let local = local();
        let destroyed: Vec<_> = (0..2).map(|_| Arc::new(AtomicU32::new(0))).collect();
        let thread = {
            let destroyed = destroyed.clone();
            spawn(move || destroyed.iter().map(|counter| set(local, counter).is_ok()).collect::<Vec<_>>())
        };
        local.free().unwrap();
        let set = thread.join().unwrap();
        for (destroyed, set) in destroyed.iter().zip(set) {
            assert_eq!(destroyed.load(SeqCst), u32::from(set));
        }
    });
}

#[test]
fn the_next_local_in_the_slot_has_no_value() {
    Model::new("local: the next local in the slot has no value").check(|| {
        let local = local();
        let destroyed = Arc::new(AtomicU32::new(0));
        let thread = {
            let destroyed = destroyed.clone();
            spawn(move || set(local, &destroyed).is_ok())
        };
        local.free().unwrap();
        let newer = self::local();
        assert_eq!(newer.lookup(), Ok(None));
        let set = thread.join().unwrap();
        assert_eq!(destroyed.load(SeqCst), u32::from(set));
        newer.free().unwrap();
    });
}

#[test]
fn no_thread_finds_a_value_after_a_free() {
    Model::new("local: no thread finds its value after free has returned").check(|| {
        let local = local();
        let freed = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let freed = freed.clone();
                spawn(move || {
                    let destroyed = Arc::new(AtomicU32::new(0));
                    let set = u32::from(set(local, &destroyed).is_ok());
                    let is_gone = freed.load(SeqCst);
                    let found = local.get();
                    if is_gone {
                        assert_eq!(found, Err(Error::Handle));
                        // It was destroyed by the free, not by the exit of this thread.
                        assert_eq!(destroyed.load(SeqCst), set);
                    }
                    // The thread's exit may still destroy the value.
                    core::mem::forget(destroyed);
                })
            })
            .collect();
        local.free().unwrap();
        freed.store(true, SeqCst);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_stale_handle_hides_no_value_from_the_next_free() {
    Model::new("local: a stale handle hides no value from the free of the next local in the slot").check(
        || {
            let local = local();
            let [old, new] = [0, 0].map(|count| Arc::new(AtomicU32::new(count)));
            let stale = {
                let old = old.clone();
                spawn(move || u32::from(set(local, &old).is_ok()))
            };
            local.free().unwrap();
            let newer = self::local();
            set(newer, &new).unwrap();
            spawn(move || newer.free().unwrap()).join().unwrap();
            // This thread is still running, so the free has destroyed its value.
            assert_eq!(new.load(SeqCst), 1);
            assert_eq!(newer.lookup(), Err(Error::Handle));
            let set = stale.join().unwrap();
            assert_eq!(old.load(SeqCst), set);
        },
    );
}

#[test]
fn threads_exit_while_a_free_visits_their_tables() {
    Model::new("local: threads exit while a free visits their tables").check(|| {
        let locals = [local(), local()];
        let destroyed = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let destroyed = destroyed.clone();
                spawn(move || {
                    let set = locals.map(|local| u32::from(set_attr(local, c"a", &destroyed).is_ok()));
                    set.iter().sum::<u32>() + u32::from(self::set(locals[0], &destroyed).is_ok())
                })
            })
            .collect();
        let other = spawn(move || locals[1].free().unwrap());
        locals[0].free().unwrap();
        other.join().unwrap();
        let set = threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>();
        assert_eq!(destroyed.load(SeqCst), set);
    });
}

#[test]
fn cells_move_while_a_free_visits_the_table() {
    Model::new("local: cells move while a free visits the table").check(|| {
        let local = local();
        let others = [0; 7].map(|_| self::local());
        let destroyed = Arc::new(AtomicU32::new(0));
        let thread = {
            let destroyed = destroyed.clone();
            spawn(move || {
                let set = u32::from(set(local, &destroyed).is_ok());
                others.iter().for_each(|other| assert_eq!(other.lookup(), Ok(None)));
                set
            })
        };
        local.free().unwrap();
        let set = thread.join().unwrap();
        assert_eq!(destroyed.load(SeqCst), set);
    });
}
