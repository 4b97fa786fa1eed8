-- Comparing tables with images: what the images hold, and how far each comparison has come.

alter table images
    -- Null: the row was deleted. Kept while the table is being reconciled, because a chunk that was
    -- read before may still hold the row.
    alter column row drop not null,
    -- False: the row is from before Tidings came, and no action has told of it.
    add column told boolean not null default true;

create index images_tombstones on images (table_id) where row is null;

alter table image_tables
    -- The key's columns, which the images' keys are made of. Empty: not known yet.
    add column key text[] not null default '{}',
    -- The columns that the images of all rows hold. Null: there may be rows without an image.
    add column columns text[];

-- One row for each table that is or was compared with its images.
create table reconcile (
    table_id integer primary key references image_tables,
    -- Tells this request from an earlier one for the same table.
    request integer not null default 1,
    -- 'fill': rows get their images, nothing is told.
    -- 'reconcile': what differs becomes actions. 'backfill': so do rows that nothing has told of.
    purpose text not null,
    -- Unix seconds: of what is older a backfill tells nothing.
    since bigint,
    -- 'rows': the table in key order. 'images': those whose row may be gone. 'gaps': those that
    -- lack a column, where the stream did not send a large value again, and in a backfill those that
    -- nothing told of because the stream was ahead.
    pass text not null default 'rows',
    -- Passes over the gaps so far.
    round integer not null default 0,
    -- Where the pass has come to: the key columns' texts, or the key of an image. Null: at the beginning.
    cursor text[],
    -- Chunks applied so far.
    step bigint not null default 0,
    -- Nothing is read before every transaction below this one is over: those that were open across a
    -- change of the publication are not streamed as a whole.
    not_before_xid bigint not null,
    -- What image_tables.columns holds once this is finished.
    columns text[] not null default '{}',
    rows_done bigint not null default 0,
    actions bigint not null default 0,
    estimated_rows bigint,
    requested_at timestamptz not null default now(),
    -- Null: no sidecar has taken it up.
    started_at timestamptz,
    finished_at timestamptz,
    -- When a chunk was last read.
    seen_at timestamptz,
    -- What keeps it from going on, in words for the operator.
    trouble text,
    constraint purpose_is_known check (purpose in ('fill', 'reconcile', 'backfill')),
    constraint pass_is_known check (pass in ('rows', 'images', 'gaps')),
    constraint only_backfill_has_since check (since is null or purpose = 'backfill'),
    constraint finished_was_started check (finished_at is null or started_at is not null)
) with (fillfactor = 50);
