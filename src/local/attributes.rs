//! The attributes that one thread has, of all locals. Used under the guard of the thread's table.
//!
//! | structure | finds |
//! |---|---|
//! | `names` | an attribute, by its local and its name |
//! | `groups` | the attributes of one local, as a list: the one that was set last is at the end |
//! | `older` | the groups that may hold an attribute that was set before the current round of destruction |
//! | `current` | the groups all of whose attributes were set in the current round |
//!
//! A group is in one of the two lists. The start of a round moves all groups to `older`. Whatever looks for an
//! attribute to destroy takes the first of the first group, or moves that group to `current`. So each operation takes
//! constant time on average, and to destroy all attributes takes time linear in their number, in whatever order
//! destructors set and delete others in between.
//!
//! Attributes and groups are nodes in memory of their own, freed with the last reference to them; both indexes shrink.

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::hash::Hasher;
use core::mem::offset_of;
use core::ptr;
use std::hash::DefaultHasher;

use crate::callbacks::Destructor;
use crate::error::{Error, Result};
use crate::sys;
use crate::sys::annotate::malloc;

/// An attribute that has been taken out: its value, and what destroys it.
pub(crate) type RemovedAttribute = (*mut c_void, Option<Destructor>);

/// See the module.
#[derive(Default)]
pub(crate) struct Attributes {
    names: Index<Attribute>,
    groups: Index<Group>,
    older: List<Group>,
    current: List<Group>,
}

#[repr(C)]
struct Attribute {
    links: Links<Attribute>,
    group: &'static Group,
    value: Cell<*mut c_void>,
    hash: u32,
    /// The round in which it was set.
    round: Cell<u32>,
    /// Its name, which lies behind the node.
    name: [c_char; 0],
}

/// The attributes of one local.
struct Group {
    links: Links<Group>,
    key: usize,
    destroy: Option<Destructor>,
    /// In the order in which they were set.
    attributes: List<Attribute>,
}

impl Attributes {
    /// Replaces or adds an attribute of the local with this handle. The former value of that name, if there was one.
    pub(crate) fn set(
        &mut self,
        key: usize,
        name: &CStr,
        value: *mut c_void,
        round: u32,
        destroy: Option<Destructor>,
    ) -> Result<Option<*mut c_void>> {
        let hash = hash_of(key, name);
        if let Some(attribute) = self.find(hash, key, name) {
            attribute.round.set(round);
            attribute.group.attributes.remove(attribute);
            attribute.group.attributes.push_back(attribute);
            return Ok(Some(attribute.value.replace(value)));
        }
        self.names.reserve()?;
        let group = match self.group(key) {
            Some(group) => group,
            None => self.make_group(key, destroy)?,
        };
        let made = Attribute::try_new(group, hash, value, round, name);
        let Ok(attribute) = made else {
            self.drop_if_empty(group);
            return made.map(|_| None);
        };
        group.attributes.push_back(attribute);
        self.names.insert(attribute);
        Ok(None)
    }

    pub(crate) fn get(&self, key: usize, name: &CStr) -> Option<*mut c_void> {
        self.find(hash_of(key, name), key, name).map(|attribute| attribute.value.get())
    }

    /// Takes an attribute out by its name.
    pub(crate) fn take(&mut self, key: usize, name: &CStr) -> Option<RemovedAttribute> {
        let attribute = self.find(hash_of(key, name), key, name)?;
        Some(self.remove(attribute))
    }

    /// Whether the local has attributes here.
    pub(crate) fn has_any(&self, key: usize) -> bool {
        self.group(key).is_some()
    }

    /// Takes out one attribute of the local, the one that was set first.
    pub(crate) fn take_first(&mut self, key: usize) -> Option<RemovedAttribute> {
        let attribute = self.group(key)?.attributes.first()?;
        Some(self.remove(attribute))
    }

    /// A new round of destruction begins: all attributes were set before it.
    pub(crate) fn begin_round(&mut self) {
        self.older.append(&self.current);
    }

