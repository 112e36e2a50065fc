//! Test suites that others wrote, each run directly on PostgreSQL and through Ringway: nothing may differ.
//!
//! `make conformance` runs them all, `make conformance SUITE="pgx pq"` some. What they need comes from the package
//! registries at run time. Suites whose needs `deploy/install.sh` meets run with every `cargo test`; the others are
//! ignored there. Outcomes, outputs and differences lie in `target/conformance/SUITE/`.

mod expected;
mod outcomes;
mod stage;
mod suite;

use std::time::Duration;

use anyhow::Result;

use suite::{Suite, Variant};

/// A suite of a minute or so.
const SHORT: Duration = Duration::from_secs(300);
/// A suite that may take some minutes, more on a busy machine.
const LONG: Duration = Duration::from_secs(1800);

macro_rules! suites {
    ($($name:ident: $script:literal, $bound:expr, $why:literal;)*) => {
        $(
            #[test]
            #[ignore = $why]
            fn $name() -> Result<()> {
                Suite::new($script, $bound).check()
            }
        )*
    };
}

suites! {
    regress: "regress", LONG, "fetches PostgreSQL's source package: make conformance";
    pgx: "pgx", LONG, "needs Go and the network: make conformance";
    pq: "pq", SHORT, "needs Go and the network: make conformance";
    psycopg2: "psycopg2", LONG, "needs Python and the network: make conformance";
    pg8000: "pg8000", LONG, "needs Python and the network: make conformance";
    asyncpg: "asyncpg", LONG, "needs Python and the network: make conformance";
    pygresql: "pygresql", SHORT, "needs Python and the network: make conformance";
    sqlalchemy: "sqlalchemy", LONG, "needs Python and the network: make conformance";
    django: "django", LONG, "needs Python and the network: make conformance";
    tokio_postgres: "tokio_postgres", LONG, "needs the network: make conformance";
    node_postgres: "node_postgres", SHORT, "needs Node.js and the network: make conformance";
    sqlx: "sqlx", LONG, "needs the network: make conformance";
    psql18: "psql18", SHORT, "needs Python and the network: make conformance";
}

#[test]
fn pgbench() -> Result<()> {
    Suite::new("pgbench", SHORT).check()
}

#[test]
fn psql15() -> Result<()> {
    Suite::new("psql15", SHORT).check()
}

/// The files of the regression SQL that say most about a pooler: sessions, transactions, cursors, COPY, errors.
#[test]
fn regress_in_short() -> Result<()> {
    let files = "boolean int8 strings transactions portals prepare plancache guc temp copy2 advisory_lock \
                 async errors sequence largeobject psql";
    Suite::new("regress", SHORT)
        .variant(Variant {
            name: "regress-in-short",
            only: files,
        })
        .check()
}
