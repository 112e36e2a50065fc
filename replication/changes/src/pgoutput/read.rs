//! From bytes to messages.

use super::cursor::Cursor;
use super::{Column, MAX_COLUMNS, Malformed, Message, OldRow, Relation, RelationId, Tuple};

/// The flag of a column that belongs to the replica identity.
const IN_IDENTITY: u8 = 1;

pub(super) fn message(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let message = match cursor.u8()? {
        b'B' => begin(&mut cursor)?,
        b'C' => commit(&mut cursor)?,
        b'O' => Message::Origin {
            commit: cursor.lsn()?,
            name: cursor.text()?,
        },
        b'R' => Message::Relation(relation(&mut cursor)?),
        b'Y' => type_name(&mut cursor)?,
        b'I' => insert(&mut cursor)?,
        b'U' => update(&mut cursor)?,
        b'D' => delete(&mut cursor)?,
        b'T' => truncate(&mut cursor)?,
        b'M' => logical(&mut cursor)?,
        other => return Err(Malformed::Tag(other)),
    };
    cursor.end()?;
    Ok(message)
}

fn begin<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, Malformed> {
    let commit = cursor.lsn()?;
    let _time = cursor.u64()?;
    Ok(Message::Begin {
        commit,
        xid: cursor.u32()?,
    })
}

fn commit<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, Malformed> {
    expect(cursor, 0)?;
    let (commit, end) = (cursor.lsn()?, cursor.lsn()?);
    let _time = cursor.u64()?;
    Ok(Message::Commit { commit, end })
}

fn relation<'a>(cursor: &mut Cursor<'a>) -> Result<Relation<'a>, Malformed> {
    let id = relation_id(cursor)?;
    let (schema, name) = (cursor.text()?, cursor.text()?);
    let _replica_identity = cursor.u8()?;
    let count = usize::from(cursor.u16()?);
    if count > MAX_COLUMNS {
        return Err(Malformed::Columns(count));
    }
    // A column takes at least ten bytes.
    let mut columns = Vec::with_capacity(count.min(cursor.left() / 10));
    for _ in 0..count {
        let in_identity = cursor.u8()? & IN_IDENTITY != 0;
        let name = cursor.text()?;
        let (_type, _modifier) = (cursor.u32()?, cursor.u32()?);
        columns.push(Column { in_identity, name });
    }
    Ok(Relation {
        id,
        schema: if schema.is_empty() { "pg_catalog" } else { schema },
        name,
        columns,
    })
}

fn type_name<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, Malformed> {
    let id = cursor.u32()?;
    let (_schema, _name) = (cursor.text()?, cursor.text()?);
    Ok(Message::Type { id })
}

fn insert<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, Malformed> {
    let relation = relation_id(cursor)?;
    expect(cursor, b'N')?;
    Ok(Message::Insert {
        relation,
        new: Tuple::read(cursor)?,
    })
}

fn update<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, Malformed> {
    let relation = relation_id(cursor)?;
    let old = match cursor.u8()? {
        b'N' => OldRow::Unchanged,
        tag => {
            let old = old_row(tag, cursor)?;
            expect(cursor, b'N')?;
            old
        }
    };
    Ok(Message::Update {
        relation,
        old,
        new: Tuple::read(cursor)?,
    })
}

fn delete<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, Malformed> {
    let relation = relation_id(cursor)?;
    let tag = cursor.u8()?;
    Ok(Message::Delete {
        relation,
        old: old_row(tag, cursor)?,
    })
}

fn old_row<'a>(tag: u8, cursor: &mut Cursor<'a>) -> Result<OldRow<'a>, Malformed> {
    match tag {
        b'K' => Ok(OldRow::Key(Tuple::read(cursor)?)),
        b'O' => Ok(OldRow::Full(Tuple::read(cursor)?)),
        other => Err(Malformed::Tag(other)),
    }
}

fn truncate<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, Malformed> {
    let count = usize::try_from(cursor.u32()?).unwrap_or(usize::MAX);
    let _cascade_or_restart = cursor.u8()?;
    if cursor.left() < count.saturating_mul(4) {
        return Err(Malformed::Truncated);
    }
    let relations = (0..count)
        .map(|_| relation_id(cursor))
        .collect::<Result<_, _>>()?;
    Ok(Message::Truncate { relations })
}

fn logical<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, Malformed> {
    let transactional = match cursor.u8()? {
        0 => false,
        1 => true,
        other => return Err(Malformed::Tag(other)),
    };
    let _lsn = cursor.lsn()?;
    Ok(Message::Logical {
        transactional,
        prefix: cursor.text()?,
        content: cursor.counted()?,
    })
}

fn relation_id(cursor: &mut Cursor<'_>) -> Result<RelationId, Malformed> {
    cursor.u32().map(RelationId)
}

fn expect(cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Malformed> {
    match cursor.u8()? {
        found if found == tag => Ok(()),
        other => Err(Malformed::Tag(other)),
    }
}
