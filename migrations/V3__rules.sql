-- Actions say who did them and why they are here; where they come from has more answers.

alter table actions
    drop constraint origin_is_known,
    add constraint origin_is_known check
        (origin in ('stream', 'reconciled', 'backfill', 'retried', 'message', 'watchdog')),
    -- Who did it, and how that was found. Any role of the database can send a message.
    add column actor text,
    add column actor_found text,
    -- Which text of the rule's pack it was: the beginning of its SHA-256.
    add column rule_version text not null default '',
    -- What became of the row, and which of the columns that rules name an update changed.
    add column event text not null default 'insert',
    add column changed jsonb,
    add constraint actor_was_found_somehow check ((actor is null) = (actor_found is null)),
    add constraint actor_found_is_known check (actor_found in ('message', 'row', 'lookup')),
    add constraint event_is_known check (event in ('insert', 'update', 'delete', 'truncate', 'message'));
