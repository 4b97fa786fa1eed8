//! Drafts for the schemas of real platforms, and for systems that nobody told us of.

use activity::TableName;
use rules::{PackSource, Rules};

use super::draft;
use super::fixture::survey;

fn drafted(facts: &str) -> String {
    let actions = TableName::new("public", "project_actions");
    let text = draft(&survey(facts), &actions).unwrap_or_else(|nothing| panic!("{nothing}"));
    let source = PackSource {
        origin: "draft.toml".to_owned(),
        text: text.clone(),
        schema: None,
    };
    let rules = Rules::compile(&[source]).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let survey = survey(facts);
    for used in rules.tables() {
        let table = &survey[&used.table];
        for column in &used.columns {
            assert!(
                table.columns.iter().any(|c| c.name == *column),
                "{column}\n{text}"
            );
        }
    }
    text
}

#[track_caller]
fn says(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
}

const DOKPLOY: &str = r"
    dokploy.project: projectId* text, name! text, description text, createdAt! text, organizationId! text, env! text
    dokploy.environment: environmentId* text, name! text, createdAt! text, env! text, projectId! text > project, isDefault! boolean
    dokploy.application: applicationId* text, name! text, appName! text, repository text, branch text, applicationStatus! applicationStatus = idle|running|done|error, createdAt! text, environmentId! text > environment
    dokploy.deployment: deploymentId* text, title! text, description text, status deploymentStatus = running|done|error|cancelled, logPath! text, pid text, applicationId text > application, composeId text, serverId text, isPreviewDeployment boolean, createdAt! text, startedAt text, finishedAt text, errorMessage text
    dokploy.postgres: postgresId* text, name! text, appName+ text, databaseName! text, databaseUser! text, databasePassword! text, dockerImage! text, command text, args text[], env text, applicationStatus! applicationStatus = idle|running|done|error, createdAt! text, environmentId! text > environment";

#[test]
fn dokploy_is_followed_over_declared_keys_and_its_enum() {
    let text = drafted(DOKPLOY);
    says(
        &text,
        &[
            "# project: dokploy.project",
            "# deployment: dokploy.deployment",
            "# Left out of dokploy.postgres, because they look like secrets: databasePassword, env.",
            "let.application = \"lookup('application', new.applicationId)\"",
            "let.environment = \"lookup('environment', application.environmentId)\"",
            "project_id = \"{{ environment.projectId }}\"",
            "environment = \"{{ environment.name }}\"",
            "\"running\" = \"in_progress\"\n\"done\" = \"success\"\n\"error\" = \"failed\"\n\"cancelled\" = \"cancelled\"",
            "Deployed{% if application.name %} {{ application.name }}{% endif %}",
            "failed{% if new.errorMessage %}: {{ new.errorMessage }}{% endif %}",
            "created_at = \"{{ new.createdAt | unix }}\"",
            "Database '{{ new.name }}' created",
        ],
    );
    assert!(!text.contains("new.env "), "{text}");
}

const COOLIFY: &str = r"
    coolify.projects: id* bigint, uuid+ varchar(255), name! varchar(255), description varchar(255), team_id! bigint, created_at timestamp, updated_at timestamp
    coolify.environments: id* bigint, name! varchar(255), project_id! bigint, created_at timestamp, updated_at timestamp, uuid! varchar(255)
    coolify.applications: id* bigint, uuid+ varchar(255), name! varchar(255), fqdn varchar(255), environment_id! bigint, status! varchar(255), created_at timestamp
    coolify.application_deployment_queues: id* bigint, application_id! varchar(255), deployment_uuid+ varchar(255), commit! varchar(255), status! varchar(255), created_at timestamp, logs text, application_name varchar(255), server_name varchar(255), deployment_url varchar(255), commit_message text, finished_at timestamp
    coolify.standalone_postgresqls: id* bigint, uuid+ varchar(255), name! varchar(255), postgres_user! varchar(255), postgres_password! text, postgres_db! varchar(255), status! varchar(255), environment_id bigint, created_at timestamp, deleted_at timestamp, last_online_at! timestamp, restart_count! int";

