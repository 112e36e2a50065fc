//! Which values a statement binds the shard keys of its tables to, and which tables it joins on their keys.
//!
//! Columns that conditions equate are nodes of a graph. An edge from a to b says: where a has a value, only rows of b's
//! relation with that same value matter. Inner joins give edges both ways; an outer join only towards the side that may be
//! NULL; a correlated subquery only inwards. A relation's key is bound when a constant is reachable against the edges.

use crate::resolve::{Place, Placed, Scope, ShardKey, key_type, same_family};
use sql::{Block, BlockId, Bound, Clause, ColumnRef, Condition, Operand, OutputKind, Query, Source, Value};
use std::collections::BTreeMap;
use topology::KeyType;

/// The values that a key is bound to: only rows with one of them matter.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum KeyExpr {
    /// Exactly one value, compared with a column of this type.
    One(Value, KeyType),
    /// Exactly one value, stored into a column of this type.
    Stored(Value, KeyType),
    /// One of several.
    Many(Vec<Value>, KeyType),
    /// An element of an array.
    Array(Value, KeyType),
    /// What one of several branches of OR binds.
    Union(Vec<KeyExpr>),
}

/// A relation of a query: its block and its place in FROM.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct RelationId {
    pub(crate) block: usize,
    pub(crate) relation: usize,
}

/// A column of a relation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Node {
    pub(crate) relation: RelationId,
    pub(crate) column: String,
}

/// A sharded relation of a query.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ShardedRelation {
    pub(crate) id: RelationId,
    pub(crate) key: ShardKey,
    pub(crate) name: String,
    pub(crate) nullable: bool,
}

/// A query with its names resolved.
pub(crate) struct Resolved<'a> {
    pub(crate) query: &'a Query,
    pub(crate) placed: BTreeMap<RelationId, Placed<'a>>,
    pub(crate) sharded: Vec<ShardedRelation>,
    edges: BTreeMap<Node, Vec<Node>>,
    bound: BTreeMap<Node, KeyExpr>,
}

impl<'a> Resolved<'a> {
    pub(crate) fn new(query: &'a Query, scope: &Scope<'a>) -> Self {
        let mut resolved = Self {
            query,
            placed: BTreeMap::new(),
            sharded: Vec::new(),
            edges: BTreeMap::new(),
            bound: BTreeMap::new(),
        };
        resolved.place(scope);
        // Inner blocks come after the blocks around them; a column's type is passed outwards.
        for block in (0..query.blocks.len()).rev() {
            resolved.subqueries(block);
        }
        for block in 0..query.blocks.len() {
            resolved.conditions(block);
        }
        resolved
    }

    fn place(&mut self, scope: &Scope<'a>) {
        for (block, facts) in self.query.blocks.iter().enumerate() {
            for (relation, item) in facts.relations.iter().enumerate() {
                let Source::Table(name) = &item.source else {
                    continue;
                };
                let id = RelationId { block, relation };
                let placed = scope.place(name);
                if let Place::Sharded(key) = &placed.place {
                    self.sharded.push(ShardedRelation {
                        id,
                        key: key.clone(),
                        name: placed.name.name.clone(),
                        nullable: item.nullable,
                    });
                }
                self.placed.insert(id, placed);
            }
        }
    }

