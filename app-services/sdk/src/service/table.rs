//! How Ringway is to spread a service's tables: pure.

use std::fmt::{self, Write as _};

/// A table of a service, as its Ringways have to know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table {
    name: &'static str,
    spread: Spread,
    copies: Copies,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spread {
    ByHashOf(&'static str),
    Everywhere,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Copies {
    None,
    ReadYourWrites,
}

impl Table {
    /// Each row on the shard of this column.
    pub const fn sharded(name: &'static str, column: &'static str) -> Self {
        Self {
            name,
            spread: Spread::ByHashOf(column),
            copies: Copies::None,
        }
    }

    /// All rows on all shards: what is read much and changed little.
    pub const fn reference(name: &'static str) -> Self {
        Self {
            name,
            spread: Spread::Everywhere,
            copies: Copies::None,
        }
    }

    /// The same, and its rows may be read from copies that have what the reader has written, at most two seconds old.
    #[must_use]
    pub const fn cached(mut self) -> Self {
        self.copies = Copies::ReadYourWrites;
        self
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The `[[table]]` section.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n[[table]]\nname = \"{}\"", self.name)?;
        match self.spread {
            Spread::ByHashOf(column) => writeln!(f, "sharding = \"hash\"\ncolumn = \"{column}\"")?,
            Spread::Everywhere => writeln!(f, "sharding = \"reference\"")?,
        }
        match self.copies {
            Copies::None => Ok(()),
            Copies::ReadYourWrites => {
                f.write_str("cache = { level = \"ryw\", bound = \"2s\", ttl = \"5m\" }")?;
                f.write_char('\n')
            }
        }
    }
}
