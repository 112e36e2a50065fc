//! The tags of one transaction, bounded.

use coherence::{MAX_TRANSACTION_TAGS, TableTags, TagHash};
use std::collections::{HashMap, HashSet};

/// Collects the tags of a transaction. Over the bound rows and columns are given up: then the generation tags of all tables
/// that it touched say "anything may have changed".
#[derive(Default, Debug)]
pub(crate) struct TagSet {
    /// Tables with changed rows: their table tag and their generation tag.
    touched: HashMap<TagHash, TagHash>,
    generations: HashSet<TagHash>,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    Exact(HashSet<TagHash>),
    GivenUp,
}

impl Default for Rows {
    fn default() -> Self {
        Self::Exact(HashSet::new())
    }
}

/// A transaction that touched more tables than a message can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooManyTables;

impl TagSet {
    /// Some row of the table changed.
    pub(crate) fn touch(&mut self, table: TableTags) {
        self.touched.insert(table.table(), table.generation());
    }

    /// Anything of the table may have changed.
    pub(crate) fn generation(&mut self, table: TableTags) {
        // Beyond the bound of finish nothing more is kept: one above it is enough to be refused there.
        if self.generations.len() <= MAX_TRANSACTION_TAGS {
            self.generations.insert(table.generation());
        }
    }

    /// A row or column value changed.
    pub(crate) fn row(&mut self, tag: TagHash) {
        if let Rows::Exact(rows) = &mut self.rows {
            rows.insert(tag);
            if rows.len() > MAX_TRANSACTION_TAGS {
                self.rows = Rows::GivenUp;
            }
        }
    }

    /// All tags, at most [`MAX_TRANSACTION_TAGS`].
    pub(crate) fn finish(self) -> Result<Vec<TagHash>, TooManyTables> {
        let coarse = self.touched.len() + self.generations.len();
        let exact = match self.rows {
            Rows::Exact(rows) if rows.len() + coarse <= MAX_TRANSACTION_TAGS => Some(rows),
            Rows::Exact(_) | Rows::GivenUp => None,
        };
        let mut generations = self.generations;
        let mut tags: Vec<TagHash> = self.touched.keys().copied().collect();
        match exact {
            Some(rows) => tags.extend(rows),
            None => generations.extend(self.touched.values()),
        }
        tags.extend(generations);
        if tags.len() > MAX_TRANSACTION_TAGS {
            Err(TooManyTables)
        } else {
            Ok(tags)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TagSet, TooManyTables};
    use coherence::{MAX_TRANSACTION_TAGS, TableTags, TagHash};
    use topology::TableName;

    fn table(number: usize) -> TableTags {
        TableTags::new("shop", &TableName::new("public", &format!("t{number}")))
    }

    fn sorted(mut tags: Vec<TagHash>) -> Vec<TagHash> {
        tags.sort_unstable();
        tags
    }

    #[test]
    fn within_the_bound_every_row_is_told() {
        let mut set = TagSet::default();
        set.touch(table(1));
        set.row(TagHash(7));
        set.row(TagHash(7));
        set.generation(table(2));
        assert_eq!(
            sorted(set.finish().unwrap()),
            sorted(vec![table(1).table(), TagHash(7), table(2).generation()])
        );
    }

    #[test]
    fn over_the_bound_generations_stand_for_rows() {
        let mut set = TagSet::default();
        set.touch(table(1));
        for n in 0..=MAX_TRANSACTION_TAGS as u64 {
            set.row(TagHash(n));
        }
        set.touch(table(2));
        let expected = vec![
            table(1).table(),
            table(1).generation(),
            table(2).table(),
            table(2).generation(),
        ];
        assert_eq!(sorted(set.finish().unwrap()), sorted(expected));
    }

    #[test]
    fn exactly_the_bound_fits_with_its_tables() {
        let mut set = TagSet::default();
        set.touch(table(1));
        for n in 0..MAX_TRANSACTION_TAGS as u64 {
            set.row(TagHash(n));
        }
        assert_eq!(
            sorted(set.finish().unwrap()),
            sorted(vec![table(1).table(), table(1).generation()])
        );
    }

    #[test]
    fn too_many_tables_are_refused() {
        let mut set = TagSet::default();
        for n in 0..=MAX_TRANSACTION_TAGS {
            set.generation(table(n));
        }
        assert_eq!(set.finish(), Err(TooManyTables));
    }
}
