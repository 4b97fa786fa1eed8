-- What `run` was told to take over and did not.

alter table progress
    -- Why the rules in force are not those of the settings; null where they are.
    add column rules_error text;

-- Runs that logical messages announced and that have not ended. Any role can send such a message.
create table runs (
    run text primary key,
    project_id text,
    user_id text,
    request_id text,
    action_type text not null,
    action_details text,
    environment text,
    reference_ids jsonb,
    actor text,
    -- The last message that said that it goes on.
    told_lsn pg_lsn not null,
    told_at timestamptz not null default now(),
    timeout_seconds integer not null,
    -- The watchdog closes what has not ended by then.
    deadline timestamptz not null,
    constraint run_times_out_in_seven_days check (timeout_seconds between 1 and 604800)
);

create index runs_by_deadline on runs (deadline);
