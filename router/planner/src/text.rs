//! The texts of parts: pieces of SQL with the client's values in between.

use crate::evaluate::NoKey;
use crate::plan::PartText;
use crate::values::Values;
use sql::rewrite::{Piece, Pieces};
use std::sync::Arc;

/// A text whose parameters are filled in, or numbered anew, when values are bound.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct PartPieces(pub(crate) Pieces);

impl PartPieces {
    /// The text for a shard: literals stand in it again as the client wrote them; parameters of Bind are numbered from
    /// 1, since a server refuses a text that leaves out the type of a parameter in between.
    pub(crate) fn write(&self, values: &Values<'_>) -> Result<PartText, NoKey> {
        let mut text = String::new();
        let mut used: Vec<u16> = Vec::new();
        for piece in &self.0.0 {
            let number = match piece {
                Piece::Text(piece) => {
                    text.push_str(piece);
                    continue;
                }
                Piece::Parameter(number) => *number,
            };
            match values {
                Values::Literals { sql, literals } => {
                    let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
                    let literal = index.and_then(|i| literals.get(i)).ok_or(NoKey::Unsure)?;
                    text.push_str(std::str::from_utf8(literal.source(sql)).map_err(|_| NoKey::Unsure)?);
                }
                Values::None | Values::Bind { .. } => {
                    let number = u16::try_from(number).map_err(|_| NoKey::Unsure)?;
                    let place = used.iter().position(|n| *n == number).unwrap_or_else(|| {
                        used.push(number);
                        used.len() - 1
                    });
                    text.push('$');
                    text.push_str(&(place + 1).to_string());
                }
            }
        }
        let parameters = match values {
            Values::Literals { .. } => None,
            Values::None | Values::Bind { .. } => Some(used),
        };
        Ok(PartText {
            text: Arc::from(text),
            parameters,
        })
    }
}

/// `head`, rows with commas between, `tail`.
pub(crate) fn join<'p>(
    head: &PartPieces,
    rows: impl Iterator<Item = &'p PartPieces>,
    tail: &PartPieces,
) -> PartPieces {
    let mut pieces = head.0.0.clone();
    for (index, row) in rows.enumerate() {
        if index > 0 {
            pieces.push(Piece::Text(", ".to_owned()));
        }
        pieces.extend(row.0.0.iter().cloned());
    }
    pieces.extend(tail.0.0.iter().cloned());
    PartPieces(Pieces(pieces))
}
