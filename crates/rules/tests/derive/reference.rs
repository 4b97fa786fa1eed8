//! The pack `reference`, sentence by sentence.

use std::sync::Arc;

use crate::worker::{Worker, insert, table, update};
use activity::{Operation, Relation};
use serde_json::{Value as Json, json};

const TEXT: u32 = 1043;
const JSONB: u32 = 3802;
const INT4: u32 = 23;
const INT8: u32 = 20;

fn projects() -> Arc<Relation> {
    table(
        "projects",
        &[
            ("project_id", TEXT),
            ("user_id", TEXT),
            ("request_id", TEXT),
            ("name", TEXT),
            ("container_id", TEXT),
            ("endpoints", JSONB),
            ("status", TEXT),
            ("environment", TEXT),
            ("created_at", INT8),
            ("updated_at", INT8),
        ],
    )
}

fn databases() -> Arc<Relation> {
    table(
        "databases",
        &[
            ("database_id", TEXT),
            ("project_id", TEXT),
            ("user_id", TEXT),
            ("request_id", TEXT),
            ("name", TEXT),
            ("tables", JSONB),
            ("query_count", INT4),
            ("queried_tables", JSONB),
            ("status", TEXT),
            ("environment", TEXT),
            ("created_at", INT8),
            ("updated_at", INT8),
        ],
    )
}

fn deployments() -> Arc<Relation> {
    table(
        "deployments",
        &[
            ("deployment_id", TEXT),
            ("project_id", TEXT),
            ("user_id", TEXT),
            ("request_id", TEXT),
            ("kind", TEXT),
            ("platform", TEXT),
            ("url", TEXT),
            ("repo_url", TEXT),
            ("files_changed", INT4),
            ("status", TEXT),
            ("environment", TEXT),
            ("error", TEXT),
            ("created_at", INT8),
            ("updated_at", INT8),
        ],
    )
}

fn worker() -> Worker {
    let pack = rules::builtin("reference").unwrap();
    Worker::new(pack, &[&projects(), &databases(), &deployments()])
}

/// Type, status and sentence of an action.
type Told<'a> = (&'a str, &'a str, &'a str);

