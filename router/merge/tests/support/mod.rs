//! A server for the tests of this crate, and random numbers that are the same in every run.

use cluster::{Postgres, PostgresSpec};
use tokio_postgres::Client;

/// A running server and a connection to it.
pub(crate) async fn server(name: &str) -> (Postgres, Client) {
    let server = Postgres::start(PostgresSpec::new(name)).await.unwrap();
    let client = server.connect(PostgresSpec::SUPERUSER, "postgres").await.unwrap();
    (server, client)
}

/// SplitMix64 (Steele, Lea, Flood).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Up to `max` pieces of `alphabet`, one after the other.
    pub(crate) fn text(&mut self, alphabet: &[&str], max: usize) -> String {
        (0..self.below(max + 1)).map(|_| *self.pick(alphabet)).collect()
    }
}
