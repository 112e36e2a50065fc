//! What one data thread counts: written by that thread alone, read by anyone.

use super::pins::{PIN_REASONS, PinCounters};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use topology::{EndpointId, Role};

/// A number that only its own thread changes, so a change is a load and a store, without a locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning data thread may call this.
    pub(crate) fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets the number. Only the owning data thread may call this.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Times are counted in buckets that end at 2^13 ns (8 us), 2^14 ns, ... 2^36 ns (69 s), and one for all above.
pub(crate) const BUCKETS: usize = 25;
/// The power of two, in nanoseconds, at which the first bucket ends.
const FIRST_BUCKET_BITS: u32 = 13;

/// The bucket that a time of `nanos` falls into; a bucket's end belongs to it.
fn bucket(nanos: u64) -> usize {
    let bits = u64::BITS - nanos.saturating_sub(1).leading_zeros();
    let index = usize::try_from(bits.saturating_sub(FIRST_BUCKET_BITS)).unwrap_or(BUCKETS);
    index.min(BUCKETS - 1)
}

/// The end of each bucket, in seconds; the last is infinite.
pub(crate) fn bucket_ends() -> [f64; BUCKETS] {
    let mut end = Duration::from_nanos(1 << FIRST_BUCKET_BITS);
    let mut ends = [f64::INFINITY; BUCKETS];
    for slot in ends.iter_mut().take(BUCKETS - 1) {
        *slot = end.as_secs_f64();
        end *= 2;
    }
    ends
}

/// Times by size.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; BUCKETS],
    nanos: Counter,
}

impl Histogram {
    /// Counts one time.
    pub(crate) fn record(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(counter) = self.buckets.get(bucket(nanos)) {
            counter.add(1);
        }
        self.nanos.add(nanos);
    }
}

/// Times of several threads, added up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HistogramTotal {
    /// How many in each bucket.
    pub(crate) buckets: [u64; BUCKETS],
    /// All together.
    pub(crate) time: Duration,
}

impl Default for HistogramTotal {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            time: Duration::ZERO,
        }
    }
}

impl HistogramTotal {
    fn add(&mut self, part: &Histogram) {
        for (total, counter) in self.buckets.iter_mut().zip(&part.buckets) {
            *total = total.wrapping_add(counter.get());
        }
        self.time = self.time.saturating_add(Duration::from_nanos(part.nanos.get()));
    }

    /// How many times there are.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// A set of cases that are counted apart, each with its label.
pub(crate) trait Case: Copy + 'static {
    /// All cases with their labels, in the order of [`Case::index`].
    const LABELS: &'static [&'static str];
    /// The case's place in `LABELS`.
    fn index(self) -> usize;
}

/// Declares an enum of counted cases with its labels.
macro_rules! cases {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum $name { $($(#[$case_doc])* $case,)* }

        impl Case for $name {
            const LABELS: &'static [&'static str] = &[$($label),*];

            fn index(self) -> usize {
                // The compiler numbers the cases from 0 in the order of LABELS.
                self as usize
            }
        }
    };
}

cases! {
    /// How a statement was answered.
    PlanKind {
        /// By one shard.
        Single = "single",
        /// Cut into parts for several shards.
        Split = "split",
        /// Read on several shards and merged.
        Scatter = "scatter",
        /// Sent to every shard.
        Everywhere = "everywhere",
        /// By any one shard.
        Any = "any",
        /// By the proxy itself.
        Local = "local",
        /// Not: 0A000.
        Refused = "refused",
    }
}

cases! {
    /// What the cache had for a statement that it may answer.
    CacheResult {
        /// A valid entry in this process.
        Memory = "memory",
        /// A valid entry in the region's shared store.
        Shared = "shared",
        /// The answer of another client's statement under way.
        Flight = "flight",
        /// Nothing.
        Miss = "miss",
        /// An entry that the log has overtaken.
        Invalid = "invalid",
        /// The gate was closed: nothing can be proved now.
        GateClosed = "gate_closed",
    }
}

cases! {
    /// Where a statement was answered, nearest first.
    Source {
        /// Nowhere yet.
        None = "none",
        /// From what this process keeps.
        Memory = "memory",
        /// From the region's shared store.
        Redis = "redis",
        /// By a standby.
        Replica = "replica",
        /// By a primary.
        Primary = "primary",
    }
}

impl Source {
    /// A server that is this.
    pub(crate) fn server(role: Role) -> Self {
        match role {
            Role::Standby => Self::Replica,
            Role::Primary => Self::Primary,
        }
    }

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        Self::LABELS.get(self.index()).copied().unwrap_or_default()
    }
}

