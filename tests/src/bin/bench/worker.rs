//! The worker's side: pushes to repositories, each of which comes to one action. Nothing is drawn by
//! a clock, so a seed gives the same WAL but for its positions and times.

use tests::Stage;
use tokio_postgres::{Client, NoTls, Statement};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Worker {
    seed: u64,
    /// How many projects the rows are spread over.
    projects: usize,
}

impl Worker {
    pub(crate) fn new(seed: u64) -> Self {
        let projects = 997;
        Self { seed, projects }
    }

    /// The same in so many projects: `project-0` and so on, in turn.
    pub(crate) fn among(self, projects: usize) -> Self {
        Self { projects, ..self }
    }

    /// Commits this many transactions of this many rows each, one after the other and without
    /// waiting for the disk. `name` tells the rows from those of another call.
    pub(crate) async fn write(self, stage: &Stage, name: &str, transactions: usize, rows: usize) {
        let client = stage.connect().await;
        let insert = self.insert(
            name,
            &format!("i * {rows}"),
            &format!("(i + 1) * {rows} - 1"),
        );
        let all = format!(
            "do $$ begin for i in 0 .. {transactions} - 1 loop {insert}; commit; end loop; end $$"
        );
        for sql in ["set synchronous_commit = off", &all] {
            let done = client.batch_execute(sql).await;
            done.expect("the worker can write");
        }
    }

    /// A connection as the worker's role, and a statement that commits the row of this number.
    pub(crate) async fn writer(self, stage: &Stage, name: &str) -> (Client, Statement) {
        let url = stage.server.url_as("worker", "app");
        let (client, connection) = tokio_postgres::connect(&url, NoTls)
            .await
            .expect("the server takes connections");
        // Ends with the client.
        tokio::spawn(connection);
        let insert = self.insert(name, "$1", "$1");
        let insert = client.prepare(&insert).await;
        (client, insert.expect("the statement is sound"))
    }

    fn insert(self, name: &str, first: &str, last: &str) -> String {
        let Self { seed, projects } = self;
        format!(
            "insert into deployments (deployment_id, project_id, user_id, request_id, kind, repo_url,
               files_changed, environment, created_at, updated_at)
             select '{name}-' || n, 'project-' || n % {projects}, 'user-' || n % 101, md5('{seed} ' || n),
               'push', 'https://git.example/' || md5('{seed} ' || n % 997), 1 + n % 40, 'production',
               1700000000 + n, 1700000000 + n
             from generate_series({first}::bigint, {last}::bigint) as n"
        )
    }
}
