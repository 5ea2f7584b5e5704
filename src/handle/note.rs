//! Notes: the names of objects, and statistics of the waits for them, for reports. Only objects that have been named,
//! or for which waits have been counted, have one.
//!
//! A note is in a slot of its own kind. The `link` of the object's header contains its address, and with it the only
//! reference. The `finalize` of an object frees its note, when no thread has pinned the object's slot.
//!
//! A name does not change: each rename creates another note. All reads are without a lock (`read`), and check
//! afterwards that the object still refers to the same note, and that the note has the same generation: a note that was
//! freed by one rename may have served another object, and may then have been created again at the same address by the
//! next rename.

use core::ffi::CStr;

use crate::error::{Error, Result};
use crate::handle::header::Header;
use crate::handle::kind::ObjectKind;
use crate::handle::{Handle, Object};
use crate::sys::atomic::{AtomicU64, Ordering, fence};
use crate::sys::offsets::offsets;

/// The size of the longest name in bytes. A longer one is cut at the end of a character.
pub(crate) const MAX_NAME: usize = 47;
const WORDS: usize = (MAX_NAME + 1) / size_of::<u64>();

/// A note. See the module.
#[repr(C, align(128))]
pub(crate) struct Note {
    header: Header,
    /// The text, and zeros up to the end. All zeros if the object has no name.
    name: [AtomicU64; WORDS],
    /// Statistics of the waits for the object, if they are counted.
    waits: AtomicU64,
    total_ns: AtomicU64,
    longest_ns: AtomicU64,
    longest_owner: AtomicU64,
}

/// Statistics of the waits for an object.
#[derive(Clone, Copy)]
pub(crate) struct Waits {
    pub(crate) count: u64,
    pub(crate) total_ns: u64,
    pub(crate) longest_ns: u64,
    /// The identifier of the thread that owned the lock when the longest wait began; 0 if there was none.
    pub(crate) longest_owner: u64,
}

impl Waits {
    pub(crate) const NONE: Waits = Waits { count: 0, total_ns: 0, longest_ns: 0, longest_owner: 0 };
}

offsets!(NoteOffsets of Note: name, waits, total_ns, longest_ns, longest_owner);

// SAFETY: zeros are an empty name; all fields can be shared; the header comes first.
unsafe impl Object for Note {
    const KIND: ObjectKind = ObjectKind::Note;

    fn header(&self) -> &Header {
        &self.header
    }
}

/// A type of objects that can have a name.
pub(crate) trait Named: Object {}

#[expect(private_bounds, reason = "the object types are this crate's")]
impl<T: Named> Handle<T> {
    /// Sets the name of the object, which [dumps](crate::dump()) show; `None` removes it. The first 47 bytes are kept,
    /// up to the end of a character. Several objects may have the same name.
    ///
    /// ```
    /// use threading::{Error, Event};
    ///
    /// let stop = Event::new()?;
    /// stop.set_name(Some(c"stop"))?;
    /// assert_eq!(stop.set_name(Some(c"\xff")), Err(Error::NameEncoding));
    /// stop.set_name(None)?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_name(self, name: Option<&CStr>) -> Result<()> {
        self.with_pinned(|object| rename(object.header(), name))
    }
}

/// Sets the name of an object that is pinned.
fn rename(header: &Header, name: Option<&CStr>) -> Result<()> {
    // If another thread renames the object during the read, the statistics start from zero. Waits that are counted
    // between here and the replacement are lost.
    let waits = read(header, Note::load_waits).unwrap_or(Waits::NONE);
    let note = match name {
        None if waits.count == 0 => 0,
        name => Note::create(name.unwrap_or_default(), waits)?.slot_address(),
    };
    free(header.replace_note(note));
    Ok(())
}

