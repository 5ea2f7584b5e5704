//! Which bits of a handle are the generations. `handle` has the whole table.

/// The bits of the slot's generation, in a handle and in the words of the slot's header.
pub(crate) const GENERATION: u64 = 63;

/// The number of bits of the block's generation: those that addresses do not use.
pub(super) const BLOCK_GENERATION_BITS: u32 = if cfg!(target_pointer_width = "64") { 16 } else { 0 };
/// The position of these bits.
pub(super) const BLOCK_GENERATION_SHIFT: u32 = usize::BITS - BLOCK_GENERATION_BITS;
