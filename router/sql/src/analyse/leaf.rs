//! The leaves of the grammar's tree: names, columns, constants, types.

use crate::facts::{ColumnRef, Constant, Name, Value, ValueSource};
use pg_query::NodeEnum;
use pg_query::protobuf::{self as pb, AExprKind, Node, a_const};

/// The strings of a list of names; `None` where something else is among them (`*`).
pub(super) fn strings(nodes: &[Node]) -> Option<Vec<&str>> {
    nodes
        .iter()
        .map(|node| match &node.node {
            Some(NodeEnum::String(s)) => Some(s.sval.as_str()),
            _ => None,
        })
        .collect()
}

/// The strings of a list, others left out.
pub(super) fn owned_strings(nodes: &[Node]) -> Vec<String> {
    nodes
        .iter()
        .filter_map(|node| strings(std::slice::from_ref(node)))
        .flatten()
        .map(str::to_owned)
        .collect()
}

/// `schema.name` or `name`, of which more parts are cut off at the front.
pub(super) fn name(nodes: &[Node]) -> Option<Name> {
    match strings(nodes)?.as_slice() {
        [.., schema, name] => Some(Name {
            schema: Some((*schema).to_owned()),
            name: (*name).to_owned(),
        }),
        [name] => Some(Name {
            schema: None,
            name: (*name).to_owned(),
        }),
        [] => None,
    }
}

pub(super) fn range_var(relation: &pb::RangeVar) -> Name {
    let schema = (!relation.schemaname.is_empty()).then(|| relation.schemaname.clone());
    Name {
        schema,
        name: relation.relname.clone(),
    }
}

pub(super) fn column(node: &Node) -> Option<ColumnRef> {
    let Some(NodeEnum::ColumnRef(reference)) = &node.node else {
        return None;
    };
    match strings(&reference.fields)?.as_slice() {
        [column] => Some(ColumnRef {
            schema: None,
            relation: None,
            column: (*column).to_owned(),
        }),
        [relation, column] => Some(ColumnRef {
            schema: None,
            relation: Some((*relation).to_owned()),
            column: (*column).to_owned(),
        }),
        [.., schema, relation, column] => Some(ColumnRef {
            schema: Some((*schema).to_owned()),
            relation: Some((*relation).to_owned()),
            column: (*column).to_owned(),
        }),
        [] => None,
    }
}

/// `alias.*` or `*`.
pub(super) fn star(node: &Node) -> Option<Option<String>> {
    let Some(NodeEnum::ColumnRef(reference)) = &node.node else {
        return None;
    };
    let (last, before) = reference.fields.split_last()?;
    matches!(last.node, Some(NodeEnum::AStar(_))).then(|| {
        before
            .last()
            .and_then(|n| strings(std::slice::from_ref(n))?.first().map(|s| (*s).to_owned()))
    })
}

/// `(expression).*`.
pub(super) fn is_composite_star(node: &Node) -> bool {
    let Some(NodeEnum::AIndirection(expr)) = &node.node else {
        return false;
    };
    let last = expr.indirection.last().and_then(|n| n.node.as_ref());
    matches!(last, Some(NodeEnum::AStar(_)))
}

/// A constant or parameter with signs and at most one cast.
pub(super) fn value(node: &Node) -> Option<Value> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => Some(Value {
            source: ValueSource::Constant(self::constant(constant)?),
            negated: false,
            cast: None,
        }),
        NodeEnum::ParamRef(param) => {
            let number = u32::try_from(param.number).ok().filter(|n| *n > 0)?;
            Some(Value {
                source: ValueSource::Parameter(number),
                negated: false,
                cast: None,
            })
        }
        NodeEnum::TypeCast(cast) => {
            let inner = value(cast.arg.as_deref()?)?;
            let target = type_name(cast.type_name.as_ref()?)?;
            inner.cast.is_none().then_some(Value {
                cast: Some(target),
                ..inner
            })
        }
        NodeEnum::AExpr(expr) if expr.kind() == AExprKind::AexprOp && expr.lexpr.is_none() => {
            let inner = value(expr.rexpr.as_deref()?)?;
            match strings(&expr.name)?.as_slice() {
                ["-"] => Some(Value {
                    negated: !inner.negated,
                    ..inner
                }),
                ["+"] => Some(inner),
                _ => None,
            }
        }
        _ => None,
    }
}

pub(super) fn constant(constant: &pb::AConst) -> Option<Constant> {
    if constant.isnull {
        return Some(Constant::Null);
    }
    Some(match constant.val.as_ref()? {
        a_const::Val::Ival(number) => Constant::Integer(number.ival.to_string()),
        a_const::Val::Fval(number) if is_integer(&number.fval) => Constant::Integer(number.fval.clone()),
        a_const::Val::Fval(number) => Constant::Decimal(number.fval.clone()),
        a_const::Val::Boolval(truth) => Constant::Bool(truth.boolval),
        a_const::Val::Sval(text) => Constant::Text(text.sval.clone()),
        a_const::Val::Bsval(bits) => Constant::Bits(bits.bsval.clone()),
    })
}

/// The grammar holds integers above `int4` as text among the floats.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// A type without modifiers; an array type has `[]` behind its element's name. The grammar's own spelling of built-in
/// types (`bigint` as `pg_catalog.int8`) is kept.
pub(super) fn type_name(target: &pb::TypeName) -> Option<Name> {
    if !target.typmods.is_empty() || target.setof || target.pct_type {
        return None;
    }
    let mut name = name(&target.names)?;
    if !target.array_bounds.is_empty() {
        name.name.push_str("[]");
    }
    Some(name)
}

/// Whether an operator's name is `=`, PostgreSQL's own or by search_path.
pub(super) fn is_equals(names: &[Node]) -> bool {
    matches!(strings(names).as_deref(), Some(["="] | ["pg_catalog", "="]))
}

pub(super) fn list(node: &Node) -> Option<&[Node]> {
    match node.node.as_ref()? {
        NodeEnum::List(list) => Some(&list.items),
        _ => None,
    }
}

/// The items of `(a, b)`.
pub(super) fn row(node: &Node) -> Option<&[Node]> {
    match node.node.as_ref()? {
        NodeEnum::RowExpr(row) => Some(&row.args),
        _ => None,
    }
}
