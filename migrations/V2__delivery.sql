-- What delivery owns: endpoints, how far each shard of them has got, parked deliveries, attempts.

create sequence endpoint_revision;

create table endpoints (
    endpoint_id text primary key,
    name text not null,
    url text not null,
    -- whsec_…; the newest first. Every one of them signs.
    secrets text[] not null,
    types text[] not null default '{}',
    projects text[] not null default '{}',
    environments text[] not null default '{}',
    statuses text[] not null default '{}',
    -- Who declared it: the configuration file or the command line.
    origin text not null,
    state text not null default 'enabled',
    state_reason text,
    shard smallint not null,
    -- Everything up to here is settled for this endpoint, whatever its shard says.
    cursor_seq bigint not null,
    -- Reads the log from its own cursor instead of the head.
    behind boolean not null default true,
    -- Raised by every change that a running sidecar must see.
    revision bigint not null default nextval('endpoint_revision'),
    created_at timestamptz not null default now(),
    constraint endpoint_name_is_unique unique (name),
    constraint endpoint_has_secret check (cardinality(secrets) > 0),
    constraint endpoint_origin_is_known check (origin in ('config', 'command')),
    constraint endpoint_state_is_known check (state in ('enabled', 'disabled')),
    constraint endpoint_shard_is_known check (shard between 0 and 63)
);

-- One row for each of the 64 shards of endpoints.
create table delivery_progress (
    shard smallint primary key,
    -- Taken anew by every process that comes to own the shard.
    epoch bigint not null default 0,
    -- Every action up to here is settled for the shard's endpoints that are not behind.
    seq bigint not null default 0,
    delivered bigint not null default 0,
    constraint shard_is_known check (shard between 0 and 63)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

insert into delivery_progress (shard) select generate_series(0, 63);

-- Deliveries whose attempt failed and that wait for the time of their next one, and dead letters.
create table parked (
    endpoint_id text not null references endpoints on delete cascade,
    seq bigint not null,
    action_id text collate "C" not null,
    -- Attempts made so far.
    attempts integer not null,
    state text not null,
    due_at timestamptz,
    last_error text not null,
    primary key (endpoint_id, seq),
    constraint parked_state_is_known check (state in ('parked', 'dead')),
    constraint parked_has_due_time check ((state = 'parked') = (due_at is not null)),
    constraint parked_was_attempted check (attempts > 0)
) with (fillfactor = 70);

create index parked_due on parked (endpoint_id, due_at) where state = 'parked';

-- One row for each HTTP request made. Partitioned by day, so that retention drops partitions.
create table attempts (
    attempted_at timestamptz not null,
    seq bigint not null,
    endpoint_id text not null,
    action_id text collate "C" not null,
    -- From 1.
    attempt integer not null,
    outcome text not null,
    status smallint,
    latency_ms real not null,
    address text,
    error text,
    response_excerpt text,
    primary key (endpoint_id, seq, attempt, attempted_at),
    constraint attempt_outcome_is_known check (outcome in ('delivered', 'parked', 'dead')),
    constraint answered_has_status check (outcome <> 'delivered' or status is not null)
) partition by range (attempted_at);
