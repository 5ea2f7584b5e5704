//! How the bits of a handle are shared out: see the module above for the table.

/// The generation of the slot, in a handle and in the words of the slot's header.
pub(crate) const GENERATION: u64 = 63;

/// How many bits the generation of the block has: those that no address uses.
pub(super) const BLOCK_GENERATION_BITS: u32 = if cfg!(target_pointer_width = "64") { 16 } else { 0 };
/// Where they begin.
pub(super) const BLOCK_GENERATION_SHIFT: u32 = usize::BITS - BLOCK_GENERATION_BITS;
