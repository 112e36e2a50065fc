//! INSERT, UPDATE, DELETE and MERGE.

use super::{Calls, Places, mixed, refused};
use crate::catalog::{DefaultKind, Volatility};
use crate::keys::{KeyExpr, Node, RelationId, Resolved};
use crate::plan::{Refusal, Route};
use crate::refusals;
use crate::resolve::{Place, Placed, Scope, ShardKey, same_family};
use crate::template::{Across, InsertParts, Keyed, Rows, Skeleton};
use crate::text::PartPieces;
use sql::{Bound, Cell, Clause, Command, Insert, InsertSource, OutputKind, Query, Statement};

/// UPDATE, DELETE, MERGE.
pub(super) fn change(resolved: &Resolved<'_>, places: &Places, calls: Calls, scope: &Scope<'_>) -> Skeleton {
    let target = resolved.placed.get(&RelationId {
        block: 0,
        relation: 0,
    });
    match target.map(|placed| &placed.place) {
        Some(Place::Reference) => reference(resolved, places, calls, scope, None),
        Some(Place::Sharded(key)) => sharded_change(resolved, key, places, calls),
        Some(Place::Single(shard)) => match mixed(resolved, places) {
            Some(refusal) => refused(refusal),
            None if !resolved.sharded.is_empty() => refused(sources_elsewhere()),
            None => Skeleton::Fixed(Route::Single {
                shard: *shard,
                slot: None,
            }),
        },
        _ => Skeleton::Fixed(Route::Utility {
            shard: scope.tables.default_shard,
        }),
    }
}

fn sources_elsewhere() -> Refusal {
    refusals::across(
        "the statement changes a table from rows of tables that live elsewhere",
        "Read the rows first, and change the table by their values.",
    )
}

fn sharded_change(resolved: &Resolved<'_>, key: &ShardKey, places: &Places, calls: Calls) -> Skeleton {
    if let Some(refusal) = mixed(resolved, places) {
        return refused(refusal);
    }
    if resolved.query.modifying_with {
        return refused(refusals::across(
            "WITH and the statement itself both change rows",
            refusals::BIND_KEY,
        ));
    }
    let mut set_key = None;
    match &resolved.query.command {
        Command::Update(update) => {
            if let Some((_, value)) = update.set.iter().find(|(column, _)| *column == key.column) {
                match value {
                    Some(value) => set_key = Some((value.clone(), key.key_type)),
                    None => return refused(key_update()),
                }
            }
        }
        Command::Merge { set_columns, inserts } if *inserts || set_columns.contains(&key.column) => {
            return refused(refusals::across(
                "MERGE may put rows where their shard key does not belong",
                "Use INSERT ... ON CONFLICT, or UPDATE.",
            ));
        }
        _ => {}
    }
    let bindings = resolved
        .sharded
        .iter()
        .map(|relation| resolved.binding(relation).cloned())
        .collect();
    let across = match write_across(resolved, calls) {
        Ok(()) => Across::Write,
        Err(refusal) => Across::Refuse(refusal),
    };
    Skeleton::Keyed(Box::new(Keyed {
        bindings,
        set_key,
        across,
        cache: None,
    }))
}

fn key_update() -> Refusal {
    refusals::across(
        "the statement may change the shard key of a row, which would then belong to another shard",
        "Delete the row and insert it anew.",
    )
}

/// Whether each shard can change its own rows without the others.
fn write_across(resolved: &Resolved<'_>, calls: Calls) -> Result<(), Refusal> {
    let target = resolved.sharded.iter().find(|r| {
        r.id == RelationId {
            block: 0,
            relation: 0,
        }
    });
    if !target.is_some_and(|target| resolved.colocated_with(target)) {
        return Err(refusals::across(
            "the statement changes a sharded table from rows of others that are not joined on the shard key",
            refusals::JOIN_KEY,
        ));
    }
    if calls.foreign_code {
        return Err(refusals::across(
            "the statement calls a function that may read other tables",
            refusals::BIND_KEY,
        ));
    }
    if has_chosen_rows(resolved.query) {
        return Err(refusals::across(
            "a subquery has LIMIT, DISTINCT ON or TABLESAMPLE",
            refusals::BIND_KEY,
        ));
    }
    if matches!(resolved.query.command, Command::Merge { .. }) {
        return Err(refusals::across(
            "MERGE over several shards is not supported",
            refusals::BIND_KEY,
        ));
    }
    Ok(())
}

/// Whether a part of the query takes some of its rows, which another server may choose otherwise.
fn has_chosen_rows(query: &Query) -> bool {
    query.blocks.iter().any(|block| {
        block.shape.limit != Bound::None
            || block.shape.offset != Bound::None
            || block.shape.has(Clause::DistinctOn)
            || block.shape.has(Clause::Sample)
            || block.shape.has(Clause::Window)
    })
}

