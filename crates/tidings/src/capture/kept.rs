//! Changes at fault on their way into the quarantine and out of it. Pure.

use std::sync::Arc;

use activity::{Event, TableName};
use rules::{Image, KeptChange};
use store::attributes::FormerNames;
use store::commit::Kept;
use store::quarantine::Entry;

use super::storable;

/// Writes each change once, however many rules failed on it.
#[derive(Default)]
pub struct Keeping(Option<(Arc<KeptChange>, Arc<Kept>)>);

impl Keeping {
    pub fn of(&mut self, change: &Arc<KeptChange>) -> Arc<Kept> {
        match &self.0 {
            Some((last, kept)) if Arc::ptr_eq(last, change) => Arc::clone(kept),
            _ => {
                let kept = Arc::new(kept(change));
                self.0 = Some((Arc::clone(change), Arc::clone(&kept)));
                kept
            }
        }
    }
}

fn kept(change: &KeptChange) -> Kept {
    let json = |image: &Image| serde_json::to_string(image).expect("texts and nulls print");
    Kept {
        event: change.event,
        key_before: change.key_before.clone(),
        old: change.old.as_ref().map(json),
        old_known: change.old_known,
        new: change.new.as_ref().map(json),
        types: serde_json::to_string(&change.types).expect("names and numbers print"),
        ran: change.ran.iter().cloned().collect(),
        context: (!change.context.is_empty()).then(|| {
            let mut context = change.context.clone();
            storable::object(&mut context);
            serde_json::to_string(&context).expect("a JSON object prints")
        }),
    }
}

/// The change as rules take it, its columns under the names that they have now. The error says why it can
/// not be worked out again.
pub fn restore(
    entry: &Entry,
    table: &TableName,
    former: Option<&FormerNames>,
) -> Result<KeptChange, String> {
    let Some(kept) = &entry.change else {
        return Err(
            "nothing was kept of this change by the version that set it aside: discard it"
                .to_owned(),
        );
    };
    let event = [Event::Insert, Event::Update, Event::Delete, Event::Truncate];
    let event = event.into_iter().find(|event| event.as_str() == kept.event);
    let unreadable = || "what was kept of this change can not be read".to_owned();
    let image = |json: &Option<String>| -> Result<Option<Image>, String> {
        let Some(json) = json else {
            return Ok(None);
        };
        let image: Image = serde_json::from_str(json).map_err(|_| unreadable())?;
        Ok(Some(match former {
            Some(names) => image.renamed(names),
            None => image,
        }))
    };
    let types = serde_json::from_value(kept.types.clone());
    let mut change = KeptChange {
        table: table.clone(),
        key: entry.key.clone(),
        key_before: kept.key_before.clone(),
        position: entry.position,
        event: event.ok_or_else(unreadable)?,
        old: image(&kept.old)?,
        old_known: kept.old_known,
        new: image(&kept.new)?,
        types: types.map_err(|_| unreadable())?,
        ran: kept.ran.iter().cloned().collect(),
        context: match &kept.context {
            Some(serde_json::Value::Object(fields)) => fields.clone(),
            _ => serde_json::Map::new(),
        },
    };
    for (now, before) in former.into_iter().flatten() {
        let known = before
            .iter()
            .find_map(|name| change.types.get(name.as_str()));
        if let Some(type_oid) = known.copied() {
            change
                .types
                .entry(Arc::from(now.as_str()))
                .or_insert(type_oid);
        }
    }
    Ok(change)
}
