//! Intrusive lists: circular and doubly linked, through a field of their nodes.
//!
//! ```text
//!           ┌───────────────── next ─────────────────┐
//!           v                                        │
//! first ──> node ─── next ──> node ─── next ──> last node
//!           │                                        ^
//!           └─────────────── previous ───────────────┘
//! ```
//!
//! A list has no lock of its own: all uses of a list and of its nodes' links are under the mutex that protects it, or
//! in one thread.

use core::cell::Cell;
use core::ptr;

use crate::sys::prefetch::prefetch_for_write;

/// The links of a node; zeroed memory is a valid value. They keep their values when the node is removed.
#[repr(C)]
pub(crate) struct Links<T> {
    pub(crate) next: Cell<*const T>,
    pub(crate) previous: Cell<*const T>,
}

impl<T> Default for Links<T> {
    fn default() -> Self {
        Links { next: Cell::new(ptr::null()), previous: Cell::new(ptr::null()) }
    }
}

impl<T> Links<T> {
    /// Sets both links to NULL after the node has been removed, for nodes of which `is_linked` is asked.
    #[inline(always)]
    pub(crate) fn clear(&self) {
        self.next.set(ptr::null());
        self.previous.set(ptr::null());
    }

    /// Whether the node is in a list, if `clear` is called after each removal.
    #[inline(always)]
    pub(crate) fn is_linked(&self) -> bool {
        !self.next.get().is_null()
    }
}

impl<T: Linked> Links<T> {
    /// Prefetches the links of the neighbours, which the removal of the node will change. The caller holds the mutex
    /// that protects the list, or the node is in no list and its links are NULL.
    #[inline(always)]
    pub(crate) fn prefetch_neighbours(&self) {
        for neighbour in [self.next.get(), self.previous.get()] {
            // SAFETY: nodes in the list are valid.
            if let Some(neighbour) = unsafe { neighbour.as_ref() } {
                prefetch_for_write(neighbour.links());
            }
        }
    }
}

/// A node, which can be in one list at a time.
pub(crate) trait Linked: Sized + 'static {
    fn links(&self) -> &Links<Self>;
}

/// A list of nodes, which are removed before their memory is freed. Zeroed memory is an empty list.
pub(crate) struct List<T> {
    first: Cell<*const T>,
}

impl<T> List<T> {
    pub(crate) const fn new() -> Self {
        List { first: Cell::new(ptr::null()) }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked> List<T> {
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_null()
    }

    #[inline(always)]
    pub(crate) fn first(&self) -> Option<&'static T> {
        // SAFETY: nodes in the list are valid, here and below.
        unsafe { self.first.get().as_ref() }
    }

    #[inline(always)]
    pub(crate) fn last(&self) -> Option<&'static T> {
        // SAFETY: as above.
        self.first().and_then(|first| unsafe { first.links().previous.get().as_ref() })
    }

    #[inline(always)]
    pub(crate) fn push_back(&self, node: &'static T) {
        let links = node.links();
        match self.first() {
            None => {
                links.next.set(node);
                links.previous.set(node);
                self.first.set(node);
            }
            Some(first) => {
                let last = first.links().previous.get();
                links.next.set(first);
                links.previous.set(last);
                // SAFETY: as above.
                unsafe { (*last).links().next.set(node) };
                first.links().previous.set(node);
            }
        }
    }

    pub(crate) fn push_front(&self, node: &'static T) {
        self.push_back(node);
        self.first.set(node);
    }

    /// Removes a node of this list.
    #[inline(always)]
    pub(crate) fn remove(&self, node: &'static T) {
        let (previous, next) = (node.links().previous.get(), node.links().next.get());
        if ptr::eq(next, node) {
            self.first.set(ptr::null());
        } else {
            // SAFETY: as above.
            unsafe {
                (*previous).links().next.set(next);
                (*next).links().previous.set(previous);
            }
            if ptr::eq(self.first.get(), node) {
                self.first.set(next);
            }
        }
    }

    /// Moves the first node to the end, and returns it.
    pub(crate) fn rotate(&self) -> Option<&'static T> {
        let first = self.first()?;
        self.first.set(first.links().next.get());
        Some(first)
    }

    /// Moves all nodes of another list to the end of this one.
    pub(crate) fn append(&self, other: &List<T>) {
        let Some(their_first) = other.first() else { return };
        if let Some(first) = self.first() {
            let (last, their_last) = (first.links().previous.get(), their_first.links().previous.get());
            // SAFETY: as above.
            unsafe {
                (*last).links().next.set(their_first);
                (*their_last).links().next.set(first);
            }
            their_first.links().previous.set(last);
            first.links().previous.set(their_last);
        } else {
            self.first.set(their_first);
        }
        other.first.set(ptr::null());
    }

    /// Returns the node after this one, which is in the list; `None` if it is the last.
    #[inline(always)]
    pub(crate) fn after(&self, node: &T) -> Option<&'static T> {
        let next = node.links().next.get();
        // SAFETY: as above.
        if ptr::eq(next, self.first.get()) { None } else { unsafe { next.as_ref() } }
    }

    /// Iterates over the nodes, the first one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static T> + '_ {
        core::iter::successors(self.first(), |node| self.after(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Node {
        number: usize,
        links: Links<Node>,
    }

    impl Linked for Node {
        fn links(&self) -> &Links<Self> {
            &self.links
        }
    }

    fn list(numbers: core::ops::Range<usize>) -> (List<Node>, Vec<&'static Node>) {
        let new = |number| -> &'static Node { Box::leak(Box::new(Node { number, links: Links::default() })) };
        let (list, nodes) = (List::new(), numbers.map(new).collect::<Vec<_>>());
        nodes.iter().for_each(|&node| list.push_back(node));
        (list, nodes)
    }

    fn numbers(list: &List<Node>) -> Vec<usize> {
        list.iter().map(|node| node.number).collect()
    }

    #[test]
    fn nodes_are_kept_in_order() {
        let (list, nodes) = list(0..3);
        assert_eq!(numbers(&list), [0, 1, 2]);
        assert_eq!(list.rotate().unwrap().number, 0);
        assert_eq!(numbers(&list), [1, 2, 0]);
        list.remove(nodes[2]);
        list.push_front(nodes[2]);
        assert_eq!(numbers(&list), [2, 1, 0]);
    }

    #[test]
    fn removing_a_node_keeps_the_order_of_the_others() {
        for removed in 0..3 {
            let (list, nodes) = list(0..3);
            list.remove(nodes[removed]);
            assert_eq!(numbers(&list), (0..3).filter(|&number| number != removed).collect::<Vec<_>>());
        }
        let (list, nodes) = list(0..1);
        list.remove(nodes[0]);
        assert!(list.is_empty());
    }

    #[test]
    fn append_moves_all_nodes() {
        for (length, other_length) in [(0, 0), (0, 2), (2, 0), (1, 1), (2, 3)] {
            let (list, nodes) = list(0..length);
            let (other, _) = self::list(length..length + other_length);
            list.append(&other);
            assert!(other.is_empty());
            assert_eq!(numbers(&list), (0..length + other_length).collect::<Vec<_>>());
            nodes.iter().for_each(|&node| list.remove(node));
            assert_eq!(numbers(&list), (length..length + other_length).collect::<Vec<_>>());
        }
    }
}