#[test]
fn coolify_is_followed_over_names_and_keys_of_other_types() {
    let text = drafted(COOLIFY);
    says(
        &text,
        &[
            "# database: coolify.standalone_postgresqls",
            "# Left out of coolify.standalone_postgresqls, because they look like secrets: postgres_password.",
            "were followed:",
            "let.application = \"lookup('applications', new.application_id)\"",
            "let.environment = \"lookup('environments', application.environment_id)\"",
            "project_id = \"{{ environment.project_id }}\"",
            "these are the usual ones",
            "\"cancelled-by-user\" = \"cancelled\"",
            "{% if new.deployment_url %}: {{ new.deployment_url }}{% endif %}",
            "user_id stays empty",
        ],
    );
    assert!(
        !text.contains("new.logs") && !text.contains("last_online_at"),
        "{text}"
    );
}

const TURBOBACKEND: &str = r"
    TurboBackend.users: user_id* varchar, email varchar
    TurboBackend.projects: project_id* varchar, user_id varchar, project_name varchar, created_at bigint, updated_at bigint
    TurboBackend.mcp_keys: mcp_key_id* varchar, mcp_key+ varchar, project_id varchar, user_id varchar, key_name varchar
    TurboBackend.project_databases: database_id* varchar, project_id varchar, user_id varchar, db_name varchar, db_schema varchar, environment varchar, is_active boolean, created_at bigint, updated_at bigint
    TurboBackend.project_github_repos: repo_id* varchar, project_id varchar, user_id varchar, repo_url varchar, repo_name varchar
    TurboBackend.container_sessions: session_id* varchar, project_id varchar, container_id varchar, status varchar, environment varchar
    TurboBackend.project_deployments: deployment_id* varchar, project_id varchar, platform varchar, app_name varchar, url varchar, status varchar, deployed_at bigint, last_updated bigint
    TurboBackend.cloud_credentials: credential_id* varchar, project_id varchar, credential varchar
    TurboBackend.project_actions: action_id* varchar, project_id varchar";

#[test]
fn turbobackend_has_no_foreign_key_and_an_odd_schema() {
    let text = drafted(TURBOBACKEND);
    says(
        &text,
        &[
            "[tables.projects]\nschema = \"TurboBackend\"",
            "Project '{{ new.project_name }}' created",
            "Database '{{ new.db_name }}' created",
            "environment = \"{{ new.environment }}\"",
            "let.project = \"lookup('projects', new.project_id)\"",
            "user_id = \"{{ project.user_id }}\"",
            "Deployed{% if new.app_name %} {{ new.app_name }}{% endif %}{% if new.platform %} to {{ new.platform }}{% endif %}",
            "# CHOOSE: environment = ",
            "# CHOOSE: \"TurboBackend\".project_github_repos could be the project as well.",
        ],
    );
    assert!(
        !text.contains("mcp_key") && !text.contains("cloud_credentials"),
        "{text}"
    );
}

const REFERENCE: &str = r"
    public.projects: project_id* varchar, user_id varchar, request_id varchar, name varchar, container_id varchar, endpoints jsonb, status varchar, environment varchar, created_at bigint, updated_at bigint
    public.databases: database_id* varchar, project_id varchar, user_id varchar, request_id varchar, name varchar, tables jsonb, status varchar, environment varchar, created_at bigint
    public.deployments: deployment_id* varchar, project_id varchar, user_id varchar, request_id varchar, kind varchar, platform varchar, url varchar, repo_url varchar, status varchar, environment varchar, error varchar, created_at bigint
    public.project_actions: action_id* varchar, project_id varchar";

