//! Tags: what an answer depended on, and what a change touched.
//!
//! The publisher makes them from the text of the log (pgoutput), the reader from the key of a
//! statement. Both go through [`TableTags`], and both hand over values in *canonical text*: the one
//! text that PostgreSQL prints for a value under the settings named by [`WAL_SETTINGS`](crate::WAL_SETTINGS).
//! Two texts of one value would be two tags, and the reader would miss a change; two values with one
//! tag only invalidate too much.

use std::fmt;
use topology::TableName;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Part of the stream's format: proxies of one cluster must agree on it.
const SEED: u64 = 0x52_69_6e_67_77_61_79_31;

/// The hash of a tag. Collisions only over-invalidate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagHash(pub u64);

impl fmt::Debug for TagHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:016x}", self.0)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Row = 1,
    Column = 2,
    Table = 3,
    Generation = 4,
}

/// Makes the tags of one table of one database.
///
/// Each tag is a chain of hashes in which every link is seeded with the one before, so that no
/// concatenation of names and values can be read in two ways, and nothing is allocated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableTags {
    seed: u64,
}

impl TableTags {
    /// The tags of `table` in `database`, both as the catalog spells them.
    ///
    /// A change of a partition is told under its ancestors' tags too: those are the tables that statements name.
    pub fn new(database: &str, table: &TableName) -> Self {
        let names = [
            database.as_bytes(),
            table.schema.as_bytes(),
            table.name.as_bytes(),
        ];
        Self {
            seed: names
                .iter()
                .fold(SEED, |seed, name| xxh3_64_with_seed(name, seed)),
        }
    }

    /// `T/pk=k`: the row with this primary key; its columns' values in the order of the key.
    pub fn row<'v>(&self, key: impl IntoIterator<Item = &'v [u8]>) -> TagHash {
        let start = self.of(Kind::Row).0;
        TagHash(
            key.into_iter()
                .fold(start, |seed, value| xxh3_64_with_seed(value, seed)),
        )
    }

    /// `T/col=v`: all rows whose `column` holds this value. A null has no such tag: nothing equals it.
    pub fn column(&self, column: &str, value: &[u8]) -> TagHash {
        let seed = xxh3_64_with_seed(column.as_bytes(), self.of(Kind::Column).0);
        TagHash(xxh3_64_with_seed(value, seed))
    }

    /// `T`: any change of the table's rows.
    pub fn table(&self) -> TagHash {
        self.of(Kind::Table)
    }

    /// `T/!`: the table's generation: TRUNCATE, DDL, rights, and changes whose rows are not known. Every entry that
    /// read the table carries it.
    pub fn generation(&self) -> TagHash {
        self.of(Kind::Generation)
    }

    fn of(&self, kind: Kind) -> TagHash {
        TagHash(xxh3_64_with_seed(&[kind as u8], self.seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn users() -> TableTags {
        TableTags::new("shop", &TableName::new("public", "users"))
    }

    #[test]
    fn hashes_are_part_of_the_format() {
        let tags = users();
        let made = [
            tags.row([&b"42"[..]]),
            tags.column("email", b"a@b.c"),
            tags.table(),
            tags.generation(),
        ];
        assert_eq!(format!("{made:?}"), EXPECTED);
    }

    const EXPECTED: &str = "[#ba94c60d4a316d83, #9e7101531a006a36, #00724eb7e6f5c533, #5dcca70fc425f621]";

    proptest! {
        #[test]
        fn different_things_have_different_tags(a in "[a-c]{0,3}", b in "[a-c]{0,3}", c in "[a-c]{0,3}", d in "[a-c]{0,3}") {
            let tags = users();
            let mut seen = HashSet::new();
            let mut rows = HashSet::new();
            for key in [vec![a.clone(), b.clone()], vec![c.clone(), d.clone()], vec![a.clone()], vec![format!("{a}{b}")]] {
                seen.insert(tags.row(key.iter().map(String::as_bytes)));
                rows.insert(key);
            }
            prop_assert_eq!(seen.len(), rows.len());
            prop_assert_eq!(tags.column(&a, b.as_bytes()) == tags.column(&c, d.as_bytes()), (&a, &b) == (&c, &d));
            prop_assert_ne!(tags.column(&a, b.as_bytes()), tags.row([a.as_bytes(), b.as_bytes()]));
        }
    }

    #[test]
    fn the_parts_of_a_name_do_not_run_together() {
        let one = TableTags::new("shop", &TableName::new("a", "bc"));
        let two = TableTags::new("shop", &TableName::new("ab", "c"));
        let three = TableTags::new("shopa", &TableName::new("", "bc"));
        assert!(one.table() != two.table() && one.table() != three.table() && two.table() != three.table());
    }
}