    /// Takes out one attribute that was set before this round, if there is one.
    pub(crate) fn take_older(&mut self, round: u32) -> Option<RemovedAttribute> {
        loop {
            let group = self.older.first()?;
            match group.attributes.first() {
                Some(attribute) if attribute.round.get() < round => return Some(self.remove(attribute)),
                _ => {
                    self.older.remove(group);
                    self.current.push_back(group);
                }
            }
        }
    }

    fn find(&self, hash: u32, key: usize, name: &CStr) -> Option<&'static Attribute> {
        self.names.find(hash as usize, |attribute| attribute.group.key == key && attribute.name() == name)
    }

    fn group(&self, key: usize) -> Option<&'static Group> {
        self.groups.find(hash_of_handle(key), |group| group.key == key)
    }

    fn make_group(&mut self, key: usize, destroy: Option<Destructor>) -> Result<&'static Group> {
        self.groups.reserve()?;
        let links = Links::default();
        let group = allocate_node(0, Group { links, key, destroy, attributes: List::default() })?;
        // SAFETY: made, and valid until it is freed.
        let group: &'static Group = unsafe { &*group };
        self.current.push_back(group);
        self.groups.insert(group);
        Ok(group)
    }

    fn remove(&mut self, attribute: &'static Attribute) -> RemovedAttribute {
        let (group, value) = (attribute.group, attribute.value.get());
        let taken = (value, group.destroy);
        self.names.remove(attribute);
        group.attributes.remove(attribute);
        // SAFETY: neither the index nor the list leads to it any more.
        unsafe { free(attribute) };
        self.drop_if_empty(group);
        taken
    }

    fn drop_if_empty(&mut self, group: &'static Group) {
        if group.attributes.first().is_some() {
            return;
        }
        self.groups.remove(group);
        // It is in one of the two, and may be the first of it.
        if ptr::eq(self.older.first.get(), group) {
            self.older.remove(group);
        } else {
            self.current.remove(group);
        }
        // SAFETY: as above.
        unsafe { free(group) };
    }
}

impl Drop for Attributes {
    /// What is still there is forgotten, not destroyed.
    fn drop(&mut self) {
        self.older.append(&self.current);
        while let Some(group) = self.older.first() {
            self.older.remove(group);
            while let Some(attribute) = group.attributes.first() {
                group.attributes.remove(attribute);
                // SAFETY: the lists do not lead to it any more, and the index goes with them.
                unsafe { free(attribute) };
            }
            // SAFETY: as above.
            unsafe { free(group) };
        }
    }
}

impl Attribute {
    fn try_new(
        group: &'static Group,
        hash: u32,
        value: *mut c_void,
        round: u32,
        name: &CStr,
    ) -> Result<&'static Attribute> {
        let text = name.to_bytes_with_nul();
        let (links, value, round) = (Links::default(), Cell::new(value), Cell::new(round));
        let attribute = allocate_node(text.len(), Attribute { links, group, value, hash, round, name: [] })?;
        // SAFETY: the bytes behind the node are its own; the pointer is that of its whole memory.
        unsafe {
            let behind = (&raw mut (*attribute).name).cast::<u8>();
            ptr::copy_nonoverlapping(text.as_ptr(), behind, text.len());
            Ok(&*attribute)
        }
    }

    fn name(&self) -> &CStr {
        // SAFETY: `make` has written a string behind the node.
        unsafe { CStr::from_ptr(ptr::from_ref(self).cast::<c_char>().add(offset_of!(Attribute, name))) }
    }
}

/// Allocates a node with `behind` more bytes after it.
fn allocate_node<T>(trailing_bytes: usize, content: T) -> Result<*mut T> {
    let bytes = size_of::<T>().checked_add(trailing_bytes).ok_or(Error::NoMemory)?;
    // SAFETY: malloc's memory is aligned for pointers and words, and large enough.
    unsafe {
        let node: *mut T = malloc(bytes).cast();
        if node.is_null() {
            return Err(Error::NoMemory);
        }
        node.write(content);
        Ok(node)
    }
}

