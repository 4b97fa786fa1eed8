use tokio_postgres::Statement;

use crate::actions_table::ActionsTable;
use crate::{Error, Session};

/// The statements that every commit runs, prepared once in the life of a session.
pub(super) struct Statements {
    pub(super) progress: Statement,
    pub(super) log: Statement,
    /// `None` where nothing goes there: to prepare it waits for whoever locks the table.
    pub(super) project_actions: Option<Statement>,
    pub(super) keep_images: Statement,
    pub(super) drop_images: Statement,
}

impl Statements {
    pub(super) async fn prepare(
        session: &Session,
        table: &ActionsTable,
        goes_there: bool,
    ) -> Result<Self, Error> {
        let project_actions = match goes_there {
            true => Some(session.prepared(table.insert_statement()).await?),
            false => None,
        };
        Ok(Self {
            progress: session.prepared(UPDATE_PROGRESS).await?,
            log: session.prepared(INSERT_LOG).await?,
            project_actions,
            keep_images: session.prepared(KEEP_IMAGES).await?,
            drop_images: session.prepared(DROP_IMAGES).await?,
        })
    }
}

const UPDATE_PROGRESS: &str = "update progress set seq = seq + $3, commit_lsn = $4, end_lsn = $5,
       confirm_limit = greatest(confirm_limit, $6), half_commit_lsn = $7, half_lsn = $8,
       half_index = $9, half_ordinal = $10, half_packs = $11
     where epoch = $1 and seq = $2";

// What an heir is told of is read as it was before this statement.
const KEEP_IMAGES: &str = "insert into images (table_id, key, generation, xid, row, told)
     select id, key, generation, xid, image::jsonb,
       coalesce(told, (select before.told from images before
         where before.table_id = id and before.key = heir
           and before.generation = changed.generation and before.row is not null), false)
     from unnest($1::integer[], $2::text[], $3::integer[], $4::bigint[], $5::text[],
       $6::boolean[], $7::text[]) as changed (id, key, generation, xid, image, told, heir)
     on conflict (table_id, key) do update
       set generation = excluded.generation, xid = excluded.xid, row = excluded.row,
         told = excluded.told";

const DROP_IMAGES: &str =
    "delete from images using unnest($1::integer[], $2::text[]) as gone (id, key)
     where images.table_id = gone.id and images.key = gone.key";

const INSERT_LOG: &str = "insert into actions (seq, action_id, project_id, user_id, request_id,
       action_type, action_details, status, environment, reference_ids, cost_usd, created_at, data,
       committed_at, rule, origin, table_name, key, xid, commit_lsn, change_lsn, actor, actor_found,
       rule_version, event, changed)
     select seq, action_id, project_id, user_id, request_id, action_type,
       action_details, status, environment, reference_ids::jsonb, cost_usd::numeric,
       created_at, data::jsonb, committed_at, rule, origin, table_name, key, xid,
       commit_lsn, change_lsn, actor, actor_found, rule_version, event, changed::jsonb
     from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],
       $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
       $12::bigint[], $13::text[], $14::timestamptz[], $15::text[], $16::text[],
       $17::text[], $18::text[], $19::bigint[], $20::pg_lsn[], $21::pg_lsn[], $22::text[],
       $23::text[], $24::text[], $25::text[], $26::text[])
       as action (seq, action_id, project_id, user_id, request_id, action_type,
         action_details, status, environment, reference_ids, cost_usd, created_at, data,
         committed_at, rule, origin, table_name, key, xid, commit_lsn, change_lsn, actor,
         actor_found, rule_version, event, changed)";
