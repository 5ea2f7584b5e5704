//! The kinds of objects.

/// The kind of an object. Each kind has an arena of its own; the number of the kind is the index of that arena.
///
/// The kinds of which each thread caches a free slot come first: see [`slot_cache`](crate::handle::slot_cache).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Thread,
    Timer,
    Lock,
    RLock,
    Condition,
    Semaphore,
    Event,
    Barrier,
    Local,
    ThreadList,
    Note,
}

impl ObjectKind {
    /// The number of kinds.
    pub(super) const COUNT: usize = ObjectKind::Note as usize + 1;

    /// Whether objects of this kind hold a reference to themselves while they run: threads and timers.
    pub(super) const fn is_self_referencing(self) -> bool {
        matches!(self, ObjectKind::Thread | ObjectKind::Timer)
    }
}
