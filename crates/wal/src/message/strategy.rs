//! Arbitrary messages, for property tests.

use activity::{Begin, Column, Lsn, Relation, ReplicaIdentity, TableName, Value, Xid};
use bytestring::ByteString;
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Commit, Delete, Insert, Logical, Message, OldTuple, Truncate, Tuple, Update};

/// Any message that a server could send.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (lsn(), time(), any::<u32>()).prop_map(|(commit_lsn, commit_time, xid)| {
            Message::Begin(Begin {
                commit_lsn,
                commit_time,
                xid: Xid(xid),
            })
        }),
        (lsn(), lsn()).prop_map(|(commit_lsn, end_lsn)| {
            Message::Commit(Commit {
                commit_lsn,
                end_lsn,
            })
        }),
        Just(Message::Origin),
        Just(Message::Type),
        relation().prop_map(Message::Relation),
        (any::<u32>(), tuple())
            .prop_map(|(relation, new)| Message::Insert(Insert { relation, new })),
        (any::<u32>(), prop::option::of(old()), tuple())
            .prop_map(|(relation, old, new)| Message::Update(Update { relation, old, new })),
        (any::<u32>(), old()).prop_map(|(relation, old)| Message::Delete(Delete { relation, old })),
        vec(any::<u32>(), 0..5).prop_map(|relations| Message::Truncate(Truncate { relations })),
        (any::<bool>(), text(), any::<Vec<u8>>()).prop_map(|(transactional, prefix, content)| {
            Message::Logical(Logical {
                transactional,
                prefix: prefix.into(),
                content: content.into(),
            })
        }),
    ]
}

fn lsn() -> impl Strategy<Value = Lsn> {
    any::<u64>().prop_map(Lsn::new)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_000i64).prop_map(|at| Timestamp::from_microsecond(at).unwrap())
}

/// A text that a null byte can end.
fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

fn relation() -> impl Strategy<Value = Relation> {
    let identity = prop::sample::select(vec![
        ReplicaIdentity::Default,
        ReplicaIdentity::Nothing,
        ReplicaIdentity::Full,
        ReplicaIdentity::Index,
    ]);
    let name =
        (text(), text()).prop_map(|(schema, name)| TableName::new(format!("s{schema}"), name));
    (any::<u32>(), name, identity, vec(column(), 0..5)).prop_map(
        |(oid, table, identity, columns)| Relation {
            oid,
            table,
            identity,
            columns,
        },
    )
}

fn column() -> impl Strategy<Value = Column> {
    (text(), any::<u32>(), any::<i32>(), any::<bool>()).prop_map(
        |(name, type_oid, type_modifier, key)| Column {
            name,
            type_oid,
            type_modifier,
            key,
        },
    )
}

fn old() -> impl Strategy<Value = OldTuple> {
    prop_oneof![
        tuple().prop_map(OldTuple::Key),
        tuple().prop_map(OldTuple::Full)
    ]
}

fn tuple() -> impl Strategy<Value = Tuple> {
    let value = prop_oneof![
        Just(Value::Null),
        Just(Value::Unchanged),
        any::<String>().prop_map(|text| Value::Text(ByteString::from(text))),
    ];
    vec(value, 0..6)
}
