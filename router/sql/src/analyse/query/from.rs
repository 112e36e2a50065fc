//! FROM: relations, joins and what ON says of them.

use super::Walk;
use crate::analyse::leaf;
use crate::facts::{BlockId, BlockRole, Clause, Condition, Relation, ScopedCondition, Source};
use pg_query::NodeEnum;
use pg_query::protobuf::{self as pb, JoinType, Node};

impl Walk {
    /// Adds a FROM item to the block; `nullable`: an outer join may fill it with NULL.
    pub(super) fn add_from(&mut self, item: &Node, id: BlockId, nullable: bool) {
        match &item.node {
            Some(NodeEnum::RangeVar(relation)) => self.table(relation, id, nullable),
            Some(NodeEnum::JoinExpr(join)) => self.join(join, id, nullable),
            Some(NodeEnum::RangeSubselect(subquery)) => {
                let outer = self.blocks.get(id.0).and_then(|block| block.parent);
                let parent = if subquery.lateral { Some(id) } else { outer };
                let source = match subquery.subquery.as_deref().and_then(|n| n.node.as_ref()) {
                    Some(NodeEnum::SelectStmt(select)) => {
                        Source::Subquery(self.select(select, parent, BlockRole::From))
                    }
                    _ => {
                        self.mark_opaque(id);
                        Source::Rows
                    }
                };
                self.relation(source, subquery.alias.as_ref(), id, nullable);
            }
            Some(NodeEnum::RangeFunction(function)) => {
                self.expressions(&function.functions, id);
                self.relation(Source::Rows, function.alias.as_ref(), id, nullable);
            }
            Some(NodeEnum::RangeTableSample(sample)) => {
                self.mark(id, Clause::Sample);
                if let Some(relation) = &sample.relation {
                    self.add_from(relation, id, nullable);
                }
                self.expressions(&sample.args, id);
                if let Some(seed) = &sample.repeatable {
                    self.expression(seed, id);
                }
            }
            _ => {
                self.mark_opaque(id);
                self.relation(Source::Rows, None, id, nullable);
            }
        }
    }

    fn relation(&mut self, source: Source, alias: Option<&pb::Alias>, id: BlockId, nullable: bool) {
        let relation = Relation {
            source,
            alias: alias.map(|alias| alias.aliasname.clone()).unwrap_or_default(),
            aliased: true,
            columns: alias
                .map(|alias| leaf::owned_strings(&alias.colnames))
                .unwrap_or_default(),
            nullable,
            written: false,
        };
        self.with_block(id, |block| block.relations.push(relation));
    }

    fn table(&mut self, table: &pb::RangeVar, id: BlockId, nullable: bool) {
        let with = self
            .visible
            .iter()
            .rev()
            .find(|v| table.schemaname.is_empty() && v.name == table.relname);
        let source = match with {
            Some(visible) if visible.open => Source::WithSelf(visible.block),
            Some(visible) => Source::With(visible.block),
            None => Source::Table(leaf::range_var(table)),
        };
        let alias = table.alias.as_ref();
        let relation = Relation {
            source,
            alias: alias.map_or_else(|| table.relname.clone(), |alias| alias.aliasname.clone()),
            aliased: alias.is_some(),
            columns: alias
                .map(|alias| leaf::owned_strings(&alias.colnames))
                .unwrap_or_default(),
            nullable,
            written: false,
        };
        self.with_block(id, |block| block.relations.push(relation));
    }

    fn join(&mut self, join: &pb::JoinExpr, id: BlockId, nullable: bool) {
        let kind = join.jointype();
        if join.is_natural {
            self.mark(id, Clause::OpenColumns);
        }
        let left_nullable = nullable || matches!(kind, JoinType::JoinRight | JoinType::JoinFull);
        let right_nullable = nullable || matches!(kind, JoinType::JoinLeft | JoinType::JoinFull);
        let start = self.relation_count(id);
        if let Some(left) = &join.larg {
            self.add_from(left, id, left_nullable);
        }
        let middle = self.relation_count(id);
        if let Some(right) = &join.rarg {
            self.add_from(right, id, right_nullable);
        }
        let end = self.relation_count(id);
        let (left, right): (Vec<usize>, Vec<usize>) = ((start..middle).collect(), (middle..end).collect());
        let binds = match kind {
            JoinType::JoinInner => None,
            JoinType::JoinLeft => Some(right.clone()),
            JoinType::JoinRight => Some(left.clone()),
            // ON of a FULL JOIN leaves rows of both sides out of account.
            _ => {
                self.mark(id, Clause::FullJoin);
                Some(Vec::new())
            }
        };
        if let Some(condition) = &join.quals {
            self.restrict(condition, id, binds.clone());
        }
        for column in leaf::owned_strings(&join.using_clause) {
            let condition = Condition::Using {
                left: left.clone(),
                right: right.clone(),
                column,
            };
            let scoped = ScopedCondition {
                binds: binds.clone(),
                condition,
            };
            self.with_block(id, |block| block.conditions.push(scoped));
        }
        // An alias of the join hides nothing that is named here, but must not be taken for an outer query's.
        for alias in [&join.alias, &join.join_using_alias].into_iter().flatten() {
            self.relation(Source::Rows, Some(alias), id, nullable);
        }
    }

    fn relation_count(&self, id: BlockId) -> usize {
        self.blocks.get(id.0).map_or(0, |block| block.relations.len())
    }
}
