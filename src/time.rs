//! Timeouts and deadlines. Callers pass seconds; the library counts nanoseconds on the monotonic clock.

use crate::error::{Error, Result};

/// The timeout of a wait that blocks indefinitely.
pub const FOREVER: f64 = -1.0;

/// The longest finite timeout, in seconds.
pub const TIMEOUT_MAX: f64 = 9_223_372_036.0;

const INFINITY: u64 = f64::INFINITY.to_bits();
const SIGN_BIT: u64 = 1 << 63;

/// How long a call may block: a validated number of seconds.
///
/// When a timeout expires, the wait returns `Ok(false)`, or `Ok(None)` if it would otherwise return a guard. A wait for
/// a [`Barrier`](crate::Barrier) breaks the barrier instead.
///
/// ```
/// use threading::{Error, Timeout};
///
/// let timeout = Timeout::new(0.5)?;
/// assert_eq!(Timeout::new(threading::FOREVER), Ok(Timeout::FOREVER));
/// assert_eq!(Timeout::new(f64::NAN), Err(Error::TimeoutNan));
/// assert_eq!(Timeout::new(-2.0), Err(Error::TimeoutNegative));
/// assert_eq!(Timeout::new(1e300), Err(Error::TimeoutOverflow));
/// # Ok::<(), Error>(())
/// ```
// Seconds are compared and converted as integers, by their bits. Floating-point instructions raise exceptions (inexact
// result, signalling NaN, subnormal operand), which may terminate a program that has enabled traps, and depend on the
// caller's rounding mode and treatment of subnormal numbers.
#[derive(Clone, Copy, PartialEq)]
pub struct Timeout(u64);

impl core::fmt::Debug for Timeout {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Timeout").field(&f64::from_bits(self.0)).finish()
    }
}

impl Timeout {
    /// Blocks indefinitely.
    pub const FOREVER: Timeout = Timeout(INFINITY);
    /// Does not block.
    pub const ZERO: Timeout = Timeout(0);

    /// Validates a number of seconds, by the rules of all timeouts.
    #[inline]
    pub fn new(seconds: f64) -> Result<Timeout> {
        if Self::is_plain_finite(seconds) {
            Ok(Timeout(seconds.to_bits()))
        } else {
            Self::from_special_bits(seconds.to_bits())
        }
    }

    /// Returns whether the seconds are a valid finite timeout other than -0.0.
    #[inline(always)]
    pub(crate) fn is_plain_finite(seconds: f64) -> bool {
        // The bits of non-negative floats have the order of their values: one integer comparison checks sign, NaN and
        // range.
        seconds.to_bits() <= TIMEOUT_MAX.to_bits()
    }

    #[cold]
    fn from_special_bits(seconds: u64) -> Result<Timeout> {
        const MINUS_ONE: u64 = FOREVER.to_bits();
        match seconds {
            MINUS_ONE | INFINITY => Ok(Timeout::FOREVER),
            SIGN_BIT => Ok(Timeout::ZERO), // -0.0
            _ if is_nan(seconds) => Err(Error::TimeoutNan),
            _ if seconds & SIGN_BIT != 0 => Err(Error::TimeoutNegative),
            _ => Err(Error::TimeoutOverflow),
        }
    }

    /// Returns whether the call must not block.
    #[inline]
    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns the deadline of this timeout if it begins now.
    #[inline(never)]
    pub(crate) fn deadline(self) -> Deadline {
        if self == Timeout::FOREVER { Deadline::NEVER } else { Deadline::now().add_ns(self.nanoseconds()) }
    }

    /// Returns the nanoseconds of a period that is at least 1, or 0 for `FOREVER`.
    pub(crate) fn period_ns(self) -> u64 {
        if self == Timeout::FOREVER { 0 } else { self.nanoseconds().max(1) }
    }

    /// Converts a finite timeout to nanoseconds, rounded up so that no wait is shorter than requested.
    #[inline(always)]
    pub(crate) fn nanoseconds(self) -> u64 {
        const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
        const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
        // The value is `mantissa` shifted right by `SHIFT` less the exponent.
        const SHIFT: u32 = FRACTION_BITS + f64::MAX_EXP as u32 - 1;
        // A binary power that is less than a nanosecond.
        const TINY: u64 = (1.0 / (1_u64 << 30) as f64).to_bits();
        if self.0 < TINY {
            return u64::from(self.0 != 0);
        }
        let shift = SHIFT - (self.0 >> FRACTION_BITS) as u32;
        let mantissa = self.0 & FRACTION | 1 << FRACTION_BITS;
        (((u128::from(mantissa) * 1_000_000_000 - 1) >> shift) + 1) as u64
    }
}

fn is_nan(seconds: u64) -> bool {
    seconds & !SIGN_BIT > INFINITY
}

/// A point in time on the monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(pub(crate) u64);

impl Deadline {
    pub(crate) const NEVER: Deadline = Deadline(u64::MAX);

    #[cfg(model)]
    pub(crate) fn now() -> Deadline {
        crate::model::futex::now()
    }

