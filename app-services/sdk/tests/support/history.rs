//! What must be true of events, whatever went wrong on the way.

use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// An event as a reader saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub aggregate: String,
    pub version: i64,
    pub id: Uuid,
    /// The state that its transaction left behind.
    pub state: i64,
}

/// Holds what was seen, in the order of the topic's partitions, against the state of each aggregate: each event once (repetitions
/// left out), in order, none that was not committed. Whoever repeats goes on from where it began: a relay that was replaced and
/// repeats late would be followed by a jump. Gives what is wrong.
pub fn findings(committed: &BTreeMap<String, i64>, seen: &[Seen]) -> Vec<String> {
    let mut found = Vec::new();
    let mut last: HashMap<&str, i64> = HashMap::new();
    let mut ids: HashMap<(&str, i64), Uuid> = HashMap::new();
    let mut before: HashMap<&str, i64> = HashMap::new();
    for event in seen {
        let key = (event.aggregate.as_str(), event.version);
        let before = before.insert(&event.aggregate, event.version).unwrap_or_default();
        if event.version > before + 1 {
            found.push(format!("{key:?} came right after version {before}"));
        }
        match ids.get(&key) {
            Some(id) if *id == event.id => continue,
            Some(_) => found.push(format!("{key:?} is two events")),
            None => {}
        }
        ids.insert(key, event.id);
        let last = last.entry(&event.aggregate).or_default();
        if event.version != *last + 1 {
            found.push(format!("{key:?} came after version {last}"));
        }
        *last = (*last).max(event.version);
        if event.state != event.version {
            found.push(format!("{key:?} tells of state {}", event.state));
        }
    }
    for (aggregate, state) in committed {
        let known = last.get(aggregate.as_str()).copied().unwrap_or_default();
        if known != *state {
            found.push(format!("{aggregate}: {state} committed, {known} published"));
        }
    }
    found
}
