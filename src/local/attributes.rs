//! All attributes of one thread, for all locals. Protected by the mutex of the thread's table.
//!
//! | structure | contents |
//! |---|---|
//! | `names` | index of the attributes, by local and name |
//! | `groups` | index of the groups, by local. A group lists the attributes of one local, the one set last at the end |
//! | `older` | list of the groups that may have an attribute that was set before the current destructor round |
//! | `current` | list of the groups whose attributes were all set in the current round |
//!
//! Each group is in one of the two lists. The start of a round moves all groups to `older`. To find an attribute to
//! destroy, `take_older` takes the first attribute of the first group, or moves that group to `current`. So each
//! operation takes amortized constant time, and the destruction of all attributes takes time linear in their number,
//! in whatever order destructors set and delete other attributes.
//!
//! Attributes and groups are separately allocated nodes. An attribute's node is freed when the attribute is removed,
//! a group's node with its last attribute. Both indexes shrink.

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::mem::offset_of;
use core::{ptr, slice};

use crate::callbacks::Destructor;
use crate::error::{Error, Result};
use crate::local::hash::{are_equal, hash_of, hash_of_handle};
use crate::local::index::{Index, Indexed};
use crate::local::pending_destroy::PendingDestroy;
use crate::sync::list::{Linked, Links, List};
use crate::sys;
use crate::sys::annotate::malloc;

/// The attributes of one thread. See the module.
#[derive(Default)]
pub(crate) struct Attributes {
    names: Index<Attribute>,
    groups: Index<Group>,
    older: List<Group>,
    current: List<Group>,
}

/// The attributes of one thread, which are allocated when it sets the first one.
pub(crate) struct LazyAttributes {
    /// NULL, or what `get_or_create` has allocated.
    attributes: *mut Attributes,
}