cases! {
    /// Who is at fault for an error that a client was sent.
    ErrorSource {
        /// The statement or the client, by the proxy's judgement.
        Client = "client",
        /// The server said so: passed on unchanged.
        Server = "server",
        /// A server or shard that can't be reached, is full or too slow.
        Backend = "backend",
        /// The proxy itself.
        Proxy = "proxy",
    }
}

cases! {
    /// How a client's connection began.
    LoginResult {
        /// Logged in.
        Accepted = "accepted",
        /// Wrong user or password.
        AuthenticationFailed = "authentication_failed",
        /// Too many clients, unknown database, draining, TLS required.
        Refused = "refused",
        /// Not PostgreSQL's protocol, silent for too long or gone.
        Broken = "broken",
        /// A request to cancel, not a login.
        Cancel = "cancel",
    }
}

/// One counter for each case of `C`.
#[derive(Debug)]
pub(crate) struct Cases<C> {
    counters: Box<[Counter]>,
    case: std::marker::PhantomData<fn(C)>,
}

impl<C: Case> Default for Cases<C> {
    fn default() -> Self {
        let counters = C::LABELS.iter().map(|_| Counter::default()).collect();
        Self {
            counters,
            case: std::marker::PhantomData,
        }
    }
}

impl<C: Case> Cases<C> {
    /// Counts one case.
    pub(crate) fn add(&self, case: C) {
        if let Some(counter) = self.counters.get(case.index()) {
            counter.add(1);
        }
    }
}

/// Counters of several threads for each case of `C`, added up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CaseTotals<C> {
    totals: Vec<u64>,
    case: std::marker::PhantomData<fn(C)>,
}

impl<C: Case> Default for CaseTotals<C> {
    fn default() -> Self {
        Self {
            totals: vec![0; C::LABELS.len()],
            case: std::marker::PhantomData,
        }
    }
}

impl<C: Case> CaseTotals<C> {
    fn add(&mut self, part: &Cases<C>) {
        for (total, counter) in self.totals.iter_mut().zip(&part.counters) {
            *total = total.wrapping_add(counter.get());
        }
    }

    /// Each label with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        C::LABELS.iter().copied().zip(self.totals.iter().copied())
    }
}

/// What is counted for one database on one data thread.
#[derive(Debug, Default)]
pub(crate) struct DatabaseStats {
    queries: Histogram,
    transactions: Histogram,
    waits: Histogram,
    received: Counter,
    sent: Counter,
    plans: Cases<PlanKind>,
    cache: Cases<CacheResult>,
    reads: Cases<Source>,
    assignments: Counter,
    client_parses: Counter,
    server_parses: Counter,
    binds: Counter,
}

impl DatabaseStats {
    /// A client was lent a server connection.
    pub(crate) fn assigned(&self) {
        self.assignments.add(1);
    }

    /// A client prepared a named statement.
    pub(crate) fn client_parsed(&self) {
        self.client_parses.add(1);
    }

    /// A statement was prepared on a server.
    pub(crate) fn server_parsed(&self) {
        self.server_parses.add(1);
    }

    /// A client bound a named statement.
    pub(crate) fn bound(&self) {
        self.binds.add(1);
    }

    /// One statement was answered, `time` after it was complete.
    pub(crate) fn query(&self, time: Duration) {
        self.queries.record(time);
    }

    /// One transaction ended, `time` after its first statement.
    pub(crate) fn transaction(&self, time: Duration) {
        self.transactions.record(time);
    }

    /// A client got a server connection after waiting for `time`.
    pub(crate) fn wait(&self, time: Duration) {
        self.waits.record(time);
    }

    /// Bytes came from clients.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Bytes went to clients.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// How a statement was planned.
    pub(crate) fn plan(&self, kind: PlanKind) {
        self.plans.add(kind);
    }

