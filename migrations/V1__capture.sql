-- What capture owns: its progress, the action log, the images, the quarantine.
-- Every statement runs with search_path set to the sidecar's schema.

create table progress (
    one_row boolean primary key default true,
    -- Taken anew by every session that may write; a statement under an older one finds no row.
    epoch bigint not null default 0,
    -- The replication session of the active sidecar: who may be ended, and nobody else.
    owner_pid integer,
    owner_backend_start timestamptz,
    slot text not null,
    publication text not null,
    -- Lineage: which cluster, timeline and publication the positions below belong to.
    system_id text not null,
    timeline bigint not null,
    publication_oid oid not null,
    -- The last transaction that is committed whole: where its commit record begins and ends.
    commit_lsn pg_lsn not null,
    end_lsn pg_lsn not null,
    -- No position beyond this one has been confirmed by us.
    confirm_limit pg_lsn not null,
    -- The number of the newest action in the log.
    seq bigint not null default 0,
    -- A transaction that is committed in part: the last change that is in, the ordinal of its next
    -- action, and the packs that it is finished under.
    half_commit_lsn pg_lsn,
    half_lsn pg_lsn,
    half_index bigint,
    half_ordinal bigint,
    half_packs jsonb,
    -- Why capture does not run, in words for the operator; null while it runs.
    stop_reason text,
    stopped_at timestamptz,
    constraint progress_is_one_row check (one_row),
    constraint half_is_whole
        check (num_nulls(half_commit_lsn, half_lsn, half_index, half_ordinal, half_packs) in (0, 5)),
    constraint commit_ends_after_it_begins check (end_lsn >= commit_lsn),
    constraint stop_has_time check ((stop_reason is null) = (stopped_at is null))
) with (fillfactor = 10, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

-- The action log. Partitioned by seq, so that retention drops partitions.
create table actions (
    seq bigint not null,
    action_id text collate "C" not null,
    project_id text,
    user_id text,
    request_id text,
    action_type text not null,
    action_details text,
    status text,
    environment text,
    reference_ids jsonb,
    cost_usd numeric,
    -- The commit's time, floored to seconds: what project_actions.created_at holds.
    created_at bigint not null,
    -- The rule's variables, typed, for machines.
    data jsonb not null,
    committed_at timestamptz not null,
    recorded_at timestamptz not null default now(),
    -- Why it is here.
    rule text not null,
    origin text not null,
    table_name text not null,
    key text not null,
    xid bigint not null,
    commit_lsn pg_lsn not null,
    change_lsn pg_lsn not null,
    primary key (seq),
    constraint origin_is_known check (origin in ('stream')),
    constraint seq_counts_from_one check (seq > 0)
) partition by range (seq);

-- The tables that have images. TRUNCATE of one raises its generation: older images are void.
create table image_tables (
    table_id integer generated always as identity primary key,
    schema_name text not null,
    table_name text not null,
    generation integer not null default 0,
    -- False once no rule names the table: what happens from then on is not seen.
    watched boolean not null default true,
    constraint image_table_is_named_once unique (schema_name, table_name)
);

-- The last row seen for each key: only the columns that rules name, as the stream's text.
create table images (
    table_id integer not null references image_tables,
    key text collate "C" not null,
    generation integer not null,
    -- The transaction of the row's last change, as a 64-bit id.
    xid bigint not null,
    row jsonb not null,
    primary key (table_id, key)
) with (fillfactor = 85);

-- What could not be derived or written, kept until somebody looks. Holds no value of a row but
-- its key.
create table quarantine (
    quarantine_id bigint generated always as identity primary key,
    quarantined_at timestamptz not null default now(),
    -- 'rule': a rule did not make an action of a change.
    -- 'refused': project_actions did not take the row of action seq.
    kind text not null,
    rule text,
    seq bigint,
    table_name text not null,
    -- Null where the stream did not tell the row's key.
    key text,
    commit_lsn pg_lsn not null,
    change_lsn pg_lsn not null,
    change_index bigint not null,
    sqlstate text,
    reason text not null,
    constraint quarantine_kind_is_known check (kind in ('rule', 'refused')),
    constraint refused_has_seq check ((kind = 'refused') = (seq is not null))
);
