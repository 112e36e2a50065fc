//! Values as columns hold them: an enum by its word, anything else as JSON.

use crate::error::{Error, Result};
use bytes::BytesMut;
use serde::Serialize;
use serde::de::value::{Error as Unknown, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use std::error::Error as StdError;
use std::fmt;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

pub use tokio_postgres::types::Json;

/// What serde writes as a text (a variant without fields, a newtype of a text), as the value of a text column.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Word<T>(pub T);

impl<T: Serialize> Word<T> {
    /// The text.
    ///
    /// # Errors
    /// Serde writes something else.
    pub fn text(&self) -> Result<String> {
        match serde_json::to_value(&self.0) {
            Ok(serde_json::Value::String(text)) => Ok(text),
            _ => Err(Error::caller("only what serde writes as a text is a word")),
        }
    }
}

impl<T: Serialize + fmt::Debug> ToSql for Word<T> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.text()?.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <&str as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

impl<'a, T: DeserializeOwned> FromSql<'a> for Word<T> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        let word: StrDeserializer<'_, Unknown> = <&str>::from_sql(ty, raw)?.into_deserializer();
        Ok(Self(T::deserialize(word)?))
    }

    fn accepts(ty: &Type) -> bool {
        <&str as FromSql<'_>>::accepts(ty)
    }
}

/// Columns that may hold what this version of a service doesn't know: an error then, where [`Row::get`] panics.
pub trait Columns {
    /// An enum, by its word.
    ///
    /// # Errors
    /// The word is unknown.
    fn word<T: DeserializeOwned>(&self, column: &str) -> Result<T>;

    /// What is kept as JSON; none for NULL.
    ///
    /// # Errors
    /// It is of another type.
    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>>;
}

impl Columns for Row {
    fn word<T: DeserializeOwned>(&self, column: &str) -> Result<T> {
        self.try_get::<_, Word<T>>(column)
            .map(|word| word.0)
            .map_err(|error| unreadable(column, error))
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>> {
        self.try_get::<_, Option<Json<T>>>(column)
            .map(|json| json.map(|json| json.0))
            .map_err(|error| unreadable(column, error))
    }
}

fn unreadable(column: &str, error: tokio_postgres::Error) -> Error {
    Error::caller(format!("{column} is of another type")).with_source(error)
}

/// Makes a value of the columns that have its fields' names; the fields behind the `;` are made of what they say.
///
/// ```
/// # use ringway_sdk::{Row, column::Columns, from_row};
/// struct Account { owner: String, cents: i64, state: State }
/// # #[derive(serde::Deserialize)] #[serde(rename_all = "kebab-case")]
/// enum State { Open, Closed }
///
/// fn read(row: &Row) -> ringway_sdk::Result<Account> {
///     Ok(from_row!(row => Account { owner, cents; state: row.word("state")? }))
/// }
/// ```
#[macro_export]
macro_rules! from_row {
    ($row:ident => $name:ident { $($column:ident),* $(; $($field:ident : $value:expr),* $(,)?)? }) => {
        $name {
            $( $column: $row.get(stringify!($column)), )*
            $( $( $field: $value, )* )?
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum State {
        New,
        InTransit,
        Lost { by: u8 },
    }

    fn stored(state: State) -> Option<BytesMut> {
        let mut out = BytesMut::new();
        Word(state).to_sql(&Type::TEXT, &mut out).ok().map(|_| out)
    }

    #[test]
    fn a_word_comes_back_as_it_was_and_nothing_else_is_one() {
        for state in [State::New, State::InTransit] {
            let stored = stored(state).unwrap();
            let back = Word::<State>::from_sql(&Type::TEXT, &stored).unwrap();
            assert_eq!(back.0, state);
        }
        assert_eq!(&stored(State::InTransit).unwrap()[..], b"in-transit");
        assert!(stored(State::Lost { by: 1 }).is_none());
        for unknown in ["in_transit", "lost", ""] {
            assert!(Word::<State>::from_sql(&Type::TEXT, unknown.as_bytes()).is_err());
        }
    }
}
