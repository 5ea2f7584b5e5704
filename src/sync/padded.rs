//! Shared data that threads write often, apart from all other data.

use core::ops::Deref;

/// A value that shares no cache line with other data. The linker chooses the neighbours of a static. If one that
/// threads write often were next to one that all threads read, such as the fork epoch, each write would remove the
/// latter from the caches of all other CPUs.
///
/// 128 bytes are two lines of x86-64 processors, which fetch lines in pairs, and one of some ARM processors.
#[repr(C, align(128))]
pub(crate) struct Padded<T>(T);

impl<T> Padded<T> {
    pub(crate) const fn new(value: T) -> Self {
        Padded(value)
    }
}

const _: () = assert!(size_of::<Padded<u8>>() == 128 && size_of::<Padded<[u8; 129]>>() == 256);

impl<T> Deref for Padded<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}
