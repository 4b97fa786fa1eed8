//! What a reconcile would tell, with nothing written.

use std::collections::BTreeMap;

use activity::Origin;
use rules::Rules;
use store::reconcile::Purpose;

use crate::Failure;
use crate::capture;
use crate::commands::survey::{Beholder, Sight, Survey};
use crate::settings::Settings;

/// Sentences of each type that are printed.
const EXAMPLES: usize = 3;

pub async fn dry_run(
    settings: &Settings,
    rules: &Rules,
    purpose: Purpose,
    since: Option<i64>,
) -> Result<(), Failure> {
    let survey = Survey::begin(settings, rules).await?;
    let mut foreseen = Foreseen {
        since,
        types: BTreeMap::new(),
        faults: 0,
    };
    for needed in survey.needed() {
        let table = &needed.table;
        if purpose == Purpose::Reconcile && !survey.is_complete(table) {
            println!("{table}: not every row has its image yet; nothing would be told");
            continue;
        }
        survey.walk(&needed, purpose, &mut foreseen).await?;
    }
    let total: usize = foreseen.types.values().map(|(count, _)| count).sum();
    println!("{total} actions would be written");
    for ((origin, action_type), (count, examples)) in &foreseen.types {
        println!("  {count} {action_type} ({origin})");
        for example in examples {
            println!("      {example}");
        }
    }
    if foreseen.faults > 0 {
        println!("{} changes would go to quarantine", foreseen.faults);
    }
    Ok(())
}

struct Foreseen {
    since: Option<i64>,
    /// How many of each origin and type, and the first sentences.
    types: BTreeMap<(&'static str, String), (usize, Vec<String>)>,
    faults: usize,
}

impl Beholder for Foreseen {
    async fn behold(&mut self, survey: &Survey<'_>, sight: &Sight<'_>) -> Result<(), Failure> {
        for origin in [Origin::Reconciled, Origin::Backfill] {
            let teller = survey.teller();
            let told = teller.tell(&sight.synthetic, &sight.compared, origin);
            let told = told.await.map_err(|fault| Failure::Failed(fault.into()))?;
            self.faults += told.faults.len();
            for derived in told.actions {
                let action = derived.action;
                if !capture::is_wanted(self.since, origin, action.created_at) {
                    continue;
                }
                let id = (origin.as_str(), action.action_type);
                let (count, examples) = self.types.entry(id).or_default();
                *count += 1;
                if examples.len() < EXAMPLES {
                    examples.push(action.action_details.unwrap_or_default());
                }
            }
        }
        Ok(())
    }
}