    #[cfg(not(model))]
    #[inline(always)]
    pub(crate) fn now() -> Deadline {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is valid for writes; the monotonic clock always exists.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
        Deadline(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    /// As `now`, but up to some milliseconds earlier, and faster to read.
    #[inline(always)]
    pub(crate) fn recently() -> Deadline {
        #[cfg(all(not(model), any(target_os = "linux", target_os = "android")))]
        {
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: `now` is valid for writes; Linux always has this clock.
            unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
            Deadline(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
        }
        #[cfg(not(all(not(model), any(target_os = "linux", target_os = "android"))))]
        Deadline::now()
    }

    pub(crate) fn add_ns(self, nanoseconds: u64) -> Deadline {
        Deadline(self.0.saturating_add(nanoseconds))
    }

    pub(crate) fn has_passed(self) -> bool {
        self != Deadline::NEVER && self <= Deadline::now()
    }

    /// Returns the time until this deadline, 0 if it has passed, or `None` for `NEVER`.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only system calls need it"))]
    pub(crate) fn remaining(self) -> Option<libc::timespec> {
        (self != Deadline::NEVER).then(|| {
            let remaining = self.0.saturating_sub(Deadline::now().0);
            libc::timespec {
                // Where `time_t` has 32 bits, this limits a wait to 68 years.
                tv_sec: (remaining / 1_000_000_000).try_into().unwrap_or(i32::MAX.into()),
                tv_nsec: (remaining % 1_000_000_000) as libc::c_long,
            }
        })
    }
}

/// Validates a timer's interval. Its rules are those of Python's timers, and differ from those of timeouts: a negative
/// interval is 0. Returns `None` if the interval is infinite.
pub(crate) fn interval(seconds: f64) -> Result<Option<Timeout>> {
    match seconds.to_bits() {
        bits if is_nan(bits) => Err(Error::IntervalNan),
        bits if bits & SIGN_BIT != 0 => Ok(Some(Timeout::ZERO)),
        INFINITY => Ok(None),
        bits if bits > TIMEOUT_MAX.to_bits() => Err(Error::IntervalOverflow),
        bits => Ok(Some(Timeout(bits))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_validated() {
        assert_eq!(Timeout::new(0.0), Ok(Timeout::ZERO));
        assert_eq!(Timeout::new(-0.0), Ok(Timeout::ZERO));
        assert_eq!(Timeout::new(2.5), Ok(Timeout(2.5_f64.to_bits())));
        assert_eq!(Timeout::new(TIMEOUT_MAX), Ok(Timeout(TIMEOUT_MAX.to_bits())));
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
    fn intervals_are_validated_by_their_own_rules() {
        assert_eq!(interval(-1.0), Ok(Some(Timeout::ZERO)));
        assert_eq!(interval(f64::NEG_INFINITY), Ok(Some(Timeout::ZERO)));
        assert_eq!(interval(f64::INFINITY), Ok(None));
        assert_eq!(interval(f64::NAN), Err(Error::IntervalNan));
        assert_eq!(interval(TIMEOUT_MAX * 2.0), Err(Error::IntervalOverflow));
    }

    #[test]
    fn nanoseconds_are_rounded_up_exactly() {
        let nanoseconds = |seconds: f64| Timeout::new(seconds).unwrap().nanoseconds();
        let least_subnormal = f64::from_bits(1);
        let below_one = f64::from_bits(1_f64.to_bits() - 1);
        for (seconds, expected) in [
            (0.0, 0),
            (least_subnormal, 1),
            (f64::MIN_POSITIVE, 1),
            (1e-300, 1),
            (1e-10, 1),
            (1e-9, 2), // the double is slightly more than 1e-9
            (0.5, 500_000_000),
            (0.1, 100_000_001), // slightly more than 0.1
            (0.7, 700_000_000), // slightly less than 0.7
            (below_one, 1_000_000_000),
            (1.0, 1_000_000_000),
            (1.0 + f64::EPSILON, 1_000_000_001),
            (2.5, 2_500_000_000),
            (TIMEOUT_MAX, 9_223_372_036_000_000_000),
        ] {
            assert_eq!(nanoseconds(seconds), expected, "{seconds:e}");
        }
        let before = f64::from_bits(TIMEOUT_MAX.to_bits() - 1);
        assert!((9_223_372_035_999_998_000..9_223_372_036_000_000_000).contains(&nanoseconds(before)));
    }

    #[test]
    fn special_values_are_validated_by_their_bits() {
        let signalling = f64::from_bits(INFINITY + 1);
        let negative_subnormal = f64::from_bits(SIGN_BIT + 1);
        assert_eq!(Timeout::new(signalling), Err(Error::TimeoutNan));
        assert_eq!(Timeout::new(negative_subnormal), Err(Error::TimeoutNegative));
        assert_eq!(Timeout::new(f64::from_bits(TIMEOUT_MAX.to_bits() + 1)), Err(Error::TimeoutOverflow));
        assert_eq!(Timeout::new(f64::from_bits(FOREVER.to_bits() + 1)), Err(Error::TimeoutNegative));
        assert_eq!(interval(signalling), Err(Error::IntervalNan));
        assert_eq!(interval(negative_subnormal), Ok(Some(Timeout::ZERO)));
        assert_eq!(interval(-0.0), Ok(Some(Timeout::ZERO)));
        assert_eq!(interval(f64::from_bits(1)), Ok(Some(Timeout(1))));
        assert_eq!(interval(f64::from_bits(TIMEOUT_MAX.to_bits() + 1)), Err(Error::IntervalOverflow));
    }

    #[test]
    fn positive_timeouts_are_at_least_a_nanosecond() {
        let before = Deadline::now();
        assert!(Timeout::new(1e-12).unwrap().deadline() > before);
    }
}
