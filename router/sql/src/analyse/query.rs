//! SELECT, INSERT, UPDATE, DELETE and MERGE to facts.

mod condition;
mod expression;
mod from;

use super::leaf;
use crate::facts::{
    Block, BlockId, BlockRole, Bound, CallArgument, Calls, Cell, Clause, Command, FunctionCall, Insert,
    InsertSource, IntoTable, Name, OnConflict, Output, OutputKind, Query, Relation, Shape, SortBy, SortKey,
    Source, Update,
};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    self as pb, LimitOption, Node, OnConflictAction, SetOperation, SortByDir, SortByNulls,
};

/// The facts of a statement that reads or changes rows; `None` for all others.
pub(super) fn facts(node: &NodeEnum) -> Option<Query> {
    let mut walk = Walk::default();
    let command = match node {
        NodeEnum::SelectStmt(select) => {
            walk.select(select, None, BlockRole::Top);
            Command::Select
        }
        _ => walk.change(node, None, BlockRole::Top)?,
    };
    let returns_rows = match node {
        NodeEnum::SelectStmt(_) => true,
        NodeEnum::InsertStmt(s) => s.returning_clause.is_some(),
        NodeEnum::UpdateStmt(s) => s.returning_clause.is_some(),
        NodeEnum::DeleteStmt(s) => s.returning_clause.is_some(),
        NodeEnum::MergeStmt(s) => s.returning_clause.is_some(),
        _ => false,
    };
    Some(Query {
        command,
        blocks: walk.blocks,
        functions: walk.functions,
        calls: walk.calls,
        parameters: walk.parameters,
        cast_types: walk.cast_types,
        modifying_with: walk.modifying_with,
        into: walk.into,
        relative_time: walk.relative_time,
        returns_rows,
    })
}

/// What has been found so far.
#[derive(Default)]
struct Walk {
    blocks: Vec<Block>,
    functions: Vec<FunctionCall>,
    calls: Calls,
    parameters: u32,
    cast_types: Vec<Name>,
    modifying_with: bool,
    into: Option<IntoTable>,
    relative_time: bool,
    /// Names of WITH that are visible, innermost last.
    visible: Vec<Visible>,
}

/// A name of WITH.
struct Visible {
    name: String,
    block: BlockId,
    /// Its body is being walked: naming it is recursion.
    open: bool,
}

impl Walk {
    fn open(&mut self, parent: Option<BlockId>, role: BlockRole) -> BlockId {
        let id = BlockId(self.blocks.len());
        self.blocks.push(Block {
            parent,
            role,
            relations: Vec::new(),
            conditions: Vec::new(),
            outputs: Vec::new(),
            shape: Shape::default(),
        });
        id
    }

    fn with_block(&mut self, id: BlockId, change: impl FnOnce(&mut Block)) {
        if let Some(block) = self.blocks.get_mut(id.0) {
            change(block);
        }
    }

    /// Something in the block is not known here: it may read tables and call functions.
    fn mark_opaque(&mut self, id: BlockId) {
        self.calls = Calls::Hidden;
        self.mark(id, Clause::Unknown);
    }

    fn mark(&mut self, id: BlockId, clause: Clause) {
        self.with_block(id, |block| {
            if !block.shape.clauses.contains(&clause) {
                block.shape.clauses.push(clause);
            }
        });
    }

    fn select(&mut self, select: &pb::SelectStmt, parent: Option<BlockId>, role: BlockRole) -> BlockId {
        let id = self.open(parent, role);
        let visible = self.visible.len();
        self.with_clause(select.with_clause.as_ref(), id);
        if !matches!(select.op(), SetOperation::SetopNone | SetOperation::Undefined) {
            self.mark(id, Clause::SetOperation);
            for arm in [&select.larg, &select.rarg].into_iter().flatten() {
                self.select(arm, Some(id), BlockRole::Arm);
            }
        }
        if !select.values_lists.is_empty() {
            self.mark(id, Clause::Values);
            self.expressions(&select.values_lists, id);
        }
        for item in &select.from_clause {
            self.add_from(item, id, false);
        }
        if let Some(condition) = &select.where_clause {
            self.restrict(condition, id, None);
        }
        self.outputs(&select.target_list, id);
        self.clauses(select, id);
        if let Some(into) = &select.into_clause {
            self.into = into.rel.as_ref().map(|relation| IntoTable {
                name: leaf::range_var(relation),
                temporary: super::utility::ddl::is_temporary_relation(relation),
            });
        }
        self.visible.truncate(visible);
        id
    }

