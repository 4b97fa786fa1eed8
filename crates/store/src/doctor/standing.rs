use crate::{Error, Session};

/// How a server stands that may be promoted, or has been.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub in_recovery: bool,
    /// Whether it has a copy of our slot that outlives a promotion.
    pub has_copy: bool,
    /// Whether it copies slots by itself.
    pub copies_slots: bool,
    /// Whether the primary keeps rows for it that a copied slot needs.
    pub gives_feedback: bool,
}

pub async fn standing(session: &Session, slot: &str) -> Result<Standing, Error> {
    let row = session
        .query_one(
            "select pg_is_in_recovery(),
               coalesce((select (to_jsonb(s) ->> 'synced')::boolean and not temporary
                 from pg_replication_slots s where slot_name = $1), false),
               coalesce(current_setting('sync_replication_slots', true) = 'on', false),
               current_setting('hot_standby_feedback') = 'on'",
            &[&slot],
        )
        .await?;
    Ok(Standing {
        in_recovery: row.get(0),
        has_copy: row.get(1),
        copies_slots: row.get(2),
        gives_feedback: row.get(3),
    })
}
