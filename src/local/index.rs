//! An index of separately allocated nodes, such as the attributes of a thread.

use core::ptr;

use crate::error::{Error, Result};

/// A node that an index can contain.
pub(crate) trait Indexed: 'static {
    fn hash(&self) -> usize;
}

/// A hash table of pointers to nodes, with linear probing. At most three quarters of its slots are used.
pub(crate) struct Index<T> {
    slots: Vec<*const T>,
    count: usize,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Index { slots: Vec::new(), count: 0 }
    }
}

impl<T: Indexed> Index<T> {
    const MIN_SLOTS: usize = 8;

    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    /// Returns the node in a slot. It is valid until it is removed.
    fn item(&self, slot: usize) -> Option<&'static T> {
        // SAFETY: nodes are removed before their memory is freed.
        unsafe { self.slots.get(slot)?.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn find(&self, hash: usize, matches: impl Fn(&T) -> bool) -> Option<&'static T> {
        let mut slot = hash & self.mask();
        loop {
            let item = self.item(slot)?;
            if item.hash() == hash && matches(item) {
                return Some(item);
            }
            slot = (slot + 1) & self.mask();
        }
    }

    /// Reserves a slot for one more node.
    pub(crate) fn reserve(&mut self) -> Result<()> {
        if (self.count + 1) * 4 <= self.slots.len() * 3 {
            return Ok(());
        }
        self.resize()
    }

    /// Moves the nodes to a new table, of which they and one more use at most half.
    fn resize(&mut self) -> Result<()> {
        let size = ((self.count + 1).next_power_of_two() * 2).max(Self::MIN_SLOTS);
        let mut slots = Vec::new();
        slots.try_reserve_exact(size).map_err(|_| Error::NoMemory)?;
        slots.resize(size, ptr::null());
        for item in core::mem::replace(&mut self.slots, slots) {
            // SAFETY: as in `item`.
            if let Some(item) = unsafe { item.as_ref() } {
                self.probe_insert(item);
            }
        }
        Ok(())
    }

    fn probe_insert(&mut self, item: &'static T) {
        let mask = self.mask();
        let mut slot = item.hash() & mask;
        while !self.slots[slot].is_null() {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = item;
    }

    /// Inserts a node that is not in the index. `reserve` has reserved a slot for it.
    pub(crate) fn insert(&mut self, item: &'static T) {
        self.probe_insert(item);
        self.count += 1;
    }

    pub(crate) fn remove(&mut self, item: &'static T) {
        let mask = self.mask();
        let mut hole = item.hash() & mask;
        while !ptr::eq(self.slots[hole], item) {
            hole = (hole + 1) & mask;
        }
        // Backward shift deletion: moves back the nodes whose probe sequence passes the hole, so that no search ends
        // there.
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let Some(other) = self.item(slot) else { break };
            let distance = |from: usize| slot.wrapping_sub(from) & mask;
            if distance(other.hash()) >= distance(hole) {
                self.slots[hole] = other;
                hole = slot;
            }
        }
        self.slots[hole] = ptr::null();
        self.count -= 1;
        if self.slots.len() > Self::MIN_SLOTS && self.count * 8 < self.slots.len() {
            // If no memory is available for a smaller table, it keeps its size.
            let _ = self.resize();
        }
    }
}

#[cfg(test)]
impl<T: Indexed> Index<T> {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }
}
