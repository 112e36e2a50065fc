//! COPY.

use super::refused;
use crate::catalog::DefaultKind;
use crate::plan::{CopyPlan, Route};
use crate::refusals;
use crate::resolve::{Place, Placed, Scope, ShardKey};
use crate::template::{Common, Skeleton};
use sql::{Copy, CopyDirection, CopyEnd, CopyFormat};

/// COPY: whole, by row, or gathered.
pub(super) fn copy(copy: &Copy, scope: &Scope<'_>, common: &mut Common) -> Skeleton {
    if let Some(query) = &copy.query {
        let inner = match &query.kind {
            sql::StatementKind::Query(facts) => super::query(query, facts, scope, common),
            _ => {
                return refused(refusals::unsupported(
                    "COPY of this statement is not supported",
                    "it is no query",
                    "",
                ));
            }
        };
        return Skeleton::CopyQuery(Box::new(inner));
    }
    let Some(name) = &copy.table else {
        return Skeleton::Fixed(Route::Utility {
            shard: scope.tables.default_shard,
        });
    };
    let placed = scope.place(name);
    if copy.direction == CopyDirection::To {
        common.access = crate::Access::Read;
    }
    let whole = |shards| Skeleton::Fixed(Route::Copy(CopyPlan::Whole { shards }));
    let one = |shard| whole(vec![shard]);
    let default_shard = scope.tables.default_shard;
    match (&placed.place, copy.direction) {
        (Place::Single(shard), _) => one(*shard),
        (Place::System, _) => one(default_shard),
        (Place::Sharded(_) | Place::Reference, _) if copy.end != CopyEnd::Client => {
            refused(refusals::across(
                "COPY of a file or program of the server reaches one shard only",
                "Use \\copy.",
            ))
        }
        (Place::Reference, CopyDirection::To) => one(default_shard),
        (Place::Reference, CopyDirection::From) => match changing_default(copy, &placed) {
            Some(column) => refused(refusals::across(
                format!("the default of column \"{column}\" would give another value on each shard"),
                "Copy the column too.",
            )),
            None => whole(scope.tables.shards().collect()),
        },
        (Place::Sharded(_), _) if scope.tables.shard_count == 1 => one(default_shard),
        (Place::Sharded(key), direction) => sharded(copy, &placed, key, direction, scope),
        (Place::Missing | Place::BadKey | Place::Unlisted(_), _) => refused(refusals::across(
            format!("the shards of {} cannot be told", placed.name),
            "List it in the configuration with a shard key, and see that it exists.",
        )),
    }
}

fn sharded(
    copy: &Copy,
    placed: &Placed<'_>,
    key: &ShardKey,
    direction: CopyDirection,
    scope: &Scope<'_>,
) -> Skeleton {
    let format_known =
        copy.options.format != CopyFormat::Binary && !copy.options.other.iter().any(|o| o == "format");
    if !format_known {
        return refused(refusals::across(
            "rows in binary format cannot be cut",
            "Use the text or CSV format.",
        ));
    }
    let utf8 = |name: &String| matches!(name.to_ascii_lowercase().as_str(), "utf8" | "utf-8" | "unicode");
    if !copy.options.encoding.as_ref().is_none_or(utf8) {
        return refused(refusals::across(
            "the rows are in another encoding than UTF-8",
            "Use ENCODING 'UTF8'.",
        ));
    }
    let options = copy.options.clone();
    if direction == CopyDirection::To {
        return Skeleton::Fixed(Route::Copy(CopyPlan::Gather {
            shards: scope.tables.shards().collect(),
            options,
        }));
    }
    let position = if copy.columns.is_empty() {
        // Generated columns are not copied.
        placed.table.and_then(|table| {
            let copied = table
                .columns
                .iter()
                .filter(|column| column.default != DefaultKind::Generated);
            copied.into_iter().position(|column| column.name == key.column)
        })
    } else {
        copy.columns.iter().position(|column| *column == key.column)
    };
    match position {
        Some(key_column) => Skeleton::Fixed(Route::Copy(CopyPlan::ByRow {
            key_column,
            key_type: key.key_type,
            options,
        })),
        None => refused(refusals::across(
            format!(
                "the rows to copy into {} have no shard key \"{}\"",
                placed.name, key.column
            ),
            "Copy the shard key too.",
        )),
    }
}

fn changing_default(copy: &Copy, placed: &Placed<'_>) -> Option<String> {
    if copy.columns.is_empty() {
        return None;
    }
    let columns = &placed.table?.columns;
    let changing = columns.iter().find(|column| {
        matches!(column.default, DefaultKind::Changing | DefaultKind::Sequence)
            && !copy.columns.contains(&column.name)
    });
    changing.map(|column| column.name.clone())
}
