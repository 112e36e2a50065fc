//! Results as tables for eyes or JSON for programs.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value};
use std::ffi::OsStr;
use std::io::{self, Write};

/// How results are printed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OutputFormat {
    /// Columns for eyes.
    Table,
    /// One JSON document for programs.
    Json,
}

/// Whether to print colours: on a terminal, unless `NO_COLOR` is set and not empty (<https://no-color.org>).
pub(crate) fn colours(no_color: Option<&OsStr>, is_terminal: bool) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Prints rows: as a table, or as a JSON list of objects. Numbers stay numbers.
///
/// # Errors
/// When `out` can't be written.
pub(crate) fn print_table(
    out: &mut impl Write,
    format: OutputFormat,
    columns: &[&str],
    rows: &[Vec<Value>],
) -> io::Result<()> {
    match format {
        OutputFormat::Table => {
            let mut table = Table::new();
            table
                .load_preset(presets::NOTHING)
                .set_content_arrangement(ContentArrangement::Disabled);
            table.set_header(columns);
            for row in rows {
                table.add_row(row.iter().map(plain));
            }
            for line in table.lines() {
                writeln!(out, "{}", line.trim())?;
            }
            Ok(())
        }
        OutputFormat::Json => {
            let object = |row: &Vec<Value>| -> Map<String, Value> {
                columns
                    .iter()
                    .map(|name| (*name).to_owned())
                    .zip(row.iter().cloned())
                    .collect()
            };
            let list: Vec<Map<String, Value>> = rows.iter().map(object).collect();
            serde_json::to_writer_pretty(&mut *out, &list)?;
            writeln!(out)
        }
    }
}

/// A value as the table shows it: text without quotes, nothing for null.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