    /// A read was answered there.
    pub(crate) fn read(&self, source: Source) {
        self.reads.add(source);
    }

    /// What the cache had.
    pub(crate) fn cache(&self, result: CacheResult) {
        self.cache.add(result);
    }
}

/// What one data thread counts.
///
/// Aligned so that two threads' counters never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ThreadStats {
    requests: Counter,
    errors: Cases<ErrorSource>,
    logins: Cases<LoginResult>,
    clients: Counter,
    pins: PinCounters,
    databases: Box<[DatabaseStats]>,
    endpoints: Box<[Counter]>,
    /// For a place that no database has: counted nowhere.
    other: DatabaseStats,
}

impl ThreadStats {
    /// Counters for so many databases and endpoints of the configuration.
    pub(crate) fn new(databases: usize, endpoints: usize) -> Self {
        Self {
            requests: Counter::default(),
            errors: Cases::default(),
            logins: Cases::default(),
            clients: Counter::default(),
            pins: PinCounters::default(),
            databases: (0..databases).map(|_| DatabaseStats::default()).collect(),
            endpoints: (0..endpoints).map(|_| Counter::default()).collect(),
            other: DatabaseStats::default(),
        }
    }

    /// The counters of a database, by its place in the settings. What is added at a place that no database has is lost.
    pub(crate) fn database(&self, index: usize) -> &DatabaseStats {
        self.databases.get(index).unwrap_or(&self.other)
    }

    /// A request (Query, or messages up to Sync) came from a client.
    pub(crate) fn add_request(&self) {
        self.requests.add(1);
    }

    /// An error was sent to a client.
    pub(crate) fn add_error(&self, source: ErrorSource) {
        self.errors.add(source);
    }

    /// A client's connection began.
    pub(crate) fn add_login(&self, result: LoginResult) {
        self.logins.add(result);
    }

    /// Clients that stay on their server connections.
    pub(crate) fn pins(&self) -> &PinCounters {
        &self.pins
    }

    /// So many clients are connected to this thread.
    pub(crate) fn set_clients(&self, count: usize) {
        self.clients.set(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// A statement was sent to a server.
    pub(crate) fn add_statement(&self, endpoint: EndpointId) {
        if let Some(counter) = self.endpoints.get(usize::from(endpoint.0)) {
            counter.add(1);
        }
    }
}

/// Counters of one database, over all data threads.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct DatabaseTotals {
    /// Statements, by their time.
    pub(crate) queries: HistogramTotal,
    /// Transactions, by their time.
    pub(crate) transactions: HistogramTotal,
    /// Waits for a server connection, by their time.
    pub(crate) waits: HistogramTotal,
    /// Bytes from clients.
    pub(crate) received: u64,
    /// Bytes to clients.
    pub(crate) sent: u64,
    /// Statements by plan.
    pub(crate) plans: CaseTotals<PlanKind>,
    /// Statements by what the cache had.
    pub(crate) cache: CaseTotals<CacheResult>,
    /// Reads by where they were answered.
    pub(crate) reads: CaseTotals<Source>,
    /// Server connections lent to clients.
    pub(crate) assignments: u64,
    /// Named statements that clients prepared.
    pub(crate) client_parses: u64,
    /// Statements prepared on servers.
    pub(crate) server_parses: u64,
    /// Named statements that clients bound.
    pub(crate) binds: u64,
}

/// All counters, over all data threads.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Totals {
    /// Requests of clients.
    pub(crate) requests: u64,
    /// Errors sent to clients.
    pub(crate) errors: CaseTotals<ErrorSource>,
    /// Connections begun.
    pub(crate) logins: CaseTotals<LoginResult>,
    /// Clients connected.
    pub(crate) clients: u64,
    /// Connections to which a client is pinned, and how often one was, by reason.
    pub(crate) pins: [(u64, u64); PIN_REASONS],
    /// By the database's place in the settings.
    pub(crate) databases: Vec<DatabaseTotals>,
    /// Statements by [`EndpointId`].
    pub(crate) endpoints: Vec<u64>,
}

