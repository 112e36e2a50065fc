//! Values of a statement to keys and slots.

use crate::keys::KeyExpr;
use crate::resolve::{key_type, same_family};
use crate::values::Values;
use crate::{KeyError, KeyValue, slot_of};
use smallvec::SmallVec;
use sql::{Constant, LiteralKind, Name, Value, ValueSource};
use std::borrow::Cow;
use topology::{KeyType, Slot};

/// The most elements of an array parameter or IN list that are looked at; more bind nothing.
const MAX_KEYS: usize = 65_536;

/// Distinct slots, in order.
pub(crate) type Slots = SmallVec<[Slot; 4]>;

/// Why no slot comes out of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoKey {
    /// No row has it: NULL, or a number outside the type.
    Nothing,
    /// PostgreSQL refuses the value on any server.
    Error,
    /// It may mean a key, but not provably which.
    Unsure,
}

impl From<KeyError> for NoKey {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::OutOfRange(_) => Self::Nothing,
            KeyError::Malformed(_) => Self::Error,
            KeyError::Unsure(_) => Self::Unsure,
        }
    }
}

/// The slots that an expression names; empty: no row matters.
pub(crate) fn slots(expr: &KeyExpr, values: &Values<'_>) -> Result<Slots, NoKey> {
    let mut slots = Slots::new();
    collect(expr, values, &mut slots)?;
    slots.sort_unstable();
    slots.dedup();
    Ok(slots)
}

fn collect(expr: &KeyExpr, values: &Values<'_>, slots: &mut Slots) -> Result<(), NoKey> {
    match expr {
        KeyExpr::One(value, key_type) => push(key(value, *key_type, values), slots),
        KeyExpr::Stored(value, key_type) => push(stored_key(value, *key_type, values), slots),
        KeyExpr::Many(list, _) if list.len() > MAX_KEYS => Err(NoKey::Unsure),
        KeyExpr::Many(list, key_type) => list
            .iter()
            .try_for_each(|value| push(key(value, *key_type, values), slots)),
        KeyExpr::Array(value, key_type) => crate::array::elements(value, *key_type, values, &mut |element| {
            if slots.len() >= MAX_KEYS {
                return Err(NoKey::Unsure);
            }
            push(element, slots)
        }),
        KeyExpr::Union(all) => all.iter().try_for_each(|part| collect(part, values, slots)),
    }
}

fn push(key: Result<KeyValue<'_>, NoKey>, slots: &mut Slots) -> Result<(), NoKey> {
    match key {
        Ok(key) => slots.push(slot_of(&key)),
        Err(NoKey::Nothing) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The key that a value is where it is compared with, or stored into, a column of `column_type`.
pub(crate) fn key<'v>(
    value: &'v Value,
    column_type: KeyType,
    values: &Values<'v>,
) -> Result<KeyValue<'v>, NoKey> {
    let target = match &value.cast {
        None => column_type,
        Some(cast) => cast_type(cast)
            .filter(|t| same_family(*t, column_type))
            .ok_or(NoKey::Unsure)?,
    };
    let raw = raw(&value.source, values)?;
    if value.negated {
        return negated(&raw, target);
    }
    match raw {
        Raw::Integer(digits) if is_integer(target) => Ok(from_text(target, digits)?),
        // A number is compared with another type only by an operator that doesn't exist, unless a cast says otherwise.
        Raw::Integer(_) | Raw::Other if value.cast.is_none() => Err(NoKey::Error),
        Raw::Integer(_) | Raw::Other | Raw::Decimal => Err(NoKey::Unsure),
        Raw::Text(text) => Ok(from_text(target, text)?),
        Raw::Typed { bytes, oid, binary } => typed(bytes, oid, binary, target, column_type),
    }
}

/// The key that a column of `column_type` holds once the value is stored in it. Assignment casts more than comparison does
/// (a number becomes text), and a length or precision of the column may cut the value: none of this is followed.
pub(crate) fn stored_key<'v>(
    value: &'v Value,
    column_type: KeyType,
    values: &Values<'v>,
) -> Result<KeyValue<'v>, NoKey> {
    let literal = matches!(raw(&value.source, values), Ok(Raw::Text(_) | Raw::Typed { .. }));
    match key(value, column_type, values) {
        Ok(key) if !key.is_stored_uncut() => Err(NoKey::Unsure),
        Err(NoKey::Error) if !literal => Err(NoKey::Unsure),
        other => other,
    }
}