    fn clauses(&mut self, select: &pb::SelectStmt, id: BlockId) {
        if let Some(first) = select.distinct_clause.first() {
            let on = first.node.is_some();
            self.mark(id, if on { Clause::DistinctOn } else { Clause::Distinct });
        }
        let present = [
            (!select.group_clause.is_empty(), Clause::GroupBy),
            (select.having_clause.is_some(), Clause::Having),
            (!select.window_clause.is_empty(), Clause::Window),
            (!select.locking_clause.is_empty(), Clause::Locking),
            (select.limit_option() == LimitOption::WithTies, Clause::WithTies),
        ];
        for (_, clause) in present.into_iter().filter(|(there, _)| *there) {
            self.mark(id, clause);
        }
        self.expressions(&select.distinct_clause, id);
        self.expressions(&select.group_clause, id);
        self.expressions(&select.window_clause, id);
        self.expressions(&select.sort_clause, id);
        for part in [&select.having_clause, &select.limit_count, &select.limit_offset]
            .into_iter()
            .flatten()
        {
            self.expression(part, id);
        }
        let shape = (
            select.sort_clause.iter().map(sort_key).collect(),
            bound(select.limit_count.as_deref()),
            bound(select.limit_offset.as_deref()),
        );
        self.with_block(id, |block| {
            (block.shape.order, block.shape.limit, block.shape.offset) = shape
        });
    }

    fn outputs(&mut self, targets: &[Node], id: BlockId) {
        for target in targets {
            let Some(NodeEnum::ResTarget(target)) = &target.node else {
                self.mark_opaque(id);
                continue;
            };
            let Some(value) = target.val.as_deref() else {
                continue;
            };
            self.expression(value, id);
            if leaf::is_composite_star(value) {
                self.mark(id, Clause::OpenColumns);
            }
            let name = (!target.name.is_empty()).then(|| target.name.clone());
            let output = Output {
                name,
                kind: output_kind(value),
            };
            self.with_block(id, |block| block.outputs.push(output));
        }
    }

