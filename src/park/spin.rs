//! How long a thread looks before it sleeps.

/// A bounded number of looks, further and further apart: about a microsecond in all.
pub(crate) struct Spin(u32);

// Under a model checker, to look again is to be scheduled again.
const LOOKS: u32 = if cfg!(model) { 0 } else { 6 };

impl Spin {
    pub(crate) fn new() -> Self {
        Spin(0)
    }

    /// Lets a moment pass; false when it is time to sleep.
    #[inline]
    pub(crate) fn again(&mut self) -> bool {
        if self.0 == LOOKS {
            return false;
        }
        for _ in 0..1 << self.0 {
            crate::atomic::spin_loop();
        }
        self.0 += 1;
        true
    }
}