    pub(crate) fn block(&self, index: usize) -> Option<&'a Block> {
        self.query.blocks.get(index)
    }

    /// The values that the key of a sharded relation is bound to.
    pub(crate) fn binding(&self, relation: &ShardedRelation) -> Option<&KeyExpr> {
        self.binding_of(&Node {
            relation: relation.id,
            column: relation.key.column.clone(),
        })
    }

    /// The values that a column is bound to: its own, or those of a column from which an edge path leads here.
    pub(crate) fn binding_of(&self, node: &Node) -> Option<&KeyExpr> {
        let reaching = self
            .bound
            .iter()
            .filter(|(from, _)| *from == node || self.reaches(from, node));
        // One value routes best.
        reaching
            .map(|(_, expr)| expr)
            .min_by_key(|expr| !matches!(expr, KeyExpr::One(..)))
    }

    /// Whether only rows of `to` with `from`'s value matter.
    fn reaches(&self, from: &Node, to: &Node) -> bool {
        let mut seen = vec![from];
        let mut next = 0;
        while let Some(node) = seen.get(next).copied() {
            next += 1;
            for neighbour in self.edges.get(node).into_iter().flatten() {
                if neighbour == to {
                    return true;
                }
                if !seen.contains(&neighbour) {
                    seen.push(neighbour);
                }
            }
        }
        false
    }

    /// Whether every sharded relation is joined to `root` on the keys, so that each shard's part of the answer needs no
    /// other shard.
    pub(crate) fn colocated_with(&self, root: &ShardedRelation) -> bool {
        let from = Node {
            relation: root.id,
            column: root.key.column.clone(),
        };
        self.sharded.iter().filter(|r| r.id != root.id).all(|other| {
            let to = Node {
                relation: other.id,
                column: other.key.column.clone(),
            };
            other.key.colocation == root.key.colocation && self.reaches(&from, &to)
        })
    }

    fn edge(&mut self, from: &Node, to: &Node) {
        if let (Some(a), Some(b)) = (self.node_type(from), self.node_type(to))
            && same_family(a, b)
        {
            self.edges.entry(from.clone()).or_default().push(to.clone());
        }
    }

    fn conditions(&mut self, block: usize) {
        let Some(facts) = self.block(block) else { return };
        for scoped in &facts.conditions {
            self.holds(block, &scoped.condition, scoped.binds.as_deref());
        }
    }

    /// A condition that holds for every row that matters of the relations that it binds.
    fn holds(&mut self, block: usize, condition: &'a Condition, binds: Option<&[usize]>) {
        match condition {
            Condition::And(all) => all.iter().for_each(|part| self.holds(block, part, binds)),
            Condition::Equal(Operand::Column(a), Operand::Column(b)) => self.equate(block, a, b, binds),
            Condition::Using { left, right, column } => self.using(block, left, right, column, binds),
            Condition::InQuery(column, inner) => self.in_query(block, column, *inner, binds),
            _ => self.bind(block, condition, binds),
        }
    }

    fn equate(&mut self, block: usize, a: &ColumnRef, b: &ColumnRef, binds: Option<&[usize]>) {
        let (Some(a), Some(b)) = (self.resolve(block, a), self.resolve(block, b)) else {
            return;
        };
        self.equate_nodes(block, &a, &b, binds);
    }

    fn equate_nodes(&mut self, block: usize, a: &Node, b: &Node, binds: Option<&[usize]>) {
        // Rows of outer queries are not restricted by what a subquery says of them.
        let restricted = |node: &Node| {
            node.relation.block == block && binds.is_none_or(|list| list.contains(&node.relation.relation))
        };
        if restricted(b) {
            self.edge(a, b);
        }
        if restricted(a) {
            self.edge(b, a);
        }
    }

    fn using(
        &mut self,
        block: usize,
        left: &[usize],
        right: &[usize],
        column: &str,
        binds: Option<&[usize]>,
    ) {
        let having = |this: &Self, side: &[usize]| {
            side.iter()
                .map(|&relation| RelationId { block, relation })
                .find_map(|id| {
                    this.column_of(id, column)
                        .map(|column| Node { relation: id, column })
                })
        };
        if let (Some(a), Some(b)) = (having(self, left), having(self, right)) {
            self.equate_nodes(block, &a, &b, binds);
        }
    }

    fn in_query(&mut self, block: usize, column: &ColumnRef, inner: BlockId, binds: Option<&[usize]>) {
        let Some(outer) = self.resolve(block, column) else {
            return;
        };
        let Some([output]) = self.block(inner.0).map(|b| b.outputs.as_slice()) else {
            return;
        };
        let OutputKind::Column(reference) = &output.kind else {
            return;
        };
        let Some(source) = self.resolve(inner.0, reference) else {
            return;
        };
        if source.relation.block != inner.0 {
            return;
        }
        if self.is_transparent(inner.0) {
            self.edge(&outer, &source);
        }
        if outer.relation.block == block && binds.is_none_or(|list| list.contains(&outer.relation.relation)) {
            self.edge(&source, &outer);
        }
    }

    /// Whether filtering the block's answer by a column is filtering its rows by that column.
    fn is_transparent(&self, block: usize) -> bool {
        const OPAQUE: [Clause; 7] = [
            Clause::DistinctOn,
            Clause::GroupBy,
            Clause::Having,
            Clause::Window,
            Clause::SetOperation,
            Clause::Sample,
            Clause::Unknown,
        ];
        self.block(block).is_some_and(|facts| {
            facts.shape.limit == Bound::None
                && facts.shape.offset == Bound::None
                && !OPAQUE.iter().any(|clause| facts.shape.has(*clause))
                // A call may be an aggregate.
                && !self.query.functions.iter().any(|call| call.block.0 == block)
        })
    }

    /// Edges between the columns of subqueries in FROM and the columns that they pass through.
    fn subqueries(&mut self, block: usize) {
        let Some(facts) = self.block(block) else { return };
        for (relation, item) in facts.relations.iter().enumerate() {
            let (inner, once) = match item.source {
                Source::Subquery(inner) => (inner, true),
                Source::With(inner) => (inner, self.references(inner) == 1),
                _ => continue,
            };
            let inward = once && self.is_transparent(inner.0);
            for (position, output) in self
                .block(inner.0)
                .map_or(&[][..], |b| &b.outputs)
                .iter()
                .enumerate()
            {
                let mut passed = Vec::new();
                match &output.kind {
                    OutputKind::Column(reference) => {
                        let name = output.name.as_ref().unwrap_or(&reference.column);
                        // Column aliases rename by position, which a star before would shift.
                        let name = item.columns.get(position).unwrap_or(name);
                        passed.push((name.clone(), self.resolve(inner.0, reference)));
                    }
                    OutputKind::Star { relation } if item.columns.is_empty() => {
                        passed.extend(self.star_columns(inner.0, relation.as_deref()));
                    }
                    _ => {}
                }
                for (column, source) in passed {
                    let Some(source) = source.filter(|s| s.relation.block == inner.0) else {
                        continue;
                    };
                    let outer = Node {
                        relation: RelationId { block, relation },
                        column,
                    };
                    // The types are the same: it is the same column.
                    self.edges.entry(source.clone()).or_default().push(outer.clone());
                    if inward {
                        self.edges.entry(outer).or_default().push(source);
                    }
                }
            }
        }
    }

    /// How often the query names a WITH.
    fn references(&self, with: BlockId) -> usize {
        let relations = self.query.blocks.iter().flat_map(|block| &block.relations);
        relations
            .filter(|r| matches!(r.source, Source::With(b) | Source::WithSelf(b) if b == with))
            .count()
    }

    fn star_columns(&self, block: usize, alias: Option<&str>) -> Vec<(String, Option<Node>)> {
        let Some(facts) = self.block(block) else {
            return Vec::new();
        };
        let mut columns: Vec<(String, Option<Node>)> = Vec::new();
        for (relation, item) in facts.relations.iter().enumerate() {
            if alias.is_some_and(|alias| alias != item.alias) || !item.columns.is_empty() {
                continue;
            }
            let id = RelationId { block, relation };
            let Some(table) = self.placed.get(&id).and_then(|placed| placed.table) else {
                continue;
            };
            for column in &table.columns {
                match columns.iter_mut().find(|(name, _)| *name == column.name) {
                    // Two columns of one name: neither can be named from outside.
                    Some((_, node)) => *node = None,
                    None => {
                        let node = Node {
                            relation: id,
                            column: column.name.clone(),
                        };
                        columns.push((column.name.clone(), Some(node)));
                    }
                }
            }
        }
        columns
    }

    /// Records what a condition binds to values.
    fn bind(&mut self, block: usize, condition: &Condition, binds: Option<&[usize]>) {
        let mut columns = Vec::new();
        named_columns(condition, &mut columns);
        for column in columns {
            let Some(node) = self.resolve(block, column) else {
                continue;
            };
            let restricted = node.relation.block == block
                && binds.is_none_or(|list| list.contains(&node.relation.relation));
            if !restricted
                || self
                    .bound
                    .get(&node)
                    .is_some_and(|b| matches!(b, KeyExpr::One(..)))
            {
                continue;
            }
            if let Some(expr) = self.key_expr(block, condition, &node) {
                self.bound.insert(node, expr);
            }
        }
    }

    /// What a condition binds a column to; every branch of OR must bind it.
    fn key_expr(&self, block: usize, condition: &Condition, node: &Node) -> Option<KeyExpr> {
        let is_node = |column: &ColumnRef| self.resolve(block, column).as_ref() == Some(node);
        let key_type = self.node_type(node)?;
        match condition {
            Condition::Equal(Operand::Column(column), Operand::Value(value))
            | Condition::Equal(Operand::Value(value), Operand::Column(column))
                if is_node(column) =>
            {
                Some(KeyExpr::One(value.clone(), key_type))
            }
            Condition::In(column, values) if is_node(column) => Some(KeyExpr::Many(values.clone(), key_type)),
            Condition::Any(column, value) if is_node(column) => Some(KeyExpr::Array(value.clone(), key_type)),
            Condition::And(all) => all.iter().find_map(|part| self.key_expr(block, part, node)),
            Condition::Or(all) => {
                let branches: Option<Vec<_>> =
                    all.iter().map(|part| self.key_expr(block, part, node)).collect();
                branches.map(KeyExpr::Union)
            }
            _ => None,
        }
    }

    /// The key type of a column; `None` for one that can't be a key, or isn't known.
    pub(crate) fn node_type(&self, node: &Node) -> Option<KeyType> {
        if let Some(table) = self.placed.get(&node.relation).and_then(|placed| placed.table) {
            let (_, column) = table.column(&node.column)?;
            let plain = column.collation != crate::Collation::Nondeterministic;
            return key_type(&column.type_name).filter(|_| plain);
        }
        // A column of a subquery has the type of the column that it passes through.
        let mut sources = self
            .edges
            .iter()
            .filter(|(from, to)| from.relation.block > node.relation.block && to.contains(node));
        sources.find_map(|(from, _)| self.node_type(from))
    }

    /// The column that a reference in `block` names.
    pub(crate) fn resolve(&self, block: usize, reference: &ColumnRef) -> Option<Node> {
        let facts = self.block(block)?;
        let candidates = facts
            .relations
            .iter()
            .enumerate()
            .filter(|(_, item)| match &reference.relation {
                Some(alias) => {
                    *alias == item.alias
                        && (reference.schema.is_none()
                            || (!item.aliased && schema_of(item) == reference.schema.as_deref()))
                }
                None => true,
            });
        for (relation, _) in candidates {
            let id = RelationId { block, relation };
            if let Some(column) = self.column_of(id, &reference.column) {
                return Some(Node { relation: id, column });
            }
            if reference.relation.is_some() {
                return None;
            }
        }
        // A relation whose columns aren't known may be what is meant: then nothing further out is.
        let hidden = reference.relation.is_none()
            && (0..facts.relations.len()).any(|relation| self.is_unknown(RelationId { block, relation }));
        if hidden {
            None
        } else {
            self.resolve(facts.parent?.0, reference)
        }
    }

    fn is_unknown(&self, id: RelationId) -> bool {
        match self.relation(id).map(|item| &item.source) {
            Some(Source::Table(_)) => self.placed.get(&id).is_none_or(|placed| placed.table.is_none()),
            _ => true,
        }
    }

    fn relation(&self, id: RelationId) -> Option<&'a sql::Relation> {
        self.block(id.block)?.relations.get(id.relation)
    }

    /// The catalog's (or subquery's) name of a relation's column `name`; `None` if it has none.
    fn column_of(&self, id: RelationId, name: &str) -> Option<String> {
        let item = self.relation(id)?;
        match &item.source {
            Source::Table(_) => {
                let table = self.placed.get(&id)?.table?;
                if let Some(position) = item.columns.iter().position(|alias| alias == name) {
                    return table.columns.get(position).map(|column| column.name.clone());
                }
                let (position, column) = table.column(name)?;
                (position >= item.columns.len()).then(|| column.name.clone())
            }
            Source::Subquery(inner) | Source::With(inner) => {
                if item.columns.iter().any(|alias| alias == name) {
                    return Some(name.to_owned());
                }
                let outputs = &self.block(inner.0)?.outputs;
                let named = outputs.iter().filter(|o| match (&o.name, &o.kind) {
                    (Some(given), _) => given == name,
                    (None, OutputKind::Column(column)) => column.column == name,
                    (None, OutputKind::Star { relation }) => self
                        .star_columns(inner.0, relation.as_deref())
                        .iter()
                        .any(|(column, _)| column == name),
                    _ => false,
                });
                (named.count() == 1).then(|| name.to_owned())
            }
            Source::WithSelf(_) | Source::Rows => None,
        }
    }
}

fn schema_of(item: &sql::Relation) -> Option<&str> {
    match &item.source {
        Source::Table(name) => name.schema.as_deref(),
        _ => None,
    }
}

fn named_columns<'c>(condition: &'c Condition, columns: &mut Vec<&'c ColumnRef>) {
    match condition {
        Condition::And(all) | Condition::Or(all) => all.iter().for_each(|part| named_columns(part, columns)),
        Condition::Equal(a, b) => {
            for operand in [a, b] {
                if let Operand::Column(column) = operand {
                    columns.push(column);
                }
            }
        }
        Condition::In(column, _) | Condition::Any(column, _) => columns.push(column),
        Condition::Using { .. } | Condition::InQuery(..) | Condition::Other => {}
    }
}
