//! What is measured, how often and how long: plain values.

use std::time::Duration;

use serde::Serialize;

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Size {
    /// Under three minutes.
    Quick,
    /// All of it.
    Full,
}

/// Who answers the statements.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// PostgreSQL itself.
    Direct,
    /// PgBouncer in front of it.
    PgBouncer,
    /// Ringway in front of two shards.
    Ringway,
}

impl Target {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Direct, Self::PgBouncer, Self::Ringway];

    /// As the table names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::PgBouncer => "pgbouncer",
            Self::Ringway => "ringway",
        }
    }
}

/// How pgbench sends a statement.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// One Query message.
    Simple,
    /// Parse, Bind, Describe, Execute, Sync.
    Extended,
    /// Parsed once by each client, then as extended without Parse.
    Prepared,
}

impl Protocol {
    const ALL: [Self; 3] = [Self::Simple, Self::Extended, Self::Prepared];

    /// pgbench's word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

/// What a transaction does.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// One SELECT by the key of a sharded table.
    SelectOnly,
    /// pgbench's TPC-B: seven statements on tables of one shard.
    TpcB,
    /// As `SelectOnly`, on a table that opted in to the cache.
    CachedRead,
}

impl Workload {
    /// As the table names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SelectOnly => "select-only",
            Self::TpcB => "tpc-b",
            Self::CachedRead => "cached read",
        }
    }

    /// Whether it reads all shards: then its clients are divided among their servers, where no proxy routes for them.
    pub(crate) fn is_spread(self) -> bool {
        match self {
            Self::SelectOnly | Self::CachedRead => true,
            Self::TpcB => false,
        }
    }

    /// The text of pgbench's script.
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::SelectOnly => include_str!("../sql/select_only.sql"),
            Self::TpcB => include_str!("../sql/tpcb.sql"),
            Self::CachedRead => include_str!("../sql/cached_read.sql"),
        }
    }
}

/// One line of the table, for each target.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
pub(crate) struct Scenario {
    /// What a transaction does.
    pub(crate) workload: Workload,
    /// How its statements are sent.
    pub(crate) protocol: Protocol,
    /// How many clients send them, each the next as soon as it has the last answer.
    pub(crate) clients: u16,
}

impl Scenario {
    /// Who is measured with it: only Ringway has a cache.
    pub(crate) fn targets(self) -> &'static [Target] {
        match self.workload {
            Workload::SelectOnly | Workload::TpcB => &Target::ALL,
            Workload::CachedRead => &[Target::Ringway],
        }
    }

    /// The scenario whose peers' figures this one is compared with.
    ///
    /// A read answered from the cache stands beside the same read answered by the server. A PgBouncer that can't keep
    /// prepared statements apart is measured with what its users send instead.
    pub(crate) fn reference(self, pgbouncer_prepares: bool) -> Self {
        Self {
            workload: match self.workload {
                Workload::CachedRead => Workload::SelectOnly,
                other => other,
            },
            protocol: match self.protocol {
                Protocol::Prepared if !pgbouncer_prepares => Protocol::Extended,
                other => other,
            },
            ..self
        }
    }

    /// As progress names it.
    pub(crate) fn label(self) -> String {
        format!(
            "{} {} {}",
            self.workload.name(),
            self.protocol.name(),
            self.clients
        )
    }
}

/// All that one run of the command does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// How much that is.
    pub(crate) size: Size,
    /// How often everything is measured.
    pub(crate) rounds: usize,
    /// No round is begun that would likely end after this.
    pub(crate) budget: Duration,
    /// How long each run is measured.
    pub(crate) window: Duration,
    /// In this order, in each round.
    pub(crate) scenarios: Vec<Scenario>,
}

/// From the first transaction of a run until it is measured.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);

impl Plan {
    /// The plan of this size.
    pub(crate) fn new(size: Size) -> Self {
        let (select, tpcb, cached): (&[u16], &[u16], &[u16]) = match size {
            Size::Quick => (&[16, 64], &[16], &[16]),
            Size::Full => (&[1, 16, 64, 256], &[1, 16, 64], &[1, 16, 64]),
        };
        let mut scenarios = Vec::new();
        let mut add = |workload, protocol, clients: &[u16]| {
            scenarios.extend(clients.iter().map(|&clients| Scenario {
                workload,
                protocol,
                clients,
            }));
        };
        for protocol in Protocol::ALL {
            add(Workload::SelectOnly, protocol, select);
        }
        add(Workload::TpcB, Protocol::Simple, tpcb);
        add(Workload::CachedRead, Protocol::Simple, cached);
        add(Workload::CachedRead, Protocol::Extended, cached);
        let (rounds, window, budget) = match size {
            Size::Quick => (3, Duration::from_millis(1500), Duration::from_secs(150)),
            Size::Full => (5, Duration::from_secs(5), Duration::from_secs(25 * 60)),
        };
        Self {
            size,
            rounds,
            budget,
            window,
            scenarios,
        }
    }

    /// The same without the scenarios whose names don't have `part`, as in "select-only simple 16". What they are compared with stays.
    pub(crate) fn only(mut self, part: &str) -> Self {
        let all = std::mem::take(&mut self.scenarios);
        let named = |scenario: &Scenario| scenario.label().contains(part);
        let wanted = |scenario: &&Scenario| {
            let compared = |prepares| {
                let mut named = all.iter().filter(|other| named(other));
                named.any(|other| other.reference(prepares) == **scenario)
            };
            named(scenario) || compared(true) || compared(false)
        };
        self.scenarios = all.iter().filter(wanted).copied().collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_is_measured_with_the_peers() {
        for size in [Size::Quick, Size::Full] {
            let plan = Plan::new(size);
            for scenario in &plan.scenarios {
                for prepares in [false, true] {
                    let reference = scenario.reference(prepares);
                    assert!(plan.scenarios.contains(&reference), "{scenario:?} {prepares}");
                    assert_eq!(reference.targets(), Target::ALL, "{scenario:?} {prepares}");
                }
            }
        }
    }

    #[test]
    fn a_part_is_measured_with_what_it_is_compared_with() {
        let labels = |part| {
            let plan = Plan::new(Size::Quick).only(part);
            plan.scenarios.iter().map(|s| s.label()).collect::<Vec<_>>()
        };
        assert_eq!(labels("select-only simple 16"), ["select-only simple 16"]);
        assert_eq!(
            labels("cached read simple"),
            ["select-only simple 16", "cached read simple 16"]
        );
        assert!(labels("prepared 64").contains(&"select-only extended 64".to_owned()));
        assert!(labels("nothing").is_empty());
    }

    #[test]
    fn all_protocols_are_checked_with_64_clients() {
        for size in [Size::Quick, Size::Full] {
            for protocol in Protocol::ALL {
                let wanted = Scenario {
                    workload: Workload::SelectOnly,
                    protocol,
                    clients: 64,
                };
                assert!(Plan::new(size).scenarios.contains(&wanted), "{wanted:?}");
            }
        }
    }
}
