-- Partitions: rows that come and go with one are in no stream.

alter table image_tables
    -- The partitions that hold the rows, by OID; empty where the table has none. Null: not looked at yet.
    add column parts oid[];
