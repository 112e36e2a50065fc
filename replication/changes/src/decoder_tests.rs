//! Orders of messages that a server would never send, and announcements that can't be read.

use super::{Committed, Decoder};
use crate::catalog::{Catalog, Table};
use crate::error::Error;
use crate::layout::ExtraColumns;
use crate::pgoutput::tests::{encode, one_of_each};
use crate::pgoutput::{Column, Message, OldRow, Relation, RelationId, Tuple, Value};
use coherence::TableTags;
use proptest::prelude::*;
use topology::{Lsn, TableName};

const BEGIN: Message<'static> = Message::Begin {
    commit: Lsn(5),
    xid: 7,
};
const COMMIT: Message<'static> = Message::Commit {
    commit: Lsn(5),
    end: Lsn(6),
};

fn decoder() -> Decoder {
    let mut catalog = Catalog::default();
    for (id, name) in [("16384", "users"), ("16385", "orders")] {
        let (id, table) = Table::parse([id, "public", name, "{id}", "{id}", "{}"]).unwrap();
        catalog.set(id, table).unwrap();
    }
    Decoder::new("shop", ExtraColumns::new(), catalog)
}

fn run(messages: &[Message<'_>]) -> Result<Option<Committed>, Error> {
    let mut decoder = decoder();
    let mut last = None;
    for message in messages {
        last = decoder.apply(&encode(message))?;
    }
    Ok(last)
}

fn announce(content: &[u8]) -> Vec<coherence::TagHash> {
    let announcement = Message::Logical {
        transactional: true,
        prefix: "ringway",
        content,
    };
    let mut tags = run(&[BEGIN, announcement, COMMIT])
        .unwrap()
        .unwrap()
        .tags
        .unwrap();
    tags.sort_unstable();
    tags
}

fn generations(names: &[&str]) -> Vec<coherence::TagHash> {
    let of = |name: &&str| TableTags::new("shop", &TableName::new("public", name)).generation();
    let mut tags: Vec<_> = names.iter().map(of).collect();
    tags.sort_unstable();
    tags
}

#[test]
fn announcements_name_tables_or_mean_all() {
    assert_eq!(announce(b"{public,users}"), generations(&["users"]));
    assert_eq!(announce(b"{public,a,public,b}"), generations(&["a", "b"]));
    // What nobody wrote like that could be anything.
    let unreadable: [&[u8]; 6] = [
        b"{*}",
        b"{}",
        b"",
        b"{public}",
        b"{public,\xff}",
        b"{public,users,public}",
    ];
    for all in unreadable {
        assert_eq!(announce(all), generations(&["users", "orders"]), "{all:?}");
    }
}

#[test]
fn messages_of_others_say_nothing() {
    for (transactional, prefix) in [(true, "app"), (false, "ringway"), (true, "ringway.heartbeat")] {
        let message = Message::Logical {
            transactional,
            prefix,
            content: b"{public,users}",
        };
        let committed = run(&[BEGIN, message, COMMIT]).unwrap().unwrap();
        assert_eq!(
            committed,
            Committed {
                xid: 7,
                end: Lsn(6),
                tags: Some(vec![]),
                ddl: vec![]
            }
        );
    }
    let outside = Message::Logical {
        transactional: false,
        prefix: "ringway",
        content: b"",
    };
    assert_eq!(run(&[outside]).unwrap(), None);
}

#[test]
fn what_the_protocol_does_not_allow_is_refused() {
    let row = || Tuple::new(vec![Value::Text(b"1")]);
    let columns = || {
        vec![Column {
            in_identity: true,
            name: "id",
        }]
    };
    let relation = |id, schema, name| {
        Message::Relation(Relation {
            id: RelationId(id),
            schema,
            name,
            columns: columns(),
        })
    };
    let insert = || Message::Insert {
        relation: RelationId(16384),
        new: row(),
    };
    let announcement = Message::Logical {
        transactional: true,
        prefix: "ringway",
        content: b"{*}",
    };
    let own = || relation(9, "ringway", "relation");
    let cases: [&[Message<'_>]; 9] = [
        &[COMMIT],
        &[BEGIN, BEGIN],
        &[
            BEGIN,
            Message::Commit {
                commit: Lsn(4),
                end: Lsn(6),
            },
        ],
        &[
            BEGIN,
            Message::Commit {
                commit: Lsn(5),
                end: Lsn(4),
            },
        ],
        &[BEGIN, insert()],
        &[relation(16384, "public", "users"), insert()],
        &[announcement],
        &[
            own(),
            BEGIN,
            Message::Delete {
                relation: RelationId(9),
                old: OldRow::Key(row()),
            },
        ],
        &[
            own(),
            BEGIN,
            Message::Truncate {
                relations: vec![RelationId(9)],
            },
        ],
    ];
    for messages in cases {
        assert!(matches!(run(messages), Err(Error::Order(_))), "{messages:?}");
    }
    let stranger = [
        own(),
        BEGIN,
        Message::Insert {
            relation: RelationId(9),
            new: row(),
        },
    ];
    assert!(matches!(run(&stranger), Err(Error::Answer(_))));
}

#[test]
fn a_table_that_nobody_knows_is_told_coarsely() {
    let columns = vec![Column {
        in_identity: true,
        name: "id",
    }];
    let relation = Relation {
        id: RelationId(1),
        schema: "public",
        name: "stray",
        columns,
    };
    let insert = Message::Insert {
        relation: RelationId(1),
        new: Tuple::new(vec![Value::Text(b"1")]),
    };
    let tags = run(&[Message::Relation(relation), BEGIN, insert, COMMIT])
        .unwrap()
        .unwrap()
        .tags
        .unwrap();
    let stray = TableTags::new("shop", &TableName::new("public", "stray"));
    assert!(tags.contains(&stray.generation()) && tags.contains(&stray.table()));
}

proptest! {
    /// Whatever comes in whatever order: taken or refused. Rows may be shorter than their table.
    #[test]
    fn any_order_is_taken_or_refused(order in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let mut messages = one_of_each();
        messages.extend([BEGIN, COMMIT, BEGIN, COMMIT]);
        let mut decoder = decoder();
        for index in order {
            if decoder.apply(&encode(index.get(&messages))).is_err() {
                break;
            }
        }
    }
}