/// A change of a reference table: the same on every shard, so nothing in it may come out differently.
fn reference(
    resolved: &Resolved<'_>,
    places: &Places,
    calls: Calls,
    scope: &Scope<'_>,
    insert: Option<(&Insert, &Placed<'_>)>,
) -> Skeleton {
    let refuse = |reason: &str, hint: &str| {
        refused(refusals::across(
            format!("a reference table is written on every shard: {reason}"),
            hint,
        ))
    };
    if !resolved.sharded.is_empty() || !places.singles.is_empty() || places.systems > 0 {
        return refuse(
            "the rows would come from tables that are not on every shard",
            "Write it from constants.",
        );
    }
    if calls.volatility != Volatility::Immutable {
        return refuse(
            "a function that is not immutable would give another value on each",
            "Compute the value first and pass it as a constant or parameter.",
        );
    }
    if resolved.query.modifying_with || has_chosen_rows(resolved.query) {
        return refuse(
            "a subquery could choose other rows on each",
            "Write it without WITH and LIMIT.",
        );
    }
    if let Some((insert, placed)) = insert
        && let Some(column) = changing_default(insert, placed)
    {
        return refuse(
            &format!("the default of column \"{column}\" would give another value on each"),
            "Give the column a value.",
        );
    }
    Skeleton::Same {
        shards: scope.tables.shards().collect(),
        relative_time: resolved.query.relative_time,
    }
}

/// A column whose default fills in a value that changes from server to server.
fn changing_default(insert: &Insert, placed: &Placed<'_>) -> Option<String> {
    let table = placed.table?;
    let changing = |kind: DefaultKind| matches!(kind, DefaultKind::Changing | DefaultKind::Sequence);
    for (position, column) in table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| changing(column.default))
    {
        let place = if insert.columns.is_empty() {
            Some(position)
        } else {
            insert.columns.iter().position(|name| *name == column.name)
        };
        let given = match (&insert.source, place) {
            (_, None) | (InsertSource::Defaults, _) => false,
            (InsertSource::Query, Some(place)) => !insert.columns.is_empty() || place < table.columns.len(),
            (InsertSource::Values(rows), Some(place)) => rows
                .iter()
                .all(|row| row.get(place).is_some_and(|cell| *cell != Cell::Default)),
        };
        if !given {
            return Some(column.name.clone());
        }
    }
    None
}

/// INSERT.
pub(super) fn insert(
    statement: &Statement,
    insert: &Insert,
    resolved: &Resolved<'_>,
    places: &Places,
    calls: Calls,
    scope: &Scope<'_>,
) -> Skeleton {
    let target = scope.place(&insert.table);
    match &target.place {
        Place::Reference => reference(resolved, places, calls, scope, Some((insert, &target))),
        Place::Sharded(key) => {
            if !places.singles.is_empty() || places.systems > 0 || resolved.query.modifying_with {
                return refused(sources_elsewhere());
            }
            sharded_insert(statement, insert, &target, key, resolved, calls)
        }
        Place::Single(shard) => {
            let elsewhere = places.singles.iter().any(|other| other != shard) || !resolved.sharded.is_empty();
            if elsewhere {
                return refused(sources_elsewhere());
            }
            Skeleton::Fixed(Route::Single {
                shard: *shard,
                slot: None,
            })
        }
        Place::System => Skeleton::Fixed(Route::Utility {
            shard: scope.tables.default_shard,
        }),
        Place::Missing => refused(refusals::other(
            "42P01",
            &format!("relation \"{}\" does not exist", target.name),
            "the configuration lists it as sharded, but the catalog that was loaded last does not have it",
            "Create it through Ringway, or wait until the catalog is loaded again.",
        )),
        Place::Unlisted(what) => refused(refusals::across(
            format!("{} is a {what} that the configuration does not list", target.name),
            "List it in the configuration, or name the table behind it.",
        )),
        Place::BadKey => refused(refusals::across(
            format!(
                "the configured shard key of {} is not a column of a type that can be a key",
                target.name
            ),
            "Run ringway check.",
        )),
    }
}

