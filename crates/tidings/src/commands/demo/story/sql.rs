//! What the worker says to its database: plain SQL, as any application writes it.

pub const CREATE_PROJECT: &str = "\
    insert into projects (project_id, user_id, request_id, name, status, environment, created_at, updated_at) \
    values ($1, $2, $3, $4, 'creating', $5, extract(epoch from now())::bigint, extract(epoch from now())::bigint)";
pub const ACTIVATE_PROJECT: &str = "\
    update projects set status = 'active', container_id = $3, request_id = $2, \
    updated_at = extract(epoch from now())::bigint where project_id = $1";
pub const SET_ENDPOINTS: &str = "\
    update projects set endpoints = $3, request_id = $2, \
    updated_at = extract(epoch from now())::bigint where project_id = $1";
pub const TOUCH_PROJECT: &str = "\
    update projects set updated_at = updated_at + 1 where project_id = $1";

pub const CREATE_DATABASE: &str = "\
    insert into databases (database_id, project_id, user_id, request_id, name, tables, status, environment, created_at) \
    values ($1, $2, $3, $4, $5, $6, 'ready', $7, extract(epoch from now())::bigint)";
pub const SET_TABLES: &str = "\
    update databases set tables = $3, request_id = $2, \
    updated_at = extract(epoch from now())::bigint where database_id = $1";
pub const COUNT_QUERIES: &str = "\
    update databases set query_count = query_count + $3, queried_tables = $4, request_id = $2, \
    updated_at = extract(epoch from now())::bigint where database_id = $1";

pub const REQUEST_DEPLOYMENT: &str = "\
    insert into deployments (deployment_id, project_id, user_id, request_id, platform, status, environment, created_at) \
    values ($1, $2, $3, $4, $5, 'pending', 'production', extract(epoch from now())::bigint)";
pub const BEGIN_DEPLOYMENT: &str = "\
    update deployments set status = 'in_progress', \
    updated_at = extract(epoch from now())::bigint where deployment_id = $1";
pub const FINISH_DEPLOYMENT: &str = "\
    update deployments set status = 'success', url = $2, \
    updated_at = extract(epoch from now())::bigint where deployment_id = $1";
pub const FAIL_DEPLOYMENT: &str = "\
    update deployments set status = 'failed', error = $2, \
    updated_at = extract(epoch from now())::bigint where deployment_id = $1";
pub const PUSH: &str = "\
    insert into deployments (deployment_id, project_id, user_id, request_id, kind, repo_url, files_changed, environment, created_at) \
    values ($1, $2, $3, $4, 'push', $5, $6, $7, extract(epoch from now())::bigint)";
