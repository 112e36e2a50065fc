//! Reads over several shards that merge exactly.

use super::{Calls, Places, is_table};
use crate::catalog::{Collation, Column, Volatility};
use crate::keys::Resolved;
use crate::plan::Refusal;
use crate::refusals;
use crate::resolve::Scope;
use crate::template::Scatter;
use crate::text::PartPieces;
use merge::{Aggregate, ColumnType, MergeKind, OrderKey};
use sql::{Block, Bound, CallArgument, Clause, ColumnRef, OutputKind, SortBy, SortKey, Statement};

/// How the shards' answers become one, or why they can't.
pub(super) fn scatter(
    statement: &Statement,
    resolved: &Resolved<'_>,
    places: &Places,
    calls: Calls,
    scope: &Scope<'_>,
) -> Result<Scatter, Refusal> {
    let block = resolved
        .block(0)
        .ok_or_else(|| refusals::across("the statement is empty", ""))?;
    shape(block)?;
    colocated(resolved, block)?;
    functions(places, calls)?;
    let aggregates = has_aggregate(resolved, scope);
    if aggregates {
        aggregated(resolved, block)
    } else {
        rows(statement, resolved, block)
    }
}

/// Clauses whose merging isn't done.
fn shape(block: &Block) -> Result<(), Refusal> {
    const REFUSED: [(Clause, &str); 11] = [
        (Clause::GroupBy, "GROUP BY"),
        (Clause::Having, "HAVING"),
        (Clause::Distinct, "DISTINCT"),
        (Clause::DistinctOn, "DISTINCT ON"),
        (Clause::Window, "a window function"),
        (Clause::SetOperation, "UNION, INTERSECT or EXCEPT"),
        (Clause::Locking, "FOR UPDATE or FOR SHARE"),
        (Clause::WithTies, "FETCH FIRST ... WITH TIES"),
        (Clause::Sample, "TABLESAMPLE"),
        (Clause::FullJoin, "FULL JOIN"),
        (Clause::Values, "VALUES"),
    ];
    match REFUSED.iter().find(|(clause, _)| block.shape.has(*clause)) {
        Some((_, name)) => Err(refusals::across(
            format!("{name} over several shards is not supported"),
            refusals::BIND_KEY,
        )),
        None => Ok(()),
    }
}

/// Every sharded table must be joined on the key with one whose rows all count, so that each shard's part is complete.
fn colocated(resolved: &Resolved<'_>, block: &Block) -> Result<(), Refusal> {
    let subquery = block
        .relations
        .iter()
        .any(|item| !is_table(&item.source) && item.source != sql::Source::Rows);
    let root = resolved
        .sharded
        .iter()
        .find(|relation| relation.id.block == 0 && !relation.nullable && resolved.colocated_with(relation));
    match root {
        Some(_) if !subquery => Ok(()),
        Some(_) => Err(refusals::across(
            "a subquery in FROM or WITH over several shards is not supported",
            refusals::BIND_KEY,
        )),
        None if resolved.sharded.iter().all(|relation| relation.id.block != 0) => Err(refusals::across(
            "a sharded table in a subquery is not bound to one shard",
            refusals::BIND_KEY,
        )),
        None => Err(refusals::across(
            "sharded tables are joined on other columns than their shard keys, or on the side of an outer join that may \
             be missing",
            refusals::JOIN_KEY,
        )),
    }
}

fn functions(places: &Places, calls: Calls) -> Result<(), Refusal> {
    if places.systems > 0 {
        return Err(refusals::across(
            "catalog tables differ from shard to shard and cannot be joined with sharded tables",
            refusals::BIND_KEY,
        ));
    }
    if calls.foreign_code || calls.volatility == Volatility::Volatile {
        return Err(refusals::across(
            "the statement calls a function that is volatile, or that may read other tables",
            refusals::BIND_KEY,
        ));
    }
    Ok(())
}

fn has_aggregate(resolved: &Resolved<'_>, scope: &Scope<'_>) -> bool {
    let calls = resolved.query.functions.iter().filter(|call| call.block.0 == 0);
    calls.into_iter().any(|call| {
        let builtin = call.function.schema.as_deref().is_none_or(|s| s == "pg_catalog");
        let merged = builtin && matches!(call.function.name.as_str(), "count" | "sum" | "min" | "max");
        merged || scope.function(call).aggregate
    })
}

