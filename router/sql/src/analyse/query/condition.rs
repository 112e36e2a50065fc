//! WHERE and ON, as far as they bind columns to values and to each other.

use super::Walk;
use crate::analyse::leaf;
use crate::facts::{BlockId, BlockRole, Condition, Operand, ScopedCondition};
use pg_query::NodeEnum;
use pg_query::protobuf::{self as pb, AExprKind, BoolExprType, Node, SubLinkType};

impl Walk {
    /// Records a condition of the block. `binds` as in [`ScopedCondition::binds`].
    pub(super) fn restrict(&mut self, node: &Node, id: BlockId, binds: Option<Vec<usize>>) {
        let condition = self.condition(node, id);
        self.with_block(id, |block| {
            block.conditions.push(ScopedCondition { binds, condition })
        });
    }

    fn condition(&mut self, node: &Node, id: BlockId) -> Condition {
        match &node.node {
            Some(NodeEnum::BoolExpr(expr)) if expr.boolop() == BoolExprType::AndExpr => {
                Condition::And(expr.args.iter().map(|arg| self.condition(arg, id)).collect())
            }
            Some(NodeEnum::BoolExpr(expr)) if expr.boolop() == BoolExprType::OrExpr => {
                Condition::Or(expr.args.iter().map(|arg| self.condition(arg, id)).collect())
            }
            Some(NodeEnum::AExpr(expr)) => {
                self.expression(node, id);
                comparison(expr)
            }
            Some(NodeEnum::SubLink(link)) => self.sublink_condition(link, node, id),
            _ => {
                self.expression(node, id);
                Condition::Other
            }
        }
    }

    /// `column IN (SELECT ...)`; all other subqueries are expressions.
    fn sublink_condition(&mut self, link: &pb::SubLink, node: &Node, id: BlockId) -> Condition {
        let plain_in = link.sub_link_type() == SubLinkType::AnySublink
            && (link.oper_name.is_empty() || leaf::is_equals(&link.oper_name));
        let column = link.testexpr.as_deref().and_then(leaf::column);
        let select = link.subselect.as_deref().and_then(|n| n.node.as_ref());
        match (column, select) {
            (Some(column), Some(NodeEnum::SelectStmt(select))) if plain_in => {
                let block = self.select(select, Some(id), BlockRole::Expression);
                Condition::InQuery(column, block)
            }
            _ => {
                self.expression(node, id);
                Condition::Other
            }
        }
    }
}

fn comparison(expr: &pb::AExpr) -> Condition {
    let (Some(left), Some(right)) = (expr.lexpr.as_deref(), expr.rexpr.as_deref()) else {
        return Condition::Other;
    };
    if !leaf::is_equals(&expr.name) {
        return Condition::Other;
    }
    match expr.kind() {
        AExprKind::AexprOp => equal(left, right),
        AExprKind::AexprIn => is_in(left, leaf::list(right).unwrap_or_default()),
        AExprKind::AexprOpAny => any(left, right),
        _ => Condition::Other,
    }
}

fn equal(left: &Node, right: &Node) -> Condition {
    match (leaf::row(left), leaf::row(right)) {
        (Some(left), Some(right)) if left.len() == right.len() => {
            Condition::And(left.iter().zip(right).map(|(l, r)| equal(l, r)).collect())
        }
        _ => Condition::Equal(operand(left), operand(right)),
    }
}

fn operand(node: &Node) -> Operand {
    if let Some(column) = leaf::column(node) {
        return Operand::Column(column);
    }
    leaf::value(node).map_or(Operand::Other, Operand::Value)
}

fn is_in(left: &Node, items: &[Node]) -> Condition {
    if leaf::row(left).is_some() {
        return Condition::Or(items.iter().map(|item| equal(left, item)).collect());
    }
    let values: Option<Vec<_>> = items.iter().map(leaf::value).collect();
    match (leaf::column(left), values) {
        (Some(column), Some(values)) if !values.is_empty() => Condition::In(column, values),
        _ => Condition::Other,
    }
}

fn any(left: &Node, right: &Node) -> Condition {
    let Some(column) = leaf::column(left) else {
        return Condition::Other;
    };
    let (array, element_type) = match &right.node {
        Some(NodeEnum::TypeCast(cast)) => {
            let target = cast.type_name.as_ref().and_then(leaf::type_name);
            let element = target.and_then(|mut name| {
                name.name.truncate(name.name.strip_suffix("[]")?.len());
                Some(name)
            });
            (cast.arg.as_deref().unwrap_or(right), element)
        }
        _ => (right, None),
    };
    let Some(NodeEnum::AArrayExpr(array)) = &array.node else {
        return leaf::value(right).map_or(Condition::Other, |value| Condition::Any(column, value));
    };
    let cast = right
        .node
        .as_ref()
        .is_some_and(|n| matches!(n, NodeEnum::TypeCast(_)));
    if array.elements.is_empty() || (cast && element_type.is_none()) {
        return Condition::Other;
    }
    let values: Option<Vec<_>> = array
        .elements
        .iter()
        .map(|element| {
            let mut value = leaf::value(element)?;
            match (&value.cast, &element_type) {
                // Two casts in a row are not followed.
                (Some(_), Some(_)) => return None,
                (None, Some(_)) => value.cast.clone_from(&element_type),
                _ => {}
            }
            Some(value)
        })
        .collect();
    values.map_or(Condition::Other, |values| Condition::In(column, values))
}
