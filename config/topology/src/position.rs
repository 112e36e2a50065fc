//! Places in a shard's history, and the proxy's own clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A byte position in the write-ahead log, as `pg_lsn`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// Text that is not a `pg_lsn` such as `16/B374D848`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseLsnError;

impl fmt::Display for ParseLsnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a pg_lsn (expected HEX/HEX)")
    }
}

impl std::error::Error for ParseLsnError {}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        let (high, low) = text.split_once('/').ok_or(ParseLsnError)?;
        let high = u32::from_str_radix(high, 16).map_err(|_| ParseLsnError)?;
        let low = u32::from_str_radix(low, 16).map_err(|_| ParseLsnError)?;
        Ok(Self(u64::from(high) << 32 | u64::from(low)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A PostgreSQL timeline: rises at every promotion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timeline(pub u32);

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a shard's history: compared by timeline, then by LSN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    /// The timeline that the server itself reported.
    pub timeline: Timeline,
    /// The place on it.
    pub lsn: Lsn,
}

impl Position {
    /// A position on `timeline` at `lsn`.
    pub fn new(timeline: Timeline, lsn: Lsn) -> Self {
        Self { timeline, lsn }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.timeline, self.lsn)
    }
}

/// An epoch of a shard's invalidation stream: a rise is a logical flush of everything cached from it.
///
/// The timeline stands in the upper half, so an epoch made on a promoted server is above every
/// epoch of the server that it replaces, whatever that one still hands out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch numbered `counter` on `timeline`.
    pub fn new(timeline: Timeline, counter: u32) -> Self {
        Self(u64::from(timeline.0) << 32 | u64::from(counter))
    }

    /// The timeline that this epoch names.
    pub fn timeline(self) -> Timeline {
        Timeline(u32::try_from(self.0 >> 32).unwrap_or(u32::MAX))
    }

    /// The number of this epoch on its timeline.
    pub fn counter(self) -> u32 {
        u32::try_from(self.0 & 0xFFFF_FFFF).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.timeline(), self.counter())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A reading of this host's `CLOCK_BOOTTIME`, in nanoseconds. Never compared with another host's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// The time since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This reading moved back by `span`, at most to zero.
    pub fn minus(self, span: Duration) -> Mono {
        Mono(
            self.0
                .saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// This reading moved ahead by `span`.
    pub fn plus(self, span: Duration) -> Mono {
        Mono(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Epoch, Lsn, Mono, Position, Timeline};
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn lsn_text_round_trips(raw in any::<u64>()) {
            prop_assert_eq!(Lsn(raw).to_string().parse(), Ok(Lsn(raw)));
        }

        #[test]
        fn epoch_order_is_timeline_first(t in any::<u32>(), c in any::<u32>(), t2 in any::<u32>(), c2 in any::<u32>()) {
            let order = (t, c).cmp(&(t2, c2));
            prop_assert_eq!(Epoch::new(Timeline(t), c).cmp(&Epoch::new(Timeline(t2), c2)), order);
            prop_assert_eq!(Epoch::new(Timeline(t), c).timeline(), Timeline(t));
            prop_assert_eq!(Epoch::new(Timeline(t), c).counter(), c);
        }
    }

    #[test]
    fn lsn_rejects_what_postgres_rejects() {
        for text in ["", "1", "1/", "/1", "1/2/3", "G/0", "100000000/0", "-1/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_newer_timeline_is_ahead_whatever_the_lsn() {
        assert!(Position::new(Timeline(2), Lsn(1)) > Position::new(Timeline(1), Lsn(9)));
    }

    #[test]
    fn clock_arithmetic_saturates() {
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
        assert_eq!(Mono(5).minus(Duration::from_secs(1)), Mono(0));
        assert_eq!(Mono(u64::MAX).plus(Duration::from_secs(1)), Mono(u64::MAX));
    }
}
