//! W3C trace context: reading, writing, and the next span. Pure.
//!
//! It travels in headers only, not in SQL: Ringway's templates pass over comments, but every statement is prepared once per distinct text,
//! by the driver and on the servers, and a comment that differs in each call would make each text a new one.

use std::fmt;

/// The name of the header and of the metadata.
pub const TRACE_HEADER: &str = "traceparent";

/// A position in a distributed trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    /// Reads the header's value, of version 00 or of a later one that begins alike. The standard has malformed values ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let span = hex(parts.next()?, 16)?;
        let flags = hex(parts.next()?, 2)?;
        let more = parts.next().is_some();
        if version == 0xff || (version == 0 && more) || trace == 0 || span == 0 {
            return None;
        }
        Some(Self {
            trace,
            span: u64::try_from(span).ok()?,
            flags: u8::try_from(flags).ok()?,
        })
    }

    /// The beginning of a trace, sampled; `trace` and `span` are random.
    pub fn root(trace: u128, span: u64) -> Self {
        Self {
            trace: trace.max(1),
            span: span.max(1),
            flags: 1,
        }
    }

    /// The same trace with a span of ours as the parent; `dice` names the span.
    #[must_use]
    pub fn child(self, dice: u64) -> Self {
        Self {
            span: dice.max(1),
            ..self
        }
    }

    /// The trace's id.
    pub fn trace_id(self) -> u128 {
        self.trace
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// Exactly `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_malformed_is_ignored() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceParent::parse(good).unwrap().to_string(), good);
        assert!(TraceParent::parse(&format!("cc{}-later", &good[2..])).is_some());
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn children_stay_in_the_trace(trace in 1_u128.., span in 1_u64.., flags: u8, dice: u64) {
            let parent = TraceParent { trace, span, flags };
            prop_assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
            let child = parent.child(dice);
            prop_assert_eq!(TraceParent::parse(&child.to_string()), Some(child));
            prop_assert_eq!(child.trace_id(), parent.trace_id());
        }
    }
}
