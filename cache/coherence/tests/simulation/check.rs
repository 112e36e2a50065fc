//! What every read is held against: the acknowledged history that only the world knows.

use crate::world::*;
use coherence::ReadLevel;

impl World {
    /// Checks an answer. `seen` is the set of transactions that its snapshot on each shard held.
    pub(crate) fn check(&mut self, reader: &Waiter, query: Query, seen: &[Mask; SHARDS], source: &str) {
        self.counts.reads += 1;
        for shard in query.shards() {
            let parts: Vec<Mask> = query
                .parts(shard)
                .into_iter()
                .map(|part| self.relevant(shard, part))
                .collect();
            let relevant = parts.iter().fold(0, |all, mask| all | mask);
            if let Some(what) = self.judge(reader, shard, relevant, seen[shard]) {
                let began = reader.begin / TICK;
                self.violation.get_or_insert(format!(
                    "{what}: {query:?} at {:?} on shard {shard} from {source}, began at tick {began}, now {}",
                    reader.level, self.tick
                ));
                return;
            }
            if reader.level == ReadLevel::Strong {
                let now = self.now();
                for index in members(seen[shard] & relevant) {
                    let first = &mut self.strongly_seen[shard][index];
                    *first = now.min(*first);
                }
            }
        }
    }

    fn judge(&self, reader: &Waiter, shard: usize, relevant: Mask, seen: Mask) -> Option<String> {
        let cluster = &self.clusters[shard];
        let primary = &cluster.hosts[cluster.legitimate];
        let missing = relevant & primary.logged(primary.log.len()) & !seen;
        let bound = if reader.level == ReadLevel::Strong {
            0
        } else {
            BOUND
        };
        let before = |moment: u64| moment.saturating_add(bound) < reader.begin;
        let late = |index: &usize| self.transactions[*index].acknowledged.is_some_and(before);
        if let Some(index) = members(missing).find(late) {
            return Some(format!(
                "T{index} is missing though it was acknowledged earlier than the level allows"
            ));
        }
        if let Some(index) = members(seen & relevant).find(|index| before(cluster.lost[*index])) {
            return Some(format!(
                "T{index} is shown though it was lost earlier than the level allows"
            ));
        }
        let own = self.sessions[reader.session].own;
        match reader.level {
            ReadLevel::Ryw { .. } if missing & own != 0 => {
                Some("the session's own write is missing".to_owned())
            }
            ReadLevel::Strong => {
                let shown = |index: &usize| self.strongly_seen[shard][*index] < reader.begin;
                let index = members(missing).find(shown)?;
                Some(format!(
                    "T{index} is missing though a strong read showed it before"
                ))
            }
            _ if !cluster
                .states
                .iter()
                .any(|state| state & relevant == seen & relevant) =>
            {
                Some("the origin never was in this state".to_owned())
            }
            ReadLevel::Ryw { .. } | ReadLevel::Bounded { .. } => None,
        }
    }
}

fn members(mask: Mask) -> impl Iterator<Item = usize> {
    (0..MAX_TRANSACTIONS).filter(move |index| mask & bit(*index) != 0)
}