    fn with_clause(&mut self, with: Option<&pb::WithClause>, id: BlockId) {
        let Some(with) = with else { return };
        for cte in &with.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node else {
                continue;
            };
            let Some(body) = cte.ctequery.as_deref().and_then(|n| n.node.as_ref()) else {
                continue;
            };
            let parent = self.blocks.get(id.0).and_then(|block| block.parent);
            let next = BlockId(self.blocks.len());
            if with.recursive {
                self.visible.push(Visible {
                    name: cte.ctename.clone(),
                    block: next,
                    open: true,
                });
            }
            let role = BlockRole::With {
                recursive: with.recursive,
            };
            match body {
                NodeEnum::SelectStmt(select) => {
                    self.select(select, parent, role);
                }
                _ => {
                    self.modifying_with = true;
                    if self.change(body, parent, role).is_none() {
                        self.open(parent, role);
                        self.mark_opaque(next);
                    }
                }
            }
            if with.recursive {
                self.visible.pop();
            }
            if !cte.aliascolnames.is_empty() || cte.search_clause.is_some() || cte.cycle_clause.is_some() {
                // Its columns have other names than its target list: they are not traced into it.
                self.with_block(next, |block| block.outputs.clear());
            }
            self.visible.push(Visible {
                name: cte.ctename.clone(),
                block: next,
                open: false,
            });
        }
    }

    /// INSERT, UPDATE, DELETE, MERGE; `None` for anything else.
    fn change(&mut self, node: &NodeEnum, parent: Option<BlockId>, role: BlockRole) -> Option<Command> {
        let visible = self.visible.len();
        let command = match node {
            NodeEnum::InsertStmt(insert) => self.insert(insert, parent, role),
            NodeEnum::UpdateStmt(update) => self.update(update, parent, role),
            NodeEnum::DeleteStmt(delete) => {
                let id = self.open(parent, role);
                self.with_clause(delete.with_clause.as_ref(), id);
                self.target(delete.relation.as_ref(), id);
                for item in &delete.using_clause {
                    self.add_from(item, id, false);
                }
                if let Some(condition) = &delete.where_clause {
                    self.restrict(condition, id, None);
                }
                self.returning(delete.returning_clause.as_ref(), id);
                Some(Command::Delete)
            }
            NodeEnum::MergeStmt(merge) => self.merge(merge, parent, role),
            _ => None,
        };
        self.visible.truncate(visible);
        command
    }

    fn target(&mut self, relation: Option<&pb::RangeVar>, id: BlockId) {
        let Some(relation) = relation else { return };
        let alias = relation.alias.as_ref().map(|alias| alias.aliasname.clone());
        let target = Relation {
            source: Source::Table(leaf::range_var(relation)),
            aliased: alias.is_some(),
            alias: alias.unwrap_or_else(|| relation.relname.clone()),
            columns: Vec::new(),
            nullable: false,
            written: true,
        };
        self.with_block(id, |block| block.relations.push(target));
    }

    fn returning(&mut self, returning: Option<&pb::ReturningClause>, id: BlockId) {
        if let Some(returning) = returning {
            self.outputs(&returning.exprs, id);
        }
    }

    fn insert(
        &mut self,
        insert: &pb::InsertStmt,
        parent: Option<BlockId>,
        role: BlockRole,
    ) -> Option<Command> {
        let table = leaf::range_var(insert.relation.as_ref()?);
        let select = match insert.select_stmt.as_deref().and_then(|n| n.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => Some(select),
            _ => None,
        };
        let plain_values = select.filter(|s| !s.values_lists.is_empty() && is_bare_values(s));
        let (id, source) = match (plain_values, select) {
            (Some(values), _) => {
                let id = self.open(parent, role);
                self.with_clause(insert.with_clause.as_ref(), id);
                self.expressions(&values.values_lists, id);
                (
                    id,
                    InsertSource::Values(values.values_lists.iter().map(cells).collect()),
                )
            }
            (None, Some(select)) => {
                // WITH of the INSERT is visible in its query, whose block comes first.
                if insert.with_clause.is_some() {
                    let mut select = select.as_ref().clone();
                    if select.with_clause.is_some() {
                        let id = self.open(parent, role);
                        self.mark_opaque(id);
                    }
                    select.with_clause.clone_from(&insert.with_clause);
                    (self.select(&select, parent, role), InsertSource::Query)
                } else {
                    (self.select(select, parent, role), InsertSource::Query)
                }
            }
            (None, None) => {
                let id = self.open(parent, role);
                self.with_clause(insert.with_clause.as_ref(), id);
                (id, InsertSource::Defaults)
            }
        };
        if role != BlockRole::Top {
            // The target of an INSERT in WITH: its rows' keys are not traced.
            self.target(insert.relation.as_ref(), id);
            self.mark(id, Clause::Unknown);
        }
        let on_conflict = self.on_conflict(insert.on_conflict_clause.as_deref(), id);
        if let Some(returning) = &insert.returning_clause {
            // Not outputs of the block, which are the rows to insert.
            self.expressions(&returning.exprs, id);
        }
        let columns = insert.cols.iter().filter_map(res_target_name).collect();
        Some(Command::Insert(Insert {
            table,
            columns,
            source,
            on_conflict,
        }))
    }

    fn on_conflict(&mut self, clause: Option<&pb::OnConflictClause>, id: BlockId) -> Option<OnConflict> {
        let clause = clause?;
        self.expressions(&clause.target_list, id);
        if let Some(condition) = &clause.where_clause {
            self.expression(condition, id);
        }
        let update = clause.action() == OnConflictAction::OnconflictUpdate;
        let set_columns = update.then(|| clause.target_list.iter().filter_map(res_target_name).collect());
        Some(OnConflict { set_columns })
    }

    fn update(
        &mut self,
        update: &pb::UpdateStmt,
        parent: Option<BlockId>,
        role: BlockRole,
    ) -> Option<Command> {
        let id = self.open(parent, role);
        self.with_clause(update.with_clause.as_ref(), id);
        self.target(update.relation.as_ref(), id);
        for item in &update.from_clause {
            self.add_from(item, id, false);
        }
        if let Some(condition) = &update.where_clause {
            self.restrict(condition, id, None);
        }
        self.expressions(&update.target_list, id);
        self.returning(update.returning_clause.as_ref(), id);
        let set = update
            .target_list
            .iter()
            .filter_map(|node| match &node.node {
                Some(NodeEnum::ResTarget(t)) => {
                    Some((t.name.clone(), t.val.as_deref().and_then(leaf::value)))
                }
                _ => None,
            })
            .collect();
        Some(Command::Update(Update { set }))
    }

    fn merge(&mut self, merge: &pb::MergeStmt, parent: Option<BlockId>, role: BlockRole) -> Option<Command> {
        let id = self.open(parent, role);
        self.with_clause(merge.with_clause.as_ref(), id);
        self.target(merge.relation.as_ref(), id);
        if let Some(source) = &merge.source_relation {
            self.add_from(source, id, false);
        }
        if let Some(condition) = &merge.join_condition {
            // Source rows without a match count too: the condition restricts only the target.
            self.restrict(condition, id, Some(vec![0]));
        }
        let mut set_columns = Vec::new();
        let mut inserts = false;
        for clause in &merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(clause)) = &clause.node else {
                continue;
            };
            if let Some(condition) = &clause.condition {
                self.expression(condition, id);
            }
            self.expressions(&clause.target_list, id);
            self.expressions(&clause.values, id);
            match clause.command_type() {
                pb::CmdType::CmdInsert => inserts = true,
                pb::CmdType::CmdUpdate => {
                    set_columns.extend(clause.target_list.iter().filter_map(res_target_name))
                }
                _ => {}
            }
        }
        self.returning(merge.returning_clause.as_ref(), id);
        Some(Command::Merge { set_columns, inserts })
    }
}

