//! What a publisher asks of the primary, and what it changes there: one ordinary connection.

use crate::catalog::{COLUMNS, Catalog, Table};
use crate::config::SlotName;
use crate::error::Error;
use coherence::{SlotState, StartFacts, WAL_SETTINGS, Xid, XidSnapshot};
use pool::{BackendTarget, ControlConnection, QueryResult, Replication, connect};
use std::fmt::Write;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use topology::{Epoch, Lsn, Mono, Timeline};

/// How long the primary may take to answer a question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long making a slot may take: it waits for the end of the transactions that are running.
const SLOT_TIMEOUT: Duration = Duration::from_secs(60);

/// How often to look whether the transactions before a start have finished.
const START_WAIT_INTERVAL: Duration = Duration::from_millis(50);

/// The class of our advisory locks ("ring").
const LOCK_CLASS: i32 = 0x72_69_6e_67;

/// The version of `sql/install.sql`.
pub const INSTALL_VERSION: u32 = 2;

/// The connection. Statements are text, for the simple protocol; everything in them is ours or quoted.
#[derive(Debug)]
pub(crate) struct Control {
    connection: ControlConnection,
}

/// What the publisher finds before it starts.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) facts: StartFacts,
    /// Whether DDL was committed whose place in the log is not behind the slot: the catalog is ahead of the slot.
    pub(crate) catalog_is_ahead: bool,
    pub(crate) catalog: Catalog,
}

/// The tables at one moment.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) catalog: Catalog,
    /// The announcements of DDL that the catalog holds.
    pub(crate) ddl: Vec<i64>,
    /// A position behind all that the catalog holds.
    pub(crate) floor: Lsn,
}

/// What is asked before each batch.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) snapshot: XidSnapshot,
    /// The end of the snapshot: the newest id that is known.
    pub(crate) newest: Xid,
    pub(crate) witness: Option<Epoch>,
}

/// What is asked now and then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    /// The insert position.
    pub(crate) insert: Lsn,
    /// How much of the log the slot holds back, in bytes.
    pub(crate) retained: u64,
}

/// A target with the settings that both connections of a publisher need.
pub(crate) fn prepared(target: &BackendTarget, replication: Replication) -> BackendTarget {
    let mut target = target.clone();
    target.replication = replication;
    let ours = [
        ("application_name", "ringway publisher"),
        // Our own small writes must not wait for a synchronous standby that is gone.
        ("synchronous_commit", "local"),
        ("default_transaction_isolation", "read committed"),
        ("default_transaction_read_only", "off"),
        ("statement_timeout", "0"),
    ];
    for (name, value) in ours.into_iter().chain(WAL_SETTINGS) {
        target
            .parameters
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        target.parameters.push((name.to_owned(), value.to_owned()));
    }
    target
}

/// Opens a connection; its age doesn't matter to a publisher, so no clock is read.
pub(crate) async fn open(
    target: &BackendTarget,
    replication: Replication,
) -> Result<ControlConnection, Error> {
    Ok(ControlConnection::new(
        connect(&prepared(target, replication), Mono::default).await?,
    ))
}

impl Control {
    /// Connects, and makes sure that this is a primary with our schema.
    pub(crate) async fn open(target: &BackendTarget) -> Result<Self, Error> {
        let mut control = Self {
            connection: open(target, Replication::None).await?,
        };
        let row = control
            .row("SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.to_regprocedure('ringway.version()')")
            .await?;
        if row
            .first()
            .is_none_or(|recovery| recovery.as_deref() != Some("f"))
        {
            return Err(Error::InRecovery);
        }
        let found = match row.get(1) {
            Some(Some(_)) => control
                .row("SELECT ringway.version()")
                .await?
                .into_iter()
                .next()
                .flatten(),
            _ => None,
        };
        if found.as_deref() != Some(INSTALL_VERSION.to_string().as_str()) {
            return Err(Error::NotInstalled {
                found,
                needed: INSTALL_VERSION,
            });
        }
        Ok(control)
    }

