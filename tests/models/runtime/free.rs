//! The free of an object beside threads that wait for it.

use crate::error::Result;
use crate::handle::{Handle, Object};

/// Frees an object as `Handle::free` does if threads begin to wait for the object once that has found none.
#[expect(private_bounds, reason = "as in `Handle`")]
pub fn free_beside_waiters<T: Object>(handle: Handle<T>) -> Result<()> {
    // Only the last reference asks for waiters, and only if it is the user's.
    handle.internal_ref()?.free()?;
    handle.internal_unref();
    Ok(())
}
