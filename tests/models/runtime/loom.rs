//! loom's part.
//!
//! Each of the library's atomics has one of loom's, found by its address, from the first access in a run on. loom
//! demands that an atomic is made before any thread can know of it; which there will be is learned on the way: an
//! access to an unknown one, when there are other threads, ends the run, and all begins anew with that one known.

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

/// What loom keeps for an address: an atomic of some width, or data that one thread at a time may touch.
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

/// An atomic whose accesses are announced first. To find which of them may come in another order, loom compares each
/// with the last one alone: a thread that loads and then changes a word hides from it that others had loaded that
/// word before. So there is a change, of another word and without any order of its own, before each access.
struct ShadowedAtomic<T> {
    shadow: modelled::AtomicU8,
    word: T,
    /// Whether this run has used it. In another run, an object of another kind may have been there.
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

/// All that have been met in any run.
static KNOWN_LOCATIONS: Mutex<BTreeSet<Location>> = Mutex::new(BTreeSet::new());

thread_local! {
    /// Those of this run. Boxed, so that they stay where they are.
    static LOOM_OBJECTS: RefCell<HashMap<Location, Box<LoomObject>>> = RefCell::new(HashMap::new());
    static BUCKETS: RefCell<HashMap<usize, Arc<loom::sync::Mutex<()>>>> = RefCell::new(HashMap::new());
}

/// The payload with which a run ends that has met an unknown atomic.
struct NewLocationFound;

fn known_locations() -> std::sync::MutexGuard<'static, BTreeSet<Location>> {
    KNOWN_LOCATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create_object((address, what): Location) -> LoomObject {
    // SAFETY: the location of an atomic of this width in the library's memory, which is never unmapped.
    unsafe {
        match what {
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

/// What loom keeps for this location, during this run.
fn object_at(location: Location) -> &'static LoomObject {
    let found = LOOM_OBJECTS.with_borrow(|kept| kept.get(&location).map(|kept| &raw const **kept));
    let found = found.unwrap_or_else(|| {
        known_locations().insert(location);
        if thread::has_others() {
            resume_unwind(Box::new(NewLocationFound));
        }
        let new = Box::new(create_object(location));
        LOOM_OBJECTS.with_borrow_mut(|kept| &raw const **kept.entry(location).or_insert(new))
    });
    // SAFETY: boxed, and dropped when the next run begins.
    unsafe { &*found }
}

/// Finds loom's word for the machine's.
pub(in crate::model) trait Word {
    type Modelled: 'static;

    fn of(&self) -> &'static Self::Modelled;
}

macro_rules! word {
    ($name:ident, $what:ident) => {
        impl Word for machine::$name {
            type Modelled = modelled::$name;

            fn of(&self) -> &'static modelled::$name {
                match object_at((self.as_ptr() as usize, LocationKind::$what)) {
                    LoomObject::$what(word) => word.access(),
                    _ => unreachable!(),
                }
            }
        }
    };
}

word!(AtomicU8, U8);
word!(AtomicU32, U32);
word!(AtomicU64, U64);

/// The value at this address, which may be half of a word of 64 bits, as the kernel sees it: what was done before it
/// was written is seen, too, by whoever hears that it was not the expected one.
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

/// The caller alone touches the data at this address, until the next who does so has heard of it.
pub(in crate::model) fn touch(address: usize) {
    if is_running() {
        let LoomObject::Data(data) = object_at((address, LocationKind::Data)) else { unreachable!() };
        data.with_mut(|_| ());
    }
}

/// Data of a model's own.
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

/// Is no step: loom looks after that itself.
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

/// The kernel's lock around those who sleep at one address.
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

/// On the first thread of a run, while there is no other.
pub(super) fn begin_run() {
    for &location in known_locations().iter() {
        if !LOOM_OBJECTS.with_borrow(|kept| kept.contains_key(&location)) {
            let new = Box::new(create_object(location));
            LOOM_OBJECTS.with_borrow_mut(|kept| kept.insert(location, new));
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
        let preemptions = setting("MODEL_PREEMPTIONS", model.preemptions as u64) as usize;
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 100_000;
        builder.checkpoint_interval = 100;
        let limit = Duration::from_secs(setting("MODEL_SECONDS", 3600));
        builder.max_duration = Some(limit);
        let began = Instant::now();
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
                let whole = if began.elapsed() < limit { "all" } else { "as many as time allows" };
                println!("{}: {whole} with {preemptions} preemptions", model.name);
                return runs.load(Ordering::Relaxed);
            }
            Err(payload) if payload.is::<NewLocationFound>() => {}
            Err(payload) => {
                println!("{}: broken in run {}", model.name, runs.load(Ordering::Relaxed));
                resume_unwind(payload);
            }
        }
    }
}
