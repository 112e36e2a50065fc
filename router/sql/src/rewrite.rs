//! The texts that single shards get: written by PostgreSQL's grammar from the statement's own tree.

use crate::facts::{ColumnRef, Statement, Tree};
use pg_query::NodeEnum;
use pg_query::protobuf::{self as pb, Node};

/// A text with gaps for parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pieces(pub Vec<Piece>);

/// A part of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// `$n` of the statement's own text.
    Parameter(u32),
}

/// A statement that can't be written for a shard.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RewriteError {
    /// It has a form that this module doesn't write.
    #[error("the statement's form can't be rewritten")]
    Form,
    /// The grammar refused to print its own tree.
    #[error("the statement can't be printed: {0}")]
    Print(String),
}

/// INSERT ... VALUES in parts: `head`, some of `rows` with commas between, `tail`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InsertPieces {
    /// Up to the first row.
    pub head: Pieces,
    /// Each row with its parentheses.
    pub rows: Vec<Pieces>,
    /// After the last row: ON CONFLICT, RETURNING.
    pub tail: Pieces,
}

/// A number that no statement's parameter has: marks a place in a printed text.
const MARK: i32 = 1_999_999_999;

/// The whole statement, printed.
///
/// # Errors
/// [`RewriteError`].
pub fn print(statement: &Statement) -> Result<Pieces, RewriteError> {
    let node = tree(&statement.tree)?;
    Ok(cut(&deparse(node.clone())?))
}

/// A SELECT for each shard of a scatter: `hidden` columns behind its target list, and OFFSET left to the merge: each shard
/// gives as many rows as LIMIT and OFFSET together take.
///
/// # Errors
/// [`RewriteError`]: no SELECT, or not printable.
pub fn scatter(statement: &Statement, hidden: &[ColumnRef]) -> Result<Pieces, RewriteError> {
    let mut node = tree(&statement.tree)?.clone();
    let Some(NodeEnum::SelectStmt(select)) = &mut node.node else {
        return Err(RewriteError::Form);
    };
    for column in hidden {
        select.target_list.push(target(column));
    }
    if let Some(offset) = select.limit_offset.take()
        && let Some(limit) = select.limit_count.take()
    {
        select.limit_count = Some(Box::new(sum(*limit, *offset)));
    }
    Ok(cut(&deparse(node)?))
}

/// INSERT ... VALUES cut into its rows.
///
/// # Errors
/// [`RewriteError`]: no INSERT ... VALUES, or not printable.
pub fn insert(statement: &Statement) -> Result<InsertPieces, RewriteError> {
    let mut node = tree(&statement.tree)?.clone();
    let Some(NodeEnum::InsertStmt(insert)) = &mut node.node else {
        return Err(RewriteError::Form);
    };
    let Some(NodeEnum::SelectStmt(values)) = insert.select_stmt.as_mut().and_then(|n| n.node.as_mut()) else {
        return Err(RewriteError::Form);
    };
    let row_nodes = std::mem::take(&mut values.values_lists);
    let rows: Result<Vec<Pieces>, RewriteError> = row_nodes.into_iter().map(print_row).collect();
    let mark = Node {
        node: Some(NodeEnum::ParamRef(pb::ParamRef {
            number: MARK,
            location: 0,
        })),
    };
    values.values_lists = vec![Node {
        node: Some(NodeEnum::List(pb::List { items: vec![mark] })),
    }];
    let text = deparse(node)?;
    let mark = format!("(${MARK})");
    let (head, tail) = text.split_once(&mark).ok_or(RewriteError::Form)?;
    Ok(InsertPieces {
        head: cut(head),
        rows: rows?,
        tail: cut(tail),
    })
}

fn print_row(row: Node) -> Result<Pieces, RewriteError> {
    let select = pb::SelectStmt {
        values_lists: vec![row],
        limit_option: pb::LimitOption::Default.into(),
        op: pb::SetOperation::SetopNone.into(),
        ..Default::default()
    };
    let text = deparse(Node {
        node: Some(NodeEnum::SelectStmt(Box::new(select))),
    })?;
    Ok(cut(text.strip_prefix("VALUES ").ok_or(RewriteError::Form)?))
}

fn tree(tree: &Tree) -> Result<&Node, RewriteError> {
    tree.0.as_deref().ok_or(RewriteError::Form)
}

fn deparse(node: Node) -> Result<String, RewriteError> {
    let raw = pb::RawStmt {
        stmt: Some(Box::new(node)),
        stmt_location: 0,
        stmt_len: 0,
    };
    let parsed = pb::ParseResult {
        version: 0,
        stmts: vec![raw],
    };
    pg_query::deparse(&parsed, pg_query::DeparseOptions::default())
        .map_err(|e| RewriteError::Print(e.to_string()))
}

fn string(text: &str) -> Node {
    Node {
        node: Some(NodeEnum::String(pb::String {
            sval: text.to_owned(),
        })),
    }
}

fn target(column: &ColumnRef) -> Node {
    let parts = [
        column.schema.as_deref(),
        column.relation.as_deref(),
        Some(column.column.as_str()),
    ];
    let fields = parts.into_iter().flatten().map(string).collect();
    let reference = Node {
        node: Some(NodeEnum::ColumnRef(pb::ColumnRef { fields, location: 0 })),
    };
    let target = pb::ResTarget {
        val: Some(Box::new(reference)),
        ..Default::default()
    };
    Node {
        node: Some(NodeEnum::ResTarget(Box::new(target))),
    }
}

/// `limit::bigint + COALESCE(offset::bigint, 0)`: a LIMIT that is NULL stays without bound, an OFFSET that is NULL is none.
fn sum(limit: Node, offset: Node) -> Node {
    let zero = pb::AConst {
        isnull: false,
        location: 0,
        val: Some(pb::a_const::Val::Ival(pb::Integer { ival: 0 })),
    };
    let offset = pb::CoalesceExpr {
        args: vec![
            bigint(offset),
            Node {
                node: Some(NodeEnum::AConst(zero)),
            },
        ],
        ..Default::default()
    };
    let expr = pb::AExpr {
        kind: pb::AExprKind::AexprOp.into(),
        name: vec![string("+")],
        lexpr: Some(Box::new(bigint(limit))),
        rexpr: Some(Box::new(Node {
            node: Some(NodeEnum::CoalesceExpr(Box::new(offset))),
        })),
        ..Default::default()
    };
    Node {
        node: Some(NodeEnum::AExpr(Box::new(expr))),
    }
}

fn bigint(value: Node) -> Node {
    let name = pb::TypeName {
        names: vec![string("pg_catalog"), string("int8")],
        typemod: -1,
        ..Default::default()
    };
    let cast = pb::TypeCast {
        arg: Some(Box::new(value)),
        type_name: Some(name),
        location: 0,
    };
    Node {
        node: Some(NodeEnum::TypeCast(Box::new(cast))),
    }
}

/// Cuts a printed text at its parameters. The printer writes plain SQL: quotes, identifiers and dollars as the
/// lexer of [`Normaliser`](crate::Normaliser) knows them, and no comments.
fn cut(text: &str) -> Pieces {
    let mut pieces = Vec::new();
    let mut copied = 0;
    for (range, number) in crate::normalise::parameters(text.as_bytes()) {
        if let Some(before) = text.get(copied..range.start).filter(|t| !t.is_empty()) {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Parameter(number));
        copied = range.end;
    }
    if let Some(rest) = text.get(copied..).filter(|t| !t.is_empty()) {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Pieces(pieces)
}
