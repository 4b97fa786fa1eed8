-- The quarantine keeps what a retry needs, and images outlive a new name of their table or of a column.

alter table quarantine
    -- The transaction, as its Begin told it: identities are a function of it.
    add column committed_at timestamptz,
    -- The 64-bit id of the transaction.
    add column xid bigint,
    -- What became of the row; null where nothing was kept, as before version 5 of this schema.
    add column event text,
    -- The row before and after, as the stream's texts or null; an absent column is not known. The
    -- columns that rules name; all of them where one that the rule names did not exist.
    add column old jsonb,
    -- Whether more of the old row was known than its key.
    add column old_known boolean not null default false,
    add column new jsonb,
    -- The OIDs of the columns' types.
    add column types jsonb,
    add column key_before text,
    -- What the transaction said of itself by logical messages.
    add column context jsonb,
    -- Rules that have worked the change out already, where it concerns all rules.
    add column ran text[] not null default '{}',
    add column retries integer not null default 0,
    -- Set by `quarantine retry`; taken back when it failed again.
    add column retry_requested_at timestamptz,
    add constraint kept_whole check
        ((event is null) = (committed_at is null) and (event is null) = (xid is null)),
    add constraint quarantined_event_is_known check (event in ('insert', 'update', 'delete', 'truncate'));

create index quarantine_requested on quarantine (commit_lsn, change_lsn, change_index, rule, quarantine_id)
    where retry_requested_at is not null;
create index quarantine_of_key on quarantine (table_name, key, commit_lsn, change_lsn, change_index)
    where kind = 'rule';

-- What came of the changes that left the quarantine, for who waits for it. Kept for a day.
create table retried (
    quarantine_id bigint primary key,
    retried_at timestamptz not null default now(),
    outcome text not null,
    -- Actions that were made of it.
    actions integer not null,
    constraint outcome_is_known check (outcome in ('written', 'silent'))
);

create index retried_by_time on retried (retried_at);

alter table image_tables
    -- The table itself, whatever its name.
    add column oid oid,
    -- The number of each column that the table has or had, by name: two names of one number are one
    -- column.
    add column attributes jsonb not null default '{}';