fn sharded_insert(
    statement: &Statement,
    insert: &Insert,
    target: &Placed<'_>,
    key: &ShardKey,
    resolved: &Resolved<'_>,
    calls: Calls,
) -> Skeleton {
    if resolved
        .query
        .blocks
        .iter()
        .any(|block| block.shape.has(Clause::Unknown))
    {
        return refused(sources_elsewhere());
    }
    let sets_key = insert.on_conflict.as_ref().and_then(|c| c.set_columns.as_ref());
    if sets_key.is_some_and(|columns| columns.contains(&key.column)) {
        return refused(key_update());
    }
    let position = if insert.columns.is_empty() {
        Some(key.position)
    } else {
        insert.columns.iter().position(|column| *column == key.column)
    };
    let missing = || {
        refused(refusals::across(
            format!(
                "a row to insert into {} has no value for the shard key \"{}\"",
                target.name, key.column
            ),
            "Give the shard key of every row as a constant or parameter.",
        ))
    };
    let Some(position) = position else {
        return missing();
    };
    match &insert.source {
        InsertSource::Defaults => missing(),
        InsertSource::Values(rows) => {
            if !resolved.sharded.is_empty() {
                return refused(sources_elsewhere());
            }
            let keys: Option<Vec<_>> = rows
                .iter()
                .map(|row| match row.get(position) {
                    Some(Cell::Value(value)) => Some(value.clone()),
                    _ => None,
                })
                .collect();
            match keys {
                Some(keys) => {
                    let parts = insert_parts(statement, rows.len(), calls);
                    Skeleton::Rows(Box::new(Rows {
                        keys,
                        key_type: key.key_type,
                        parts,
                    }))
                }
                None => missing(),
            }
        }
        InsertSource::Query => match insert_select(resolved, key, position) {
            Some(keyed) => Skeleton::Keyed(Box::new(keyed)),
            None => refused(insert_select_refusal()),
        },
    }
}

fn insert_parts(statement: &Statement, rows: usize, calls: Calls) -> Result<InsertParts, Refusal> {
    if rows > 1 && calls.foreign_code {
        return Err(refusals::across(
            "the rows belong to several shards, and a function in them may read other tables",
            "Insert the rows of each shard key by a statement of its own.",
        ));
    }
    let pieces = sql::rewrite::insert(statement).map_err(|error| {
        refusals::across(
            format!("the statement cannot be written for single shards: {error}"),
            "Insert the rows of each shard key by a statement of its own.",
        )
    })?;
    Ok(InsertParts {
        head: PartPieces(pieces.head),
        rows: pieces.rows.into_iter().map(PartPieces).collect(),
        tail: PartPieces(pieces.tail),
    })
}

/// INSERT ... SELECT: the rows read and the rows written must be of one slot.
fn insert_select(resolved: &Resolved<'_>, key: &ShardKey, position: usize) -> Option<Keyed> {
    let outputs = &resolved.block(0)?.outputs;
    // A star before the key's place would shift it.
    let plain = outputs
        .iter()
        .take(position + 1)
        .all(|o| !matches!(o.kind, OutputKind::Star { .. }));
    let written = match outputs.get(position).filter(|_| plain).map(|output| &output.kind) {
        Some(OutputKind::Value(value)) => Some(KeyExpr::Stored(value.clone(), key.key_type)),
        Some(OutputKind::Column(column)) => {
            let node: Option<Node> = resolved.resolve(0, column);
            node.and_then(|node| passed_key(resolved, &node, key))
        }
        _ => star_key(resolved, position, key),
    };
    let mut bindings: Vec<Option<KeyExpr>> = vec![Some(written?)];
    bindings.extend(
        resolved
            .sharded
            .iter()
            .map(|relation| resolved.binding(relation).cloned()),
    );
    Some(Keyed {
        bindings,
        set_key: None,
        across: Across::Refuse(insert_select_refusal()),
        cache: None,
    })
}

fn insert_select_refusal() -> Refusal {
    refusals::across(
        "INSERT ... SELECT reads or writes rows of several shards",
        "Bind the shard key of every table in it to the same constant or parameter.",
    )
}

/// The key's column in `SELECT *` of one table.
fn star_key(resolved: &Resolved<'_>, position: usize, key: &ShardKey) -> Option<KeyExpr> {
    let block = resolved.block(0)?;
    let ([output], [relation]) = (block.outputs.as_slice(), block.relations.as_slice()) else {
        return None;
    };
    if !matches!(output.kind, OutputKind::Star { .. }) || !relation.columns.is_empty() {
        return None;
    }
    let id = RelationId {
        block: 0,
        relation: 0,
    };
    let column = resolved.placed.get(&id)?.table?.columns.get(position)?;
    let node = Node {
        relation: id,
        column: column.name.clone(),
    };
    passed_key(resolved, &node, key)
}

/// What binds a column whose values become keys: of the same type, since an assignment may cast, and not NULL for want of a
/// match.
fn passed_key(resolved: &Resolved<'_>, node: &Node, key: &ShardKey) -> Option<KeyExpr> {
    // A subquery may give NULL in its turn.
    resolved.placed.get(&node.relation)?;
    let block = resolved.block(node.relation.block)?;
    if block.relations.get(node.relation.relation)?.nullable {
        return None;
    }
    let same = resolved
        .node_type(node)
        .is_some_and(|from| same_family(from, key.key_type));
    resolved.binding_of(node).filter(|_| same).cloned()
}