#[repr(C)]
struct Attribute {
    links: Links<Attribute>,
    group: &'static Group,
    value: Cell<*mut c_void>,
    hash: u32,
    /// The destructor round in which it was set.
    round: Cell<u32>,
    /// The length of the name.
    length: u32,
    /// The name, a C string that begins at the end of the node.
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
    /// Sets an attribute of the local with this key. Returns the former value of that name, if there was one.
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
            return Ok(Some(attribute.replace(value, round)));
        }
        self.names.reserve()?;
        let group = match self.group(key) {
            Some(group) => group,
            None => self.create_group(key, destroy)?,
        };
        let created = Attribute::try_new(group, hash, value, round, name);
        let Ok(attribute) = created else {
            self.drop_if_empty(group);
            return created.map(|_| None);
        };
        group.attributes.push_back(attribute);
        self.names.insert(attribute);
        Ok(None)
    }

    pub(crate) fn get(&self, key: usize, name: &CStr) -> Option<*mut c_void> {
        self.get_hashed(hash_of(key, name), key, name)
    }

    /// As `get`, with the result of `hash_of`.
    #[inline(always)]
    pub(crate) fn get_hashed(&self, hash: u32, key: usize, name: &CStr) -> Option<*mut c_void> {
        self.find(hash, key, name).map(|attribute| attribute.value.get())
    }

    /// Sets an attribute that exists, if no value must be destroyed. Otherwise changes nothing, and returns `None`.
    /// `hash` is the result of `hash_of`.
    #[inline(always)]
    pub(crate) fn set_hashed(
        &self,
        hash: u32,
        key: usize,
        name: &CStr,
        value: *mut c_void,
        round: u32,
    ) -> Option<*mut c_void> {
        let found = self.find(hash, key, name)?;
        let former = found.value.get();
        let can_set = former.is_null() || former == value || found.group.destroy.is_none();
        can_set.then(|| found.replace(value, round))
    }

    /// Removes an attribute by name.
    pub(crate) fn take(&mut self, key: usize, name: &CStr) -> Option<PendingDestroy> {
        let attribute = self.find(hash_of(key, name), key, name)?;
        Some(self.remove(attribute))
    }

    /// Whether the local has attributes here.
    pub(crate) fn has_any(&self, key: usize) -> bool {
        self.group(key).is_some()
    }

    /// Removes one attribute of the local: the one that was set first.
    pub(crate) fn take_first(&mut self, key: usize) -> Option<PendingDestroy> {
        let attribute = self.group(key)?.attributes.first()?;
        Some(self.remove(attribute))
    }

    /// Begins a new destructor round: all attributes were set before it.
    pub(crate) fn begin_round(&mut self) {
        self.older.append(&self.current);
    }

    /// Removes one attribute that was set before this round, if there is one.
    pub(crate) fn take_older(&mut self, round: u32) -> Option<PendingDestroy> {
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

    #[inline(always)]
    fn find(&self, hash: u32, key: usize, name: &CStr) -> Option<&'static Attribute> {
        let matches = |found: &Attribute| found.group.key == key && are_equal(found.name(), name.to_bytes());
        self.names.find(hash as usize, matches)
    }

    fn group(&self, key: usize) -> Option<&'static Group> {
        self.groups.find(hash_of_handle(key), |group| group.key == key)
    }

    fn create_group(&mut self, key: usize, destroy: Option<Destructor>) -> Result<&'static Group> {
        self.groups.reserve()?;
        let links = Links::default();
        let group = allocate_node(0, Group { links, key, destroy, attributes: List::default() })?;
        // SAFETY: just created, and valid until it is freed.
        let group: &'static Group = unsafe { &*group };
        self.current.push_back(group);
        self.groups.insert(group);
        Ok(group)
    }

    fn remove(&mut self, attribute: &'static Attribute) -> PendingDestroy {
        let (group, value) = (attribute.group, attribute.value.get());
        let taken = PendingDestroy { value, destroy: group.destroy };
        self.names.remove(attribute);
        group.attributes.remove(attribute);
        // SAFETY: neither the index nor the list refers to it any more.
        unsafe { free(attribute) };
        self.drop_if_empty(group);
        taken
    }

    fn drop_if_empty(&mut self, group: &'static Group) {
        if group.attributes.first().is_some() {
            return;
        }
        self.groups.remove(group);
        // `List::remove` must be called on the list that contains the group if the group is its first node.
        if self.older.first().is_some_and(|first| ptr::eq(first, group)) {
            self.older.remove(group);
        } else {
            self.current.remove(group);
        }
        // SAFETY: no list and no index refers to it any more.
        unsafe { free(group) };
    }
}

impl Drop for Attributes {
    /// Frees the nodes. The values that are left are not destroyed.
    fn drop(&mut self) {
        self.older.append(&self.current);
        while let Some(group) = self.older.first() {
            self.older.remove(group);
            while let Some(attribute) = group.attributes.first() {
                group.attributes.remove(attribute);
                // SAFETY: the lists do not refer to it any more, and the index is dropped as well.
                unsafe { free(attribute) };
            }
            // SAFETY: as above.
            unsafe { free(group) };
        }
    }
}