/// Reads the note of an object, without a lock. Returns `None` if the object has none, or if another note may have
/// replaced it.
fn read<R>(header: &Header, read: impl FnOnce(&Note) -> R) -> Option<R> {
    let address = header.note();
    if address == 0 {
        return None;
    }
    // SAFETY: the address is that of a slot of notes, which stays mapped.
    let note = unsafe { &*(address as *const Note) };
    let generation = note.header.word.load(Ordering::Acquire);
    let result = read(note);
    fence(Ordering::Acquire);
    // In this order: the object refers to the note at a time at which that has the generation that has been read.
    let is_same = header.note() == address && note.header.word.load(Ordering::Relaxed) == generation;
    is_same.then_some(result)
}

/// Copies the name of an object to the buffer. Returns `None` if the object has no name, or is being freed. `tag` is
/// that of the object.
pub(crate) fn name_of<'a>(header: &Header, tag: u64, buffer: &'a mut [u8; MAX_NAME + 1]) -> Option<&'a [u8]> {
    read(header, |note| {
        for (bytes, word) in buffer.chunks_exact_mut(size_of::<u64>()).zip(&note.name) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
    })?;
    if !header.is_live(tag) {
        return None;
    }
    let length = buffer.iter().position(|&byte| byte == 0).unwrap_or(buffer.len());
    (length != 0).then_some(&buffer[..length])
}

/// Counts a wait for an object, which has ended. Returns false if the handle is not one of the type, or if a note
/// cannot be allocated.
pub(crate) fn record_wait<T: Named>(object: Handle<T>, nanoseconds: u64, owner: u64) -> bool {
    object.with_pinned(|object| record(object.header(), nanoseconds, owner)).is_ok()
}

/// Counts a wait for an object that is pinned.
fn record(header: &Header, nanoseconds: u64, owner: u64) -> Result<()> {
    if header.note() == 0 {
        let note = Note::create(c"", Waits::NONE)?.slot_address();
        if !header.set_first_note(note) {
            free(note);
        }
    }
    let address = header.note();
    if address == 0 {
        return Ok(());
    }
    // SAFETY: the address is that of a slot of notes, which stays mapped.
    let note: &'static Note = unsafe { &*(address as *const Note) };
    // While the note is pinned, it does not serve another object, even if this one is renamed.
    Handle::of(note).with_pinned(|note| {
        if header.note() == address {
            note.record(nanoseconds, owner);
        }
        Ok(())
    })
}

/// Returns the statistics of an object; `None` if no wait has been counted.
pub(crate) fn waits_of(header: &Header, tag: u64) -> Option<Waits> {
    let waits = read(header, Note::load_waits)?;
    (waits.count != 0 && header.is_live(tag)).then_some(waits)
}

/// Discards the statistics of all objects.
pub(crate) fn discard_waits() {
    for (note, _) in Handle::<Note>::unlocked_objects() {
        for number in [&note.waits, &note.total_ns, &note.longest_ns, &note.longest_owner] {
            number.store(0, Ordering::Relaxed);
        }
    }
}

/// Frees the note of an object, in its `finalize`.
#[inline]
pub(crate) fn free_of(header: &Header) {
    if header.note() != 0 {
        free(header.replace_note(0));
    }
}

/// Frees the note at this address; does nothing if it is 0.
fn free(address: usize) {
    if address != 0 {
        // SAFETY: the caller has removed the only reference to this note, which is thus alive.
        let note: &'static Note = unsafe { &*(address as *const Note) };
        Handle::of(note).internal_unref();
    }
}

