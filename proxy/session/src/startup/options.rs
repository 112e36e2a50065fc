//! The startup parameter `options`: a command line of the server with settings in it.

use wire::{ProxyError, sqlstate};

use super::parameters::setting_name;

/// Reads `-c name=value`, `-cname=value` and `--name=value`, as PostgreSQL does (`pg_split_opts`, `process_postgres_switches`).
///
/// # Errors
/// A switch of another kind: those are about the server itself.
pub(super) fn parse(command_line: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ProxyError> {
    let mut settings = Vec::new();
    let mut words = split(command_line).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.as_slice() {
            b"-c" => words
                .next()
                .ok_or_else(|| syntax("option requires an argument -- 'c'"))?,
            [b'-', b'c', rest @ ..] | [b'-', b'-', rest @ ..] => rest.to_vec(),
            other => {
                let other = String::from_utf8_lossy(other);
                return Err(syntax(&format!(
                    "invalid command-line argument for server process: {other}"
                )));
            }
        };
        let Some(equals) = assignment.iter().position(|&c| c == b'=') else {
            let name = String::from_utf8_lossy(&assignment);
            return Err(syntax(&format!("-c {name} requires a value")));
        };
        let (name, value) = assignment.split_at(equals);
        // On a command line, a dash may stand for an underscore.
        let name = setting_name(name)?.replace('-', "_");
        settings.push((name, value.get(1..).unwrap_or_default().to_vec()));
    }
    Ok(settings)
}

/// Splits at white space; a backslash takes the next byte as it is.
fn split(command_line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = command_line.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => words.extend(word.take()),
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

fn syntax(message: &str) -> ProxyError {
    ProxyError::fatal(sqlstate::SYNTAX_ERROR, message.to_owned())
}
