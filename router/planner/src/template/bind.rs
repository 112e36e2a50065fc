//! Values bound to a template: the plan.

use super::{Across, CacheSkeleton, Common, InsertParts, Keyed, Rows, Scatter, Skeleton};
use crate::evaluate::{NoKey, Slots, key, row_count, slots, stored_key};
use crate::keys::KeyExpr;
use crate::plan::{Access, Answer, CachePlan, CopyPlan, Local, OneShard, Part, Plan, Refusal, Route};
use crate::refusals;
use crate::values::Values;
use crate::{Effects, KeyValue, slot_of, slot_of_null};
use merge::MergeSpec;
use smallvec::SmallVec;
use sql::{Bound, Hints, Value};
use std::sync::Arc;
use std::time::Duration;
use topology::{KeyType, ShardId, Slot, SlotMap};

pub(super) fn fixed(route: Route, access: Access) -> Plan {
    Plan {
        route,
        access,
        cache: None,
        replica_bound: Duration::ZERO,
        hints: Hints::default(),
        effects: Effects::NONE,
    }
}

pub(super) fn bind(skeleton: &Skeleton, common: &Common, values: &Values<'_>, map: &SlotMap) -> Plan {
    let mut plan = Plan {
        route: Route::Any,
        access: common.access,
        cache: None,
        replica_bound: common.replica_bound,
        hints: common.hints,
        effects: common.effects,
    };
    plan.route = match skeleton {
        Skeleton::Fixed(route) => route.clone(),
        Skeleton::Cached { route, cache } => {
            plan.cache = cache_plan(cache, values);
            route.clone()
        }
        Skeleton::Same { relative_time, .. } if *relative_time || crate::evaluate::has_relative_time(values) => {
            refusals::across(
                "a reference table is written on every shard: 'now' and the like would be another time on each",
                "Give the time itself.",
            )
            .into()
        }
        Skeleton::Same { shards, .. } => Route::Everywhere { shards: shards.clone(), answer: Answer::First },
        Skeleton::Keyed(keyed) => {
            let route = keyed_route(keyed, common, values, map);
            if matches!(route, Route::Single { slot: Some(_), .. }) {
                plan.cache = keyed.cache.as_ref().and_then(|cache| cache_plan(cache, values));
            }
            route
        }
        Skeleton::Rows(rows) => rows_route(rows, common, values, map),
        Skeleton::ExplainRoute(inner, common) => {
            let inner = Box::new(bind(inner, common, values, map));
            Route::Local(Local::ExplainRoute { inner })
        }
        Skeleton::OneShard { inner, what } => only_one(bind(inner, common, values, map).route, what),
        Skeleton::CopyQuery(inner) => match bind(inner, common, values, map).route {
            Route::Single { shard, .. } | Route::Utility { shard } => {
                Route::Copy(CopyPlan::Whole { shards: vec![shard] })
            }
            Route::Any => Route::Copy(CopyPlan::Whole {
                shards: vec![common.default_shard],
            }),
            refused @ Route::Refuse(_) => refused,
            _ => one_shard_refusal("COPY").into(),
        },
    };
    plan
}

/// See [`Template::one_shard`](super::Template::one_shard). Says nothing that [`bind`] doesn't say too.
pub(super) fn one_shard<'t>(
    skeleton: &'t Skeleton,
    common: &Common,
    values: &Values<'_>,
    map: &SlotMap,
) -> Option<OneShard<'t>> {
    let (shard, cache) = match skeleton {
        Skeleton::Fixed(Route::Single { shard, .. } | Route::Utility { shard }) => (*shard, None),
        Skeleton::Cached {
            route: Route::Single { shard, .. },
            cache,
        } => (*shard, Some(cache)),
        Skeleton::Keyed(keyed) if keyed.set_key.is_none() => {
            let [Some(KeyExpr::One(value, key_type))] = keyed.bindings.as_slice() else {
                return None;
            };
            let key = key(value, *key_type, values).ok()?;
            (map.owner(slot_of(&key)), keyed.cache.as_ref())
        }
        Skeleton::Rows(rows) => {
            let [value] = rows.keys.as_slice() else {
                return None;
            };
            let key = stored_key(value, rows.key_type, values).ok()?;
            (map.owner(slot_of(&key)), None)
        }
        _ => return None,
    };
    let shard = if common.shard_count == 1 {
        common.default_shard
    } else {
        shard
    };
    let usable = |cache: &&CacheSkeleton| {
        let mut keys = cache.values.iter();
        keys.all(|(value, key_type)| key(value, *key_type, values).is_ok())
    };
    Some(OneShard {
        shard,
        access: common.access,
        replica_bound: common.replica_bound,
        level: common.hints.level,
        cache: cache.filter(usable).map(|cache| &cache.template),
    })
}