/// # Safety
/// `node` allocated it, and it is not used any more.
unsafe fn free<T>(node: &'static T) {
    // SAFETY: the caller's promise.
    unsafe { sys::free(ptr::from_ref(node).cast_mut().cast()) };
}

/// Hashes begin with an address, which is not known to a program that chooses names that collide. The system may refuse
/// random numbers.
fn hash_of(key: usize, name: &CStr) -> u32 {
    static SEED: u8 = 0;
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(&raw const SEED as usize);
    hasher.write_usize(key);
    hasher.write(name.to_bytes());
    hasher.finish() as u32
}

/// A number whose low bits depend on all bits of a handle.
pub(crate) fn hash_of_handle(key: usize) -> usize {
    let key = key as u64;
    let product = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product ^ product >> 32) as usize
}

/// What an index finds.
trait Indexed: 'static {
    fn hash(&self) -> usize;
}

impl Indexed for Attribute {
    fn hash(&self) -> usize {
        self.hash as usize
    }
}

impl Indexed for Group {
    fn hash(&self) -> usize {
        hash_of_handle(self.key)
    }
}

/// A hash table of pointers: linear probing, at most three quarters full.
struct Index<T> {
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

    /// The item in a slot, valid until it is removed.
    fn item(&self, slot: usize) -> Option<&'static T> {
        // SAFETY: items are removed before their memory is freed.
        unsafe { self.slots.get(slot)?.as_ref() }
    }

    fn find(&self, hash: usize, is: impl Fn(&T) -> bool) -> Option<&'static T> {
        let mut slot = hash & self.mask();
        loop {
            let item = self.item(slot)?;
            if item.hash() == hash && is(item) {
                return Some(item);
            }
            slot = (slot + 1) & self.mask();
        }
    }

    /// Reserves a slot for one more item.
    fn reserve(&mut self) -> Result<()> {
        if (self.count + 1) * 4 <= self.slots.len() * 3 {
            return Ok(());
        }
        self.resize(((self.count + 1).next_power_of_two() * 2).max(Self::MIN_SLOTS))
    }

    fn resize(&mut self, size: usize) -> Result<()> {
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

    /// There is room, and the item is not there.
    fn insert(&mut self, item: &'static T) {
        self.probe_insert(item);
        self.count += 1;
    }

    fn remove(&mut self, item: &'static T) {
        let mask = self.mask();
        let mut hole = item.hash() & mask;
        while !ptr::eq(self.slots[hole], item) {
            hole = (hole + 1) & mask;
        }
        // Those behind it move up whose search passes the hole, so that no search ends there too early.
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
            // Without memory for a smaller one, it stays as large as it is.
            let _ = self.resize(((self.count + 1).next_power_of_two() * 2).max(Self::MIN_SLOTS));
        }
    }
}

struct Links<T> {
    next: Cell<*const T>,
    previous: Cell<*const T>,
}

impl<T> Default for Links<T> {
    fn default() -> Self {
        Links { next: Cell::new(ptr::null()), previous: Cell::new(ptr::null()) }
    }
}

trait Linked: Sized + 'static {
    fn links(&self) -> &Links<Self>;
}

impl Linked for Attribute {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Linked for Group {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

/// A circular list through its nodes.
struct List<T> {
    first: Cell<*const T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List { first: Cell::new(ptr::null()) }
    }
}

impl<T: Linked> List<T> {
    fn first(&self) -> Option<&'static T> {
        // SAFETY: nodes are removed before their memory is freed.
        unsafe { self.first.get().as_ref() }
    }

    fn push_back(&self, node: &'static T) {
        node.links().next.set(node);
        node.links().previous.set(node);
        self.append(&List { first: Cell::new(node) });
    }

    /// Moves all nodes of another list to the end of this one.
    fn append(&self, other: &List<T>) {
        let Some(theirs) = other.first() else { return };
        if let Some(first) = self.first() {
            let (last, their_last) = (first.links().previous.get(), theirs.links().previous.get());
            // SAFETY: nodes of the lists.
            unsafe {
                (*last).links().next.set(theirs);
                (*their_last).links().next.set(first);
            }
            theirs.links().previous.set(last);
            first.links().previous.set(their_last);
        } else {
            self.first.set(theirs);
        }
        other.first.set(ptr::null());
    }

