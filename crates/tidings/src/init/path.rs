//! Which table a column leads to, and the way from one table to another. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use activity::TableName;
use store::catalog::{Survey, SurveyedTable};

use crate::words::{noun, words};

/// As many tables are looked up one after the other at most; rules allow no more.
const HOPS_MAX: usize = 8;

/// Rows of these are people and their groups: a way through them leads anywhere.
const PEOPLE: &[&str] = &[
    "user",
    "account",
    "member",
    "owner",
    "organization",
    "organisation",
    "team",
    "tenant",
];

/// From a row to one other row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Of the table that it leaves.
    pub column: String,
    pub table: TableName,
    /// The unique column that it arrives at; `None` is the primary key.
    pub by: Option<String>,
    /// A foreign key says so, not just the names.
    pub declared: bool,
}

#[derive(Debug, Default)]
pub struct Ways(BTreeMap<TableName, Vec<Hop>>);

impl Ways {
    pub fn of(survey: &Survey) -> Self {
        let hops = survey
            .iter()
            .map(|(name, table)| (name.clone(), hops(survey, name, table)));
        Self(hops.collect())
    }

    /// The shortest way; of two, the one by declared keys.
    pub fn find(&self, from: &TableName, to: &TableName) -> Option<Vec<Hop>> {
        let mut seen = BTreeSet::from([from]);
        let mut queue = VecDeque::from([(from, Vec::<&Hop>::new())]);
        while let Some((table, way)) = queue.pop_front() {
            if table == to {
                return Some(way.into_iter().cloned().collect());
            }
            let person = table != from && is_person(table);
            if way.len() == HOPS_MAX || person {
                continue;
            }
            for hop in self.0.get(table).into_iter().flatten() {
                if seen.insert(&hop.table) {
                    let way = way.iter().copied().chain([hop]).collect();
                    queue.push_back((&hop.table, way));
                }
            }
        }
        None
    }

    /// How many columns of other tables lead to a table.
    pub fn leading_to(&self, table: &TableName) -> usize {
        self.0
            .values()
            .flatten()
            .filter(|hop| hop.table == *table)
            .count()
    }
}

fn is_person(table: &TableName) -> bool {
    noun(&table.name)
        .last()
        .is_some_and(|last| PEOPLE.contains(&last.as_str()))
}

/// Declared keys first, then columns that every row has.
fn hops(survey: &Survey, name: &TableName, table: &SurveyedTable) -> Vec<Hop> {
    let mut hops: Vec<(bool, bool, Hop)> = Vec::new();
    for column in &table.columns {
        let declared = table.foreign.iter().find(|key| key.column == column.name);
        let hop = match declared {
            Some(key) => {
                let target = survey.get(&key.table);
                target.map(|target| Hop {
                    column: column.name.clone(),
                    table: key.table.clone(),
                    by: (target.key != [key.target.as_str()]).then(|| key.target.clone()),
                    declared: true,
                })
            }
            None => implied(survey, name, table, &column.name),
        };
        if let Some(hop) =
            hop.filter(|hop| hop.table != *name && !hop.column.contains(['\'', '"', '\\']))
        {
            hops.push((!hop.declared, !column.not_null, hop));
        }
    }
    hops.sort_by_key(|(undeclared, optional, _)| (*undeclared, *optional));
    hops.into_iter().map(|(.., hop)| hop).collect()
}

/// The one table that a column's name stands for, by its key's name or by its own.
fn implied(survey: &Survey, name: &TableName, table: &SurveyedTable, column: &str) -> Option<Hop> {
    if table.key == [column] {
        return None;
    }
    let named = words(column);
    let (last, stem) = named.split_last()?;
    if stem.is_empty() || !matches!(last.as_str(), "id" | "uuid" | "ref" | "key") {
        return None;
    }
    let fit = |(target_name, target): (&'_ TableName, &SurveyedTable)| {
        let noun = noun(&target_name.name);
        let by = arrival(target, last)?;
        let key = by.as_deref().or(target.key.first().map(String::as_str))?;
        let fit = if words(key) == named && noun.last() == stem.last() {
            4
        } else if noun == stem {
            3
        } else if words(key) == named {
            2
        } else if noun.ends_with(stem) || stem.ends_with(&noun) {
            1
        } else {
            return None;
        };
        let near = target_name.schema == name.schema;
        Some(((near, fit), target_name.clone(), by))
    };
    let mut fits: Vec<_> = survey
        .iter()
        .filter(|(target, _)| *target != name)
        .filter_map(fit)
        .collect();
    fits.sort_by_key(|(fit, ..)| std::cmp::Reverse(*fit));
    let mut fits = fits.into_iter();
    let (best, table, by) = fits.next()?;
    // Two that fit as well: neither is known to be meant.
    if fits.next().is_some_and(|(fit, ..)| fit == best) {
        return None;
    }
    Some(Hop {
        column: column.to_owned(),
        table,
        by,
        declared: false,
    })
}

/// Where such a column arrives: the outer `None` is nowhere, the inner one the primary key.
fn arrival(target: &SurveyedTable, last: &str) -> Option<Option<String>> {
    let by_uuid = |c: &&String| last == "uuid" && words(c).last().is_some_and(|w| w == "uuid");
    let [key] = target.key.as_slice() else {
        return None;
    };
    if last == "uuid" && words(key).last().is_some_and(|word| word != "uuid") {
        let unique = target.unique.iter().find(by_uuid)?;
        return Some(Some(unique.clone()));
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::fixture::survey;

    fn way(facts: &str, from: &str, to: &str) -> Option<String> {
        let survey = survey(facts);
        let name = |text: &str| TableName::new("s", text);
        let way = Ways::of(&survey).find(&name(from), &name(to))?;
        let text = way.iter().map(|hop| match &hop.by {
            Some(by) => format!("{} > {}.{by}", hop.column, hop.table.name),
            None => format!("{} > {}", hop.column, hop.table.name),
        });
        Some(text.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn a_way_is_found_over_declared_keys_and_over_names() {
        let declared = "s.deployment: id* text, owner_ref text > application\n\
                        s.application: id* text, project_id bigint\n\
                        s.projects: id* bigint, name text";
        assert_eq!(
            way(declared, "deployment", "projects").as_deref(),
            Some("owner_ref > application, project_id > projects")
        );
    }

    #[test]
    fn a_key_of_another_type_and_a_uuid_beside_the_key_are_followed() {
        let facts = "s.queues: id* bigint, application_id varchar(255), project_uuid uuid\n\
                     s.applications: id* bigint, name text\n\
                     s.projects: id* bigint, uuid+ uuid";
        assert_eq!(
            way(facts, "queues", "applications").as_deref(),
            Some("application_id > applications")
        );
        assert_eq!(
            way(facts, "queues", "projects").as_deref(),
            Some("project_uuid > projects.uuid")
        );
    }

    #[test]
    fn no_way_leads_through_people_or_over_a_name_that_fits_two_tables() {
        let people = "s.deployments: id* text, user_id text\n\
                      s.users: id* text, project_id text\n\
                      s.projects: id* text";
        assert_eq!(way(people, "deployments", "projects"), None);
        let two = "s.deployments: id* text, project_id text\n\
                   s.old_projects: id* text\ns.new_projects: id* text";
        assert_eq!(way(two, "deployments", "old_projects"), None);
    }
}
