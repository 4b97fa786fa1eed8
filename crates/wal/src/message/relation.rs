use activity::{Column, Relation, ReplicaIdentity, TableName};

use crate::Malformed;
use crate::body::Body;

/// A column's flags: one bit.
const KEY: u8 = 1;

pub(super) fn decode(mut body: Body) -> Result<Relation, Malformed> {
    let oid = body.u32()?;
    let schema = body.terminated()?;
    let name = body.terminated()?;
    // An empty name stands for the system's schema.
    let schema = if schema.is_empty() {
        "pg_catalog"
    } else {
        &schema
    };
    let table = TableName::new(schema, name.to_string());
    let identity = match body.u8()? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        other => return Err(body.unknown("the replica identity", other)),
    };
    let count = usize::from(body.u16()?);
    let mut columns = Vec::with_capacity(count.min(body.remaining()));
    for _ in 0..count {
        columns.push(column(&mut body)?);
    }
    body.end()?;
    Ok(Relation {
        oid,
        table,
        identity,
        columns,
    })
}

fn column(body: &mut Body) -> Result<Column, Malformed> {
    let key = match body.u8()? {
        0 => false,
        KEY => true,
        flags => return Err(body.unknown("column flags", flags)),
    };
    Ok(Column {
        key,
        name: body.terminated()?.to_string(),
        type_oid: body.u32()?,
        type_modifier: body.i32()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, sample};

    const ITEMS: &str = "52 00004007 7075626c696300 6974656d7300 64 0004 \
        01 696400 00000019 ffffffff 00 6e00 00000017 ffffffff \
        00 6e6f746500 00000019 ffffffff 00 6d00 00004002 ffffffff";

    #[test]
    fn a_relation_carries_its_name_identity_and_columns() {
        let Message::Relation(relation) = sample::decode(ITEMS) else {
            panic!("not a relation");
        };
        assert_eq!(relation.oid, 16391);
        assert_eq!(relation.table, TableName::new("public", "items"));
        assert_eq!(relation.identity, ReplicaIdentity::Default);
        let columns: Vec<_> = relation
            .columns
            .iter()
            .map(|c| (c.name.as_str(), c.key))
            .collect();
        assert_eq!(
            columns,
            [("id", true), ("n", false), ("note", false), ("m", false)]
        );
        assert_eq!(relation.columns[3].type_oid, 16386);
        assert_eq!(relation.columns[3].type_modifier, -1);
    }

    #[test]
    fn under_full_identity_every_column_is_of_the_key() {
        let message = sample::decode(
            "52 0000400e 7075626c696300 66756c6c5f6974656d7300 66 0002 \
             01 6100 00000017 ffffffff 01 6200 00000019 ffffffff",
        );
        let Message::Relation(relation) = message else {
            panic!("not a relation");
        };
        assert_eq!(relation.identity, ReplicaIdentity::Full);
        assert!(relation.columns.iter().all(|column| column.key));
    }

    #[test]
    fn an_empty_schema_is_the_systems() {
        let Message::Relation(relation) = sample::decode("52 00000001 00 6100 64 0000") else {
            panic!("not a relation");
        };
        assert_eq!(relation.table, TableName::new("pg_catalog", "a"));
    }

    #[test]
    fn an_unknown_identity_or_flag_is_refused() {
        let refused = sample::refused("52 00000001 6100 6100 78 0000");
        assert!(matches!(
            refused,
            Malformed::Unknown {
                what: "the replica identity",
                ..
            }
        ));
        let refused = sample::refused("52 00000001 6100 6100 64 0001 02 6100 00000017 ffffffff");
        assert!(matches!(
            refused,
            Malformed::Unknown {
                what: "column flags",
                value: 2,
                ..
            }
        ));
    }
}
