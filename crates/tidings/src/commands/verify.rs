//! Whether `project_actions`, the log, the images and the tables agree. Writes nothing.

use std::collections::BTreeMap;

use activity::{Origin, TableName};
use serde_json::{Value, json};
use store::reconcile::Purpose as Why;
use store::verify::{self, Actions, Lone};
use store::{Purpose, Session, commit};

use super::survey::{Beholder, Sight, Survey};
use crate::capture::{Compared, Found, differing};
use crate::cli::Verify;
use crate::settings::Settings;
use crate::{Failure, packs};

/// Findings of each kind that are told; the others are counted.
const EXAMPLES: usize = 10;
/// Rows whose actions are looked for in the log together.
const UNTOLD_MAX: usize = 20_000;

pub async fn verify(settings: &Settings, arguments: &Verify) -> Result<(), Failure> {
    let rules = packs::load(settings)?;
    super::set_up_session(settings).await?;
    let mut report = Report::default();
    actions(settings, arguments, &mut report).await?;
    let survey = Survey::begin(settings, &rules).await?;
    for needed in survey.needed() {
        if !survey.is_complete(&needed.table) {
            report.note(format!(
                "table {}: not every row has its image yet",
                needed.table
            ));
            continue;
        }
        let mut comparing = Comparing {
            table: &needed.table,
            since: arguments.since,
            report: &mut report,
            owed: Vec::new(),
        };
        survey.walk(&needed, Why::Reconcile, &mut comparing).await?;
        comparing.settle(&survey).await?;
    }
    report.print(arguments.json);
    match report.total() {
        0 => Ok(()),
        total => Err(Failure::Failed(anyhow::anyhow!("{total} findings"))),
    }
}

/// The log against `project_actions`: with the rights of who owns that table, where they are given.
async fn actions(
    settings: &Settings,
    arguments: &Verify,
    report: &mut Report,
) -> Result<(), Failure> {
    let target = settings.database.admin().map_err(Failure::Settings)?;
    let session = Session::open(&target, &settings.database.schema, Purpose::Admin).await?;
    let table = &settings.capture.actions_table;
    let since = arguments.since;
    let read = async {
        let reached = commit::gate(&session).await?;
        let actions = Actions::describe(&session, table).await?;
        actions
            .gaps(&session, since, |lone| report_lone(report, "gap", &lone))
            .await?;
        actions
            .phantoms(&session, since, reached, |lone| {
                report_lone(report, "phantom", &lone);
            })
            .await?;
        if arguments.legacy {
            actions
                .unseen(&session, since, |lone| {
                    report_lone(report, "legacy phantom", &lone);
                })
                .await?;
            actions
                .unlogged(&session, since, |lone| {
                    report_lone(report, "legacy gap", &lone);
                })
                .await?;
        }
        Ok(())
    };
    match read.await {
        Err(store::Error::Sql(error))
            if error.code().is_some_and(|code| code.code() == "42501") =>
        {
            Err(Failure::NotReady(format!(
                "role {} may not read {table}: set database.admin_url, or `grant select on table {table} to {0};`",
                store::quote_identifier(session.user())
            )))
        }
        read => Ok(read?),
    }
}

fn report_lone(report: &mut Report, kind: &'static str, lone: &Lone) {
    report.add(
        kind,
        json!({
            "action_id": lone.action_id, "action_type": lone.action_type,
            "project_id": lone.project_id, "created_at": lone.created_at,
        }),
    );
}

/// Tables against images, and what rules would say against what the log has.
struct Comparing<'a> {
    table: &'a TableName,
    since: Option<i64>,
    report: &'a mut Report,
    /// Keys and rules of which the log should have an action.
    owed: Vec<(String, String)>,
}

impl Beholder for Comparing<'_> {
    async fn behold(&mut self, survey: &Survey<'_>, sight: &Sight<'_>) -> Result<(), Failure> {
        let mut same = Vec::new();
        for compared in &sight.compared {
            let kind = match compared.found {
                Found::New(_) => "row without image",
                Found::Changed => "row differs from image",
                Found::Deleted => "image without row",
                Found::Gone => continue,
                Found::Same => {
                    if compared.told {
                        let found = Found::New(Origin::Reconciled);
                        same.push(Compared {
                            found,
                            ..compared.clone()
                        });
                    }
                    continue;
                }
            };
            self.report.add(
                kind,
                json!({
                    "table": self.table.to_string(), "key": compared.key.as_str(),
                    "columns": differing(compared),
                }),
            );
        }
        let teller = survey.teller();
        let told = teller.tell(&sight.synthetic, &same, Origin::Reconciled);
        let told = told.await.map_err(|fault| Failure::Failed(fault.into()))?;
        for derived in told.actions {
            let at = derived.action.created_at;
            if self
                .since
                .is_none_or(|since| at.is_some_and(|at| at >= since))
            {
                let key = derived.source.key.as_str().to_owned();
                self.owed.push((key, derived.source.rule));
            }
        }
        if self.owed.len() >= UNTOLD_MAX {
            self.settle(survey).await?;
        }
        Ok(())
    }
}

impl Comparing<'_> {
    async fn settle(&mut self, survey: &Survey<'_>) -> Result<(), Failure> {
        let owed = std::mem::take(&mut self.owed);
        for (key, rule) in verify::untold(&survey.session, self.table, &owed).await? {
            let table = self.table.to_string();
            self.report.add(
                "row untold",
                json!({"table": table, "key": key, "rule": rule}),
            );
        }
        Ok(())
    }
}

#[derive(Default)]
struct Report {
    /// How many of each kind, and the first of them.
    findings: BTreeMap<&'static str, (usize, Vec<Value>)>,
    notes: Vec<String>,
}

impl Report {
    fn add(&mut self, kind: &'static str, finding: Value) {
        let (count, examples) = self.findings.entry(kind).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(finding);
        }
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn total(&self) -> usize {
        self.findings.values().map(|(count, _)| count).sum()
    }

    fn print(&self, as_json: bool) {
        if as_json {
            let findings: Vec<Value> = self
                .findings
                .iter()
                .map(|(kind, (count, examples))| {
                    json!({"kind": kind, "count": count, "examples": examples})
                })
                .collect();
            let ok = self.total() == 0;
            println!(
                "{:#}",
                json!({"ok": ok, "findings": findings, "notes": self.notes})
            );
            return;
        }
        for note in &self.notes {
            println!("{note}");
        }
        for (kind, (count, examples)) in &self.findings {
            println!("{kind}: {count}");
            for example in examples {
                println!("    {example}");
            }
        }
        if self.total() == 0 {
            println!("nothing is missing, left over or different");
        }
    }
}
