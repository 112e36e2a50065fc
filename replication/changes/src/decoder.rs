//! From the messages of `pgoutput` to committed transactions with their tags.

use crate::array;
use crate::catalog::{COLUMNS, Catalog, Table};
use crate::error::Error;
use crate::layout::{Announced, ExtraColumns, Layout};
use crate::pgoutput::{Message, OldRow, Relation, RelationId, Tuple, Value};
use crate::tagset::TagSet;
use coherence::{TableTags, TagHash};
use std::collections::HashMap;
use topology::{Lsn, TableName};

/// The prefix of the messages by which the event triggers announce DDL.
const ANNOUNCEMENT: &str = "ringway";

/// The schema of our own tables, whose changes are no news for anyone.
const OWN_SCHEMA: &str = "ringway";

/// A transaction, complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Committed {
    /// The low half of its id.
    pub(crate) xid: u32,
    /// Where its commit record ends.
    pub(crate) end: Lsn,
    /// What it changed; `None` if that is more than can be told.
    pub(crate) tags: Option<Vec<TagHash>>,
    /// The rows of `ringway.ddl` that it added.
    pub(crate) ddl: Vec<i64>,
}

/// Follows one decoding session.
#[derive(Debug)]
pub(crate) struct Decoder {
    database: String,
    extra: ExtraColumns,
    catalog: Catalog,
    announced: HashMap<RelationId, Announced>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    xid: u32,
    commit: Lsn,
    tags: TagSet,
    ddl: Vec<i64>,
}

/// Whose table it is, and what to do with its changes.
enum Owner {
    User,
    OwnRelation,
    OwnDdl,
    OwnOther,
}

impl Decoder {
    /// A decoder for a session that begins where the tables look like `catalog`.
    pub(crate) fn new(database: &str, extra: ExtraColumns, catalog: Catalog) -> Self {
        Self {
            database: database.to_owned(),
            extra,
            catalog,
            announced: HashMap::new(),
            open: None,
        }
    }

    /// Takes the next message; gives a transaction when it is complete.
    pub(crate) fn apply(&mut self, bytes: &[u8]) -> Result<Option<Committed>, Error> {
        match Message::decode(bytes)? {
            Message::Begin { commit, xid } => self.begin(commit, xid)?,
            Message::Commit { commit, end } => return self.commit(commit, end).map(Some),
            Message::Relation(relation) => self.announce(&relation)?,
            Message::Insert { relation, new } => self.insert(relation, &new)?,
            Message::Update { relation, old, new } => self.update(relation, &old, &new)?,
            Message::Delete { relation, old } => self.delete(relation, &old)?,
            Message::Truncate { relations } => {
                for relation in relations {
                    self.truncate(relation)?;
                }
            }
            Message::Logical {
                transactional: true,
                prefix: ANNOUNCEMENT,
                content,
            } => self.ddl(content)?,
            // Wherever a change comes from, it changes this shard.
            Message::Origin { .. } | Message::Type { .. } | Message::Logical { .. } => {}
        }
        Ok(None)
    }

    fn begin(&mut self, commit: Lsn, xid: u32) -> Result<(), Error> {
        if self.open.is_some() {
            return Err(Error::Order("a transaction began inside another"));
        }
        self.open = Some(Open {
            xid,
            commit,
            tags: TagSet::default(),
            ddl: Vec::new(),
        });
        Ok(())
    }

    fn commit(&mut self, commit: Lsn, end: Lsn) -> Result<Committed, Error> {
        let open = self
            .open
            .take()
            .ok_or(Error::Order("a commit without its transaction"))?;
        if open.commit != commit || end < commit {
            return Err(Error::Order("a commit of another transaction"));
        }
        Ok(Committed {
            xid: open.xid,
            end,
            tags: open.tags.finish().ok(),
            ddl: open.ddl,
        })
    }

    fn announce(&mut self, relation: &Relation<'_>) -> Result<(), Error> {
        if self.announced.len() >= crate::catalog::MAX_RELATIONS && !self.announced.contains_key(&relation.id)
        {
            return Err(Error::TooManyRelations(crate::catalog::MAX_RELATIONS));
        }
        self.announced.insert(relation.id, Announced::new(relation));
        Ok(())
    }

    fn owner(&self, id: RelationId) -> Result<Owner, Error> {
        let name = self
            .announced
            .get(&id)
            .ok_or(Error::Order("a change of a table that was not announced"))?
            .name();
        Ok(match (name.schema.as_str(), name.name.as_str()) {
            (OWN_SCHEMA, "relation") => Owner::OwnRelation,
            (OWN_SCHEMA, "ddl") => Owner::OwnDdl,
            (OWN_SCHEMA, _) => Owner::OwnOther,
            _ => Owner::User,
        })
    }