    /// Takes the right to touch the slot, for as long as this connection lives.
    pub(crate) async fn lock(&mut self, slot: &SlotName) -> Result<(), Error> {
        let sql =
            format!("SELECT pg_catalog.pg_try_advisory_lock({LOCK_CLASS}, pg_catalog.hashtext('{slot}'))");
        if self.value(&sql).await? == "t" {
            Ok(())
        } else {
            Err(Error::SlotBusy)
        }
    }

    /// Everything that decides the start, and the tables: seen by one snapshot.
    pub(crate) async fn look_around(&mut self, slot: &SlotName) -> Result<Found, Error> {
        self.ask("SELECT ringway.check_relations()").await?;
        let results = self
            .ask(&format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                 SELECT pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8), \
                        e.epoch, (SELECT epoch FROM ringway.witness), e.announced_to, \
                        EXISTS (SELECT FROM ringway.ddl), s.confirmed_flush_lsn, s.active, s.wal_status, \
                        s.plugin = 'pgoutput' AND s.database = pg_catalog.current_database() \
                 FROM ringway.epoch e LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = '{slot}'; \
                 {RELATIONS}; COMMIT"
            ))
            .await?;
        let [_, facts, relations, _] = results.as_slice() else {
            return Err(Error::Answer("four results"));
        };
        let row = facts
            .rows
            .first()
            .ok_or(Error::Answer("ringway.epoch is empty"))?;
        let (facts, catalog_is_ahead) = read_facts(row)?;
        Ok(Found {
            facts,
            catalog_is_ahead,
            catalog: read_relations(relations)?,
        })
    }

    /// The tables as they are, and a position behind every change of them that shows.
    pub(crate) async fn catalog(&mut self) -> Result<Fresh, Error> {
        let results = self
            .ask(&format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {RELATIONS}; SELECT id FROM ringway.ddl; COMMIT"
            ))
            .await?;
        let [_, relations, ddl, _] = results.as_slice() else {
            return Err(Error::Answer("four results"));
        };
        let catalog = read_relations(relations)?;
        let ids = ddl
            .rows
            .iter()
            .map(|row| row.first().and_then(|id| id.as_deref()?.parse().ok()));
        let ddl = ids
            .collect::<Option<_>>()
            .ok_or(Error::Answer("an id of ringway.ddl"))?;
        // Asked last: whatever the snapshot showed was committed before.
        let floor = read_lsn(
            &self
                .value("SELECT pg_catalog.pg_current_wal_insert_lsn()")
                .await?,
        )?;
        Ok(Fresh { catalog, ddl, floor })
    }

    /// Drops the slot if there is one and makes it anew; gives its consistent point.
    pub(crate) async fn recreate_slot(&mut self, slot: &SlotName) -> Result<Lsn, Error> {
        self.drop_slot(slot).await?;
        let sql =
            format!("SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        self.ask(&format!("SET statement_timeout = {}", SLOT_TIMEOUT.as_millis()))
            .await?;
        let results = self.ask_within(SLOT_TIMEOUT + ANSWER_TIMEOUT, &sql).await?;
        self.ask("SET statement_timeout = 0").await?;
        read_lsn(&only_value(&results)?)
    }

    /// Drops the slot if there is one. Fails while somebody reads it.
    pub(crate) async fn drop_slot(&mut self, slot: &SlotName) -> Result<(), Error> {
        self.ask(&format!(
            "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots \
             WHERE slot_name = '{slot}' AND plugin = 'pgoutput' AND database = pg_catalog.current_database()"
        ))
        .await?;
        Ok(())
    }

    /// Drops the slot as soon as our own reader of it, whose connection was closed, is gone.
    pub(crate) async fn drop_slot_once_free(&mut self, slot: &SlotName) -> Result<(), Error> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            match self.drop_slot(slot).await {
                Err(Error::SlotBusy) if Instant::now() < deadline => sleep(START_WAIT_INTERVAL).await,
                ended => return ended,
            }
        }
    }

    /// Replaces the epoch, if it still is `expected`, and writes its witness, in one transaction.
    pub(crate) async fn raise(&mut self, expected: Option<Epoch>, epoch: Epoch) -> Result<(), Error> {
        let results = self
            .ask(&format!(
                "WITH won AS (UPDATE ringway.epoch SET epoch = {} WHERE epoch = {} RETURNING epoch) \
                 INSERT INTO ringway.witness AS w (epoch) SELECT won.epoch FROM won \
                 ON CONFLICT (only_row) DO UPDATE SET epoch = excluded.epoch RETURNING w.epoch",
                epoch.0,
                expected.map_or(0, |expected| expected.0),
            ))
            .await?;
        let won = results.first().is_some_and(|result| !result.rows.is_empty());
        if won { Ok(()) } else { Err(Error::EpochMoved) }
    }

    /// Waits until every transaction that has an id at this moment is finished and visible.
    pub(crate) async fn wait_for_visibility(&mut self) -> Result<(), Error> {
        let horizon = self.next_xid().await?;
        // A commit that waits for a synchronous standby is at or above the end of every snapshot, and so of its xmin.
        let sql = format!(
            "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint >= {}",
            horizon.0
        );
        while self.value(&sql).await? != "t" {
            sleep(START_WAIT_INTERVAL).await;
        }
        Ok(())
    }

    /// `pg_current_xact_id()`: above the id of every transaction that has one.
    pub(crate) async fn next_xid(&mut self) -> Result<Xid, Error> {
        let text = self.value("SELECT pg_catalog.pg_current_xact_id()").await?;
        text.parse()
            .map(Xid)
            .map_err(|_| Error::Answer("a transaction id"))
    }

    /// What is visible, and whether the epoch is still ours.
    pub(crate) async fn look(&mut self) -> Result<Look, Error> {
        let sql = "SELECT pg_catalog.pg_current_snapshot(), (SELECT epoch FROM ringway.witness)";
        let row = self.row(sql).await?;
        let [Some(text), witness] = row.as_slice() else {
            return Err(Error::Answer("a snapshot"));
        };
        let snapshot = text.parse().map_err(|_| Error::Answer("a snapshot"))?;
        let newest = text.split(':').nth(1).and_then(|xmax| xmax.parse().ok()).map(Xid);
        let newest = newest.ok_or(Error::Answer("a snapshot"))?;
        Ok(Look {
            snapshot,
            newest,
            witness: witness.as_deref().map(read_epoch).transpose()?,
        })
    }

    /// Where the log ends and how much of it the slot holds back. Fails on a server that is not `timeline`'s primary.
    pub(crate) async fn pulse(&mut self, slot: &SlotName, timeline: Timeline) -> Result<Pulse, Error> {
        let sql = format!(
            "SELECT l.insert, pg_catalog.substr(pg_catalog.pg_walfile_name(l.insert), 1, 8), \
                    (SELECT pg_catalog.pg_wal_lsn_diff(l.insert, s.restart_lsn)::bigint \
                     FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = '{slot}') \
             FROM (SELECT pg_catalog.pg_current_wal_insert_lsn() AS insert) l"
        );
        let row = self.row(&sql).await?;
        let [Some(insert), Some(found), retained] = row.as_slice() else {
            return Err(Error::Answer("a position"));
        };
        if read_timeline(found)? != timeline {
            return Err(Error::TimelineChanged);
        }
        // No restart position means that the server has invalidated the slot: everything is held back in vain.
        let retained = match retained {
            Some(text) => text
                .parse::<i64>()
                .map_err(|_| Error::Answer("a number of bytes"))?,
            None => i64::MAX,
        };
        Ok(Pulse {
            insert: read_lsn(insert)?,
            retained: u64::try_from(retained).unwrap_or(0),
        })
    }

    /// Moves the log on a little, so that it is decoded past what was there.
    pub(crate) async fn nudge(&mut self) -> Result<(), Error> {
        self.ask("SELECT pg_catalog.pg_logical_emit_message(true, 'ringway.heartbeat', '')")
            .await?;
        Ok(())
    }

    /// Notes that announcements of DDL up to `to` were published.
    pub(crate) async fn forget_ddl(&mut self, ids: &[i64], to: Lsn) -> Result<(), Error> {
        let mut list = String::new();
        for id in ids {
            let comma = if list.is_empty() { "" } else { "," };
            // Writing to a String can't fail.
            let _ = write!(list, "{comma}{id}");
        }
        self.ask(&format!(
            "WITH gone AS (DELETE FROM ringway.ddl WHERE id = ANY ('{{{list}}}'::bigint[])) \
             UPDATE ringway.epoch SET announced_to = greatest(announced_to, '{to}'::pg_lsn)"
        ))
        .await?;
        Ok(())
    }

    async fn ask(&mut self, sql: &str) -> Result<Vec<QueryResult>, Error> {
        self.ask_within(ANSWER_TIMEOUT, sql).await
    }

    async fn ask_within(&mut self, bound: Duration, sql: &str) -> Result<Vec<QueryResult>, Error> {
        let answer = timeout(bound, self.connection.simple_query(sql)).await;
        answer
            .map_err(|_| Error::Silent(bound))?
            .map_err(Error::from_server)
    }

    async fn row(&mut self, sql: &str) -> Result<Vec<Option<String>>, Error> {
        let results = self.ask(sql).await?;
        let rows = results
            .into_iter()
            .next()
            .map(|result| result.rows)
            .unwrap_or_default();
        rows.into_iter().next().ok_or(Error::Answer("no row"))
    }

    async fn value(&mut self, sql: &str) -> Result<String, Error> {
        self.row(sql)
            .await?
            .into_iter()
            .next()
            .flatten()
            .ok_or(Error::Answer("no value"))
    }
}