#[test]
fn the_reference_schema_needs_no_lookup() {
    let text = drafted(REFERENCE);
    assert!(!text.contains("lookup("), "{text}");
    says(
        &text,
        &[
            "name = \"worker\"",
            "request_id = \"{{ new.request_id }}\"",
            "user_id = \"{{ new.user_id }}\"",
            "failed{% if new.error %}: {{ new.error }}{% endif %}",
        ],
    );
}

#[test]
fn a_content_system_gets_its_site_and_a_release_with_its_check() {
    let text = drafted(
        r"
        cms.sites: site_id* uuid, title! text, owner_id! uuid, created timestamptz, admin_password text
        cms.articles: id* bigint, site_id! uuid > sites, author_id uuid, body text, status! text = draft|published
        cms.releases: id* bigint, site_id! uuid > sites, released_by uuid, state! text = pending|publishing|published|failed|odd, failure_reason text, api_token text",
    );
    says(
        &text,
        &[
            "Site '{{ new.title }}' created",
            "# Left out of cms.sites, because they look like secrets: admin_password.",
            "let.site = \"lookup('sites', new.site_id)\"",
            "user_id = \"{{ site.owner_id }}\"",
            "\"publishing\" = \"in_progress\"\n\"published\" = \"success\"\n\"failed\" = \"failed\"",
            "# Not told: pending.",
            "not told: odd.",
            "database: none was found",
        ],
    );
}

#[test]
fn a_build_system_with_numbers_for_states_leaves_the_choice() {
    let text = drafted(
        r"
        ci.repositories: id* bigint, full_name! text, owner_id bigint
        ci.builds: id* bigint, repository_id bigint > repositories, state int, number int, queued_at timestamptz, triggered_by bigint
        ci.build_logs: id* bigint, build_id bigint > builds, content text",
    );
    says(
        &text,
        &[
            "Repository '{{ new.full_name }}' created",
            "# CHOOSE: state holds int",
            "# [maps.deployment_status]",
            "# [[rules]]",
            "# {% if state == 'in_progress' %}Build{% if repository.full_name %} of {{ repository.full_name }}{% endif %} started",
        ],
    );
}

#[test]
fn a_row_that_is_still_being_made_is_told_when_it_is_made() {
    let text = drafted(
        "public.apps: id* text, name text\n\
         public.databases: id* text, app_id text > apps, name text, status text = provisioning|ready|failed",
    );
    says(
        &text,
        &[
            "when = \"new.status not in ['provisioning', 'failed'] and (old.id is none or old.status in ['provisioning', 'failed'])\"",
        ],
    );
}

#[test]
fn odd_names_are_quoted_wherever_they_stand() {
    let text = drafted(
        "My App.Project Items: Project ID* text, Project Name text, it's text\n\
         My App.Project: The Key* uuid, Project Name text\n\
         My App.Deploy Runs: Run ID* text, Project Key uuid > Project, Run Status text = in progress|done, \"URL\" text",
    );
    says(
        &text,
        &[
            "[tables.\"Deploy Runs\"]\nschema = \"My App\"",
            "new['Run Status'] | translate",
            "lookup('Project', new['Project Key'])",
        ],
    );
}

#[test]
fn where_nothing_matches_it_says_what_it_looked_for() {
    let facts = survey("public.invoices: id* text, total numeric\npublic.projects: name text");
    let told = draft(&facts, &TableName::new("public", "project_actions")).unwrap_err();
    for text in [
        "deployment, deploy",
        "public.projects looks like a project",
        "--schema",
        "2 tables",
    ] {
        assert!(told.contains(text), "{text} is not in {told}");
    }
}

mod any_catalog {
    use proptest::prelude::*;
    use proptest::sample::select;
    use store::catalog::{ForeignKey, SurveyedColumn, SurveyedTable, WordsFrom};

    use super::*;

