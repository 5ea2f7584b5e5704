//! The word of a lock: its states, and what a thread does with it alone. `lock::raw` and `lock::acquire` have the
//! changes that a thread makes under the mutex of the wait queue ("the mutex").
//!
//! ```text
//!               acquire (any thread)                  release, after the fairness deadline
//!  ┌──────────┐ ───────────────────────► ┌──────────┐ ─────────────────────────► ┌───────────┐
//!  │ unlocked │                          │  locked  │                            │  offered  │
//!  └──────────┘ ◄─────────────────────── └──────────┘ ◄───────────────────────── └───────────┘
//!                       release                         the waiter accepts, or
//!                                                       another thread revokes
//! ```
//!
//! | bits | meaning | who changes it | exact or stale |
//! |---|---|---|---|
//! | 0 to 5 | generation of the slot | `handle` | exact |
//! | 6 `LIVE` | the lock exists | `handle` sets it; the thread that destroys the lock clears it | exact |
//! | 7 `HAS_WAITERS` | the wait queue is not empty | a thread that holds the mutex | exact while no thread holds the mutex; stale in a child of fork until the queue first changes, and after destroy |
//! | 8 `DESIGNATED_WAKER` | a release need not wake a waiter: as many as allowed are awake and on their way, or no waiter is left to wake. Without `HAS_WAITERS`, it is `STORE_STOPPED`: see "Releases by a store". Illegal in a Lock without `HAS_WAITERS` | a thread that holds the mutex; the owner of an RLock, when it ends `STORE_STOPPED` | like `HAS_WAITERS` |
//! | 9 to 63 owner | 0: unlocked. `HANDOFF_PENDING` (bit 9 alone): offered to the waiter in state `OFFERED`. Otherwise locked: the owner tag of the thread that acquired the lock | see below | exact |
//!
//! | from | to | who | ordering |
//! |---|---|---|---|
//! | unlocked, any flags | locked, same flags | a thread that wants the lock | acquire; a waiter that has been woken: acquire and release |
//! | locked, no flags | unlocked, no flags | the releasing thread. The owner of an RLock does so by a store | release |
//! | locked, `STORE_STOPPED` | unlocked, same flag | the owner of an RLock. Every `STORE_AGAIN_PERIOD`th of a thread's releases like this clears the flag | release |
//! | locked, but flags have just been set or `LIVE` cleared | `LIVE`, unlocked, no flags | the owner of an RLock, whose store overwrites the change. The thread that has made it repeats it | release |
//! | locked, both flags | unlocked, both flags | the releasing thread. One in a *fairness check period* (`lock::contention`) of a thread's releases like this is one of the next two instead | release |
//! | locked, `HAS_WAITERS` or both flags | unlocked, same flags | the releasing thread, under the mutex. It then removes the waiters that are parked together from the queue and wakes them, wakes others as long as more are allowed, up to `MAX_WAKES_PER_RELEASE` (`lock::raw`), and updates the flags. If the fairness deadline has passed, it may instead wake the longest waiter beyond that number | release |
//! | locked, `HAS_WAITERS` or both flags | offered | the releasing thread, under the mutex, if the fairness deadline has passed and there is a waiter to hand off to | release |
//! | offered | locked | the waiter to which the lock is offered, under the mutex | acquire and release |
//! | offered | locked | another thread that wants the lock, under the mutex, `OFFER_TIMEOUT_TICKS` after the offer: it revokes the offer | acquire and release |
//! | offered, a Lock's | unlocked, or offered | a release by any thread, under the mutex: the waiter is granted the lock (`GRANTED`), which is then released on its behalf | release |
//! | any flags | other flags | the thread that has changed the queue, under the mutex | relaxed; the mutex orders it |
//! | `LIVE` | not `LIVE`, the rest unchanged | destroy: then, under the mutex, a waiter with an offer is granted the lock, and all others are `ABORTED` | acquire and release |
//! | not `LIVE`, unlocked | not `LIVE`, locked | a thread that had pinned the slot before destroy. No thread can release the lock | acquire |
//! | `LIVE`, any | unlocked, no flags | reinit, under the mutex: all waiters are `ABORTED` and start over | acquire and release |
//!
//! A child of fork inherits the word, but none of the parent's waiters: the first thread that locks the mutex there
//! empties the queue. Flags and an offer that the word still shows then belong to no waiter. The next change of the
//! queue corrects the flags, and the offer can be revoked without a delay.
//!
//! # Releases by a store
//!
//! Only its owner may release an RLock, so it need not execute a locked instruction: if the word has no flags, it
//! stores the unlocked one, in a restartable sequence of the compare and the store (`sys::restartable_store`). Between
//! the two, or before the store is visible, another thread may change the word, and the store overwrites the change: a
//! flag, a cleared `LIVE`, or the word of a reinit. So a thread that changes the word of an RLock that another thread
//! owns calls `restartable_store::finish_others`, a system call, and then reads the word again:
//!
//! - A thread that sets flags, under the mutex, where there were none (`set_flags`). If the flags are gone, it repeats
//!   the change, and may find the lock unlocked. If they are there, they stay: no release by a store begins at a word
//!   with flags, and none that began before is left. Further changes of the flags need no system call, nor does a
//!   waiter that has been woken and parks again.
//! - Destroy and reinit set `STORE_STOPPED` in this way before they change the word (`change`). Otherwise a store
//!   could make the lock live again, or unlock it for the next thread that has acquired it, or write to the next lock
//!   in the slot.
//! - `Object::clear_live`, which does not wait for the mutex, clears `LIVE` until it stays cleared.
//!
//! Without the mutex, the flags of a word do not show that no store is left: the thread that has set them may still be
//! in the system call. If the owner is the calling thread, or if there is none, there is no store to wait for.
//!
//! A lock that has been contended will be again. So when its queue becomes empty, the word keeps one flag,
//! `STORE_STOPPED`, with which the owner releases the lock by a compare-and-swap, and a contended lock costs no system
//! calls. The owner ends this state after many such releases.
//!
//! A store is a release like the compare-and-swap of other releases: what its thread does next is seen only by threads
//! that also see the store.