/// The rows of `ringway.relation`, in the order of [`COLUMNS`].
const RELATIONS: &str =
    "SELECT relid, schema_name, table_name, key_columns, indexed_columns, ancestors FROM ringway.relation";

fn read_facts(row: &[Option<String>]) -> Result<(StartFacts, bool), Error> {
    let [
        Some(timeline),
        Some(stored),
        witness,
        Some(announced_to),
        Some(unannounced),
        confirmed,
        active,
        status,
        ours,
    ] = row
    else {
        return Err(Error::Answer("the state of the stream"));
    };
    if active.as_deref() == Some("t") {
        return Err(Error::SlotBusy);
    }
    if ours.as_deref() == Some("f") {
        return Err(Error::Answer("the slot of that name belongs to someone else"));
    }
    let stored = Some(read_epoch(stored)?).filter(|epoch| *epoch != Epoch::default());
    let slot = match (confirmed, status.as_deref()) {
        (None, _) | (_, Some("lost")) => SlotState::Missing,
        (Some(confirmed), _) => SlotState::Resumable {
            confirmed: read_lsn(confirmed)?,
        },
    };
    let behind = match slot {
        SlotState::Missing => false,
        // A clean restart may take a slot's confirmed position back a little.
        SlotState::Resumable { confirmed } => unannounced == "t" || confirmed < read_lsn(announced_to)?,
    };
    let witness = witness.as_deref().map(read_epoch).transpose()?;
    Ok((
        StartFacts {
            timeline: read_timeline(timeline)?,
            stored,
            witness,
            slot,
        },
        behind,
    ))
}

fn read_relations(result: &QueryResult) -> Result<Catalog, Error> {
    let mut catalog = Catalog::default();
    for row in &result.rows {
        let mut values = [""; COLUMNS.len()];
        for (value, found) in values.iter_mut().zip(row) {
            *value = found
                .as_deref()
                .ok_or(Error::Answer("a row of ringway.relation"))?;
        }
        let (id, table) = Table::parse(values)?;
        catalog.set(id, table)?;
    }
    Ok(catalog)
}

fn only_value(results: &[QueryResult]) -> Result<String, Error> {
    let row = results.first().and_then(|result| result.rows.first());
    row.and_then(|row| row.first())
        .cloned()
        .flatten()
        .ok_or(Error::Answer("no value"))
}

fn read_lsn(text: &str) -> Result<Lsn, Error> {
    text.parse().map_err(|_| Error::Answer("a position"))
}

fn read_epoch(text: &str) -> Result<Epoch, Error> {
    text.parse().map(Epoch).map_err(|_| Error::Answer("an epoch"))
}

fn read_timeline(text: &str) -> Result<Timeline, Error> {
    u32::from_str_radix(text, 16)
        .map(Timeline)
        .map_err(|_| Error::Answer("a timeline"))
}