    fn insert(&mut self, id: RelationId, new: &Tuple<'_>) -> Result<(), Error> {
        match self.owner(id)? {
            Owner::User => self.tag(id, |layout, tags| layout.insert(new, tags)),
            Owner::OwnRelation => self.catalog_row(id, new, true),
            Owner::OwnDdl => self.ddl_row(id, new),
            Owner::OwnOther => Ok(()),
        }
    }

    fn update(&mut self, id: RelationId, old: &OldRow<'_>, new: &Tuple<'_>) -> Result<(), Error> {
        match self.owner(id)? {
            Owner::User => self.tag(id, |layout, tags| layout.update(old, new, tags)),
            Owner::OwnRelation => {
                // Its replica identity is FULL, so the old name is in the log.
                if let OldRow::Full(old) = old {
                    self.catalog_row(id, old, false)?;
                }
                self.catalog_row(id, new, true)
            }
            Owner::OwnDdl | Owner::OwnOther => Ok(()),
        }
    }

    fn delete(&mut self, id: RelationId, old: &OldRow<'_>) -> Result<(), Error> {
        match self.owner(id)? {
            Owner::User => self.tag(id, |layout, tags| layout.delete(old, tags)),
            Owner::OwnRelation => match old {
                OldRow::Full(old) => self.catalog_row(id, old, false),
                OldRow::Key(_) | OldRow::Unchanged => {
                    Err(Error::Order("ringway.relation lost its replica identity"))
                }
            },
            Owner::OwnDdl | Owner::OwnOther => Ok(()),
        }
    }

    fn truncate(&mut self, id: RelationId) -> Result<(), Error> {
        match self.owner(id)? {
            Owner::User => self.tag(id, Layout::unknown_rows),
            Owner::OwnRelation => Err(Error::Order("ringway.relation was truncated")),
            Owner::OwnDdl | Owner::OwnOther => Ok(()),
        }
    }

    fn tag(&mut self, id: RelationId, collect: impl FnOnce(&Layout, &mut TagSet)) -> Result<(), Error> {
        let open = self
            .open
            .as_mut()
            .ok_or(Error::Order("a change outside of a transaction"))?;
        let table = self
            .announced
            .get_mut(&id)
            .ok_or(Error::Order("a change of a table that was not announced"))?;
        collect(
            table.layout(id, &self.catalog, &self.extra, &self.database),
            &mut open.tags,
        );
        Ok(())
    }

    /// A row of `ringway.relation` came or went: the table it describes has another generation, under this name.
    fn catalog_row(&mut self, id: RelationId, row: &Tuple<'_>, is_new: bool) -> Result<(), Error> {
        let announced = self
            .announced
            .get(&id)
            .ok_or(Error::Order("a change of a table that was not announced"))?;
        let mut values = [""; 6];
        for (value, column) in values.iter_mut().zip(COLUMNS) {
            *value = text_at(announced, row, column)?;
        }
        let (table_id, table) = Table::parse(values)?;
        let open = self
            .open
            .as_mut()
            .ok_or(Error::Order("a change outside of a transaction"))?;
        open.tags.generation(TableTags::new(&self.database, &table.name));
        if is_new {
            self.catalog.set(table_id, table)?;
        } else {
            self.catalog.remove(table_id);
        }
        self.announced.values_mut().for_each(Announced::forget_layout);
        Ok(())
    }

    fn ddl_row(&mut self, id: RelationId, row: &Tuple<'_>) -> Result<(), Error> {
        let announced = self
            .announced
            .get(&id)
            .ok_or(Error::Order("a change of a table that was not announced"))?;
        let number = text_at(announced, row, "id")?
            .parse()
            .map_err(|_| Error::Answer("an id of ringway.ddl"))?;
        let open = self
            .open
            .as_mut()
            .ok_or(Error::Order("a change outside of a transaction"))?;
        open.ddl.push(number);
        Ok(())
    }

    /// The event triggers named the tables that DDL touched; what can't be read means all of them.
    fn ddl(&mut self, content: &[u8]) -> Result<(), Error> {
        let open = self
            .open
            .as_mut()
            .ok_or(Error::Order("an announcement outside of a transaction"))?;
        let names = std::str::from_utf8(content)
            .ok()
            .and_then(|text| array::parse(text).ok())
            .unwrap_or_default();
        let (pairs, rest) = names.as_chunks::<2>();
        if !rest.is_empty() || pairs.is_empty() {
            for name in self.catalog.names() {
                open.tags.generation(TableTags::new(&self.database, name));
            }
            return Ok(());
        }
        for [schema, name] in pairs {
            open.tags
                .generation(TableTags::new(&self.database, &TableName::new(schema, name)));
        }
        Ok(())
    }
}

fn text_at<'a>(announced: &Announced, row: &Tuple<'a>, column: &str) -> Result<&'a str, Error> {
    match announced.place(column).and_then(|place| row.value(place)) {
        Some(Value::Text(text)) => {
            std::str::from_utf8(text).map_err(|_| Error::Answer("text of schema ringway"))
        }
        Some(Value::Null | Value::Unchanged) | None => Err(Error::Answer("a column of schema ringway")),
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