impl LazyAttributes {
    pub(crate) const NONE: LazyAttributes = LazyAttributes { attributes: ptr::null_mut() };

    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&Attributes> {
        // SAFETY: `get_or_create` allocated it, and this owns it.
        unsafe { self.attributes.as_ref() }
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut Attributes> {
        // SAFETY: as in `get`.
        unsafe { self.attributes.as_mut() }
    }

    pub(crate) fn get_or_create(&mut self) -> Result<&mut Attributes> {
        if self.attributes.is_null() {
            self.attributes = allocate_node(0, Attributes::default())?;
        }
        self.get_mut().ok_or(Error::NoMemory)
    }

    /// Forgets the attributes, whose structures may be inconsistent, without freeing them.
    pub(crate) fn leak(&mut self) {
        self.attributes = ptr::null_mut();
    }
}

impl Drop for LazyAttributes {
    /// Frees the attributes. The values that are left are not destroyed.
    fn drop(&mut self) {
        if !self.attributes.is_null() {
            // SAFETY: `get_or_create` allocated it, and no pointer to it is left.
            unsafe {
                ptr::drop_in_place(self.attributes);
                sys::free(self.attributes.cast());
            }
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
        let length = u32::try_from(text.len() - 1).map_err(|_| Error::NoMemory)?;
        let (links, value, round) = (Links::default(), Cell::new(value), Cell::new(round));
        let attribute =
            allocate_node(text.len(), Attribute { links, group, value, hash, round, length, name: [] })?;
        // SAFETY: the bytes after the node belong to its allocation, for all of which the pointer is valid.
        unsafe {
            let trailing = (&raw mut (*attribute).name).cast::<u8>();
            ptr::copy_nonoverlapping(text.as_ptr(), trailing, text.len());
            Ok(&*attribute)
        }
    }

    /// Replaces the value, and moves the attribute to the end of its group. Returns the former value.
    #[inline(always)]
    fn replace(&'static self, value: *mut c_void, round: u32) -> *mut c_void {
        self.round.set(round);
        let attributes = &self.group.attributes;
        if !attributes.last().is_some_and(|last| ptr::eq(last, self)) {
            attributes.remove(self);
            attributes.push_back(self);
        }
        self.value.replace(value)
    }

    #[inline(always)]
    fn name(&self) -> &[u8] {
        // SAFETY: `try_new` has written a string of this length at the end of the node.
        unsafe {
            let name = ptr::from_ref(self).cast::<u8>().add(offset_of!(Attribute, name));
            slice::from_raw_parts(name, self.length as usize)
        }
    }
}

/// Allocates a node with `trailing_bytes` more bytes after it.
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

/// Frees a node.
///
/// # Safety
/// `allocate_node` allocated it, and it is not used any more.
unsafe fn free<T>(node: &'static T) {
    // SAFETY: guaranteed by the caller.
    unsafe { sys::free(ptr::from_ref(node).cast_mut().cast()) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::ffi::CString;

    fn value(of: usize) -> *mut c_void {
        ptr::without_provenance_mut(of)
    }

    #[test]
    fn random_operations_match_a_hash_map() {
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
                    let taken = attributes.take(key, &name).map(|taken| taken.value);
                    assert_eq!(taken, expected.remove(&(key, name)).map(value));
                }
                10 if step % 64 == 0 => {
                    while let Some(taken) = attributes.take_first(key) {
                        let (found, _) =
                            expected.iter().find(|(_, expected)| value(**expected) == taken.value).unwrap();
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
    fn take_older_returns_attributes_set_before_the_round_in_order() {
        let mut attributes = Attributes::default();
        for (number, name) in [c"a", c"b", c"c"].into_iter().enumerate() {
            attributes.set(64, name, value(number), 0, None).unwrap();
        }
        attributes.set(128, c"a", value(3), 0, None).unwrap();
        attributes.set(64, c"a", value(4), 0, None).unwrap();
        attributes.begin_round();
        // Set in the current round, so they are not taken in it.
        attributes.set(64, c"c", value(5), 1, None).unwrap();
        attributes.set(192, c"a", value(6), 1, None).unwrap();
        let mut round = |round| {
            core::iter::from_fn(|| attributes.take_older(round).map(|taken| taken.value.addr()))
                .collect::<Vec<_>>()
        };
        assert_eq!(round(1), [1, 4, 3]);
        attributes.begin_round();
        let mut round = |round| {
            core::iter::from_fn(|| attributes.take_older(round).map(|taken| taken.value.addr()))
                .collect::<Vec<_>>()
        };
        assert_eq!(round(2), [6, 5]);
        assert!(attributes.groups.len() == 0 && attributes.names.len() == 0);
    }

    #[test]
    fn indexes_shrink_after_removals() {
        let text = |name: usize| CString::new(name.to_string()).unwrap();
        let mut attributes = Attributes::default();
        for name in 0..10_000_usize {
            attributes.set(64 * name + 64, &text(name), ptr::null_mut(), 0, None).unwrap();
        }
        for name in 0..9_990_usize {
            let _ = attributes.take(64 * name + 64, &text(name)).unwrap();
        }
        assert!(attributes.names.slot_count() <= 128 && attributes.groups.slot_count() <= 128);
        assert_eq!(attributes.get(64 * 9_995 + 64, &text(9_995)), Some(ptr::null_mut()));
    }
}
