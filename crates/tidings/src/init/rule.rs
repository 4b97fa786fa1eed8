//! The rules that a draft holds, as TOML. Pure.

use store::catalog::{SurveyedColumn, WordsFrom};

use super::reach::Reach;
use super::role::{Columns, is_integer};
use super::state::{State, USUAL, in_the_making};
use super::toml::{column, comment, key, string, text};
use crate::words::{noun, words};

/// A rule that tells once that a row came to be.
pub fn created(
    columns: &Columns<'_>,
    reach: &Reach,
    name: &str,
    action_type: &str,
    what: &str,
) -> String {
    let own_key = columns.table.key.first().map_or("", String::as_str);
    let (on, when) = creation(columns, own_key);
    let mut rule = head(reach, name, &on);
    if name != action_type {
        rule += &entry("action_type", action_type);
    }
    rule += &lookups(reach, &[]);
    rule += &when;
    let called = columns.name().map_or(own_key, |c| c.name.as_str());
    let called = column("new", called);
    rule += &entry(
        "action_details",
        &format!("{what} '{{{{ {called} }}}}' created"),
    );
    rule + &outputs(
        columns,
        reach,
        &format!("{}_id", action_type.trim_end_matches("_created")),
    )
}

/// When a row counts as created: at once, or when its status says that it is made.
fn creation(columns: &Columns<'_>, own_key: &str) -> (String, String) {
    let at_once = ("[\"insert\"]".to_owned(), String::new());
    let Some(status) = columns
        .status()
        .filter(|c| c.words.iter().any(|w| in_the_making(w)))
    else {
        return at_once;
    };
    let unfinished = |word: &&String| in_the_making(word) || State::of(word) == Some(State::Failed);
    let unfinished = status
        .words
        .iter()
        .filter(unfinished)
        .filter(|w| !w.contains(['\'', '\\']));
    let list: Vec<String> = unfinished.map(|word| text(word)).collect();
    let list = list.join(", ");
    let (new, old) = (column("new", &status.name), column("old", &status.name));
    let before = column("old", own_key);
    let why = comment(&format!(
        "Created once its {} says so: {}",
        status.name,
        told_by(status)
    ));
    let when = format!("{new} not in [{list}] and ({before} is none or {old} in [{list}])");
    (
        "[\"insert\", \"update\"]".to_owned(),
        why + &entry("when", &when),
    )
}

/// A rule that tells the states of a run, and the map of its words.
pub fn deployment(columns: &Columns<'_>, reach: &Reach) -> String {
    let Some(status) = columns.status() else {
        let note =
            comment("CHOOSE: no column tells its status, so each row counts as deployed at once.");
        let rule = head(reach, "deployment", "[\"insert\"]") + &lookups(reach, &[]);
        let sentence = Sentence::of(columns, reach).success();
        return note
            + &rule
            + &entry("action_details", &sentence)
            + &outputs(columns, reach, "deployment_id");
    };
    let (new, old) = (column("new", &status.name), column("old", &status.name));
    let states = [
        (
            "state",
            format!("{new} | translate('deployment_status', '')"),
        ),
        (
            "before",
            format!("{old} | translate('deployment_status', '')"),
        ),
    ];
    let rule = head(reach, "deployment", "[\"insert\", \"update\"]")
        + &lookups(reach, &states)
        + &entry("when", "state and state != before")
        + &entry("status", "{{ state }}")
        + &Sentence::of(columns, reach).all()
        + &outputs(columns, reach, "deployment_id");
    let (map, decided) = map(status);
    if decided {
        return map + &rule;
    }
    let commented = |text: String| text.lines().map(comment).collect::<String>();
    let note = comment(&format!(
        "CHOOSE: {} holds {}, and what its values mean is not known. Fill the map in and take the # away.",
        status.name, status.type_name
    ));
    note + &commented(map) + &commented(rule)
}

/// What the words of a status come to; false where none of them is known.
fn map(status: &SurveyedColumn) -> (String, bool) {
    let mut text = String::new();
    let mut entries = String::new();
    let (mut silent, mut unknown) = (Vec::new(), Vec::new());
    if status.words_from.is_some() {
        text += &comment(&format!(
            "The words of {}: {}.",
            status.name,
            told_by(status)
        ));
        for word in &status.words {
            match State::of(word).map(State::told) {
                Some(Some(state)) => entries += &format!("{} = {}\n", string(word), string(state)),
                Some(None) => silent.push(word.as_str()),
                None => unknown.push(word.as_str()),
            }
        }
    } else if !is_integer(status) {
        text += &comment(&format!(
            "The words of {} are not known (no enum, no check, no statistics that this role may see): \
             these are the usual ones.",
            status.name
        ));
        for (word, state) in USUAL {
            let told = state.told().unwrap_or_default();
            entries += &format!("{} = {}\n", string(word), string(told));
        }
    }
    if !silent.is_empty() {
        text += &comment(&format!("Not told: {}.", silent.join(", ")));
    }
    if !unknown.is_empty() {
        text += &comment(&format!(
            "CHOOSE what these mean (in_progress, success, failed or another status), else they are not \
             told: {}.",
            unknown.join(", ")
        ));
    }
    let decided = !entries.is_empty();
    if !decided {
        let examples = status
            .words
            .iter()
            .map(|word| format!("{} = \"in_progress\"\n", string(word)));
        entries = examples.collect();
        if entries.is_empty() {
            entries =
                "\"1\" = \"in_progress\"\n\"2\" = \"success\"\n\"3\" = \"failed\"\n".to_owned();
        }
    }
    (
        format!("{text}[maps.deployment_status]\n{entries}\n"),
        decided,
    )
}