/// One row of count, sum, min and max.
fn aggregated(resolved: &Resolved<'_>, block: &Block) -> Result<Scatter, Refusal> {
    let plain = block.shape.order.is_empty()
        && block.shape.limit == Bound::None
        && block.shape.offset == Bound::None
        && !resolved
            .query
            .functions
            .iter()
            .any(|call| call.block.0 == 0 && call.syntax == sql::CallSyntax::AggregateModified);
    if !plain {
        return Err(refusals::across(
            "aggregates with DISTINCT, ORDER BY, LIMIT or OFFSET over several shards are not supported",
            refusals::BIND_KEY,
        ));
    }
    let aggregates: Result<Vec<Aggregate>, Refusal> = block
        .outputs
        .iter()
        .map(|output| aggregate(resolved, &output.kind))
        .collect();
    let aggregates = aggregates?;
    // One call for each output, and no other call: nothing is computed from an aggregate.
    let calls = resolved
        .query
        .functions
        .iter()
        .filter(|call| call.block.0 == 0)
        .count();
    if calls != aggregates.len() {
        return Err(aggregate_refusal("an expression over an aggregate"));
    }
    Ok(Scatter {
        columns: aggregates.len(),
        kind: MergeKind::Aggregates(aggregates),
        hidden_columns: 0,
        limit: Bound::None,
        offset: Bound::None,
        text: None,
    })
}

fn aggregate_refusal(what: &str) -> Refusal {
    refusals::across(
        format!("{what} over several shards is not supported"),
        "Over several shards, every column of an aggregate query must be count, sum, min or max of a plain column.",
    )
}

fn aggregate(resolved: &Resolved<'_>, output: &OutputKind) -> Result<Aggregate, Refusal> {
    let OutputKind::Call { function, argument } = output else {
        return Err(aggregate_refusal("a column beside an aggregate"));
    };
    let builtin = function
        .schema
        .as_deref()
        .is_none_or(|schema| schema == "pg_catalog");
    let column = match argument {
        CallArgument::Column(column) => base_column(resolved, column),
        CallArgument::Star | CallArgument::Other => None,
    };
    let compared = column.and_then(column_type);
    match (function.name.as_str(), compared) {
        ("count", _) if builtin => Ok(Aggregate::Count),
        ("min", Some(column)) if builtin && column != ColumnType::Uuid && column != ColumnType::Bool => {
            Ok(Aggregate::Min(column))
        }
        ("max", Some(column)) if builtin && column != ColumnType::Uuid && column != ColumnType::Bool => {
            Ok(Aggregate::Max(column))
        }
        // The shards answer in bigint, and in numeric where bigint might not do.
        ("sum", Some(ColumnType::Int2 | ColumnType::Int4)) if builtin => Ok(Aggregate::Sum(ColumnType::Int8)),
        ("sum", Some(ColumnType::Int8 | ColumnType::Numeric)) if builtin => {
            Ok(Aggregate::Sum(ColumnType::Numeric))
        }
        (name, _) => Err(aggregate_refusal(&format!("{name}() of this argument"))),
    }
}

/// The table column that a reference names.
fn base_column<'a>(resolved: &Resolved<'a>, reference: &ColumnRef) -> Option<&'a Column> {
    let node = resolved.resolve(0, reference)?;
    let table = resolved.placed.get(&node.relation)?.table?;
    table.column(&node.column).map(|(_, column)| column)
}

/// How values of a column compare; `None` where this proxy can't compare them as the server does.
fn column_type(column: &Column) -> Option<ColumnType> {
    let by_bytes = column.collation == Collation::Bytes;
    Some(match column.type_name.as_str() {
        "bool" => ColumnType::Bool,
        "int2" => ColumnType::Int2,
        "int4" => ColumnType::Int4,
        "int8" => ColumnType::Int8,
        "numeric" => ColumnType::Numeric,
        "float4" => ColumnType::Float4,
        "float8" => ColumnType::Float8,
        "text" | "varchar" if by_bytes => ColumnType::TextByBytes,
        "bpchar" if by_bytes => ColumnType::BpcharByBytes,
        "bytea" => ColumnType::Bytea,
        "uuid" => ColumnType::Uuid,
        "date" => ColumnType::Date,
        "timestamp" => ColumnType::Timestamp,
        "timestamptz" => ColumnType::TimestampTz,
        _ => return None,
    })
}

/// Rows, perhaps in order.
fn rows(statement: &Statement, resolved: &Resolved<'_>, block: &Block) -> Result<Scatter, Refusal> {
    if block.shape.limit == Bound::Other || block.shape.offset == Bound::Other {
        return Err(refusals::across(
            "LIMIT or OFFSET is an expression",
            "Write LIMIT and OFFSET as whole numbers or bigint parameters.",
        ));
    }
    let mut columns = visible_columns(resolved, block)?;
    let visible = columns.len();
    let mut hidden: Vec<ColumnRef> = Vec::new();
    let mut order = Vec::with_capacity(block.shape.order.len());
    for key in &block.shape.order {
        order.push(order_key(resolved, key, &mut columns, visible, &mut hidden)?);
    }
    let rewritten = !hidden.is_empty() || block.shape.offset != Bound::None;
    let text = if rewritten {
        Some(print(statement, &hidden)?)
    } else {
        None
    };
    Ok(Scatter {
        kind: MergeKind::Rows { order },
        hidden_columns: hidden.len(),
        columns: columns.len(),
        limit: block.shape.limit.clone(),
        offset: block.shape.offset.clone(),
        text,
    })
}

