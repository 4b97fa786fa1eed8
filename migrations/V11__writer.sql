-- The session that writes for the sidecar that captures. Whoever comes after it ends it: one whose process
-- stands still, or whose host is gone, would hold the progress row in a transaction that nobody ends.

alter table progress
    add column writer_pid integer,
    add column writer_backend_start timestamptz;
