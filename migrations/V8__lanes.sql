-- What an endpoint asks for beyond its filter, the order it wants, replays, and what an attempt took.

create index actions_of_project on actions (project_id, seq);

alter table endpoints
    -- What signs and authorizes, as JSON: plain, or sealed under a key of the settings.
    add column credentials text,
    -- Format, template, order, limits, digest; what is absent is as the settings say.
    add column options jsonb not null default '{}',
    -- Since when no attempt has succeeded; null where the last one did.
    add column failing_since timestamptz,
    drop constraint endpoint_has_secret,
    drop constraint endpoint_state_is_known,
    add constraint endpoint_state_is_known check (state in ('enabled', 'paused', 'disabled'));

update endpoints set credentials = jsonb_build_object('signing',
    (select jsonb_agg(jsonb_build_object('key', key)) from unnest(secrets) as s (key)))::text;

alter table endpoints
    alter column credentials set not null,
    drop column secrets;

-- Cursors move in place: room for that on every page. What is parked comes and goes.
alter table endpoints set (fillfactor = 50);
alter table parked set (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.05);

alter table delivery_progress
    -- Whether the last owner gave it up in good order: nothing of it was under way.
    add column released boolean not null default true;

-- Runs of an endpoint through a range of the log once more. The cursor is how far it has come.
create table replays (
    replay_id text primary key,
    endpoint_id text not null references endpoints on delete cascade,
    types text[] not null default '{}',
    projects text[] not null default '{}',
    -- Everything up to here is attempted.
    cursor_seq bigint not null,
    until_seq bigint not null,
    -- Attempts a second at most; null: as the endpoint's limits say.
    per_second integer,
    state text not null default 'running',
    -- First attempts made for it.
    attempted bigint not null default 0,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    revision bigint not null default nextval('endpoint_revision'),
    constraint replay_state_is_known check (state in ('running', 'done', 'cancelled')),
    constraint replay_over_has_time check ((state = 'running') = (finished_at is null)),
    constraint replay_rate_is_positive check (per_second > 0)
);

create index replays_running on replays (endpoint_id) where state = 'running';

-- Of an endpoint that wants order within a project: the projects whose head fails. What comes after
-- `cursor_seq` of such a project waits, and is read from the log once the head is through.
create table held (
    endpoint_id text not null references endpoints on delete cascade,
    -- Empty for actions of no project.
    project_id text not null,
    -- Everything of the project up to here is settled, or is the parked head.
    cursor_seq bigint not null,
    -- The parked head. Once it is through, what waits is worked off.
    head_seq bigint,
    primary key (endpoint_id, project_id)
) with (fillfactor = 70);

alter table parked
    -- The replay that this delivery belongs to.
    add column replay_id text,
    -- The actions of a digest, its first one being `seq`; null for a delivery of one action.
    add column covers bigint[],
    drop constraint parked_was_attempted,
    -- Zero where the fault was our own network's: such an attempt is not counted.
    add constraint parked_attempts_are_counted check (attempts >= 0);

-- Dead letters are listed and tried again by endpoint, however many deliveries are parked beside them.
create index parked_dead on parked (endpoint_id, seq) where state = 'dead';

alter table attempts
    add column replay_id text,
    add column covers bigint[],
    -- What kept it from being delivered, in one word; null where it was.
    add column error_kind text,
    -- How the latency was spent, where a connection was made for it: name lookup, connect with TLS,
    -- and the wait for the status.
    add column dns_ms real,
    add column connect_ms real,
    add column wait_ms real,
    drop constraint attempt_outcome_is_known,
    -- 'deferred': the fault was our own network's, or the attempt was put off; it was not counted.
    add constraint attempt_outcome_is_known
        check (outcome in ('delivered', 'parked', 'dead', 'deferred'));

alter table actions
    drop constraint origin_is_known,
    -- 'notice': of a part of the sidecar itself; in the log, not in project_actions.
    add constraint origin_is_known check (origin in
        ('stream', 'reconciled', 'backfill', 'retried', 'message', 'watchdog', 'notice'));

-- What the one writer is asked to put in the log: notices of other parts of the sidecar.
create table outbox (
    outbox_id bigint generated always as identity primary key,
    kind text not null,
    payload jsonb not null,
    created_at timestamptz not null default now(),
    constraint outbox_kind_is_known check (kind in ('endpoint_disabled'))
);