    /// Takes out a node of this list.
    fn remove(&self, node: &'static T) {
        let (next, previous) = (node.links().next.get(), node.links().previous.get());
        // SAFETY: nodes of the list.
        unsafe {
            (*previous).links().next.set(next);
            (*next).links().previous.set(previous);
        }
        if ptr::eq(self.first.get(), node) {
            self.first.set(if ptr::eq(next, node) { ptr::null() } else { next });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::ffi::CString;

    fn value(of: usize) -> *mut c_void {
        ptr::without_provenance_mut(of)
    }

    #[test]
    fn random_operations_match_a_map() {
        let mut attributes = Attributes::default();
        let mut expected: HashMap<(usize, CString), usize> = HashMap::new();
        let mut random = 2026_u64;
        for step in 1..40_000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = 64 * (1 + (random >> 33) as usize % 20);
            let name = CString::new(format!("name {}", (random >> 40) as usize % 30)).unwrap();
            match (random >> 60) as usize {
                0..=5 => {
                    let former = attributes.set(key, &name, value(step), 0, None).unwrap();
                    assert_eq!(former, expected.insert((key, name), step).map(value));
                }
                6..=9 => {
                    let taken = attributes.take(key, &name).map(|(taken, _)| taken);
                    assert_eq!(taken, expected.remove(&(key, name)).map(value));
                }
                10 if step % 64 == 0 => {
                    while let Some((taken, _)) = attributes.take_first(key) {
                        let (found, _) =
                            expected.iter().find(|(_, expected)| value(**expected) == taken).unwrap();
                        let found = found.clone();
                        assert_eq!(found.0, key);
                        expected.remove(&found);
                    }
                    assert!(!attributes.has_any(key) && expected.keys().all(|(other, _)| *other != key));
                }
                _ => assert_eq!(attributes.get(key, &name), expected.get(&(key, name)).copied().map(value)),
            }
        }
    }

    #[test]
    fn a_round_takes_earlier_attributes_in_insertion_order() {
        let mut attributes = Attributes::default();
        for (number, name) in [c"a", c"b", c"c"].into_iter().enumerate() {
            attributes.set(64, name, value(number), 0, None).unwrap();
        }
        attributes.set(128, c"a", value(3), 0, None).unwrap();
        attributes.set(64, c"a", value(4), 0, None).unwrap();
        attributes.begin_round();
        // Set in this round: not taken in it.
        attributes.set(64, c"c", value(5), 1, None).unwrap();
        attributes.set(192, c"a", value(6), 1, None).unwrap();
        let mut round = |round| {
            core::iter::from_fn(|| attributes.take_older(round).map(|(taken, _)| taken.addr()))
                .collect::<Vec<_>>()
        };
        assert_eq!(round(1), [1, 4, 3]);
        attributes.begin_round();
        let mut round = |round| {
            core::iter::from_fn(|| attributes.take_older(round).map(|(taken, _)| taken.addr()))
                .collect::<Vec<_>>()
        };
        assert_eq!(round(2), [6, 5]);
        assert!(attributes.groups.count == 0 && attributes.names.count == 0);
    }

    #[test]
    fn the_indexes_shrink() {
        let text = |name: usize| CString::new(name.to_string()).unwrap();
        let mut attributes = Attributes::default();
        for name in 0..10_000_usize {
            attributes.set(64 * name + 64, &text(name), ptr::null_mut(), 0, None).unwrap();
        }
        for name in 0..9_990_usize {
            attributes.take(64 * name + 64, &text(name)).unwrap();
        }
        assert!(attributes.names.slots.len() <= 128 && attributes.groups.slots.len() <= 128);
        assert_eq!(attributes.get(64 * 9_995 + 64, &text(9_995)), Some(ptr::null_mut()));
    }
}
