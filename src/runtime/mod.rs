pub(crate) mod identity;
