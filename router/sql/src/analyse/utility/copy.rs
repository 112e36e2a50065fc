//! COPY.

use super::{is_on, option_text};
use crate::analyse::{inner_statement, leaf};
use crate::facts::{Copy, CopyDirection, CopyEnd, CopyFormat, CopyHeader, CopyOptions};
use pg_query::NodeEnum;
use pg_query::protobuf::{self as pb, Node};
use std::ops::Range;

pub(super) fn copy(copy: &pb::CopyStmt, range: &Range<usize>) -> Copy {
    let end = if copy.is_program {
        CopyEnd::Program
    } else if copy.filename.is_empty() {
        CopyEnd::Client
    } else {
        CopyEnd::File
    };
    Copy {
        direction: if copy.is_from {
            CopyDirection::From
        } else {
            CopyDirection::To
        },
        end,
        table: copy.relation.as_ref().map(leaf::range_var),
        columns: leaf::owned_strings(&copy.attlist),
        query: copy
            .query
            .as_deref()
            .map(|query| inner_statement(Some(query), range)),
        filtered: copy.where_clause.is_some(),
        options: options(&copy.options),
    }
}

/// The options in both spellings: `(FORMAT csv, HEADER)` and `CSV HEADER`.
fn options(nodes: &[Node]) -> CopyOptions {
    let mut options = CopyOptions {
        format: CopyFormat::Text,
        delimiter: None,
        null: None,
        header: CopyHeader::Off,
        quote: None,
        escape: None,
        encoding: None,
        other: Vec::new(),
    };
    for node in nodes {
        let Some(NodeEnum::DefElem(option)) = &node.node else {
            continue;
        };
        let name = option.defname.to_ascii_lowercase();
        let argument = option.arg.as_deref();
        let text = option_text(argument);
        match name.as_str() {
            "format" => match text.as_deref() {
                Some("csv") => options.format = CopyFormat::Csv,
                Some("binary") => options.format = CopyFormat::Binary,
                Some("text") => options.format = CopyFormat::Text,
                // A format that this grammar's server doesn't have: it says so itself.
                _ => options.other.push(name),
            },
            "delimiter" => options.delimiter = text,
            "null" => options.null = text,
            "header" => {
                options.header = match text.as_deref() {
                    Some("match") => CopyHeader::Match,
                    _ if is_on(argument) => CopyHeader::On,
                    _ => CopyHeader::Off,
                };
            }
            "quote" => options.quote = text,
            "escape" => options.escape = text,
            "encoding" => options.encoding = text,
            _ => options.other.push(name),
        }
    }
    options
}