use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::handle::arena::ARENAS;
use crate::handle::header::{Header, LIVE, TAG};
use crate::lock::contention::{
    count_release, ends_check_period, ends_short_check_period, expects_waiters, set_expects_waiters,
};
use crate::sys::atomic::Ordering;
use crate::sys::restartable_store;
use crate::sys::tls;
use crate::thread::ident::FIRST_OWNER_TAG;

pub(super) const HAS_WAITERS: u64 = 1 << 7;
const DESIGNATED_WAKER: u64 = 1 << 8;
pub(super) const FLAGS: u64 = HAS_WAITERS | DESIGNATED_WAKER;
/// The flags of an RLock that has no waiters, but whose owner must not release it by a store.
pub(super) const STORE_STOPPED: u64 = DESIGNATED_WAKER;
/// The owner field while the lock is offered to a waiter: less than any owner tag.
pub(crate) const HANDOFF_PENDING: u64 = 1 << 9;
pub(super) const OWNER_MASK: u64 = !(HANDOFF_PENDING - 1);
const _: () = assert!(HANDOFF_PENDING < FIRST_OWNER_TAG);

/// One in this many releases of a thread in `STORE_STOPPED` ends that state. To stop the stores again costs as much as
/// a thousand of these releases, and it must not happen too often to a lock that is sometimes contended. Prime, so that
/// the thread does not always end it for the same one of several locks that it uses in turn.
const STORE_AGAIN_PERIOD: u32 = if cfg!(model) { 2 } else { 65_521 };

/// Whether a lock with this word has waiters of which as many as allowed are awake, so that it may be released without
/// the mutex.
#[inline(always)]
fn has_woken_waiters(word: u64) -> bool {
    word & FLAGS == FLAGS
}

/// The word of a lock with this header.
#[derive(Clone, Copy)]
pub(crate) struct LockWord<'a>(&'a Header);

impl<'a> LockWord<'a> {
    #[inline(always)]
    pub(super) fn of(header: &'a Header) -> Self {
        LockWord(header)
    }

    #[inline(always)]
    pub(crate) fn load(self) -> u64 {
        self.0.word.load(Ordering::Relaxed)
    }

