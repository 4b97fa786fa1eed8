-- Gaps: what no stream shows, since the slot was lost, dropped, moved or given up.

create table gaps (
    gap_id bigint generated always as identity primary key,
    -- Why the slot could not be read on, in words for people.
    reason text not null,
    -- Where progress stood.
    from_lsn pg_lsn not null,
    noticed_at timestamptz not null default now(),
    -- Whether somebody asked for it by `tidings setup --new-slot`: it is not one of the hour's.
    by_operator boolean not null default false,
    -- Where the new slot begins. Null: there is none that counts; whoever captures next makes one.
    until_lsn pg_lsn,
    rebuilt_at timestamptz,
    constraint rebuilt_has_time check ((until_lsn is null) = (rebuilt_at is null))
);

create unique index gaps_one_is_open on gaps ((true)) where until_lsn is null;

alter table progress
    -- Whether a notice has told that the slot comes near capture.max_retained_wal.
    add column wal_told boolean not null default false;

alter table outbox
    drop constraint outbox_kind_is_known,
    add constraint outbox_kind_is_known
        check (kind in ('endpoint_disabled', 'capture_gap', 'wal_budget'));
