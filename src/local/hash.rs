//! Hash functions for the handles of locals and the names of attributes.

use core::ffi::CStr;

/// Returns the hash of an attribute, by folded multiplications (as wyhash). Its seed is an address, which varies
/// between processes, so that names cannot be chosen in advance to collide. A random seed would need a system call,
/// which may fail.
#[inline(always)]
pub(crate) fn hash_of(key: usize, name: &CStr) -> u32 {
    const FIRST: u64 = 0xa076_1d64_78bd_642f;
    const SECOND: u64 = 0xe703_7ed1_a0b4_28db;
    static SEED: u8 = 0;
    let fold = |left: u64, right: u64| {
        let product = u128::from(left) * u128::from(right);
        product as u64 ^ (product >> 64) as u64
    };
    let name = name.to_bytes();
    let mut hash = fold(&raw const SEED as u64 ^ FIRST, key as u64 ^ SECOND);
    let mut rest = name;
    while rest.len() > 16 {
        hash = hash_of_long(hash, &mut rest, fold);
    }
    let (low, high) = ends_of(rest);
    hash = fold(low ^ FIRST ^ name.len() as u64, high ^ hash);
    (hash ^ hash >> 32) as u32
}

/// Hashes the first 16 bytes of a long name.
#[cold]
fn hash_of_long(hash: u64, name: &mut &[u8], fold: impl FnOnce(u64, u64) -> u64) -> u64 {
    const THIRD: u64 = 0x8ebc_6af0_9c88_c6e3;
    let (head, rest) = name.split_at(16);
    *name = rest;
    let (low, high) = ends_of(head);
    fold(low ^ THIRD, high ^ hash)
}

/// Returns two words that contain all bytes of a text of at most 16 bytes, some of them perhaps twice.
#[inline(always)]
fn ends_of(text: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        (u64::from_ne_bytes(*first), u64::from_ne_bytes(*last))
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        (u32::from_ne_bytes(*first).into(), u32::from_ne_bytes(*last).into())
    } else {
        let byte = |at: usize| u64::from(text.get(at).copied().unwrap_or(0));
        (byte(0) | byte(1) << 8, byte(2))
    }
}

/// Whether two names are equal. Short ones are compared without a function call.
#[inline(always)]
pub(crate) fn are_equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && if left.len() <= 16 { ends_of(left) == ends_of(right) } else { left == right }
}

/// Returns a number whose low bits depend on all bits of the handle.
pub(crate) fn hash_of_handle(key: usize) -> usize {
    let key = key as u64;
    let product = (key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product ^ product >> 32) as usize
}