fn print(statement: &Statement, hidden: &[ColumnRef]) -> Result<PartPieces, Refusal> {
    sql::rewrite::scatter(statement, hidden)
        .map(PartPieces)
        .map_err(|error| {
            refusals::across(
                format!("the statement cannot be written for single shards: {error}"),
                refusals::BIND_KEY,
            )
        })
}

/// A column of the shards' answers.
struct Shown {
    /// The name under which ORDER BY finds it.
    name: Option<String>,
    /// The relation and column that it shows.
    node: Option<crate::keys::Node>,
}

fn visible_columns(resolved: &Resolved<'_>, block: &Block) -> Result<Vec<Shown>, Refusal> {
    if block.shape.has(Clause::OpenColumns) {
        return Err(refusals::across(
            "the columns of the answer cannot be told",
            "Name the columns in place of *, and write JOIN ... ON in place of NATURAL JOIN.",
        ));
    }
    let mut columns = Vec::new();
    for output in &block.outputs {
        match &output.kind {
            OutputKind::Star { relation } => star(resolved, block, relation.as_deref(), &mut columns)?,
            OutputKind::Column(column) => columns.push(Shown {
                name: Some(output.name.clone().unwrap_or_else(|| column.column.clone())),
                node: resolved.resolve(0, column),
            }),
            _ => columns.push(Shown {
                name: output.name.clone(),
                node: None,
            }),
        }
    }
    Ok(columns)
}

fn star(
    resolved: &Resolved<'_>,
    block: &Block,
    alias: Option<&str>,
    columns: &mut Vec<Shown>,
) -> Result<(), Refusal> {
    let merged = block
        .conditions
        .iter()
        .any(|c| matches!(c.condition, sql::Condition::Using { .. }));
    for (relation, item) in block.relations.iter().enumerate() {
        if alias.is_some_and(|alias| alias != item.alias) {
            continue;
        }
        let id = crate::keys::RelationId { block: 0, relation };
        let table = resolved.placed.get(&id).and_then(|placed| placed.table);
        let Some(table) = table.filter(|_| item.columns.is_empty() && !(merged && alias.is_none())) else {
            return Err(refusals::across(
                "the columns of * cannot be told",
                "Name the columns in place of *.",
            ));
        };
        columns.extend(table.columns.iter().map(|column| Shown {
            name: Some(column.name.clone()),
            node: Some(crate::keys::Node {
                relation: id,
                column: column.name.clone(),
            }),
        }));
    }
    Ok(())
}

fn order_key(
    resolved: &Resolved<'_>,
    key: &SortKey,
    columns: &mut Vec<Shown>,
    visible: usize,
    hidden: &mut Vec<ColumnRef>,
) -> Result<OrderKey, Refusal> {
    let unknown = || {
        refusals::across(
            "ORDER BY an expression over several shards is not supported",
            "Order by a column of a sharded or reference table.",
        )
    };
    let column = match &key.by {
        SortBy::Ordinal(number) => number
            .checked_sub(1)
            .filter(|n| *n < visible)
            .ok_or_else(unknown)?,
        SortBy::Column(reference) => {
            place(resolved, reference, columns, visible, hidden).ok_or_else(unknown)?
        }
        SortBy::Other => return Err(unknown()),
    };
    let node = columns
        .get(column)
        .and_then(|shown| shown.node.as_ref())
        .ok_or_else(unknown)?;
    let table = resolved
        .placed
        .get(&node.relation)
        .and_then(|placed| placed.table);
    let (_, found) = table
        .and_then(|table| table.column(&node.column))
        .ok_or_else(unknown)?;
    let column_type = column_type(found).ok_or_else(|| {
        refusals::across(
            format!(
                "the order of column \"{}\" depends on its collation or type, which is not known here",
                found.name
            ),
            "Order by a number, a time, or text under COLLATE \"C\".",
        )
    })?;
    let nulls_first = key.nulls_first.unwrap_or(key.descending);
    Ok(OrderKey {
        column,
        column_type,
        descending: key.descending,
        nulls_first,
    })
}

/// The place of an ORDER BY column among the shards' columns; a hidden one is added if it isn't shown.
fn place(
    resolved: &Resolved<'_>,
    reference: &ColumnRef,
    columns: &mut Vec<Shown>,
    visible: usize,
    hidden: &mut Vec<ColumnRef>,
) -> Option<usize> {
    // A bare name is an output's name first, as in PostgreSQL.
    if reference.relation.is_none() {
        let mut named = columns
            .iter()
            .take(visible)
            .enumerate()
            .filter(|(_, shown)| shown.name.as_ref() == Some(&reference.column));
        if let Some((first, shown)) = named.next() {
            let same = named.all(|(_, other)| other.node.is_some() && other.node == shown.node);
            return same.then_some(first);
        }
    }
    let node = resolved.resolve(0, reference)?;
    if let Some(shown) = columns
        .iter()
        .position(|shown| shown.node.as_ref() == Some(&node))
    {
        return Some(shown);
    }
    columns.push(Shown {
        name: None,
        node: Some(node),
    });
    hidden.push(reference.clone());
    Some(columns.len() - 1)
}
