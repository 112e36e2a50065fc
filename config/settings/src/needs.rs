//! What the control plane has to do for a database: no more than what its tables and servers ask for.

use crate::{Database, Settings};
use topology::{ShardId, Sharding};

/// What a database needs of the control plane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Needs {
    /// Nothing: one server, and nothing of it is cached. No probes, no catalog, no stream, nothing installed.
    Nothing,
    /// Probes and the catalog; and the schema `ringway`, where several shards may end a transaction together.
    Routing {
        /// Whether transactions may span shards.
        two_phase: bool,
    },
    /// The same, and the shards' logs: answers are cached, or standbys have to be judged by them.
    Stream {
        /// Whether transactions may span shards.
        two_phase: bool,
    },
}

impl Needs {
    /// Whether servers are probed and catalogs read.
    pub fn routing(self) -> bool {
        self != Self::Nothing
    }

    /// Whether the shards' logs are decoded.
    pub fn stream(self) -> bool {
        matches!(self, Self::Stream { .. })
    }

    /// Whether transactions may be left prepared on some shard.
    pub fn two_phase(self) -> bool {
        matches!(
            self,
            Self::Routing { two_phase: true } | Self::Stream { two_phase: true }
        )
    }

    /// Whether the schema `ringway` has to be on the primaries.
    pub fn schema(self) -> bool {
        self.stream() || self.two_phase()
    }
}

impl Settings {
    /// The shard that has all of `database`, if there is one: the cluster has no other, or nothing is spread over others.
    pub fn direct_shard(&self, database: &Database) -> Option<ShardId> {
        let home = database.default_shard;
        let at_home = |sharding: &Sharding| match sharding {
            Sharding::Single { shard } => *shard == home,
            Sharding::Hash { .. } | Sharding::Reference => false,
        };
        (self.shards.len() == 1 || self.tables.iter().all(|table| at_home(&table.sharding))).then_some(home)
    }

    /// What `database` needs of the control plane.
    pub fn needs(&self, database: &Database) -> Needs {
        let direct = self.direct_shard(database);
        let two_phase = direct.is_none();
        let is_cached = self.tables.iter().any(|table| table.cache.is_some());
        let has_choice = |shard: ShardId| self.shard(shard).is_none_or(|shard| shard.endpoints.len() > 1);
        let chooses = match direct {
            Some(shard) => has_choice(shard),
            None => self.shards.iter().any(|shard| has_choice(shard.id)),
        };
        if is_cached || chooses {
            Needs::Stream { two_phase }
        } else if two_phase {
            Needs::Routing { two_phase }
        } else {
            Needs::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Needs;
    use crate::{Input, Settings};
    use std::path::Path;
    use topology::ShardId;

    const HEAD: &str = "region = \"here\"\n[control_user]\nname = \"c\"\npassword = \"c\"\n\
        [[user]]\nname = \"u\"\npassword = \"u\"\n[[database]]\nname = \"d\"\ndefault_shard = \"s0\"\n";

    fn settings(shards: usize, rest: &str) -> Settings {
        let shards: String = (0..shards)
            .map(|n| format!("[[shard]]\nname = \"s{n}\"\n[[shard.endpoint]]\nregion = \"here\"\nhost = \"h{n}\"\nport = 1\n"))
            .collect();
        let text = format!("{HEAD}{shards}{rest}");
        let input = Input {
            path: Path::new("test.toml"),
            text: &text,
            read_file: &|_| Ok(String::new()),
        };
        Settings::parse(input, std::iter::empty())
            .unwrap_or_else(|error| panic!("{text}\n{}", error.render(false)))
    }

    fn needs(shards: usize, rest: &str) -> (Option<ShardId>, Needs) {
        let settings = settings(shards, rest);
        let database = settings.database("d").unwrap();
        (settings.direct_shard(database), settings.needs(database))
    }

    #[test]
    fn one_server_that_caches_nothing_needs_nothing() {
        assert_eq!(needs(1, ""), (Some(ShardId(0)), Needs::Nothing));
        // Nothing of it is anywhere else.
        assert_eq!(needs(2, ""), (Some(ShardId(0)), Needs::Nothing));
    }

    #[test]
    fn a_sharded_table_needs_routing_and_two_phases() {
        let table = "[[table]]\nname = \"t\"\nsharding = \"hash\"\ncolumn = \"a\"\n";
        let (direct, needed) = needs(2, table);
        assert_eq!((direct, needed), (None, Needs::Routing { two_phase: true }));
        assert!(needed.schema() && !needed.stream());
        assert_eq!(needs(1, table), (Some(ShardId(0)), Needs::Nothing));
    }

    #[test]
    fn a_cached_table_needs_the_log() {
        let table = "[[table]]\nname = \"t\"\nsharding = \"reference\"\ncache = { bound = \"2s\" }\n";
        assert_eq!(
            needs(1, table),
            (Some(ShardId(0)), Needs::Stream { two_phase: false })
        );
        assert_eq!(needs(2, table), (None, Needs::Stream { two_phase: true }));
    }

    #[test]
    fn a_standby_has_to_be_judged() {
        let standby = "[[shard.endpoint]]\nregion = \"here\"\nhost = \"i\"\nport = 1\n";
        assert_eq!(needs(1, standby).1, Needs::Stream { two_phase: false });
    }
}
