//! Averages over the last period, for the avg columns of SHOW STATS.

use super::{DatabaseTotals, Totals};
use crate::admin::{StatsAverages, StatsRow};
use std::time::Duration;
use topology::Mono;

/// Counters at the beginning and at the end of the last whole period.
///
/// The control plane calls [`StatsPeriod::turn`] once a period (PgBouncer's `stats_period`: 60 s).
#[derive(Debug)]
pub(crate) struct StatsPeriod {
    newest: (Mono, Totals),
    span: Duration,
    averages: Vec<StatsAverages>,
}

impl StatsPeriod {
    /// Nothing was counted before `now`.
    pub(crate) fn new(now: Mono) -> Self {
        Self {
            newest: (now, Totals::default()),
            span: Duration::ZERO,
            averages: Vec::new(),
        }
    }

    /// Ends a period at `now`. A period without length changes nothing.
    pub(crate) fn turn(&mut self, now: Mono, totals: Totals) {
        let span = now.since(self.newest.0);
        if span.is_zero() {
            return;
        }
        let before = std::mem::replace(&mut self.newest, (now, totals)).1;
        self.span = span;
        let none = DatabaseTotals::default();
        let databases = self.newest.1.databases.iter().enumerate();
        self.averages = databases
            .map(|(i, now)| averages(before.databases.get(i).unwrap_or(&none), now, span))
            .collect();
    }

    /// The rows of SHOW STATS: `totals` as they are, averages of the last whole period. `names` are the databases of the settings.
    pub(crate) fn rows<'a>(
        &self,
        totals: &Totals,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Vec<StatsRow> {
        let none = DatabaseTotals::default();
        let row = |(index, name): (usize, &str)| {
            let total = totals.databases.get(index).unwrap_or(&none);
            StatsRow {
                database: name.to_owned(),
                transactions: total.transactions.count(),
                queries: total.queries.count(),
                received_bytes: total.received,
                sent_bytes: total.sent,
                transaction_time: total.transactions.time,
                query_time: total.queries.time,
                wait_time: total.waits.time,
                assignments: total.assignments,
                client_parses: total.client_parses,
                server_parses: total.server_parses,
                binds: total.binds,
                averages: self.averages.get(index).copied().unwrap_or_default(),
            }
        };
        names.into_iter().enumerate().map(row).collect()
    }
}

/// Counts and bytes in each second; times for each transaction, query and wait... as PgBouncer has them.
fn averages(before: &DatabaseTotals, now: &DatabaseTotals, span: Duration) -> StatsAverages {
    let per_second = |before: u64, now: u64| {
        let rate = u128::from(now.wrapping_sub(before)) * 1_000_000_000 / span.as_nanos().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    let each = |before: Duration, now: Duration, count: u64| {
        let nanos = now.saturating_sub(before).as_nanos() / u128::from(count.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    };
    let transactions = now.transactions.count().wrapping_sub(before.transactions.count());
    let queries = now.queries.count().wrapping_sub(before.queries.count());
    StatsAverages {
        transactions: per_second(before.transactions.count(), now.transactions.count()),
        queries: per_second(before.queries.count(), now.queries.count()),
        received_bytes: per_second(before.received, now.received),
        sent_bytes: per_second(before.sent, now.sent),
        transaction_time: each(before.transactions.time, now.transactions.time, transactions),
        query_time: each(before.queries.time, now.queries.time, queries),
        assignments: per_second(before.assignments, now.assignments),
        client_parses: per_second(before.client_parses, now.client_parses),
        server_parses: per_second(before.server_parses, now.server_parses),
        binds: per_second(before.binds, now.binds),
        // As PgBouncer: waiting time in each second of the period.
        wait_time: Duration::from_nanos(per_second(nanos(before.waits.time), nanos(now.waits.time))),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::StatsPeriod;
    use crate::metrics::{ThreadStats, Totals};
    use std::time::Duration;
    use topology::Mono;

    #[test]
    fn averages_are_those_of_the_last_whole_period() {
        let thread = ThreadStats::new(1, 0);
        let start = Mono(1);
        let mut period = StatsPeriod::new(start);
        let count = |queries: u64, micros: u64| {
            for _ in 0..queries {
                thread.database(0).query(Duration::from_micros(micros));
            }
            thread.database(0).sent(1000);
            thread.database(0).wait(Duration::from_millis(20));
        };
        count(20, 100);
        let first = start.plus(Duration::from_secs(10));
        period.turn(first, Totals::of([&thread]));
        count(40, 300);
        let rows = period.rows(&Totals::of([&thread]), ["shop"]);
        assert_eq!(rows[0].queries, 60);
        assert_eq!(rows[0].averages.queries, 2);
        assert_eq!(rows[0].averages.query_time, Duration::from_micros(100));
        assert_eq!(rows[0].averages.sent_bytes, 100);
        assert_eq!(rows[0].averages.wait_time, Duration::from_millis(2));

        period.turn(first, Totals::default());
        assert_eq!(
            period.rows(&Totals::of([&thread]), ["shop"]),
            rows,
            "a period without length"
        );
        period.turn(first.plus(Duration::from_secs(10)), Totals::of([&thread]));
        let rows = period.rows(&Totals::of([&thread]), ["shop"]);
        assert_eq!(rows[0].averages.queries, 4);
        assert_eq!(rows[0].averages.query_time, Duration::from_micros(300));
    }
}
