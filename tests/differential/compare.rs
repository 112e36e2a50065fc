//! Answers made comparable, and what differs between two of them.

use std::fmt::Write;

use tests::{Column, Fault, Reply};

/// `feature_not_supported`.
const REFUSED: &str = "0A000";
/// Lines of a difference that are shown.
const SHOWN_MAX: usize = 24;

/// What differs between the answer of PostgreSQL and that of Ringway; `None` if nothing.
pub(crate) fn difference(expected: &[Reply], got: &[Reply], ordered: bool) -> Option<String> {
    let expected = normalised(expected, ordered);
    let got = normalised(got, ordered);
    if expected == got {
        return None;
    }
    let same = expected.iter().zip(&got).take_while(|(a, b)| a == b).count();
    let mut text = format!("  the first {same} messages are equal\n");
    for (side, replies) in [("PostgreSQL", &expected), ("Ringway", &got)] {
        let _ = writeln!(text, "  {side} ({} messages):", replies.len());
        for reply in replies.iter().skip(same.saturating_sub(1)).take(SHOWN_MAX) {
            let _ = writeln!(text, "    {reply}");
        }
    }
    Some(text)
}

/// What is wrong with an answer that should be a refusal.
pub(crate) fn refusal(got: &[Reply]) -> Option<String> {
    let refused = |fault: &Fault| {
        fault.code == REFUSED
            && fault.routine.as_deref() == Some("ringway")
            && fault.detail.is_some()
            && fault.hint.is_some()
    };
    if got.iter().filter_map(Reply::error).any(refused) {
        return None;
    }
    let mut text = "  expected 0A000 from ringway with DETAIL and HINT, got:\n".to_owned();
    for reply in got.iter().take(SHOWN_MAX) {
        let _ = writeln!(text, "    {reply}");
    }
    Some(text)
}

/// Rows in a fixed order where their order is left open, and of errors and notices what both servers must agree on.
///
/// What came before an error is left out: how many rows of a failing statement were sent is chance, and whether the error
/// comes at Parse, Bind or Execute makes no difference to a client, as the server skips to Sync.
fn normalised(replies: &[Reply], ordered: bool) -> Vec<Reply> {
    let mut out: Vec<Reply> = Vec::with_capacity(replies.len());
    for reply in replies {
        if let Reply::Error(_) = reply {
            while out.last().is_some_and(is_undone_by_an_error) {
                out.pop();
            }
        }
        out.push(agreed(reply));
    }
    if !ordered {
        let is_row = |reply: &Reply| matches!(reply, Reply::Row(_) | Reply::CopyData(_));
        for rows in out.chunk_by_mut(|a, b| is_row(a) && is_row(b)) {
            rows.sort_unstable();
        }
    }
    out
}

fn is_undone_by_an_error(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Parsed
            | Reply::Bound
            | Reply::Closed
            | Reply::NoData
            | Reply::Parameters(_)
            | Reply::Columns(_)
            | Reply::Row(_)
            | Reply::CopyData(_)
    )
}

fn agreed(reply: &Reply) -> Reply {
    /// The first oid of what is not PostgreSQL's own: types of tables have other oids on each server.
    const FIRST_OWN_OID: u32 = 16_384;
    let column = |column: &Column| Column {
        type_oid: column.type_oid.min(FIRST_OWN_OID),
        ..column.clone()
    };
    let fault = |fault: &Fault| Fault {
        detail: None,
        hint: None,
        routine: None,
        ..fault.clone()
    };
    match reply {
        Reply::Error(error) => Reply::Error(fault(error)),
        Reply::Notice(notice) => Reply::Notice(fault(notice)),
        Reply::Columns(columns) => Reply::Columns(columns.iter().map(column).collect()),
        other => other.clone(),
    }
}
