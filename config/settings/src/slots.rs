//! The slot map as text: JSON with runs of slots, shards by name. Reading and writing the file is the caller's.

use crate::Shard;
use crate::error::nearest;
use serde::{Deserialize, Serialize};
use topology::{SLOT_COUNT, ShardId, SlotMap};

/// Why the text of a slot map can't be used: the file was damaged, or belongs to another configuration.
#[derive(Debug, thiserror::Error)]
pub enum SlotMapFileError {
    /// Not the JSON that [`print_slot_map`] makes.
    #[error("not a slot map: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A run that ends before it starts, or beyond the last slot.
    #[error("slots {from} to {to} are not a run of slots from 0 to {last}", last = SLOT_COUNT - 1)]
    BadRun {
        /// First slot.
        from: u16,
        /// Last slot.
        to: u16,
    },
    /// A slot that two runs hold.
    #[error("slot {0} has two owners")]
    TwoOwners(u16),
    /// A slot that no run holds.
    #[error("slot {0} has no owner")]
    NoOwner(u16),
    /// A shard that the configuration doesn't name.
    #[error("no [[shard]] is called `{name}`{}", help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default())]
    UnknownShard {
        /// The name in the map.
        name: String,
        /// The nearest name.
        help: Option<String>,
    },
    /// An owner that the configuration doesn't have, when printing.
    #[error("the slot map names shard number {0}, which the configuration doesn't have")]
    UnknownNumber(ShardId),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMap {
    version: u64,
    slots: Vec<RawRun>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRun {
    from: u16,
    to: u16,
    shard: String,
}

/// Reads a slot map: `{"version": 1, "slots": [{"from": 0, "to": 8191, "shard": "shard-0"}, ...]}`, `to` included.
///
/// # Errors
/// When not exactly one of `shards` owns each slot.
pub fn parse_slot_map(text: &str, shards: &[Shard]) -> Result<SlotMap, SlotMapFileError> {
    let raw: RawMap = serde_json::from_str(text)?;
    let mut owners: Vec<Option<ShardId>> = vec![None; usize::from(SLOT_COUNT)];
    for RawRun { from, to, shard } in &raw.slots {
        let (from, to) = (*from, *to);
        let owner = shards
            .iter()
            .find(|known| *known.name == **shard)
            .ok_or_else(|| {
                let help = nearest(shard, shards.iter().map(|known| &*known.name));
                SlotMapFileError::UnknownShard {
                    name: shard.clone(),
                    help,
                }
            })?;
        if from > to {
            return Err(SlotMapFileError::BadRun { from, to });
        }
        let run = owners.get_mut(usize::from(from)..=usize::from(to));
        let run = run.ok_or(SlotMapFileError::BadRun { from, to })?;
        for (slot, place) in (from..).zip(run) {
            if place.replace(owner.id).is_some() {
                return Err(SlotMapFileError::TwoOwners(slot));
            }
        }
    }
    let owners: Result<Vec<ShardId>, _> = (0..)
        .zip(owners)
        .map(|(slot, owner)| owner.ok_or(SlotMapFileError::NoOwner(slot)))
        .collect();
    // There is one owner for every slot: the only thing that a slot map can refuse.
    SlotMap::new(raw.version, owners?).map_err(|_| SlotMapFileError::NoOwner(0))
}

/// Writes a slot map in the form that [`parse_slot_map`] reads, one run to a line.
///
/// # Errors
/// When an owner is not one of `shards`.
pub fn print_slot_map(map: &SlotMap, shards: &[Shard]) -> Result<String, SlotMapFileError> {
    let mut runs: Vec<RawRun> = Vec::new();
    let mut last = None;
    for (slot, owner) in map.iter() {
        let number = slot.number();
        match runs.last_mut() {
            Some(run) if last == Some(owner) => run.to = number,
            Some(_) | None => {
                let shard = shards
                    .get(owner.index())
                    .ok_or(SlotMapFileError::UnknownNumber(owner))?;
                runs.push(RawRun {
                    from: number,
                    to: number,
                    shard: shard.name.to_string(),
                });
            }
        }
        last = Some(owner);
    }
    let lines: Result<Vec<String>, _> = runs.iter().map(serde_json::to_string).collect();
    Ok(format!(
        "{{\"version\": {}, \"slots\": [\n  {}\n]}}\n",
        map.version(),
        lines?.join(",\n  ")
    ))
}

#[cfg(test)]
mod tests {
    use super::{parse_slot_map, print_slot_map};
    use crate::Shard;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use std::sync::Arc;
    use topology::{SLOT_COUNT, ShardId, SlotMap};

    fn shards() -> Vec<Shard> {
        let shard = |n: u16| Shard {
            id: ShardId(n),
            name: Arc::from(format!("shard-{n}")),
            endpoints: Vec::new(),
        };
        (0..3).map(shard).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_printed_is_read_back(
            version in any::<u64>(),
            runs in prop::collection::vec((0..3u16, 1..4000usize), 1..40),
        ) {
            let mut owners: Vec<ShardId> =
                runs.iter().flat_map(|(shard, length)| std::iter::repeat_n(ShardId(*shard), *length)).collect();
            owners.resize(usize::from(SLOT_COUNT), ShardId(0));
            let map = SlotMap::new(version, owners).expect("an owner for each");
            let text = print_slot_map(&map, &shards()).expect("known shards");
            prop_assert_eq!(parse_slot_map(&text, &shards()).expect("its own text"), map);
        }
    }

    #[test]
    fn the_text_is_short() {
        let owners = (0..SLOT_COUNT).map(|slot| ShardId(slot / 8192)).collect();
        let map = SlotMap::new(7, owners).expect("an owner for each");
        expect![[r#"
            {"version": 7, "slots": [
              {"from":0,"to":8191,"shard":"shard-0"},
              {"from":8192,"to":16383,"shard":"shard-1"}
            ]}
        "#]]
        .assert_eq(&print_slot_map(&map, &shards()).expect("known shards"));
        assert!(print_slot_map(&map, &shards()[..1]).is_err());
    }

    fn check(slots: &str, expect: &Expect) {
        let text = format!("{{\"version\": 1, \"slots\": [{slots}]}}");
        expect.assert_eq(
            &parse_slot_map(&text, &shards())
                .expect_err("a mistake")
                .to_string(),
        );
    }

    #[test]
    fn mistakes() {
        check("", &expect!["slot 0 has no owner"]);
        check(
            r#"{"from":0,"to":16382,"shard":"shard-0"}"#,
            &expect!["slot 16383 has no owner"],
        );
        check(
            r#"{"from":0,"to":16384,"shard":"shard-0"}"#,
            &expect!["slots 0 to 16384 are not a run of slots from 0 to 16383"],
        );
        check(
            r#"{"from":5,"to":4,"shard":"shard-0"}"#,
            &expect!["slots 5 to 4 are not a run of slots from 0 to 16383"],
        );
        check(
            r#"{"from":0,"to":9,"shard":"shard-0"},{"from":9,"to":16383,"shard":"shard-1"}"#,
            &expect!["slot 9 has two owners"],
        );
        check(
            r#"{"from":0,"to":9,"shard":"shrad-0"}"#,
            &expect!["no [[shard]] is called `shrad-0` (did you mean `shard-0`?)"],
        );
        check(
            r#"{"from":0,"to":9,"shrd":"shard-0"}"#,
            &expect![
                "not a slot map: unknown field `shrd`, expected one of `from`, `to`, `shard` at line 1 column 48"
            ],
        );
    }
}
