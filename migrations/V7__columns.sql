-- A worker's migration of a column that a publication lists fails: such a column is let go first.

alter table image_tables
    -- Columns that `tidings columns release` took out of the publication's list, and that the guard
    -- therefore does not miss there. Emptied by the next setup.
    add column released text[] not null default '{}';
