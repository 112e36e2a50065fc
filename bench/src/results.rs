//! From samples to rows: medians over the rounds, and shares of PgBouncer's figures in the same round.

use serde::Serialize;

use crate::pgbench::Sample;
use crate::plan::{Scenario, Target};

/// What one round measured.
#[derive(Clone, Default, Debug)]
pub(crate) struct Round {
    samples: Vec<(Scenario, Target, Sample)>,
}

impl Round {
    /// Adds a sample.
    pub(crate) fn add(&mut self, scenario: Scenario, target: Target, sample: Sample) {
        self.samples.push((scenario, target, sample));
    }

    fn get(&self, scenario: Scenario, target: Target) -> Option<&Sample> {
        let mut samples = self.samples.iter();
        samples
            .find(|(s, t, _)| (*s, *t) == (scenario, target))
            .map(|(_, _, sample)| sample)
    }
}

/// One figure over all rounds.
#[derive(Clone, Copy, PartialEq, Serialize, Debug)]
pub(crate) struct Spread {
    /// The middle one; of an even number of rounds, the mean of the two in the middle.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of these values; `None` if there is none.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
        })
    }
}

/// One scenario, answered by one target.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub(crate) struct Row {
    /// What was run.
    #[serde(flatten)]
    pub(crate) scenario: Scenario,
    /// Who answered.
    pub(crate) target: Target,
    /// Transactions per second.
    pub(crate) tps: Option<Spread>,
    /// Latency of a transaction.
    pub(crate) p50_ms: Option<Spread>,
    /// 95% are faster.
    pub(crate) p95_ms: Option<Spread>,
    /// 99% are faster.
    pub(crate) p99_ms: Option<Spread>,
    /// Of the proxy, per transaction.
    pub(crate) cpu_us: Option<Spread>,
    /// Of the PostgreSQL servers, per transaction.
    pub(crate) servers_us: Option<Spread>,
    /// Of the proxy, per transaction; absent where the machine can't count them.
    pub(crate) instructions: Option<Spread>,
    /// The share of reads that the in-process cache answered.
    pub(crate) hits: Option<Spread>,
    /// Transactions that failed, over all rounds.
    pub(crate) failed: u64,
    /// What the first failure was.
    pub(crate) complaint: Option<String>,
    /// Beside PgBouncer; only for Ringway.
    pub(crate) shares: Option<Shares>,
}

/// Ringway's figures divided by a peer's in the same round.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub(crate) struct Shares {
    /// What the peers ran.
    pub(crate) reference: Scenario,
    /// Of PgBouncer's transactions per second.
    pub(crate) tps: Option<Spread>,
    /// Of PgBouncer's latency.
    pub(crate) p50: Option<Spread>,
    /// Of PgBouncer's latency.
    pub(crate) p95: Option<Spread>,
    /// Of PgBouncer's latency.
    pub(crate) p99: Option<Spread>,
    /// Of PgBouncer's CPU time per transaction.
    pub(crate) cpu: Option<Spread>,
    /// Of PgBouncer's instructions per transaction.
    pub(crate) instructions: Option<Spread>,
    /// Of the transactions per second without a proxy.
    pub(crate) tps_of_direct: Option<Spread>,
}

impl Row {
    /// The row of this scenario and target.
    pub(crate) fn new(
        rounds: &[Round],
        scenario: Scenario,
        target: Target,
        pgbouncer_prepares: bool,
    ) -> Self {
        let samples: Vec<&Sample> = rounds
            .iter()
            .filter_map(|round| round.get(scenario, target))
            .collect();
        let spread =
            |figure: fn(&Sample) -> Option<f64>| Spread::of(samples.iter().filter_map(|s| figure(s)));
        let shares = (target == Target::Ringway)
            .then(|| Shares::new(rounds, scenario, scenario.reference(pgbouncer_prepares)));
        Self {
            scenario,
            target,
            tps: spread(|sample| Some(sample.tps)),
            p50_ms: spread(|sample| Some(sample.p50_ms)),
            p95_ms: spread(|sample| Some(sample.p95_ms)),
            p99_ms: spread(|sample| Some(sample.p99_ms)),
            cpu_us: spread(|sample| sample.cpu_us),
            servers_us: spread(|sample| Some(sample.servers_us)),
            instructions: spread(|sample| sample.instructions),
            hits: spread(|sample| sample.hits),
            failed: samples.iter().map(|sample| sample.failed).sum(),
            complaint: samples.iter().find_map(|sample| sample.complaint.clone()),
            shares,
        }
    }
}

