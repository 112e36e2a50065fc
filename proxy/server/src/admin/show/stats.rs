//! The counters of SHOW STATS and its kin, with PgBouncer's columns and units: bytes, microseconds.

use super::{Columns, Rows};
use crate::admin::table::Cell;
use crate::admin::table::ColumnType::{Numeric, Text};
use crate::admin::view::{AdminView, StatsAverages, StatsRow};

pub(super) const STATS: Columns = &[
    ("database", Text),
    ("total_xact_count", Numeric),
    ("total_query_count", Numeric),
    ("total_received", Numeric),
    ("total_sent", Numeric),
    ("total_xact_time", Numeric),
    ("total_query_time", Numeric),
    ("total_wait_time", Numeric),
    ("avg_xact_count", Numeric),
    ("avg_query_count", Numeric),
    ("avg_recv", Numeric),
    ("avg_sent", Numeric),
    ("avg_xact_time", Numeric),
    ("avg_query_time", Numeric),
    ("avg_wait_time", Numeric),
    // Later versions of PgBouncer.
    ("total_server_assignment_count", Numeric),
    ("total_client_parse_count", Numeric),
    ("total_server_parse_count", Numeric),
    ("total_bind_count", Numeric),
    ("avg_server_assignment_count", Numeric),
    ("avg_client_parse_count", Numeric),
    ("avg_server_parse_count", Numeric),
    ("avg_bind_count", Numeric),
];

/// The same for the counters and for their averages.
pub(super) const STATS_PART: Columns = &[
    ("database", Text),
    ("xact_count", Numeric),
    ("query_count", Numeric),
    ("bytes_received", Numeric),
    ("bytes_sent", Numeric),
    ("xact_time", Numeric),
    ("query_time", Numeric),
    ("wait_time", Numeric),
    // Later versions of PgBouncer.
    ("server_assignment_count", Numeric),
    ("client_parse_count", Numeric),
    ("server_parse_count", Numeric),
    ("bind_count", Numeric),
];

pub(super) const TOTALS: Columns = &[("name", Text), ("value", Numeric)];

fn total_cells(row: &StatsRow) -> Vec<Cell> {
    vec![
        Cell::number(row.transactions),
        Cell::number(row.queries),
        Cell::number(row.received_bytes),
        Cell::number(row.sent_bytes),
        Cell::micros(row.transaction_time),
        Cell::micros(row.query_time),
        Cell::micros(row.wait_time),
    ]
}

fn later_totals(row: &StatsRow) -> Vec<Cell> {
    [row.assignments, row.client_parses, row.server_parses, row.binds]
        .map(Cell::number)
        .to_vec()
}

fn average_cells(averages: &StatsAverages) -> Vec<Cell> {
    vec![
        Cell::number(averages.transactions),
        Cell::number(averages.queries),
        Cell::number(averages.received_bytes),
        Cell::number(averages.sent_bytes),
        Cell::micros(averages.transaction_time),
        Cell::micros(averages.query_time),
        Cell::micros(averages.wait_time),
    ]
}

fn later_averages(averages: &StatsAverages) -> Vec<Cell> {
    [
        averages.assignments,
        averages.client_parses,
        averages.server_parses,
        averages.binds,
    ]
    .map(Cell::number)
    .to_vec()
}

fn rows(view: &AdminView, cells: impl Fn(&StatsRow) -> Vec<Vec<Cell>>) -> Rows {
    let row = |row: &StatsRow| {
        let mut all = vec![Cell::text(row.database.clone())];
        all.extend(cells(row).concat());
        all
    };
    view.stats.iter().map(row).collect()
}

pub(super) fn stats(view: &AdminView) -> Rows {
    rows(view, |row| {
        vec![
            total_cells(row),
            average_cells(&row.averages),
            later_totals(row),
            later_averages(&row.averages),
        ]
    })
}

pub(super) fn stats_totals(view: &AdminView) -> Rows {
    rows(view, |row| vec![total_cells(row), later_totals(row)])
}

pub(super) fn stats_averages(view: &AdminView) -> Rows {
    rows(view, |row| {
        vec![average_cells(&row.averages), later_averages(&row.averages)]
    })
}

/// The names that PgBouncer has here, which differ from the columns above in what is received and sent.
const TOTAL_NAMES: [&str; 22] = [
    "total_xact_count",
    "total_query_count",
    "total_client_bytes",
    "total_server_bytes",
    "total_xact_time",
    "total_query_time",
    "total_wait_time",
    "avg_xact_count",
    "avg_query_count",
    "avg_client_bytes",
    "avg_server_bytes",
    "avg_xact_time",
    "avg_query_time",
    "avg_wait_time",
    "total_server_assignment_count",
    "total_client_parse_count",
    "total_server_parse_count",
    "total_bind_count",
    "avg_server_assignment_count",
    "avg_client_parse_count",
    "avg_server_parse_count",
    "avg_bind_count",
];

pub(super) fn totals(view: &AdminView) -> Rows {
    let mut sum = StatsRow::default();
    for row in &view.stats {
        sum.add(row);
    }
    let cells = [
        total_cells(&sum),
        average_cells(&sum.averages),
        later_totals(&sum),
        later_averages(&sum.averages),
    ]
    .concat();
    let names = TOTAL_NAMES.into_iter().map(Cell::text);
    names.zip(cells).map(|(name, cell)| vec![name, cell]).collect()
}