/// A row's states, one transaction each, with every action of each.
fn tells(relation: &Arc<Relation>, states: &[(Json, &[Told<'_>])]) {
    let mut worker = worker();
    for (n, (state, expected)) in states.iter().enumerate() {
        let operation: fn(&Arc<Relation>, &Json) -> Operation =
            if n == 0 { insert } else { update };
        let derivation = worker.commit(vec![operation(relation, state)]);
        assert_eq!(derivation.faults, [], "{state}");
        let told: Vec<(String, String, String)> = derivation
            .actions
            .into_iter()
            .map(|derived| {
                let action = derived.action;
                let text = |text: Option<String>| text.unwrap_or_default();
                (
                    action.action_type,
                    text(action.status),
                    text(action.action_details),
                )
            })
            .collect();
        let told: Vec<Told<'_>> = told
            .iter()
            .map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str()))
            .collect();
        assert_eq!(told, *expected, "state {n}: {state}");
    }
}

fn project(fields: Json) -> Json {
    with(json!({"project_id": "p_1", "name": "My API"}), fields)
}

fn database(fields: Json) -> Json {
    let row = json!({"database_id": "d_1", "name": "turbobackend_proj_xyz", "tables": [], "queried_tables": [], "query_count": 0});
    with(row, fields)
}

fn deployment(fields: Json) -> Json {
    with(
        json!({"deployment_id": "y_1", "kind": "deploy", "platform": "fly.io"}),
        fields,
    )
}

fn push(fields: Json) -> Json {
    let row =
        json!({"deployment_id": "y_2", "kind": "push", "repo_url": "https://github.com/user/repo"});
    with(row, fields)
}

fn with(mut row: Json, fields: Json) -> Json {
    if let (Json::Object(row), Json::Object(fields)) = (&mut row, fields) {
        row.extend(fields);
    }
    row
}

#[test]
fn a_project_is_created_when_it_has_a_container() {
    tells(
        &projects(),
        &[
            (project(json!({"status": "creating"})), &[]),
            (
                project(json!({"status": "creating", "container_id": "abc123"})),
                &[(
                    "project_created",
                    "success",
                    "Project 'My API' created with container abc123",
                )],
            ),
            (
                project(json!({"status": "active", "container_id": "abc123"})),
                &[],
            ),
            (
                project(json!({"status": "active", "container_id": "def456"})),
                &[],
            ),
        ],
    );
}

#[test]
fn a_project_that_becomes_active_without_a_container_is_created_without_one() {
    tells(
        &projects(),
        &[
            (project(json!({"status": "creating"})), &[]),
            (
                project(json!({"status": "active"})),
                &[("project_created", "success", "Project 'My API' created")],
            ),
            (
                project(json!({"status": "active", "container_id": "late"})),
                &[],
            ),
        ],
    );
    tells(
        &projects(),
        &[(
            project(json!({"status": "active", "container_id": "abc123"})),
            &[(
                "project_created",
                "success",
                "Project 'My API' created with container abc123",
            )],
        )],
    );
}

#[test]
fn a_project_that_fails_before_it_has_a_container_is_not_told() {
    tells(
        &projects(),
        &[
            (project(json!({"status": "creating"})), &[]),
            (project(json!({"status": "failed"})), &[]),
            (project(json!({"status": null})), &[]),
        ],
    );
}

#[test]
fn a_database_is_created_with_its_tables() {
    tells(
        &databases(),
        &[
            (database(json!({"status": "creating"})), &[]),
            (
                database(json!({"status": "creating", "tables": ["users"]})),
                &[],
            ),
            (
                database(json!({"status": "ready", "tables": ["users", "posts", "comments"]})),
                &[(
                    "database_created",
                    "success",
                    "Database 'turbobackend_proj_xyz' created with 3 tables: users, posts, comments",
                )],
            ),
            (
                database(json!({"status": "failed", "tables": ["users"]})),
                &[],
            ),
        ],
    );
    for (fields, sentence) in [
        (
            json!({"status": "ready", "tables": ["users"]}),
            "Database 'turbobackend_proj_xyz' created with 1 table: users",
        ),
        (
            json!({"status": "ready"}),
            "Database 'turbobackend_proj_xyz' created",
        ),
        (
            json!({"status": null, "tables": null}),
            "Database 'turbobackend_proj_xyz' created",
        ),
    ] {
        tells(
            &databases(),
            &[(
                database(fields),
                &[("database_created", "success", sentence)],
            )],
        );
    }
    tells(
        &databases(),
        &[(database(json!({"status": "failed"})), &[])],
    );
}

#[test]
fn tables_are_added_to_a_database_that_is_created_already() {
    tells(
        &databases(),
        &[
            (
                database(json!({"status": "ready", "tables": ["users"]})),
                &[(
                    "database_created",
                    "success",
                    "Database 'turbobackend_proj_xyz' created with 1 table: users",
                )],
            ),
            (
                database(json!({"status": "ready", "tables": ["users", "orders", "payments"]})),
                &[(
                    "tables_added",
                    "success",
                    "Added 2 tables to turbobackend_proj_xyz: orders, payments",
                )],
            ),
            (
                database(json!({"status": "ready", "tables": ["orders"]})),
                &[],
            ),
            (
                database(json!({"status": "ready", "tables": ["orders", "one"]})),
                &[(
                    "tables_added",
                    "success",
                    "Added 1 table to turbobackend_proj_xyz: one",
                )],
            ),
        ],
    );
}

#[test]
fn queries_are_counted_from_batch_to_batch() {
    tells(
        &databases(),
        &[
            (
                database(json!({"status": "creating", "query_count": null})),
                &[],
            ),
            (
                database(
                    json!({"status": "creating", "query_count": 5, "queried_tables": ["users", "posts"]}),
                ),
                &[(
                    "queries_executed",
                    "success",
                    "Executed 5 queries affecting tables: users, posts",
                )],
            ),
            (
                database(
                    json!({"status": "creating", "query_count": 6, "queried_tables": ["users"]}),
                ),
                &[(
                    "queries_executed",
                    "success",
                    "Executed 1 query affecting tables: users",
                )],
            ),
            (
                database(
                    json!({"status": "creating", "query_count": 6, "queried_tables": ["posts"]}),
                ),
                &[],
            ),
            (
                database(json!({"status": "creating", "query_count": 11, "queried_tables": []})),
                &[("queries_executed", "success", "Executed 5 queries")],
            ),
            (
                database(json!({"status": "creating", "query_count": 0})),
                &[],
            ),
        ],
    );
    tells(
        &databases(),
        &[(
            database(json!({"status": "creating", "query_count": 1})),
            &[("queries_executed", "success", "Executed 1 query")],
        )],
    );
}

#[test]
fn endpoints_are_told_by_method_and_path() {
    let list = json!({"method": "GET", "path": "/api/users"});
    let paged = json!({"method": "GET", "path": "/api/users", "change": "Added pagination"});
    let create = json!({"method": "POST", "path": "/api/users"});
    let renamed = json!({"method": "POST", "path": "/api/users", "summary": "x"});
    let remove = json!({"method": "DELETE", "path": "/api/users"});
    tells(
        &projects(),
        &[
            (project(json!({"endpoints": []})), &[]),
            (
                project(json!({"endpoints": [list, create]})),
                &[(
                    "endpoints_added",
                    "success",
                    "Added 2 endpoints: GET /api/users, POST /api/users",
                )],
            ),
            (
                project(json!({"endpoints": [paged, create, remove]})),
                &[
                    (
                        "endpoints_added",
                        "success",
                        "Added 1 endpoint: DELETE /api/users",
                    ),
                    (
                        "endpoints_modified",
                        "success",
                        "Modified GET /api/users: Added pagination",
                    ),
                ],
            ),
            (
                project(json!({"endpoints": [list, renamed]})),
                &[
                    ("endpoints_modified", "success", "Modified GET /api/users"),
                    ("endpoints_modified", "success", "Modified POST /api/users"),
                ],
            ),
            (project(json!({"endpoints": [renamed, list]})), &[]),
            (project(json!({"endpoints": null})), &[]),
        ],
    );
    tells(
        &projects(),
        &[(
            project(json!({"endpoints": [remove]})),
            &[(
                "endpoints_added",
                "success",
                "Added 1 endpoint: DELETE /api/users",
            )],
        )],
    );
}

#[test]
fn a_deployment_is_told_at_every_status_it_reaches() {
    let url = "https://turbobackend-xyz.fly.dev";
    tells(
        &deployments(),
        &[
            (deployment(json!({"status": "pending"})), &[]),
            (
                deployment(json!({"status": "in_progress"})),
                &[("deployment", "in_progress", "Deploying to fly.io")],
            ),
            (
                deployment(json!({"status": "in_progress", "url": url})),
                &[],
            ),
            (
                deployment(json!({"status": "success", "url": url})),
                &[(
                    "deployment",
                    "success",
                    "Deployed to fly.io: https://turbobackend-xyz.fly.dev",
                )],
            ),
            (
                deployment(json!({"status": "rolled_back", "url": url})),
                &[(
                    "deployment",
                    "rolled_back",
                    "Deployment to fly.io rolled_back",
                )],
            ),
            (deployment(json!({"status": null, "url": url})), &[]),
        ],
    );
    for (fields, status, sentence) in [
        (
            json!({"status": "success"}),
            "success",
            "Deployed to fly.io",
        ),
        (
            json!({"status": "failed"}),
            "failed",
            "Deployment to fly.io failed",
        ),
        (
            json!({"status": "failed", "error": "no space"}),
            "failed",
            "Deployment to fly.io failed: no space",
        ),
        (
            json!({"status": "failed", "error": "no space", "kind": null}),
            "failed",
            "Deployment to fly.io failed: no space",
        ),
        (
            json!({"status": "in_progress", "platform": null}),
            "in_progress",
            "Deploying",
        ),
        (
            json!({"status": "success", "platform": null, "url": "u"}),
            "success",
            "Deployed: u",
        ),
        (
            json!({"status": "failed", "platform": null}),
            "failed",
            "Deployment failed",
        ),
    ] {
        tells(
            &deployments(),
            &[(deployment(fields), &[("deployment", status, sentence)])],
        );
    }
}

#[test]
fn a_push_is_told_when_it_has_succeeded_or_failed() {
    let pushed = "Pushed 5 files to https://github.com/user/repo";
    tells(
        &deployments(),
        &[
            (push(json!({"status": "pending", "files_changed": 5})), &[]),
            (
                push(json!({"status": "in_progress", "files_changed": 5})),
                &[],
            ),
            (
                push(json!({"status": "success", "files_changed": 5})),
                &[("github_push", "success", pushed)],
            ),
            (push(json!({"status": "success", "files_changed": 6})), &[]),
        ],
    );
    for (fields, status, sentence) in [
        (json!({"files_changed": 5}), "success", pushed),
        (
            json!({"files_changed": 1}),
            "success",
            "Pushed 1 file to https://github.com/user/repo",
        ),
        (
            json!({"status": "failed"}),
            "failed",
            "Push to https://github.com/user/repo failed",
        ),
        (
            json!({"status": "failed", "error": "denied"}),
            "failed",
            "Push to https://github.com/user/repo failed: denied",
        ),
    ] {
        tells(
            &deployments(),
            &[(push(fields), &[("github_push", status, sentence)])],
        );
    }
    tells(
        &deployments(),
        &[
            (push(json!({"status": "pending"})), &[]),
            (push(json!({"status": null})), &[]),
        ],
    );
}

#[test]
fn an_action_carries_who_where_and_what_it_is_about() {
    let state = database(json!({
        "status": "ready", "tables": ["users"], "project_id": "p_1", "user_id": "u_1",
        "request_id": "r_1", "environment": "production",
    }));
    let derivation = worker().commit(vec![insert(&databases(), &state)]);
    let derived = &derivation.actions[0];
    assert_eq!(derived.source.rule, "reference/database_created");
    assert_eq!(derived.source.key.as_str(), r#"["d_1"]"#);
    let action = &derived.action;
    assert_eq!(action.project_id.as_deref(), Some("p_1"));
    assert_eq!(action.user_id.as_deref(), Some("u_1"));
    assert_eq!(action.request_id.as_deref(), Some("r_1"));
    assert_eq!(action.environment.as_deref(), Some("production"));
    assert_eq!(action.reference_ids, Some(json!({"database_id": "d_1"})));
    assert_eq!(
        Json::Object(action.data.clone()),
        json!({"tables": ["users"]})
    );
    assert_eq!(action.cost_usd, None);

    let bare = worker().commit(vec![insert(
        &deployments(),
        &deployment(json!({"status": "success"})),
    )]);
    let action = &bare.actions[0].action;
    assert_eq!(
        (&action.user_id, &action.environment, &action.project_id),
        (&None, &None, &None)
    );
    assert_eq!(action.reference_ids, Some(json!({"deployment_id": "y_1"})));
}

#[test]
fn updates_of_columns_that_no_rule_names_give_nothing_and_write_nothing() {
    let mut worker = worker();
    let state = |updated_at: u64| project(json!({"status": "active", "updated_at": updated_at}));
    worker.commit(vec![insert(&projects(), &state(0))]);
    for updated_at in 1..1000 {
        let derivation = worker.commit(vec![update(&projects(), &state(updated_at))]);
        assert_eq!(derivation, rules::Derivation::default());
    }
}