impl Totals {
    /// Adds up the counters of `threads`. Each is read once, not all at one moment.
    pub(crate) fn of<'a>(threads: impl IntoIterator<Item = &'a ThreadStats>) -> Self {
        let mut totals = Self::default();
        for thread in threads {
            totals.add(thread);
        }
        totals
    }

    fn add(&mut self, thread: &ThreadStats) {
        self.requests = self.requests.wrapping_add(thread.requests.get());
        self.errors.add(&thread.errors);
        self.logins.add(&thread.logins);
        self.clients = self.clients.saturating_add(thread.clients.get());
        for (reason, (held, taken)) in self.pins.iter_mut().enumerate() {
            *held = held.wrapping_add(thread.pins.held(reason));
            *taken = taken.wrapping_add(thread.pins.taken(reason));
        }
        self.databases.resize_with(
            self.databases.len().max(thread.databases.len()),
            DatabaseTotals::default,
        );
        for (total, part) in self.databases.iter_mut().zip(&thread.databases) {
            total.queries.add(&part.queries);
            total.transactions.add(&part.transactions);
            total.waits.add(&part.waits);
            total.received = total.received.wrapping_add(part.received.get());
            total.sent = total.sent.wrapping_add(part.sent.get());
            total.plans.add(&part.plans);
            total.cache.add(&part.cache);
            total.reads.add(&part.reads);
            total.assignments = total.assignments.wrapping_add(part.assignments.get());
            total.client_parses = total.client_parses.wrapping_add(part.client_parses.get());
            total.server_parses = total.server_parses.wrapping_add(part.server_parses.get());
            total.binds = total.binds.wrapping_add(part.binds.get());
        }
        self.endpoints
            .resize(self.endpoints.len().max(thread.endpoints.len()), 0);
        for (total, counter) in self.endpoints.iter_mut().zip(&thread.endpoints) {
            *total = total.wrapping_add(counter.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        BUCKETS, CacheResult, Case, ErrorSource, LoginResult, PlanKind, ThreadStats, Totals, bucket,
        bucket_ends,
    };
    use std::time::Duration;
    use topology::EndpointId;

    #[test]
    fn every_case_has_its_label() {
        assert_eq!(PlanKind::LABELS[PlanKind::Refused.index()], "refused");
        assert_eq!(
            CacheResult::LABELS[CacheResult::GateClosed.index()],
            "gate_closed"
        );
        assert_eq!(ErrorSource::LABELS[ErrorSource::Proxy.index()], "proxy");
        assert_eq!(LoginResult::LABELS[LoginResult::Cancel.index()], "cancel");
    }

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_ends_at_or_after_it() {
        let ends = bucket_ends();
        for nanos in (0..63).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 1]) {
            let seconds = Duration::from_nanos(nanos).as_secs_f64();
            let expected = ends.iter().position(|end| seconds <= *end).unwrap_or(BUCKETS);
            assert_eq!(bucket(nanos), expected, "{nanos}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn threads_add_up() {
        let threads = [ThreadStats::new(2, 3), ThreadStats::new(2, 3)];
        for thread in &threads {
            thread.add_request();
            thread.set_clients(7);
            thread.add_statement(EndpointId(2));
            thread.add_statement(EndpointId(9));
            thread.add_error(ErrorSource::Server);
            let database = thread.database(1);
            database.query(Duration::from_micros(100));
            database.query(Duration::from_secs(100));
            database.sent(10);
            database.plan(PlanKind::Scatter);
            thread.database(5).query(Duration::from_secs(1));
        }
        let totals = Totals::of(&threads);
        assert_eq!((totals.requests, totals.clients), (2, 14));
        assert_eq!(totals.endpoints, [0, 0, 2]);
        assert_eq!(totals.databases[0].queries.count(), 0);
        assert_eq!(totals.databases[1].queries.count(), 4);
        assert_eq!(
            totals.databases[1].queries.time,
            Duration::from_micros(200_000_200)
        );
        assert_eq!(totals.databases[1].sent, 20);
        assert!(
            totals.databases[1]
                .plans
                .iter()
                .any(|case| case == ("scatter", 2))
        );
        assert!(totals.errors.iter().any(|case| case == ("server", 2)));
    }
}