fn told_by(status: &SurveyedColumn) -> String {
    match status.words_from {
        Some(WordsFrom::Enum) => format!("the enum {} has them", status.type_name),
        Some(WordsFrom::Check) => "a check constraint lists them".to_owned(),
        Some(WordsFrom::Statistics) => {
            "the most common ones, by the statistics of the table".to_owned()
        }
        None => "a guess".to_owned(),
    }
}

fn head(reach: &Reach, name: &str, on: &str) -> String {
    format!(
        "[[rules]]\nname = {}\ntable = {}\non = {on}\n",
        string(name),
        string(&reach.alias)
    )
}

/// The variables of the way, then further ones.
fn lookups(reach: &Reach, further: &[(&str, String)]) -> String {
    let own = reach
        .lookups
        .iter()
        .map(|(name, lookup)| (name.as_str(), lookup));
    let all = own.chain(further.iter().map(|(name, expression)| (*name, expression)));
    all.map(|(name, expression)| format!("let.{} = {}\n", key(name), string(expression)))
        .collect()
}

fn outputs(columns: &Columns<'_>, reach: &Reach, id_name: &str) -> String {
    let mut text = String::new();
    let mut output = |name: &str, expression: &Option<String>, missing: &str| match expression {
        Some(expression) => text += &entry(name, &format!("{{{{ {expression} }}}}")),
        None if !missing.is_empty() => text += &comment(missing),
        None => {}
    };
    output(
        "project_id",
        &reach.project_id,
        "CHOOSE: project_id = \"…\": no column or foreign key leads from here to a project.",
    );
    output(
        "user_id",
        &reach.user_id,
        "No column here or on the way names a user: user_id stays empty.",
    );
    let request = columns.request().map(|c| column("new", &c.name));
    output("request_id", &request, "");
    output(
        "environment",
        &reach.environment,
        "CHOOSE: environment = \"production\": no column here or on the way names one.",
    );
    let created = columns
        .created()
        .map(|c| format!("{} | unix", column("new", &c.name)));
    output("created_at", &created, "");
    let id: Vec<String> = columns
        .table
        .key
        .iter()
        .map(|key| format!("{{{{ {} }}}}", column("new", key)))
        .collect();
    text + &format!(
        "reference_ids = {{ {} = {} }}\n\n",
        key(id_name),
        string(&id.join("/"))
    )
}

fn entry(name: &str, value: &str) -> String {
    format!("{name} = {}\n", string(value))
}

/// How the states of a run are told.
struct Sentence {
    /// `Deployment`, or what the table calls its rows.
    noun: String,
    of: Option<String>,
    to: Option<String>,
    url: Option<String>,
    error: Option<String>,
}

impl Sentence {
    fn of(columns: &Columns<'_>, reach: &Reach) -> Self {
        let own = |c: Option<&SurveyedColumn>| c.map(|c| column("new", &c.name));
        let known = ["build", "pipeline", "run", "job", "publication"];
        let last = noun(&columns.name.name).pop().unwrap_or_default();
        let of = own(columns.subject())
            .or_else(|| reach.parent.clone())
            .or_else(|| own(columns.name().filter(|_| columns.platform().is_none())));
        Self {
            noun: match known.contains(&last.as_str()) && !is_deployment(columns) {
                true => capitalised(&last),
                false => "Deployment".to_owned(),
            },
            of,
            to: own(columns.platform()),
            url: own(columns.url()),
            error: own(columns.error()),
        }
    }

    fn success(&self) -> String {
        let url = optional(": ", self.url.as_ref());
        match self.noun.as_str() {
            "Deployment" => format!("Deployed{}{}{url}", self.what(" "), self.to()),
            noun => format!("{noun}{} succeeded{url}", self.what(" of ")),
        }
    }

    fn all(&self) -> String {
        let (what, of, to, noun) = (self.what(" "), self.what(" of "), self.to(), &self.noun);
        let begun = match noun.as_str() {
            "Deployment" => format!("Deploying{what}{to}"),
            noun => format!("{noun}{of} started"),
        };
        let failed = format!(
            "{noun}{of}{to} failed{}",
            optional(": ", self.error.as_ref())
        );
        let lines = [
            format!("{{% if state == 'in_progress' %}}{begun}"),
            format!("{{% elif state == 'success' %}}{}", self.success()),
            format!("{{% elif state == 'failed' %}}{failed}"),
            format!("{{% else %}}{noun}{of}{to} {{{{ state }}}}{{% endif %}}"),
        ];
        let lines = lines.map(|line| string(&line).trim_matches('"').to_owned());
        format!("action_details = \"\"\"\n{}\"\"\"\n", lines.join("\\\n"))
    }

    fn what(&self, before: &str) -> String {
        optional(before, self.of.as_ref())
    }

    fn to(&self) -> String {
        optional(" to ", self.to.as_ref())
    }
}

/// A value with what stands before it, where there is one.
fn optional(before: &str, expression: Option<&String>) -> String {
    expression.map_or(String::new(), |e| {
        format!("{{% if {e} %}}{before}{{{{ {e} }}}}{{% endif %}}")
    })
}

fn is_deployment(columns: &Columns<'_>) -> bool {
    words(&columns.name.name)
        .iter()
        .any(|word| word.starts_with("deploy"))
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}
