//! The part for loom.
//!
//! Each of the library's atomics is represented by one of loom's, which is found by the address. loom requires that an
//! atomic is created before other threads can access it, but the addresses are not known in advance. So a run that has
//! several threads ends when one of them accesses an unknown address, and the model starts again with this address
//! known.

use core::cell::{Cell, RefCell};
use core::sync::atomic as machine;
use core::sync::atomic::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use loom::sync::atomic as modelled;

use super::{Model, is_running, setting};
use crate::model::thread;

pub use loom::thread::JoinHandle;
pub(in crate::model) type Id = loom::thread::ThreadId;
pub(in crate::model) use loom::sync::atomic::AtomicU64 as SharedU64;
pub(in crate::model) type Parked = loom::thread::Thread;

/// What an address is to loom: an atomic of some width, or data that only one thread at a time may access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum LocationKind {
    U8,
    U32,
    U64,
    Data,
}

enum LoomObject {
    U8(ShadowedAtomic<modelled::AtomicU8>),
    U32(ShadowedAtomic<modelled::AtomicU32>),
    U64(ShadowedAtomic<modelled::AtomicU64>),
    Data(loom::cell::UnsafeCell<()>),
}

/// An atomic, and a shadow that is stored to before each access.
///
/// To find accesses that could be reordered, loom compares each one only with the last access to the same object. When
/// a thread loads a word and then changes it, loom misses that other threads had loaded the word before. The relaxed
/// store to the shadow makes each access a write, so that none is missed.
struct ShadowedAtomic<T> {
    shadow: modelled::AtomicU8,
    word: T,
    /// True if this run has accessed it. In another run, the address may have belonged to another type of object.
    used: Cell<bool>,
}

impl<T> ShadowedAtomic<T> {
    fn new(word: T) -> Self {
        ShadowedAtomic { shadow: modelled::AtomicU8::new(0), word, used: Cell::new(false) }
    }

    fn access(&self) -> &T {
        self.shadow.store(0, Ordering::Relaxed);
        self.used.set(true);
        &self.word
    }
}

type Location = (usize, LocationKind);

/// All locations that any run has accessed.
static KNOWN_LOCATIONS: Mutex<BTreeSet<Location>> = Mutex::new(BTreeSet::new());

thread_local! {
    /// The objects of this run. They are boxed, so that they do not move.
    static LOOM_OBJECTS: RefCell<HashMap<Location, Box<LoomObject>>> = RefCell::new(HashMap::new());
    static BUCKETS: RefCell<HashMap<usize, Arc<loom::sync::Mutex<()>>>> = RefCell::new(HashMap::new());
}

/// The panic payload that ends a run after an access to an unknown location.
struct NewLocationFound;

fn known_locations() -> std::sync::MutexGuard<'static, BTreeSet<Location>> {
    KNOWN_LOCATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create_object((address, kind): Location) -> LoomObject {
    // SAFETY: the address is that of an atomic of this width in the library's memory, which is never unmapped.
    unsafe {
        match kind {
            LocationKind::U8 => {
                LoomObject::U8(ShadowedAtomic::new(modelled::AtomicU8::new(*(address as *const u8))))
            }
            LocationKind::U32 => {
                LoomObject::U32(ShadowedAtomic::new(modelled::AtomicU32::new(*(address as *const u32))))
            }
            LocationKind::U64 => {
                LoomObject::U64(ShadowedAtomic::new(modelled::AtomicU64::new(*(address as *const u64))))
            }
            LocationKind::Data => LoomObject::Data(loom::cell::UnsafeCell::new(())),
        }
    }
}

/// Returns loom's object for this location in this run.
fn object_at(location: Location) -> &'static LoomObject {
    let found = LOOM_OBJECTS.with_borrow(|objects| objects.get(&location).map(|found| &raw const **found));
    let object = found.unwrap_or_else(|| {
        known_locations().insert(location);
        if thread::has_others() {
            resume_unwind(Box::new(NewLocationFound));
        }
        let new = Box::new(create_object(location));
        LOOM_OBJECTS.with_borrow_mut(|objects| &raw const **objects.entry(location).or_insert(new))
    });
    // SAFETY: it is boxed, and dropped only when the next run begins.
    unsafe { &*object }
}

/// Finds loom's atomic for one of the machine's.
pub(in crate::model) trait Word {
    type Modelled: 'static;

    fn of(&self) -> &'static Self::Modelled;
}

macro_rules! word {
    ($name:ident, $kind:ident) => {
        impl Word for machine::$name {
            type Modelled = modelled::$name;

            fn of(&self) -> &'static modelled::$name {
                match object_at((self.as_ptr() as usize, LocationKind::$kind)) {
                    LoomObject::$kind(word) => word.access(),
                    _ => unreachable!(),
                }
            }
        }
    };
}

