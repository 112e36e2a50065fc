//! Expressions: the functions, subqueries, parameters and casts in them.

use super::Walk;
use crate::analyse::leaf;
use crate::facts::{BlockId, BlockRole, CallSyntax, Clause, FunctionCall, Name};
use pg_query::NodeEnum;
use pg_query::protobuf::{self as pb, Node, SqlValueFunctionOp};

impl Walk {
    pub(super) fn expressions(&mut self, nodes: &[Node], id: BlockId) {
        for node in nodes {
            self.expression(node, id);
        }
    }

    fn optional(&mut self, node: Option<&Node>, id: BlockId) {
        if let Some(node) = node {
            self.expression(node, id);
        }
    }

    /// Collects what an expression holds. A node that isn't known here marks the block as not understood: something in it
    /// might read a table.
    pub(super) fn expression(&mut self, node: &Node, id: BlockId) {
        let Some(inner) = &node.node else { return };
        match inner {
            NodeEnum::ColumnRef(_)
            | NodeEnum::AStar(_)
            | NodeEnum::SetToDefault(_)
            | NodeEnum::String(_)
            | NodeEnum::Integer(_) => {}
            NodeEnum::AConst(constant) => {
                if let Some(crate::Constant::Text(text)) = leaf::constant(constant) {
                    self.relative_time |= crate::is_relative_time(text.as_bytes());
                }
            }
            NodeEnum::ParamRef(param) => {
                self.parameters = self.parameters.max(u32::try_from(param.number).unwrap_or(0));
            }
            NodeEnum::AExpr(expr) => {
                self.optional(expr.lexpr.as_deref(), id);
                self.optional(expr.rexpr.as_deref(), id);
            }
            NodeEnum::BoolExpr(expr) => self.expressions(&expr.args, id),
            NodeEnum::TypeCast(cast) => {
                self.optional(cast.arg.as_deref(), id);
                if let Some(name) = cast.type_name.as_ref().and_then(|t| leaf::name(&t.names))
                    && name.schema.as_deref() != Some("pg_catalog")
                    && !self.cast_types.contains(&name)
                {
                    self.cast_types.push(name);
                }
            }
            NodeEnum::CollateClause(collate) => self.optional(collate.arg.as_deref(), id),
            NodeEnum::FuncCall(call) => self.call(call, id),
            NodeEnum::SqlvalueFunction(function) => self.keyword_function(function.op(), id),
            NodeEnum::SubLink(link) => {
                self.optional(link.testexpr.as_deref(), id);
                match link.subselect.as_deref().and_then(|n| n.node.as_ref()) {
                    Some(NodeEnum::SelectStmt(select)) => {
                        self.select(select, Some(id), BlockRole::Expression);
                    }
                    _ => self.mark_opaque(id),
                }
            }
            NodeEnum::NullTest(test) => self.optional(test.arg.as_deref(), id),
            NodeEnum::BooleanTest(test) => self.optional(test.arg.as_deref(), id),
            NodeEnum::CaseExpr(case) => {
                self.optional(case.arg.as_deref(), id);
                self.expressions(&case.args, id);
                self.optional(case.defresult.as_deref(), id);
            }
            NodeEnum::CaseWhen(when) => {
                self.optional(when.expr.as_deref(), id);
                self.optional(when.result.as_deref(), id);
            }
            NodeEnum::CoalesceExpr(expr) => self.expressions(&expr.args, id),
            NodeEnum::MinMaxExpr(expr) => self.expressions(&expr.args, id),
            NodeEnum::RowExpr(row) => self.expressions(&row.args, id),
            NodeEnum::AArrayExpr(array) => self.expressions(&array.elements, id),
            NodeEnum::AIndirection(expr) => {
                self.optional(expr.arg.as_deref(), id);
                self.expressions(&expr.indirection, id);
            }
            NodeEnum::AIndices(expr) => {
                self.optional(expr.lidx.as_deref(), id);
                self.optional(expr.uidx.as_deref(), id);
            }
            NodeEnum::NamedArgExpr(argument) => self.optional(argument.arg.as_deref(), id),
            NodeEnum::ResTarget(target) => {
                self.expressions(&target.indirection, id);
                self.optional(target.val.as_deref(), id);
            }
            NodeEnum::MultiAssignRef(assign) => self.optional(assign.source.as_deref(), id),
            NodeEnum::List(list) => self.expressions(&list.items, id),
            NodeEnum::SortBy(sort) => self.optional(sort.node.as_deref(), id),
            NodeEnum::GroupingSet(set) => self.expressions(&set.content, id),
            NodeEnum::GroupingFunc(function) => self.expressions(&function.args, id),
            NodeEnum::WindowDef(window) => self.window(window, id),
            NodeEnum::XmlExpr(xml) => {
                self.expressions(&xml.named_args, id);
                self.expressions(&xml.args, id);
            }
            NodeEnum::XmlSerialize(xml) => self.optional(xml.expr.as_deref(), id),
            _ => self.mark_opaque(id),
        }
    }

    fn window(&mut self, window: &pb::WindowDef, id: BlockId) {
        self.expressions(&window.partition_clause, id);
        self.expressions(&window.order_clause, id);
        self.optional(window.start_offset.as_deref(), id);
        self.optional(window.end_offset.as_deref(), id);
    }

    fn call(&mut self, call: &pb::FuncCall, id: BlockId) {
        self.expressions(&call.args, id);
        self.expressions(&call.agg_order, id);
        self.optional(call.agg_filter.as_deref(), id);
        if let Some(window) = &call.over {
            self.mark(id, Clause::Window);
            self.window(window, id);
        }
        let syntax = if call.over.is_some() {
            CallSyntax::Window
        } else if call.agg_distinct || call.agg_within_group || !call.agg_order.is_empty() {
            CallSyntax::AggregateModified
        } else {
            CallSyntax::Plain
        };
        let Some(function) = leaf::name(&call.funcname) else {
            self.mark_opaque(id);
            return;
        };
        let last_argument_true = call.args.last().is_some_and(is_true);
        self.functions.push(FunctionCall {
            function,
            block: id,
            syntax,
            last_argument_true,
        });
    }

    fn keyword_function(&mut self, op: SqlValueFunctionOp, id: BlockId) {
        use SqlValueFunctionOp as Op;
        let name = match op {
            Op::SvfopCurrentDate => "current_date",
            Op::SvfopCurrentTime | Op::SvfopCurrentTimeN => "current_time",
            Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN => "current_timestamp",
            Op::SvfopLocaltime | Op::SvfopLocaltimeN => "localtime",
            Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN => "localtimestamp",
            Op::SvfopCurrentRole => "current_role",
            Op::SvfopCurrentUser => "current_user",
            Op::SvfopUser => "user",
            Op::SvfopSessionUser => "session_user",
            Op::SvfopCurrentCatalog => "current_catalog",
            Op::SvfopCurrentSchema => "current_schema",
            Op::SqlvalueFunctionOpUndefined => {
                self.mark_opaque(id);
                return;
            }
        };
        let function = Name {
            schema: Some("pg_catalog".to_owned()),
            name: name.to_owned(),
        };
        self.functions.push(FunctionCall {
            function,
            block: id,
            syntax: CallSyntax::Keyword,
            last_argument_true: false,
        });
    }
}

fn is_true(node: &Node) -> bool {
    matches!(
        leaf::value(node).map(|value| value.source),
        Some(crate::ValueSource::Constant(crate::Constant::Bool(true)))
    )
}