/// A value as the message or the text holds it.
enum Raw<'v> {
    Integer(Cow<'v, [u8]>),
    Decimal,
    Text(Cow<'v, [u8]>),
    Typed { bytes: &'v [u8], oid: u32, binary: bool },
    Other,
}

fn raw<'v>(source: &'v ValueSource, values: &Values<'v>) -> Result<Raw<'v>, NoKey> {
    let number = match source {
        ValueSource::Constant(constant) => {
            return match constant {
                Constant::Null => Err(NoKey::Nothing),
                Constant::Integer(digits) => Ok(Raw::Integer(Cow::Borrowed(digits.as_bytes()))),
                Constant::Decimal(_) => Ok(Raw::Decimal),
                Constant::Text(text) => Ok(Raw::Text(Cow::Borrowed(text.as_bytes()))),
                Constant::Bool(_) | Constant::Bits(_) => Ok(Raw::Other),
            };
        }
        ValueSource::Parameter(number) => usize::try_from(*number).ok().and_then(|n| n.checked_sub(1)),
    };
    let index = number.ok_or(NoKey::Unsure)?;
    match *values {
        Values::None => Err(NoKey::Unsure),
        Values::Literals { sql, literals } => {
            let literal = literals.get(index).ok_or(NoKey::Unsure)?;
            let value = literal.value(sql).ok_or(NoKey::Unsure)?;
            Ok(match literal.kind {
                LiteralKind::Integer => Raw::Integer(value),
                LiteralKind::Decimal => Raw::Decimal,
                LiteralKind::Quoted | LiteralKind::Escaped | LiteralKind::Dollar => Raw::Text(value),
                LiteralKind::Bits => Raw::Other,
            })
        }
        Values::Bind {
            values,
            formats,
            types,
        } => {
            let bytes = values.get(index).ok_or(NoKey::Unsure)?.ok_or(NoKey::Nothing)?;
            let format = match formats {
                [] => 0,
                [all] => *all,
                each => *each.get(index).ok_or(NoKey::Error)?,
            };
            let oid = types.get(index).copied().unwrap_or(0);
            Ok(Raw::Typed {
                bytes,
                oid,
                binary: format == 1,
            })
        }
    }
}

fn from_text(key_type: KeyType, text: Cow<'_, [u8]>) -> Result<KeyValue<'_>, KeyError> {
    match text {
        Cow::Borrowed(text) => KeyValue::from_text(key_type, text),
        Cow::Owned(text) => KeyValue::from_text(key_type, &text).map(KeyValue::into_owned),
    }
}

/// `- 5`. Signs of other types' values have other meanings.
fn negated(raw: &Raw<'_>, target: KeyType) -> Result<KeyValue<'static>, NoKey> {
    let Raw::Integer(digits) = raw else {
        return Err(NoKey::Unsure);
    };
    if !is_integer(target) {
        return Err(NoKey::Unsure);
    }
    let text = match digits.strip_prefix(b"-") {
        Some(positive) => positive.to_vec(),
        None => [b"-", digits.as_ref()].concat(),
    };
    Ok(KeyValue::from_text(target, &text).map(KeyValue::into_owned)?)
}

/// A parameter of Bind. Without a declared type it has the type of the cast, or of the column.
fn typed(
    bytes: &[u8],
    oid: u32,
    binary: bool,
    target: KeyType,
    column_type: KeyType,
) -> Result<KeyValue<'_>, NoKey> {
    let declared = match oid {
        0 | UNKNOWN_OID => target,
        oid => key_type_of_oid(oid)
            .filter(|t| same_family(*t, column_type))
            .ok_or(NoKey::Unsure)?,
    };
    let key = if binary {
        KeyValue::from_binary(declared, bytes)?
    } else {
        KeyValue::from_text(declared, bytes)?
    };
    Ok(key)
}

/// The pseudo-type of literals that nobody gave a type.
const UNKNOWN_OID: u32 = 705;

/// The key type of a built-in type's oid (`pg_type.dat`).
pub(crate) fn key_type_of_oid(oid: u32) -> Option<KeyType> {
    Some(match oid {
        17 => KeyType::Bytea,
        20 => KeyType::Int8,
        21 => KeyType::Int2,
        23 => KeyType::Int4,
        25 | 1043 => KeyType::Text,
        1082 => KeyType::Date,
        1184 => KeyType::TimestampTz,
        2950 => KeyType::Uuid,
        _ => return None,
    })
}

fn is_integer(key_type: KeyType) -> bool {
    matches!(key_type, KeyType::Int2 | KeyType::Int4 | KeyType::Int8)
}

fn cast_type(cast: &Name) -> Option<KeyType> {
    matches!(cast.schema.as_deref(), None | Some("pg_catalog")).then(|| key_type(&cast.name))?
}

/// Whether a text among the values may mean a time relative to when a server reads it.
pub(crate) fn has_relative_time(values: &Values<'_>) -> bool {
    match values {
        Values::None => false,
        Values::Literals { sql, literals } => literals.iter().any(|literal| match literal.kind {
            LiteralKind::Integer | LiteralKind::Decimal | LiteralKind::Bits => false,
            LiteralKind::Quoted | LiteralKind::Escaped | LiteralKind::Dollar => {
                literal.value(sql).is_none_or(|text| sql::is_relative_time(&text))
            }
        }),
        Values::Bind { values, .. } => values.iter().flatten().any(|text| sql::is_relative_time(text)),
    }
}

/// A number of rows, for LIMIT and OFFSET.
pub(crate) fn row_count(value: &Value, values: &Values<'_>) -> Result<Option<u64>, NoKey> {
    match key(value, KeyType::Int8, values) {
        Ok(KeyValue::Int(number)) => u64::try_from(number).map(Some).map_err(|_| NoKey::Error),
        Ok(_) => Err(NoKey::Unsure),
        Err(NoKey::Nothing) if is_null(value, values) => Ok(None),
        Err(NoKey::Nothing) => Err(NoKey::Error),
        Err(error) => Err(error),
    }
}

fn is_null(value: &Value, values: &Values<'_>) -> bool {
    match (&value.source, values) {
        (ValueSource::Constant(constant), _) => *constant == Constant::Null,
        (ValueSource::Parameter(n), Values::Bind { values, .. }) => {
            let index = usize::try_from(*n).ok().and_then(|n| n.checked_sub(1));
            index.and_then(|i| values.get(i)).is_some_and(Option::is_none)
        }
        _ => false,
    }
}

/// An array value, for `= ANY`.
pub(crate) enum ArrayBytes<'v> {
    /// `{...}`.
    Text(Cow<'v, [u8]>),
    /// The binary form.
    Binary(&'v [u8]),
}

/// The bytes of an array value whose elements are of `element`'s family.
pub(crate) fn array_bytes<'v>(
    value: &'v Value,
    element: KeyType,
    values: &Values<'v>,
) -> Result<(ArrayBytes<'v>, KeyType), NoKey> {
    if value.negated {
        return Err(NoKey::Error);
    }
    let target = match &value.cast {
        None => element,
        Some(cast) => {
            let name = cast.name.strip_suffix("[]").ok_or(NoKey::Unsure)?;
            let target = cast_type(&Name {
                schema: cast.schema.clone(),
                name: name.to_owned(),
            });
            target.filter(|t| same_family(*t, element)).ok_or(NoKey::Unsure)?
        }
    };
    match raw(&value.source, values)? {
        Raw::Text(text) => Ok((ArrayBytes::Text(text), target)),
        Raw::Typed { bytes, oid, binary } => {
            let declared = match oid {
                0 | UNKNOWN_OID => target,
                oid => element_of_oid(oid)
                    .filter(|t| same_family(*t, element))
                    .ok_or(NoKey::Unsure)?,
            };
            let bytes = if binary {
                ArrayBytes::Binary(bytes)
            } else {
                ArrayBytes::Text(Cow::Borrowed(bytes))
            };
            Ok((bytes, declared))
        }
        Raw::Integer(_) | Raw::Decimal | Raw::Other => Err(NoKey::Error),
    }
}

fn element_of_oid(oid: u32) -> Option<KeyType> {
    Some(match oid {
        1001 => KeyType::Bytea,
        1005 => KeyType::Int2,
        1007 => KeyType::Int4,
        1009 | 1015 => KeyType::Text,
        1016 => KeyType::Int8,
        1182 => KeyType::Date,
        1185 => KeyType::TimestampTz,
        2951 => KeyType::Uuid,
        _ => return None,
    })
}
