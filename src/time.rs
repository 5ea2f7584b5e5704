//! Timeouts and deadlines: seconds from the caller, nanoseconds on the monotonic clock inside.

use crate::error::{Error, Result};

/// Waits without a limit.
pub const FOREVER: f64 = -1.0;

/// The longest finite timeout, in seconds.
pub const TIMEOUT_MAX: f64 = 9_223_372_036.0;

const NANOSECONDS: f64 = 1e9;

/// A timeout that has been checked. Reads no clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeout(f64);

impl Timeout {
    /// No limit.
    pub const FOREVER: Timeout = Timeout(f64::INFINITY);
    /// Tries once.
    pub const NONE: Timeout = Timeout(0.0);

    /// Checks a caller's seconds by the rule of all calls.
    #[inline]
    pub fn new(seconds: f64) -> Result<Timeout> {
        if Self::is_common(seconds) { Ok(Timeout(seconds)) } else { Self::unusual(seconds) }
    }

    /// Whether the seconds are a finite timeout, and not -0.
    #[inline(always)]
    pub(crate) fn is_common(seconds: f64) -> bool {
        // The bits of floats that are not negative sort as integers do: one comparison for sign, NaN and
        // range.
        seconds.to_bits() <= TIMEOUT_MAX.to_bits()
    }

    #[cold]
    fn unusual(seconds: f64) -> Result<Timeout> {
        if seconds == FOREVER || seconds == f64::INFINITY {
            Ok(Timeout::FOREVER)
        } else if seconds.is_nan() {
            Err(Error::TimeoutNan)
        } else if seconds < 0.0 {
            Err(Error::TimeoutNegative)
        } else if seconds == 0.0 {
            Ok(Timeout::NONE) // -0.0
        } else {
            Err(Error::TimeoutOverflow)
        }
    }

    /// Whether the call must not wait at all.
    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0.0
    }

    /// The moment at which this timeout, begun now, runs out.
    pub(crate) fn deadline(self) -> Deadline {
        if self.0 == f64::INFINITY {
            Deadline::NEVER
        } else {
            // Rounded up, so that a wait is never shorter than was asked for.
            Deadline(Deadline::now().0.saturating_add((self.0 * NANOSECONDS).ceil() as u64))
        }
    }
}

/// A moment on the monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(pub(crate) u64);

impl Deadline {
    pub(crate) const NEVER: Deadline = Deadline(u64::MAX);

    #[cfg(model)]
    pub(crate) fn now() -> Deadline {
        crate::model::futex::now()
    }

    #[cfg(not(model))]
    pub(crate) fn now() -> Deadline {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a timespec to write to; the monotonic clock always exists.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
        Deadline(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    pub(crate) fn after(self, nanoseconds: u64) -> Deadline {
        Deadline(self.0.saturating_add(nanoseconds))
    }

    pub(crate) fn has_passed(self) -> bool {
        self != Deadline::NEVER && self <= Deadline::now()
    }

    /// As the system's calls take it; never for `NEVER`.
    pub(crate) fn timespec(self) -> Option<libc::timespec> {
        (self != Deadline::NEVER).then_some(libc::timespec {
            tv_sec: (self.0 / 1_000_000_000) as libc::time_t,
            tv_nsec: (self.0 % 1_000_000_000) as libc::c_long,
        })
    }
}

/// A timer's interval: like Python's, it has rules of its own. `None` never comes.
pub(crate) fn interval(seconds: f64) -> Result<Option<Timeout>> {
    if seconds.is_nan() {
        Err(Error::IntervalNan)
    } else if seconds == f64::INFINITY {
        Ok(None)
    } else if seconds > TIMEOUT_MAX {
        Err(Error::IntervalOverflow)
    } else {
        Ok(Some(Timeout(seconds.max(0.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rule_for_all_timeouts() {
        assert_eq!(Timeout::new(0.0), Ok(Timeout::NONE));
        assert_eq!(Timeout::new(-0.0), Ok(Timeout::NONE));
        assert_eq!(Timeout::new(2.5), Ok(Timeout(2.5)));
        assert_eq!(Timeout::new(TIMEOUT_MAX), Ok(Timeout(TIMEOUT_MAX)));
        assert_eq!(Timeout::new(-1.0), Ok(Timeout::FOREVER));
        assert_eq!(Timeout::new(f64::INFINITY), Ok(Timeout::FOREVER));
        assert_eq!(Timeout::new(TIMEOUT_MAX + 1.0), Err(Error::TimeoutOverflow));
        assert_eq!(Timeout::new(f64::MAX), Err(Error::TimeoutOverflow));
        for wrong in [-1e-300, -0.5, -2.0, f64::NEG_INFINITY] {
            assert_eq!(Timeout::new(wrong), Err(Error::TimeoutNegative));
        }
        assert_eq!(Timeout::new(f64::NAN), Err(Error::TimeoutNan));
        assert_eq!(Timeout::new(-f64::NAN), Err(Error::TimeoutNan));
    }

    #[test]
    fn a_timers_interval_has_its_own_rule() {
        assert_eq!(interval(-1.0), Ok(Some(Timeout::NONE)));
        assert_eq!(interval(f64::NEG_INFINITY), Ok(Some(Timeout::NONE)));
        assert_eq!(interval(f64::INFINITY), Ok(None));
        assert_eq!(interval(f64::NAN), Err(Error::IntervalNan));
        assert_eq!(interval(TIMEOUT_MAX * 2.0), Err(Error::IntervalOverflow));
    }

    #[test]
    fn the_smallest_timeout_is_a_nanosecond() {
        let before = Deadline::now();
        assert!(Timeout::new(1e-12).unwrap().deadline() > before);
    }
}
