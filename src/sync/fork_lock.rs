//! What is locked across a fork, so that the child finds its data complete.

/// A mutex, or several.
pub(crate) trait ForkLock: Sync {
    /// Locks the mutex across a fork. `unlock_after_fork` unlocks it in the parent, `reinit_in_child` in the child.
    fn lock_for_fork(&self);

    /// Unlocks a mutex that `lock_for_fork` has locked, unless another thread has taken it over.
    ///
    /// # Safety
    /// The calling thread has called `lock_for_fork`.
    unsafe fn unlock_after_fork(&self);

    /// Unlocks the mutex in a child of fork. The data stays as it was at the fork, unless the fork interrupted a thread
    /// that was changing it: then it is reset.
    ///
    /// # Safety
    /// The calling thread is the only one in the process, and holds no guard of this mutex.
    unsafe fn reinit_in_child(&self);
}

impl<T: ForkLock, const N: usize> ForkLock for [T; N] {
    fn lock_for_fork(&self) {
        self.iter().for_each(T::lock_for_fork);
    }

    unsafe fn unlock_after_fork(&self) {
        // SAFETY: guaranteed by the caller.
        self.iter().for_each(|lock| unsafe { lock.unlock_after_fork() });
    }

    unsafe fn reinit_in_child(&self) {
        // SAFETY: guaranteed by the caller.
        self.iter().for_each(|lock| unsafe { lock.reinit_in_child() });
    }
}
