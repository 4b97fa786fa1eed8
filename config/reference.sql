-- The tables that the built-in rule pack `reference` reads and the demo plays on: those of a worker
-- that keeps projects, their databases and their deployments. Times are unix seconds. Every column
-- but the keys may be null.

create table projects (
    project_id varchar primary key,
    user_id varchar,
    request_id varchar,
    name varchar,
    container_id varchar,
    -- [{"method": "GET", "path": "/api/users", "change": "Added pagination"}, …]
    endpoints jsonb default '[]',
    -- creating, active or failed
    status varchar,
    environment varchar default 'development',
    created_at bigint,
    updated_at bigint
);

create table databases (
    database_id varchar primary key,
    project_id varchar,
    user_id varchar,
    request_id varchar,
    name varchar,
    -- ["users", "posts"]
    tables jsonb default '[]',
    -- A count that only grows, and the tables that the latest batch of queries touched.
    query_count int default 0,
    queried_tables jsonb default '[]',
    -- creating, ready or failed
    status varchar,
    environment varchar default 'development',
    created_at bigint,
    updated_at bigint
);

create table deployments (
    deployment_id varchar primary key,
    project_id varchar,
    user_id varchar,
    request_id varchar,
    -- deploy, or push for a push to a repository
    kind varchar default 'deploy',
    -- such as fly.io
    platform varchar,
    url varchar,
    repo_url varchar,
    files_changed int,
    -- pending, in_progress, success or failed
    status varchar,
    environment varchar,
    error varchar,
    created_at bigint,
    updated_at bigint
);