/// VALUES with nothing around it.
fn is_bare_values(select: &pb::SelectStmt) -> bool {
    select.sort_clause.is_empty()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.with_clause.is_none()
        && select.locking_clause.is_empty()
}

fn cells(row: &Node) -> Vec<Cell> {
    leaf::list(row)
        .unwrap_or_default()
        .iter()
        .map(|cell| match &cell.node {
            Some(NodeEnum::SetToDefault(_)) => Cell::Default,
            _ => leaf::value(cell).map_or(Cell::Other, Cell::Value),
        })
        .collect()
}

fn res_target_name(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
        _ => None,
    }
}

fn bound(node: Option<&Node>) -> Bound {
    match node.map(leaf::value) {
        None => Bound::None,
        Some(Some(value)) if value.source == crate::ValueSource::Constant(crate::Constant::Null) => {
            Bound::None
        }
        Some(Some(value)) => Bound::Value(value),
        Some(None) => Bound::Other,
    }
}

fn sort_key(node: &Node) -> SortKey {
    let Some(NodeEnum::SortBy(sort)) = &node.node else {
        return SortKey {
            by: SortBy::Other,
            descending: false,
            nulls_first: None,
        };
    };
    let key = sort
        .node
        .as_deref()
        .filter(|_| sort.sortby_dir() != SortByDir::SortbyUsing);
    let by = key.map_or(SortBy::Other, sort_by);
    let nulls_first = match sort.sortby_nulls() {
        SortByNulls::SortbyNullsFirst => Some(true),
        SortByNulls::SortbyNullsLast => Some(false),
        _ => None,
    };
    SortKey {
        by,
        descending: sort.sortby_dir() == SortByDir::SortbyDesc,
        nulls_first,
    }
}

fn sort_by(key: &Node) -> SortBy {
    if let Some(column) = leaf::column(key) {
        return SortBy::Column(column);
    }
    let constant = leaf::value(key)
        .filter(|value| value.cast.is_none())
        .map(|value| value.source);
    match constant {
        Some(crate::ValueSource::Constant(crate::Constant::Integer(text))) => {
            text.parse().map_or(SortBy::Other, SortBy::Ordinal)
        }
        _ => SortBy::Other,
    }
}

fn output_kind(node: &Node) -> OutputKind {
    if let Some(relation) = leaf::star(node) {
        return OutputKind::Star { relation };
    }
    if let Some(column) = leaf::column(node) {
        return OutputKind::Column(column);
    }
    if let Some(value) = leaf::value(node) {
        return OutputKind::Value(value);
    }
    let Some(NodeEnum::FuncCall(call)) = &node.node else {
        return OutputKind::Other;
    };
    let Some(function) = leaf::name(&call.funcname) else {
        return OutputKind::Other;
    };
    let argument = match call.args.as_slice() {
        [] if call.agg_star => CallArgument::Star,
        [one] => leaf::column(one).map_or(CallArgument::Other, CallArgument::Column),
        _ => CallArgument::Other,
    };
    OutputKind::Call { function, argument }
}
