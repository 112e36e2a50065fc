//! What the decoder accepts, and that it refuses the rest without harm.

use super::*;
use proptest::prelude::*;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn tuple(out: &mut Vec<u8>, values: &[Value<'_>]) {
    out.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        match value {
            Value::Null => out.push(b'n'),
            Value::Unchanged => out.push(b'u'),
            Value::Text(bytes) => {
                out.push(b't');
                out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
                out.extend_from_slice(bytes);
            }
        }
    }
}

pub(crate) fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match message {
        Message::Begin { commit, xid } => {
            out.push(b'B');
            out.extend_from_slice(&commit.0.to_be_bytes());
            out.extend_from_slice(&[7; 8]);
            out.extend_from_slice(&xid.to_be_bytes());
        }
        Message::Commit { commit, end } => {
            out.extend_from_slice(&[b'C', 0]);
            out.extend_from_slice(&commit.0.to_be_bytes());
            out.extend_from_slice(&end.0.to_be_bytes());
            out.extend_from_slice(&[7; 8]);
        }
        Message::Origin { commit, name } => {
            out.push(b'O');
            out.extend_from_slice(&commit.0.to_be_bytes());
            text(&mut out, name);
        }
        Message::Relation(relation) => encode_relation(&mut out, relation),
        Message::Type { id } => {
            out.push(b'Y');
            out.extend_from_slice(&id.to_be_bytes());
            text(&mut out, "public");
            text(&mut out, "mood");
        }
        Message::Insert { relation, new } => {
            out.push(b'I');
            out.extend_from_slice(&relation.0.to_be_bytes());
            out.push(b'N');
            tuple(&mut out, &new_values(new));
        }
        Message::Update { relation, old, new } => {
            out.push(b'U');
            out.extend_from_slice(&relation.0.to_be_bytes());
            encode_old(&mut out, old);
            out.push(b'N');
            tuple(&mut out, &new_values(new));
        }
        Message::Delete { relation, old } => {
            out.push(b'D');
            out.extend_from_slice(&relation.0.to_be_bytes());
            encode_old(&mut out, old);
        }
        Message::Truncate { relations } => {
            out.push(b'T');
            out.extend_from_slice(&u32::try_from(relations.len()).unwrap().to_be_bytes());
            out.push(1);
            relations
                .iter()
                .for_each(|id| out.extend_from_slice(&id.0.to_be_bytes()));
        }
        Message::Logical {
            transactional,
            prefix,
            content,
        } => {
            out.extend_from_slice(&[b'M', u8::from(*transactional)]);
            out.extend_from_slice(&[7; 8]);
            text(&mut out, prefix);
            out.extend_from_slice(&u32::try_from(content.len()).unwrap().to_be_bytes());
            out.extend_from_slice(content);
        }
    }
    out
}

fn encode_relation(out: &mut Vec<u8>, relation: &Relation<'_>) {
    out.push(b'R');
    out.extend_from_slice(&relation.id.0.to_be_bytes());
    text(out, relation.schema);
    text(out, relation.name);
    out.push(b'd');
    out.extend_from_slice(&u16::try_from(relation.columns.len()).unwrap().to_be_bytes());
    for column in &relation.columns {
        out.push(u8::from(column.in_identity));
        text(out, column.name);
        out.extend_from_slice(&[0, 0, 0, 23, 0xff, 0xff, 0xff, 0xff]);
    }
}

fn encode_old(out: &mut Vec<u8>, old: &OldRow<'_>) {
    match old {
        OldRow::Unchanged => {}
        OldRow::Key(row) => {
            out.push(b'K');
            tuple(out, &new_values(row));
        }
        OldRow::Full(row) => {
            out.push(b'O');
            tuple(out, &new_values(row));
        }
    }
}

fn new_values<'a>(row: &Tuple<'a>) -> Vec<Value<'a>> {
    (0..row.len()).filter_map(|index| row.value(index)).collect()
}

pub(crate) fn one_of_each() -> Vec<Message<'static>> {
    let row = Tuple::new(vec![
        Value::Text(b"42"),
        Value::Null,
        Value::Unchanged,
        Value::Text(b""),
    ]);
    let id = RelationId(16384);
    let columns = vec![
        Column {
            in_identity: true,
            name: "id",
        },
        Column {
            in_identity: false,
            name: "größe",
        },
    ];
    vec![
        Message::Begin {
            commit: Lsn(5),
            xid: u32::MAX,
        },
        Message::Origin {
            commit: Lsn(9),
            name: "elsewhere",
        },
        Message::Relation(Relation {
            id,
            schema: "public",
            name: "users",
            columns,
        }),
        Message::Type { id: 77 },
        Message::Insert {
            relation: id,
            new: row.clone(),
        },
        Message::Update {
            relation: id,
            old: OldRow::Unchanged,
            new: row.clone(),
        },
        Message::Update {
            relation: id,
            old: OldRow::Key(row.clone()),
            new: row.clone(),
        },
        Message::Update {
            relation: id,
            old: OldRow::Full(row.clone()),
            new: row.clone(),
        },
        Message::Delete {
            relation: id,
            old: OldRow::Key(row.clone()),
        },
        Message::Delete {
            relation: id,
            old: OldRow::Full(row),
        },
        Message::Truncate {
            relations: vec![id, RelationId(1)],
        },
        Message::Logical {
            transactional: true,
            prefix: "ringway",
            content: b"{*}",
        },
        Message::Logical {
            transactional: false,
            prefix: "",
            content: b"\0\xff",
        },
        Message::Commit {
            commit: Lsn(5),
            end: Lsn(6),
        },
    ]
}

#[test]
fn every_kind_round_trips_and_every_cut_or_addition_is_refused() {
    for message in one_of_each() {
        let mut bytes = encode(&message);
        assert_eq!(Message::decode(&bytes), Ok(message.clone()));
        for end in 0..bytes.len() {
            assert!(
                Message::decode(&bytes[..end]).is_err(),
                "{message:?} cut at {end}"
            );
        }
        bytes.push(0);
        assert!(Message::decode(&bytes).is_err(), "{message:?} with a byte more");
    }
}

#[test]
fn announced_sizes_reserve_nothing() {
    let cases: [(&[u8], Malformed); 4] = [
        (&[b'T', 0xff, 0xff, 0xff, 0xff, 0], Malformed::Truncated),
        (&[b'I', 0, 0, 0, 1, b'N', 0xff, 0xff], Malformed::Columns(65535)),
        (
            &[b'I', 0, 0, 0, 1, b'N', 0, 1, b't', 0xff, 0xff, 0xff, 0xff],
            Malformed::Truncated,
        ),
        (&[b'S', 0, 0, 0, 1, 1], Malformed::Tag(b'S')),
    ];
    for (bytes, error) in cases {
        assert_eq!(Message::decode(bytes), Err(error));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn damaged_messages_are_read_or_refused(
        which in any::<prop::sample::Index>(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let messages = one_of_each();
        let mut bytes = encode(which.get(&messages));
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(message) = Message::decode(&bytes) {
            // Times, types and flags are not kept, so only what is kept must come back.
            let again = encode(&message);
            prop_assert_eq!(Message::decode(&again), Ok(message.clone()));
        }
    }
}
