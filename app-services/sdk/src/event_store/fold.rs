//! What an aggregate is, and how its state comes of its events: pure.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// An event that can't be read, or a stream that has a hole.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// An event as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// What happened, by the name that consumers know it by.
    pub kind: Cow<'static, str>,
    /// The service's own bytes; at most 900,000.
    pub payload: Vec<u8>,
}

/// Something whose state is what happened to it. Its default is the state before anything has.
pub trait Aggregate: Clone + Default + Send + Sync + Serialize + DeserializeOwned {
    /// What can happen to it.
    type Event: Send + Sync;

    /// The topic of its events, published or not; it separates kinds of aggregates from each other.
    const TOPIC: &'static str;

    /// A snapshot is kept whenever so many events have come to be; never if 0.
    const SNAPSHOT_EVERY: u32;

    /// The form of the state in snapshots. Raised whenever the type or the meaning of a field changes: snapshots of another form are not used.
    const FORM: i32;

    /// Writes an event.
    ///
    /// # Errors
    /// It has no such form.
    fn encode(event: &Self::Event) -> Result<Encoded, Unreadable>;

    /// Reads an event, of every form that was ever written.
    ///
    /// # Errors
    /// It is none of these.
    fn decode(kind: &str, payload: &[u8]) -> Result<Self::Event, Unreadable>;

    /// The state after an event. It has happened: there is nothing to refuse.
    fn apply(&mut self, event: &Self::Event);
}

/// An aggregate as it was seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded<A> {
    /// The state.
    pub state: A,
    /// How many events have led there; 0 if nothing has happened to it.
    pub version: i64,
}

/// The state after further events, each with its version.
///
/// # Errors
/// An event can't be read, or is not the next one.
pub fn fold<'a, A: Aggregate>(
    mut from: Loaded<A>,
    events: impl IntoIterator<Item = (i64, &'a str, &'a [u8])>,
) -> Result<Loaded<A>, Unreadable> {
    for (version, kind, payload) in events {
        let next = from.version.saturating_add(1);
        if version != next {
            return Err(Unreadable(format!("event {version} comes where {next} is due")));
        }
        from.state.apply(&A::decode(kind, payload)?);
        from.version = version;
    }
    Ok(from)
}

/// Whether a snapshot is due after events have led from one version to another.
pub(crate) fn is_due(every: u32, before: i64, after: i64) -> bool {
    let every = i64::from(every);
    every > 0 && before.div_euclid(every) != after.div_euclid(every)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    /// Things in a basket, and how often it was emptied: neither commutes with the other.
    #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
    struct Basket {
        pieces: BTreeMap<u8, i64>,
        emptied: i64,
    }

    #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
    enum Happened {
        Put { thing: u8, pieces: i64 },
        Emptied,
    }

    impl Aggregate for Basket {
        type Event = Happened;
        const TOPIC: &'static str = "basket";
        const SNAPSHOT_EVERY: u32 = 5;
        const FORM: i32 = 1;

        fn encode(event: &Happened) -> Result<Encoded, Unreadable> {
            let payload = serde_json::to_vec(event).map_err(|error| Unreadable(error.to_string()))?;
            Ok(Encoded {
                kind: "happened".into(),
                payload,
            })
        }

        fn decode(_: &str, payload: &[u8]) -> Result<Happened, Unreadable> {
            serde_json::from_slice(payload).map_err(|error| Unreadable(error.to_string()))
        }

        fn apply(&mut self, event: &Happened) {
            match event {
                Happened::Put { thing, pieces } => {
                    let had = self.pieces.entry(*thing).or_default();
                    *had = had.saturating_mul(2).saturating_add(*pieces);
                }
                Happened::Emptied => {
                    self.pieces.clear();
                    self.emptied += 1;
                }
            }
        }
    }

    fn any_events() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let event = prop_oneof![
            4 => (0..4_u8, -9..9_i64).prop_map(|(thing, pieces)| Happened::Put { thing, pieces }),
            1 => Just(Happened::Emptied),
        ];
        let encoded = event.prop_map(|event| Basket::encode(&event).unwrap().payload);
        prop::collection::vec(encoded, 0..40)
    }

    fn numbered(payloads: &[Vec<u8>], after: usize) -> impl Iterator<Item = (i64, &str, &[u8])> {
        let numbers = i64::try_from(after).unwrap() + 1..;
        numbers
            .zip(&payloads[after..])
            .map(|(version, payload)| (version, "happened", payload.as_slice()))
    }

    proptest! {
        #[test]
        fn replay_from_a_snapshot_is_replay_from_zero(payloads in any_events(), cut in 0..40_usize) {
            let cut = cut.min(payloads.len());
            let all: Loaded<Basket> = fold(Loaded::default(), numbered(&payloads, 0)).unwrap();
            let head: Loaded<Basket> = fold(Loaded::default(), numbered(&payloads[..cut], 0)).unwrap();
            // As it is kept, and read again.
            let kept = serde_json::to_value(&head.state).unwrap();
            let from = Loaded { state: serde_json::from_value(kept).unwrap(), version: head.version };
            prop_assert_eq!(fold(from, numbered(&payloads, cut)).unwrap(), all);
        }

        #[test]
        fn a_hole_is_noticed(payloads in any_events(), at in 0..40_usize) {
            prop_assume!(payloads.len() > 1);
            let at = at % (payloads.len() - 1);
            let holed = numbered(&payloads, 0).enumerate().filter(|(n, _)| *n != at).map(|(_, event)| event);
            prop_assert!(fold(Loaded::<Basket>::default(), holed).is_err());
        }

        #[test]
        fn snapshots_are_never_further_apart_than_said(every in 1..20_u32, steps in prop::collection::vec(1..7_i64, 0..50)) {
            let (mut version, mut last) = (0, 0);
            for step in steps {
                let next = version + step;
                if is_due(every, version, next) {
                    last = next;
                }
                version = next;
                prop_assert!(version - last < i64::from(every));
            }
            prop_assert!(!is_due(0, 0, version));
        }
    }
}