impl Shares {
    fn new(rounds: &[Round], scenario: Scenario, reference: Scenario) -> Self {
        let of = |peer: Target, figure: fn(&Sample) -> Option<f64>| {
            let shares = rounds.iter().filter_map(|round| {
                let own = figure(round.get(scenario, Target::Ringway)?)?;
                let others = figure(round.get(reference, peer)?)?;
                (others > 0.0).then_some(own / others)
            });
            Spread::of(shares)
        };
        Self {
            reference,
            tps: of(Target::PgBouncer, |sample| Some(sample.tps)),
            p50: of(Target::PgBouncer, |sample| Some(sample.p50_ms)),
            p95: of(Target::PgBouncer, |sample| Some(sample.p95_ms)),
            p99: of(Target::PgBouncer, |sample| Some(sample.p99_ms)),
            cpu: of(Target::PgBouncer, |sample| sample.cpu_us),
            instructions: of(Target::PgBouncer, |sample| sample.instructions),
            tps_of_direct: of(Target::Direct, |sample| Some(sample.tps)),
        }
    }
}

/// What makes the command fail: statements that failed, never a speed. Empty if all is well.
pub(crate) fn failures(rows: &[Row]) -> Vec<String> {
    let failed = rows.iter().filter(|row| row.failed > 0);
    failed
        .map(|row| {
            let (label, target) = (row.scenario.label(), row.target.name());
            let complaint = row.complaint.as_deref().unwrap_or("no message");
            format!("{label}: {} failed through {target}: {complaint}", row.failed)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Protocol, Workload};

    const SCENARIO: Scenario = Scenario {
        workload: Workload::SelectOnly,
        protocol: Protocol::Extended,
        clients: 64,
    };

    fn sample(tps: f64, cpu_us: Option<f64>) -> Sample {
        Sample {
            tps,
            p50_ms: 1.0,
            p95_ms: 2.0,
            p99_ms: 3.0,
            cpu_us,
            servers_us: 25.0,
            instructions: None,
            hits: None,
            failed: 0,
            complaint: None,
        }
    }

    fn rounds() -> Vec<Round> {
        // The machine is half as fast in the second round: shares don't show it.
        let speeds = [(1.0, 30.0), (0.5, 60.0), (1.0, 33.0)];
        let round = |(speed, cpu): (f64, f64)| {
            let mut round = Round::default();
            round.add(SCENARIO, Target::Direct, sample(40_000.0 * speed, None));
            round.add(SCENARIO, Target::PgBouncer, sample(20_000.0 * speed, Some(cpu)));
            round.add(
                SCENARIO,
                Target::Ringway,
                sample(22_000.0 * speed, Some(cpu * 0.8)),
            );
            round
        };
        speeds.into_iter().map(round).collect()
    }

    #[test]
    fn shares_are_of_the_same_round() {
        let row = Row::new(&rounds(), SCENARIO, Target::Ringway, false);
        let shares = row.shares.unwrap();
        let near = |spread: Option<Spread>, value: f64| {
            let spread = spread.unwrap();
            assert!(
                (spread.min - value).abs() < 1e-9 && (spread.max - value).abs() < 1e-9,
                "{spread:?}"
            );
        };
        near(shares.tps, 1.1);
        near(shares.tps_of_direct, 0.55);
        near(shares.cpu, 0.8);
        assert_eq!(shares.instructions, None);
        let tps = row.tps.unwrap();
        assert_eq!((tps.median, tps.min, tps.max), (22_000.0, 11_000.0, 22_000.0));
    }

    #[test]
    fn prepared_statements_stand_beside_what_an_old_pgbouncer_can_do() {
        let prepared = Scenario {
            protocol: Protocol::Prepared,
            ..SCENARIO
        };
        let mut rounds = rounds();
        for round in &mut rounds {
            round.add(prepared, Target::Ringway, sample(10_000.0, Some(1.0)));
        }
        let old = Row::new(&rounds, prepared, Target::Ringway, false)
            .shares
            .unwrap();
        assert_eq!((old.reference, old.tps.unwrap().min), (SCENARIO, 0.5));
        let new = Row::new(&rounds, prepared, Target::Ringway, true).shares.unwrap();
        assert_eq!((new.reference, new.tps), (prepared, None));
    }

    #[test]
    fn medians_of_even_numbers_are_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter()).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of(std::iter::empty()), None);
    }

    #[test]
    fn a_failed_transaction_anywhere_is_a_failure() {
        let mut rounds = rounds();
        let row = |rounds: &[Round]| Row::new(rounds, SCENARIO, Target::Ringway, false);
        assert!(failures(&[row(&rounds)]).is_empty());
        let lost = Sample {
            failed: 2,
            complaint: Some("gone".to_owned()),
            ..sample(1.0, None)
        };
        let mut round = Round::default();
        round.add(SCENARIO, Target::Ringway, lost);
        rounds.push(round);
        assert_eq!(
            failures(&[row(&rounds)]),
            ["select-only extended 64: 2 failed through ringway: gone"]
        );
    }
}
