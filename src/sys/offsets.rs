//! The offsets of fields, for programs that read this process from outside: `dump::layout`.

/// `offsets!(Offsets of Type: a, b)` declares the struct `Offsets` with the fields `a` and `b`, and the constant
/// `Type::OFFSETS` with their offsets in `Type`.
macro_rules! offsets {
    ($offsets:ident of $type:ty: $($field:ident),+) => {
        #[cfg(not(model))]
        #[allow(dead_code, reason = "not all systems have the layout note")]
        pub(crate) struct $offsets {
            $(pub(crate) $field: usize,)+
        }

        #[cfg(not(model))]
        #[allow(dead_code, reason = "as above")]
        impl $type {
            pub(crate) const OFFSETS: $offsets = $offsets { $($field: core::mem::offset_of!($type, $field),)+ };
        }
    };
}
pub(crate) use offsets;
