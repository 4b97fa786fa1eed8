//! `tidings init`: from what the catalog says of tables to a rule pack that a person goes on with.
//!
//! In go a [`Survey`] and the name of the table of actions; out comes the text of a pack that
//! compiles and fits those tables, with a comment wherever something was guessed, left out or not
//! decided. Pure: the same catalog gives the same text.

#[cfg(test)]
pub mod fixture;
mod found;
mod nature;
mod pack;
mod path;
mod reach;
mod role;
mod rule;
mod state;
mod toml;

use activity::TableName;
use store::catalog::Survey;

use found::Found;
use nature::Nature;

/// The text of a pack, or what was looked for and not found.
pub fn draft(survey: &Survey, actions_table: &TableName) -> Result<String, String> {
    let found = Found::of(survey, actions_table);
    if found.is_empty() {
        return Err(nothing(survey, &found));
    }
    Ok(pack::write(&found))
}

fn nothing(survey: &Survey, found: &Found<'_>) -> String {
    let mut text = format!(
        "nothing in {} tables looks like a project, a database or a deployment. Looked for tables whose \
         names end in:",
        survey.len()
    );
    for nature in [Nature::Project, Nature::Database, Nature::Deployment] {
        let words: Vec<&str> = nature.words().iter().map(|(word, _)| *word).collect();
        text += &format!("\n  {}: {}", nature.name(), words.join(", "));
    }
    for (nature, table) in &found.keyless {
        text += &format!(
            "\n{table} looks like a {}, but has no primary key to tell its rows apart",
            nature.name()
        );
    }
    text += "\nName the right schema with --schema, or write a pack by hand: docs/rules.md";
    text
}

#[cfg(test)]
mod tests;