    const TABLES: &[&str] = &[
        "projects",
        "Project",
        "my apps",
        "in",
        "new",
        "databases",
        "postgres",
        "deployments",
        "deploy\"runs",
        "builds",
        "environments",
        "users",
        "it's",
        "über_projekte",
        "a/b databases",
        "job\\queue",
    ];
    const COLUMNS: &[&str] = &[
        "id",
        "project_id",
        "projectId",
        "name",
        "it's",
        "Odd \"name\"",
        "back\\slash",
        "in",
        "and",
        "loop",
        "status",
        "state",
        "user_id",
        "created_at",
        "environment",
        "env",
        "url",
        "error",
        "platform",
        "title",
        "über",
        "password",
        "project uuid",
        "uuid",
        "environment_id",
        "123",
    ];
    const TYPES: &[(&str, u32)] = &[
        ("text", 25),
        ("bigint", 20),
        ("uuid", 2950),
        ("timestamptz", 1184),
        ("jsonb", 3802),
        ("bytea", 17),
        ("boolean", 16),
        ("mood", 90_000),
    ];
    const WORDS: &[&str] = &[
        "running",
        "done",
        "failed",
        "it's",
        "pending",
        "od\"d",
        "provisioning",
        "back\\slash",
    ];

    fn column() -> impl Strategy<Value = SurveyedColumn> {
        let words = prop::collection::btree_set(select(WORDS), 0..4);
        (select(COLUMNS), select(TYPES), words).prop_map(|(name, (type_name, type_oid), words)| {
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            SurveyedColumn {
                name: name.to_owned(),
                type_oid,
                type_name: type_name.to_owned(),
                words_from: (!words.is_empty()).then_some(WordsFrom::Enum),
                words,
                ..SurveyedColumn::default()
            }
        })
    }

    fn table() -> impl Strategy<Value = (TableName, SurveyedTable)> {
        let columns = prop::collection::vec(column(), 1..8);
        let schemas = select(&["public", "My App", "sch\"ema"][..]);
        let target = prop::option::of(select(TABLES));
        (schemas, select(TABLES), columns, 0usize..3, target).prop_map(
            |(schema, name, columns, keys, target)| {
                let mut seen = std::collections::BTreeSet::new();
                let columns: Vec<_> = columns
                    .into_iter()
                    .filter(|c| seen.insert(c.name.clone()))
                    .collect();
                let foreign = target.map(|target| ForeignKey {
                    column: columns[columns.len() - 1].name.clone(),
                    table: TableName::new(schema, target),
                    target: "id".to_owned(),
                });
                let table = SurveyedTable {
                    key: columns.iter().take(keys).map(|c| c.name.clone()).collect(),
                    columns,
                    foreign: foreign.into_iter().collect(),
                    ..SurveyedTable::default()
                };
                (TableName::new(schema, name), table)
            },
        )
    }

    proptest! {
        #[test]
        fn whatever_the_tables_are_called_the_draft_compiles_and_names_what_is_there(
            tables in prop::collection::btree_map(any::<u8>(), table(), 1..7),
        ) {
            let mut survey: store::catalog::Survey = tables.into_values().collect();
            let known = survey.clone();
            let has = |key: &ForeignKey| {
                known.get(&key.table).is_some_and(|t| t.columns.iter().any(|c| c.name == key.target))
            };
            survey.values_mut().for_each(|table| table.foreign.retain(has));
            let Ok(text) = draft(&survey, &TableName::new("public", "project_actions")) else {
                return Ok(());
            };
            let source = PackSource { origin: "draft.toml".to_owned(), text: text.clone(), schema: None };
            let rules = Rules::compile(&[source]).map_err(|errors| TestCaseError::fail(format!("{errors}\n{text}")))?;
            for used in rules.tables() {
                let table = survey.get(&used.table);
                prop_assert!(table.is_some(), "{}\n{}", used.table, text);
                for column in &used.columns {
                    let known = table.is_some_and(|t| t.columns.iter().any(|c| c.name == *column));
                    prop_assert!(known, "{column}\n{text}");
                }
            }
        }
    }
}
