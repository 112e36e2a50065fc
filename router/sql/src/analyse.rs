//! A text to its statements.

mod leaf;
mod query;
mod utility;

use crate::facts::{Statement, StatementKind, Tree};
use pg_query::NodeEnum;
use pg_query::protobuf::Node;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why there are no facts. None of these is answered by the proxy: PostgreSQL says what is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// The client's text is no SQL that the grammar knows: forward it for the server's own error.
    #[error("{0}")]
    Syntax(String),
    /// The client's text nests deeper than its tree can be read: it may be valid, but it cannot be routed.
    #[error("the statement is nested too deeply to be analysed: {0}")]
    TooDeep(String),
}

/// The statements of `sql` in order; empty ones between semicolons are left out, an all-empty text is one
/// [`StatementKind::Empty`].
///
/// # Errors
/// [`ParseError`]: the text has no facts.
pub fn analyse(sql: &str) -> Result<Vec<Statement>, ParseError> {
    // pg_query walks the tree for facts of its own, which are not used here, with code that can panic on trees that it
    // doesn't expect. What it cannot walk cannot be routed.
    let parsed = catch_unwind(AssertUnwindSafe(|| pg_query::parse(sql, 0)))
        .map_err(|_| ParseError::TooDeep("the grammar's tree has an unexpected form".to_owned()))?;
    let parsed = parsed.map_err(classify)?;
    let mut statements: Vec<Statement> = Vec::with_capacity(parsed.protobuf.stmts.len());
    for raw in parsed.protobuf.stmts {
        let Some(node) = raw.stmt else { continue };
        let range = statement_range(sql, raw.stmt_location, raw.stmt_len);
        statements.push(statement(*node, range));
    }
    if statements.is_empty() {
        statements.push(Statement {
            range: 0..sql.len(),
            kind: StatementKind::Empty,
            tree: Tree::default(),
        });
    }
    Ok(statements)
}

fn classify(error: pg_query::Error) -> ParseError {
    let text = error.to_string();
    match error {
        pg_query::Error::Decode(_) => ParseError::TooDeep(text),
        pg_query::Error::Parse(message) if message.contains("stack depth") => ParseError::TooDeep(message),
        _ => ParseError::Syntax(text),
    }
}

/// The bytes of a statement, white space around it left out. A length of 0 means up to the end.
fn statement_range(sql: &str, location: i32, length: i32) -> Range<usize> {
    let start = usize::try_from(location).unwrap_or(0);
    let end = match usize::try_from(length) {
        Ok(0) | Err(_) => sql.len(),
        Ok(length) => start.saturating_add(length).min(sql.len()),
    };
    let Some(text) = sql.get(start..end) else {
        return 0..sql.len();
    };
    let lead = text.len() - text.trim_start().len();
    let trail = text.len() - text.trim_end().len();
    start + lead..(end - trail).max(start + lead)
}

fn statement(node: Node, range: Range<usize>) -> Statement {
    let kind = match &node.node {
        Some(inner) => kind(inner, &range),
        None => StatementKind::Empty,
    };
    Statement {
        range,
        kind,
        tree: Tree(Some(Box::new(node))),
    }
}

/// A statement inside another one (EXPLAIN, PREPARE, DECLARE, COPY): it has the range of the whole.
fn inner_statement(node: Option<&Node>, range: &Range<usize>) -> Box<Statement> {
    Box::new(match node {
        Some(node) => statement(node.clone(), range.clone()),
        None => Statement {
            range: range.clone(),
            kind: StatementKind::Empty,
            tree: Tree::default(),
        },
    })
}

fn kind(node: &NodeEnum, range: &Range<usize>) -> StatementKind {
    match query::facts(node) {
        Some(query) => match query.into.clone() {
            Some(target) => StatementKind::Ddl(utility::select_into(target, query)),
            None => StatementKind::Query(Box::new(query)),
        },
        None => utility::kind(node, range),
    }
}

#[cfg(test)]
mod tests;