    /// Returns the word before: as an error, if it was not `from`.
    #[inline(always)]
    pub(super) fn compare_exchange(
        self,
        from: u64,
        to: u64,
        success: Ordering,
    ) -> core::result::Result<u64, u64> {
        self.0.word.compare_exchange(from, to, success, Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn cas(self, from: u64, to: u64, success: Ordering) -> bool {
        self.compare_exchange(from, to, success).is_ok()
    }

    /// Acquires the lock if it is unlocked. On false, the slow path decides.
    #[inline(always)]
    pub(crate) fn acquire_fast(self, tag: u64, owner_tag: u64) -> bool {
        let flags = self.expected_flags();
        let free = tag | flags;
        match self.compare_exchange(free, free | owner_tag, Ordering::Acquire) {
            Ok(_) => true,
            // Barges ahead of the queue.
            Err(word) => {
                set_expects_waiters(has_woken_waiters(word));
                word & !FLAGS == tag && self.cas(word, word | owner_tag, Ordering::Acquire)
            }
        }
    }

    /// The flags of the lock, if it probably has waiters, or 0. A thread that has last seen a lock with waiters reads
    /// the word first, since a compare-and-swap that fails takes as long as one that succeeds; other threads do not,
    /// since the read would delay the compare-and-swap.
    #[inline(always)]
    fn expected_flags(self) -> u64 {
        if expects_waiters() {
            let word = self.load();
            set_expects_waiters(has_woken_waiters(word));
            word & FLAGS
        } else {
            0
        }
    }

    /// As `acquire_fast`, for an RLock whose word the caller has just read.
    #[inline(always)]
    pub(crate) fn acquire_fast_from(self, word: u64, tag: u64, owner_tag: u64) -> bool {
        word & !FLAGS == tag && self.cas(word, word | owner_tag, Ordering::Acquire)
    }

    /// Releases an RLock if `owner_tag`, that of the calling thread, owns it and the release needs no mutex. On false,
    /// the slow path decides.
    #[inline(always)]
    pub(crate) fn release_fast_by_owner(self, tag: u64, owner_tag: u64) -> bool {
        restartable_store::compare_and_store(&self.0.word, tag | owner_tag, tag)
            || self.release_fast_by_cas(tag, owner_tag)
    }

    /// As `release_fast_by_owner`, without a store.
    #[inline(always)]
    pub(crate) fn release_fast_by_cas(self, tag: u64, owner_tag: u64) -> bool {
        let word = self.load();
        if word & !FLAGS != tag | owner_tag {
            return false;
        }
        let needs_no_mutex = match word & FLAGS {
            0 => true,
            STORE_STOPPED => return self.release_stopped(word),
            FLAGS => !ends_short_check_period(),
            _ => false,
        };
        needs_no_mutex && self.cas(word, word & !OWNER_MASK, Ordering::Release)
    }

    /// Releases an RLock in `STORE_STOPPED`, which a few of these releases end.
    fn release_stopped(self, word: u64) -> bool {
        let mask = if count_release() % STORE_AGAIN_PERIOD == 0 { TAG } else { !OWNER_MASK };
        self.cas(word, word & mask, Ordering::Release)
    }

    /// As `release_fast`, for a lock that any thread may release. `owner_tag` is that of the calling thread, which is
    /// the owner as a rule.
    #[inline(always)]
    pub(crate) fn release_fast_of_any_owner(self, tag: u64, owner_tag: u64) -> bool {
        let flags = self.expected_flags();
        if flags != 0 && (flags != FLAGS || ends_check_period()) {
            return false;
        }
        let free = tag | flags;
        match self.compare_exchange(free | owner_tag, free, Ordering::Release) {
            Ok(_) => true,
            Err(word) => {
                set_expects_waiters(has_woken_waiters(word));
                let unlocked = word & !OWNER_MASK;
                if word < FIRST_OWNER_TAG {
                    return false;
                }
                let needs_no_mutex = unlocked == tag || unlocked == tag | FLAGS && !ends_check_period();
                needs_no_mutex && self.cas(word, unlocked, Ordering::Release)
            }
        }
    }

    /// Whether a thread owns the lock; false also while it is offered to a waiter.
    #[inline(always)]
    pub(crate) fn is_held(self, tag: u64) -> bool {
        let word = self.load();
        word & TAG == tag && word >= FIRST_OWNER_TAG
    }

    /// Whether `owner_tag` owns the lock.
    #[inline(always)]
    pub(crate) fn is_held_by(self, tag: u64, owner_tag: u64) -> bool {
        Self::is_word_held_by(self.load(), tag, owner_tag)
    }

    /// Whether `owner_tag` owns a lock with this word.
    #[inline(always)]
    pub(crate) fn is_word_held_by(word: u64, tag: u64, owner_tag: u64) -> bool {
        word & !FLAGS == tag | owner_tag
    }

    /// The owner: 0, `HANDOFF_PENDING` if the lock is offered to a waiter, or an owner tag.
    #[inline(always)]
    pub(crate) fn owner(self, tag: u64) -> Result<u64> {
        let word = self.load();
        if word & TAG == tag { Ok(word & OWNER_MASK) } else { Err(Error::Handle) }
    }

    /// The last owner of a destroyed lock.
    pub(crate) fn last_owner(self) -> u64 {
        self.load() & OWNER_MASK
    }

    /// Returns whether threads wait for the lock; a hint.
    pub(crate) fn has_waiters(self) -> bool {
        self.load() & HAS_WAITERS != 0
    }

    /// Ends the offer of a lock: `new_owner` is the owner tag of the waiter that accepts it, or of a thread that
    /// revokes it. Returns false if the lock is not offered. The caller holds the mutex.
    pub(super) fn end_offer(self, new_owner: u64) -> bool {
        loop {
            let word = self.load();
            if word & OWNER_MASK != HANDOFF_PENDING {
                return false;
            }
            // Release: a report that sees the new owner must not find it parked in this wait (`dump::deadlock`).
            if self.cas(word, word & !OWNER_MASK | new_owner, Ordering::AcqRel) {
                return true;
            }
        }
    }

    /// Changes the flags, if the word is still `word`. Returns whether they have been changed and no store can
    /// overwrite them. The caller holds the mutex.
    pub(super) fn set_flags(self, word: u64, flags: u64) -> bool {
        if !self.cas(word, word & !FLAGS | flags, Ordering::Relaxed) {
            return false;
        }
        if !self.may_be_overwritten(word) {
            return true;
        }
        restartable_store::finish_others();
        self.load() & FLAGS == flags
    }

    /// Whether the owner releases this lock by a store: whether it is an RLock, on a system that permits it.
    pub(super) fn is_released_by_store(self) -> bool {
        restartable_store::is_available() && ARENAS[ObjectKind::RLock as usize].has_key(self.0.handle_bits())
    }

    /// Whether another thread owns the lock, with this word, and may be about to release it by a store. If the caller
    /// holds the mutex, see also `may_be_overwritten`.
    pub(super) fn may_owner_store(self, word: u64) -> bool {
        word >= FIRST_OWNER_TAG && word & OWNER_MASK != tls::owner_tag() && self.is_released_by_store()
    }

    /// Whether another thread may be about to release the lock by a store, which overwrites a change of this word. The
    /// caller holds the mutex.
    pub(super) fn may_be_overwritten(self, word: u64) -> bool {
        word & FLAGS == 0 && self.may_owner_store(word)
    }

    /// Changes the word to `change(word)`, unless that is `None`, so that no store overwrites the change. Returns
    /// whether it has been changed. The caller holds the mutex.
    pub(super) fn change(self, change: impl Fn(u64) -> Option<u64>) -> bool {
        loop {
            let word = self.load();
            if self.may_be_overwritten(word) {
                let _ = self.set_flags(word, STORE_STOPPED);
                continue;
            }
            let Some(changed) = change(word) else { return false };
            if self.cas(word, changed, Ordering::AcqRel) {
                return true;
            }
        }
    }

    /// `Object::clear_live` of a lock: waits for no mutex. Until it returns, a store of the owner may make the lock
    /// live again.
    pub(crate) fn clear_live(self, tag: u64) {
        while let Some(word) = self.0.clear_live_if(tag, |word| Some(word & !LIVE)) {
            if !self.may_owner_store(word) {
                break;
            }
            restartable_store::finish_others();
        }
    }
}
