//! Which reads the cache may answer: those of one table by its whole primary key or by its shard key, and nothing else.

use super::Calls;
use crate::catalog::{TableKind, Volatility};
use crate::keys::{Resolved, ShardedRelation};
use crate::plan::{CacheBy, CacheTemplate};
use crate::resolve::{Scope, key_type};
use crate::template::CacheSkeleton;
use sql::{Block, CacheHint, Command, Condition, HintLevel, Hints, Operand, OutputKind, Value};
use std::sync::Arc;
use topology::{CachePolicy, KeyType};

/// The cache plan of a query; `None`: never from the cache, never into it.
pub(super) fn skeleton(
    resolved: &Resolved<'_>,
    calls: Calls,
    scope: &Scope<'_>,
    hints: Hints,
) -> Option<CacheSkeleton> {
    let query = resolved.query;
    let [block] = query.blocks.as_slice() else {
        return None;
    };
    let [relation] = block.relations.as_slice() else {
        return None;
    };
    let placed = resolved.placed.values().next()?;
    let plain = query.command == Command::Select
        && query.into.is_none()
        && block.shape.clauses.is_empty()
        && block.shape.order.is_empty()
        && block.shape.limit == sql::Bound::None
        && block.shape.offset == sql::Bound::None
        && query.functions.is_empty()
        && calls.volatility == Volatility::Immutable
        && relation.columns.is_empty();
    let table = placed.table?;
    // What changes in a table that isn't published nobody would hear of.
    let cacheable = matches!(table.kind, TableKind::Ordinary | TableKind::Partitioned)
        && !table.row_security
        && table.published;
    if !plain || !cacheable || !block.outputs.iter().all(is_column) {
        return None;
    }
    let policy = tightened(scope.tables.get(&placed.name)?.cache.as_ref()?, hints)?;
    let equalities = equalities(resolved, block)?;
    let (by, key_columns) = key(table, resolved.sharded.first(), &equalities)?;
    let row_key = match by {
        CacheBy::PrimaryKey => Vec::new(),
        CacheBy::ShardKey => row_key(table, block, key_columns.first()?)?,
    };
    let values: Option<Vec<(Value, KeyType)>> = key_columns
        .iter()
        .map(|column| {
            let (_, value) = equalities.iter().find(|(name, _)| name == column)?;
            let (_, found) = table.column(column)?;
            let plain = found.collation != crate::Collation::Nondeterministic;
            Some((value.clone(), key_type(&found.type_name).filter(|_| plain)?))
        })
        .collect();
    let template = CacheTemplate {
        table: placed.name.clone(),
        policy,
        key_columns,
        by,
        row_key,
    };
    Some(CacheSkeleton {
        template: Arc::new(template),
        values: values?,
    })
}

fn is_column(output: &sql::Output) -> bool {
    matches!(output.kind, OutputKind::Column(_) | OutputKind::Star { .. })
}

/// The policy with what hints ask for: they only tighten.
fn tightened(policy: &CachePolicy, hints: Hints) -> Option<CachePolicy> {
    if hints.cache == CacheHint::Off {
        return None;
    }
    let mut policy = policy.clone();
    match hints.level {
        Some(HintLevel::Strong) => return None,
        Some(HintLevel::Bounded(bound)) => policy.bound = policy.bound.min(bound),
        Some(HintLevel::Ryw) | None => {}
    }
    Some(policy)
}

/// The columns that WHERE compares with values, if it does nothing else.
fn equalities(resolved: &Resolved<'_>, block: &Block) -> Option<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for scoped in &block.conditions {
        collect(resolved, &scoped.condition, &mut found)?;
    }
    Some(found)
}

fn collect(resolved: &Resolved<'_>, condition: &Condition, found: &mut Vec<(String, Value)>) -> Option<()> {
    match condition {
        Condition::And(all) => all.iter().try_for_each(|part| collect(resolved, part, found)),
        Condition::Equal(Operand::Column(column), Operand::Value(value))
        | Condition::Equal(Operand::Value(value), Operand::Column(column)) => {
            let node = resolved.resolve(0, column)?;
            let again = found.iter().any(|(name, _)| *name == node.column);
            found.push((node.column, value.clone()));
            (!again).then_some(())
        }
        _ => None,
    }
}

/// Which key the equalities name exactly.
fn key(
    table: &crate::Table,
    sharded: Option<&ShardedRelation>,
    equalities: &[(String, Value)],
) -> Option<(CacheBy, Vec<String>)> {
    let names = |columns: &[String]| {
        columns.len() == equalities.len()
            && columns
                .iter()
                .all(|column| equalities.iter().any(|(name, _)| name == column))
    };
    if !table.primary_key.is_empty() && names(&table.primary_key) {
        return Some((CacheBy::PrimaryKey, table.primary_key.clone()));
    }
    let shard_key = vec![sharded?.key.column.clone()];
    names(&shard_key).then_some((CacheBy::ShardKey, shard_key))
}

/// Where the primary key stands in the answer; empty if it holds the shard key; `None`: the rows can't be told.
fn row_key(table: &crate::Table, block: &Block, shard_key: &String) -> Option<Vec<usize>> {
    if table.primary_key.is_empty() {
        return None;
    }
    if table.primary_key.contains(shard_key) {
        return Some(Vec::new());
    }
    let mut columns: Vec<&str> = Vec::new();
    for output in &block.outputs {
        match &output.kind {
            OutputKind::Column(column) => columns.push(&column.column),
            OutputKind::Star { .. } => {
                columns.extend(table.columns.iter().map(|column| column.name.as_str()))
            }
            _ => return None,
        }
    }
    table
        .primary_key
        .iter()
        .map(|key| columns.iter().position(|column| column == key))
        .collect()
}