fn only_one(route: Route, what: &str) -> Route {
    match route {
        Route::Single { .. } | Route::Utility { .. } | Route::Any | Route::Refuse(_) => route,
        _ => one_shard_refusal(what).into(),
    }
}

fn one_shard_refusal(what: &str) -> Refusal {
    refusals::across(
        format!("{what} of a statement over several shards is not supported"),
        refusals::BIND_KEY,
    )
}

fn cache_plan(cache: &CacheSkeleton, values: &Values<'_>) -> Option<CachePlan> {
    let keys: Option<SmallVec<[KeyValue<'static>; 1]>> = cache
        .values
        .iter()
        .map(|(value, key_type)| key(value, *key_type, values).ok().map(KeyValue::into_owned))
        .collect();
    keys.map(|key| CachePlan {
        template: Arc::clone(&cache.template),
        key,
    })
}

/// Where the keys lead.
enum Target {
    /// Every sharded relation to one slot.
    Slot(Slot),
    /// No row matters, or every server refuses: one of them says so.
    Anywhere,
    /// Several slots, the same for every relation.
    Slots(Slots),
    /// Not known.
    All,
    /// Relations bound to different slots.
    Apart,
}

fn target(keyed: &Keyed, values: &Values<'_>) -> Target {
    let mut found: Option<Slots> = None;
    let mut apart = false;
    for binding in &keyed.bindings {
        let Some(binding) = binding else {
            return Target::All;
        };
        match slots(binding, values) {
            Err(NoKey::Error) => return Target::Anywhere,
            Err(NoKey::Nothing) => found = Some(Slots::new()),
            Err(NoKey::Unsure) => return Target::All,
            Ok(slots) => match &found {
                None => found = Some(slots),
                Some(before) => apart |= *before != slots,
            },
        }
    }
    match found {
        _ if apart => Target::Apart,
        None => Target::All,
        Some(slots) => match slots.as_slice() {
            [] => Target::Anywhere,
            [one] => Target::Slot(*one),
            _ => Target::Slots(slots),
        },
    }
}

fn keyed_route(keyed: &Keyed, common: &Common, values: &Values<'_>, map: &SlotMap) -> Route {
    if common.shard_count == 1 {
        let slot = match target(keyed, values) {
            Target::Slot(slot) => Some(slot),
            _ => None,
        };
        return Route::Single {
            shard: common.default_shard,
            slot,
        };
    }
    let target = target(keyed, values);
    if let Some((value, key_type)) = &keyed.set_key {
        let same = match (&target, key(value, *key_type, values)) {
            (Target::Slot(slot), Ok(key)) => {
                slot_of(&key) == *slot && keeps_key(keyed, value, *key_type, values)
            }
            (Target::Anywhere, _) => true,
            _ => false,
        };
        if !same {
            return key_update_refusal().into();
        }
    }
    match target {
        Target::Slot(slot) => Route::Single {
            shard: map.owner(slot),
            slot: Some(slot),
        },
        Target::Anywhere => Route::Single {
            shard: common.default_shard,
            slot: None,
        },
        Target::Slots(slots) => {
            let mut shards: Vec<ShardId> = slots.iter().map(|slot| map.owner(*slot)).collect();
            shards.sort_unstable();
            shards.dedup();
            match shards.as_slice() {
                // Rows of several keys on one shard meet only if they are joined on the key, as over several shards.
                [one] if keyed.bindings.len() == 1 => Route::Single {
                    shard: *one,
                    slot: None,
                },
                _ => across(&keyed.across, shards, values, common),
            }
        }
        Target::All => across(&keyed.across, all_shards(common), values, common),
        Target::Apart => match &keyed.across {
            Across::Refuse(refusal) => refusal.clone().into(),
            Across::Scatter(_) | Across::Write => across(&keyed.across, all_shards(common), values, common),
        },
    }
}

fn key_update_refusal() -> Refusal {
    refusals::across(
        "the statement may change the shard key of a row, which would then belong to another shard",
        "Delete the row and insert it anew.",
    )
}

/// Whether the key that UPDATE sets is the very key that it looks for.
fn keeps_key(keyed: &Keyed, value: &Value, key_type: KeyType, values: &Values<'_>) -> bool {
    let Ok(new) = key(value, key_type, values) else {
        return false;
    };
    keyed.bindings.iter().flatten().any(|binding| match binding {
        KeyExpr::One(bound, key_type) => key(bound, *key_type, values).is_ok_and(|old| old == new),
        _ => false,
    })
}

fn all_shards(common: &Common) -> Vec<ShardId> {
    (0..common.shard_count).map(ShardId).collect()
}

fn across(across: &Across, shards: Vec<ShardId>, values: &Values<'_>, common: &Common) -> Route {
    match across {
        Across::Refuse(refusal) => refusal.clone().into(),
        Across::Write => Route::Everywhere {
            shards,
            answer: Answer::Sum,
        },
        Across::Scatter(scatter) => match scatter_route(scatter, &shards, values) {
            Ok(route) => route,
            // A bound that every server refuses: one of them says so.
            Err(NoKey::Error) => Route::Single {
                shard: common.default_shard,
                slot: None,
            },
            Err(NoKey::Nothing | NoKey::Unsure) => refusals::across(
                "LIMIT or OFFSET is not a plain number",
                "Write LIMIT and OFFSET as whole numbers or bigint parameters.",
            )
            .into(),
        },
    }
}

fn scatter_route(scatter: &Scatter, shards: &[ShardId], values: &Values<'_>) -> Result<Route, NoKey> {
    let count = |bound: &Bound| match bound {
        Bound::None => Ok(None),
        Bound::Value(value) => row_count(value, values),
        Bound::Other => Err(NoKey::Unsure),
    };
    let limit = count(&scatter.limit)?;
    let offset = count(&scatter.offset)?.unwrap_or(0);
    // The shards are asked for limit + offset rows, as bigint.
    let fits = limit
        .unwrap_or(0)
        .checked_add(offset)
        .is_some_and(|sum| i64::try_from(sum).is_ok());
    if !fits {
        return Err(NoKey::Unsure);
    }
    let text = scatter
        .text
        .as_ref()
        .map(|pieces| pieces.write(values))
        .transpose()?;
    let parts = shards
        .iter()
        .map(|shard| Part {
            shard: *shard,
            text: text.clone(),
        })
        .collect();
    let merge = MergeSpec {
        kind: scatter.kind.clone(),
        offset,
        limit,
        hidden_columns: scatter.hidden_columns,
    };
    Ok(Route::Scatter {
        parts,
        merge,
        columns: scatter.columns,
    })
}

fn rows_route(rows: &Rows, common: &Common, values: &Values<'_>, map: &SlotMap) -> Route {
    let mut slots: SmallVec<[Slot; 8]> = SmallVec::with_capacity(rows.keys.len());
    for value in &rows.keys {
        match stored_key(value, rows.key_type, values) {
            Ok(key) => slots.push(slot_of(&key)),
            Err(NoKey::Nothing) if is_bound_null(value, values) => slots.push(slot_of_null()),
            // No server takes the value.
            Err(NoKey::Nothing | NoKey::Error) => {
                return Route::Single {
                    shard: common.default_shard,
                    slot: None,
                };
            }
            Err(NoKey::Unsure) if common.shard_count == 1 => {
                return Route::Single {
                    shard: common.default_shard,
                    slot: None,
                };
            }
            Err(NoKey::Unsure) => {
                return refusals::across(
                    "the shard key of a row to insert is not a plain constant or parameter of the key's type",
                    "Give the shard key as a constant or parameter in a form that does not depend on session settings.",
                )
                .into();
            }
        }
    }
    let Some(first) = slots.first().copied() else {
        return Route::Single {
            shard: common.default_shard,
            slot: None,
        };
    };
    let shard = map.owner(first);
    if slots.iter().all(|slot| map.owner(*slot) == shard) {
        let slot = slots.iter().all(|slot| *slot == first).then_some(first);
        return Route::Single { shard, slot };
    }
    match &rows.parts {
        Ok(parts) => split(parts, &slots, values, map),
        Err(refusal) => refusal.clone().into(),
    }
}

fn is_bound_null(value: &Value, values: &Values<'_>) -> bool {
    row_count(value, values) == Ok(None)
}

fn split(parts: &InsertParts, slots: &[Slot], values: &Values<'_>, map: &SlotMap) -> Route {
    let mut shards: Vec<ShardId> = slots.iter().map(|slot| map.owner(*slot)).collect();
    let owners = shards.clone();
    shards.sort_unstable();
    shards.dedup();
    let written: Result<Vec<Part>, NoKey> = shards
        .into_iter()
        .map(|shard| {
            let rows = parts
                .rows
                .iter()
                .zip(&owners)
                .filter(|(_, owner)| **owner == shard)
                .map(|(row, _)| row);
            let text = crate::text::join(&parts.head, rows, &parts.tail).write(values)?;
            Ok(Part {
                shard,
                text: Some(text),
            })
        })
        .collect();
    match written {
        Ok(parts) => Route::Split { parts },
        Err(_) => refusals::unsupported(
            "the statement cannot be written for single shards",
            "a literal of the text is missing",
            "",
        )
        .into(),
    }
}