word!(AtomicU8, U8);
word!(AtomicU32, U32);
word!(AtomicU64, U64);

/// Loads the 32-bit value at this address, which may be half of a 64-bit word, as the kernel does in a futex call. The
/// load acquires: a thread whose wait returns because the value was unexpected sees what was written before it.
pub(in crate::model) fn load_half(address: usize) -> u32 {
    let whole = address & !7;
    let is_known = known_locations().contains(&(whole, LocationKind::U64));
    if is_known
        && let LoomObject::U64(word) = object_at((whole, LocationKind::U64))
        && word.used.get()
    {
        let word = word.access().load(Ordering::Acquire);
        let upper = (address == whole) == cfg!(target_endian = "big");
        return if upper { (word >> 32) as u32 } else { word as u32 };
    }
    let LoomObject::U32(word) = object_at((address, LocationKind::U32)) else { unreachable!() };
    word.access().load(Ordering::Acquire)
}

/// Records an exclusive access to the data at this address. It must be ordered with the accesses of other threads.
pub(in crate::model) fn touch(address: usize) {
    if is_running() {
        let LoomObject::Data(data) = object_at((address, LocationKind::Data)) else { unreachable!() };
        data.with_mut(|_| ());
    }
}

/// Detects unordered accesses to a `RaceCell`.
pub(in crate::model) struct CheckedCell(loom::cell::UnsafeCell<()>);

impl CheckedCell {
    pub(in crate::model) fn new() -> Self {
        CheckedCell(loom::cell::UnsafeCell::new(()))
    }

    pub(in crate::model) fn with_exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        self.0.with_mut(|_| ());
        f()
    }
}

/// Does nothing: each access to an atomic is a step for loom anyway.
pub(in crate::model) fn step() {}

pub(super) fn yield_now() {
    loom::thread::yield_now();
}

pub(super) fn fence(ordering: Ordering) {
    modelled::fence(ordering);
}

pub(in crate::model) fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    loom::thread::Builder::new().stack_size(1 << 16).spawn(f).unwrap()
}

pub(in crate::model) fn current() -> (Id, Parked) {
    let current = loom::thread::current();
    (current.id(), current)
}

pub(in crate::model) fn park() {
    loom::thread::park();
}

/// The kernel's lock of the futex queue at one address.
pub(in crate::model) struct Bucket(Arc<loom::sync::Mutex<()>>);

impl Bucket {
    pub(in crate::model) fn of(address: usize) -> Self {
        Bucket(BUCKETS.with_borrow_mut(|buckets| buckets.entry(address).or_default().clone()))
    }

    pub(in crate::model) fn with_exclusive<R>(&self, f: impl FnOnce() -> R) -> R {
        let _locked = self.0.lock().unwrap();
        f()
    }
}

/// Creates the objects of all known locations. Called on the first thread of a run, before there are others.
pub(super) fn begin_run() {
    for &location in known_locations().iter() {
        if !LOOM_OBJECTS.with_borrow(|objects| objects.contains_key(&location)) {
            let new = Box::new(create_object(location));
            LOOM_OBJECTS.with_borrow_mut(|objects| objects.insert(location, new));
        }
    }
}

pub(in crate::model) fn clear_run() {
    LOOM_OBJECTS.with_borrow_mut(HashMap::clear);
    BUCKETS.with_borrow_mut(HashMap::clear);
}

pub(super) fn check(model: &Model, run: impl Fn() + Send + Sync + 'static) -> u64 {
    let run = Arc::new(run);
    loop {
        let runs = Arc::new(machine::AtomicU64::new(0));
        let mut builder = loom::model::Builder::new();
        let preemptions = setting("MODEL_PREEMPTIONS", model.preemptions);
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 100_000;
        builder.checkpoint_interval = 100;
        let limit = Duration::from_secs_f64(setting("MODEL_SECONDS", 3600.0));
        builder.max_duration = Some(limit);
        let start = Instant::now();
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let (run, runs) = (run.clone(), runs.clone());
            builder.check(move || {
                runs.fetch_add(1, Ordering::Relaxed);
                run();
            });
        }));
        super::IS_RUNNING.set(false);
        match checked {
            Ok(()) => {
                let extent = if start.elapsed() < limit { "all" } else { "as many as the time limit allows" };
                println!("{}: {extent} with {preemptions} preemptions", model.name);
                return runs.load(Ordering::Relaxed);
            }
            Err(payload) if payload.is::<NewLocationFound>() => {}
            Err(payload) => {
                println!("{}: failed in run {}", model.name, runs.load(Ordering::Relaxed));
                resume_unwind(payload);
            }
        }
    }
}
