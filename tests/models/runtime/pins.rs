//! What a pin protects.

use crate::error::Result;
use crate::handle::header::GENERATION;
use crate::handle::{Handle, Object};

/// Pins the slot of an object, as a call that blocks does. Returns whether the slot keeps its generation while it is
/// pinned.
#[expect(private_bounds, reason = "as in `Handle`")]
pub fn pin_keeps_generation<T: Object>(handle: Handle<T>) -> Result<bool> {
    let (_, tag) = handle.slot()?;
    handle.with_pinned(|object| Ok((0..2).all(|_| object.header().generation() == tag & GENERATION)))
}