impl Note {
    fn create(name: &CStr, waits: Waits) -> Result<Handle<Note>> {
        let text = name.to_str().map_err(|_| Error::NameEncoding)?;
        let end = (0..=MAX_NAME.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        let mut bytes = [0; MAX_NAME + 1];
        bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        Handle::create_with_internal_ref(0, |note: &Note, _| {
            // Pairs with the fence in `read`: a reader that sees a part of this text sees that the generation has
            // changed.
            fence(Ordering::Release);
            for (index, word) in note.name.iter().enumerate() {
                let part = core::array::from_fn(|byte| bytes[size_of::<u64>() * index + byte]);
                word.store(u64::from_ne_bytes(part), Ordering::Relaxed);
            }
            note.waits.store(waits.count, Ordering::Relaxed);
            note.total_ns.store(waits.total_ns, Ordering::Relaxed);
            note.longest_ns.store(waits.longest_ns, Ordering::Relaxed);
            note.longest_owner.store(waits.longest_owner, Ordering::Relaxed);
        })
    }

    fn load_waits(&self) -> Waits {
        Waits {
            count: self.waits.load(Ordering::Relaxed),
            total_ns: self.total_ns.load(Ordering::Relaxed),
            longest_ns: self.longest_ns.load(Ordering::Relaxed),
            longest_owner: self.longest_owner.load(Ordering::Relaxed),
        }
    }

    fn record(&self, nanoseconds: u64, owner: u64) {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(nanoseconds, Ordering::Relaxed);
        if self.longest_ns.fetch_max(nanoseconds, Ordering::Relaxed) < nanoseconds {
            self.longest_owner.store(owner, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    fn name(event: Handle<Event>) -> Option<String> {
        let (object, tag) = event.check().unwrap();
        let mut buffer = [0; MAX_NAME + 1];
        name_of(object.header(), tag, &mut buffer).map(|name| String::from_utf8(name.to_vec()).unwrap())
    }

    #[test]
    fn a_name_can_be_set_changed_and_removed() {
        let event = Handle::<Event>::new().unwrap();
        assert_eq!(name(event), None);
        event.set_name(Some(c"first")).unwrap();
        event.set_name(Some(c"second")).unwrap();
        assert_eq!(name(event).as_deref(), Some("second"));
        assert_eq!(event.set_name(Some(c"\xff")), Err(Error::NameEncoding));
        assert_eq!(name(event).as_deref(), Some("second"));
        event.set_name(None).unwrap();
        assert_eq!(name(event), None);
        event.free().unwrap();
        assert_eq!(event.set_name(Some(c"freed")), Err(Error::Handle));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let event = Handle::<Event>::new().unwrap();
        let long = std::ffi::CString::new("\u{e9}".repeat(40)).unwrap();
        event.set_name(Some(&long)).unwrap();
        assert_eq!(name(event).unwrap(), "\u{e9}".repeat(23));
        event.free().unwrap();
    }

    #[test]
    fn a_note_that_serves_another_object_during_a_read_is_not_read() {
        let (event, other) = (Handle::<Event>::new().unwrap(), Handle::<Event>::new().unwrap());
        let (object, _) = event.check().unwrap();
        let address = || object.header().note();
        event.set_name(Some(c"read")).unwrap();
        assert!(read(object.header(), |_| ()).is_some());
        let was_reused = (0..100).any(|_| {
            let mut is_reused = false;
            let result = read(object.header(), |note| {
                let first = address();
                event.set_name(Some(c"changed")).unwrap();
                other.set_name(Some(c"other")).unwrap();
                other.set_name(None).unwrap();
                event.set_name(Some(c"again")).unwrap();
                is_reused = address() == first;
                note.load_waits()
            });
            assert!(result.is_none());
            is_reused
        });
        assert!(was_reused, "no note has been created again for the same object");
        event.free().unwrap();
        other.free().unwrap();
    }

    #[test]
    fn a_freed_object_frees_its_note() {
        let notes = || Handle::<Note>::unlocked_objects().count();
        let before = notes();
        // At once: the next object in the same slot would free a note that is left there.
        let events: Vec<_> = (0..500).map(|_| Handle::<Event>::new().unwrap()).collect();
        events.iter().for_each(|event| event.set_name(Some(c"named")).unwrap());
        events.iter().for_each(|event| event.free().unwrap());
        // Other tests may have created some.
        assert!(notes() < before + 100);
    }

    #[test]
    fn a_new_object_in_the_same_slot_has_no_name() {
        for _ in 0..200 {
            let event = Handle::<Event>::new().unwrap();
            assert_eq!(name(event), None);
            event.set_name(Some(c"named")).unwrap();
            event.free().unwrap();
        }
    }
}
