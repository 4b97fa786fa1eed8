//! Writes messages as a server would, for tests.

use activity::{Begin, Relation, ReplicaIdentity, Value};
use bytes::{BufMut, Bytes, BytesMut};

use super::{Commit, Logical, Message, OldTuple};
use crate::body::POSTGRES_EPOCH_MICROSECONDS;

pub(crate) fn encode(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    match message {
        Message::Begin(begin) => put_begin(begin, &mut out),
        Message::Commit(commit) => put_commit(commit, &mut out),
        Message::Origin => out.put(&b"O\0\0\0\0\0\0\xab\xcdelsewhere\0"[..]),
        Message::Relation(relation) => put_relation(relation, &mut out),
        Message::Type => out.put(&b"Y\0\0\x40\x02public\0mood\0"[..]),
        Message::Insert(insert) => {
            put_head(b'I', insert.relation, &mut out);
            put_tuple(b'N', &insert.new, &mut out);
        }
        Message::Update(update) => {
            put_head(b'U', update.relation, &mut out);
            if let Some(old) = &update.old {
                put_old(old, &mut out);
            }
            put_tuple(b'N', &update.new, &mut out);
        }
        Message::Delete(delete) => {
            put_head(b'D', delete.relation, &mut out);
            put_old(&delete.old, &mut out);
        }
        Message::Truncate(truncate) => {
            put_head(
                b'T',
                u32::try_from(truncate.relations.len()).unwrap(),
                &mut out,
            );
            out.put_u8(0);
            for oid in &truncate.relations {
                out.put_u32(*oid);
            }
        }
        Message::Logical(logical) => put_logical(logical, &mut out),
    }
    out.freeze()
}

fn put_head(tag: u8, number: u32, out: &mut BytesMut) {
    out.put_u8(tag);
    out.put_u32(number);
}

fn put_begin(begin: &Begin, out: &mut BytesMut) {
    out.put_u8(b'B');
    out.put_u64(begin.commit_lsn.get());
    out.put_i64(begin.commit_time.as_microsecond() - POSTGRES_EPOCH_MICROSECONDS);
    out.put_u32(begin.xid.0);
}

fn put_commit(commit: &Commit, out: &mut BytesMut) {
    out.put(&b"C\0"[..]);
    out.put_u64(commit.commit_lsn.get());
    out.put_u64(commit.end_lsn.get());
    out.put_i64(0);
}

fn put_relation(relation: &Relation, out: &mut BytesMut) {
    put_head(b'R', relation.oid, out);
    put_terminated(&relation.table.schema, out);
    put_terminated(&relation.table.name, out);
    out.put_u8(match relation.identity {
        ReplicaIdentity::Default => b'd',
        ReplicaIdentity::Nothing => b'n',
        ReplicaIdentity::Full => b'f',
        ReplicaIdentity::Index => b'i',
    });
    out.put_u16(u16::try_from(relation.columns.len()).unwrap());
    for column in &relation.columns {
        out.put_u8(column.key.into());
        put_terminated(&column.name, out);
        out.put_u32(column.type_oid);
        out.put_i32(column.type_modifier);
    }
}

fn put_old(old: &OldTuple, out: &mut BytesMut) {
    match old {
        OldTuple::Key(values) => put_tuple(b'K', values, out),
        OldTuple::Full(values) => put_tuple(b'O', values, out),
    }
}

fn put_tuple(part: u8, values: &[Value], out: &mut BytesMut) {
    out.put_u8(part);
    out.put_u16(u16::try_from(values.len()).unwrap());
    for value in values {
        match value {
            Value::Null => out.put_u8(b'n'),
            Value::Unchanged => out.put_u8(b'u'),
            Value::Text(text) => {
                put_head(b't', u32::try_from(text.len()).unwrap(), out);
                out.put(text.as_bytes().as_ref());
            }
        }
    }
}

fn put_logical(logical: &Logical, out: &mut BytesMut) {
    out.put_u8(b'M');
    out.put_u8(logical.transactional.into());
    out.put_u64(7);
    put_terminated(&logical.prefix, out);
    out.put_u32(u32::try_from(logical.content.len()).unwrap());
    out.put(&logical.content[..]);
}

fn put_terminated(text: &str, out: &mut BytesMut) {
    out.put(text.as_bytes());
    out.put_u8(0);
}
