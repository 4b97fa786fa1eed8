//! Names of action types as the words they are made of: `endpoints_added` is "endpoints added".

/// A type name split where people join words, in lower case.
pub(super) fn words(name: &str) -> Vec<String> {
    name.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// A type name as a heading: "Project created".
pub(crate) fn title(action_type: &str) -> String {
    let text = words(action_type).join(" ");
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => "Activity".to_owned(),
    }
}

/// What a type name says happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Something was done to things of this noun: `projects`, `created`.
    Done {
        noun: Vec<String>,
        verb: String,
        /// The name speaks of several things at once.
        plural: bool,
    },
    /// A thing happened: `deployment`.
    Happened { noun: Vec<String> },
    /// No words in it.
    Unreadable,
}

/// Reads `<noun>_<verb of the past>`, or else a noun.
pub(super) fn read(action_type: &str) -> Reading {
    let mut words = words(action_type);
    match words.pop() {
        None => Reading::Unreadable,
        Some(verb) if !words.is_empty() && is_past(&verb) => Reading::Done {
            plural: words.last().is_some_and(|noun| is_plural(noun)),
            noun: words,
            verb,
        },
        Some(last) => {
            words.push(last);
            Reading::Happened { noun: words }
        }
    }
}

/// Those that do not end with -ed.
const IRREGULAR: &[&str] = &[
    "begun",
    "bought",
    "broken",
    "built",
    "done",
    "drawn",
    "found",
    "given",
    "gone",
    "held",
    "hidden",
    "kept",
    "left",
    "lost",
    "made",
    "met",
    "overwritten",
    "paid",
    "rebuilt",
    "rerun",
    "reset",
    "run",
    "seen",
    "sent",
    "set",
    "shown",
    "sold",
    "spent",
    "split",
    "taken",
    "undone",
    "withdrawn",
    "won",
    "written",
];

/// Nouns that do.
const NOUNS: &[&str] = &["bed", "embed", "shed", "sled", "testbed"];

fn is_past(word: &str) -> bool {
    let regular = word.ends_with("ed") && !word.ends_with("eed") && !NOUNS.contains(&word);
    regular || IRREGULAR.contains(&word)
}

fn is_plural(word: &str) -> bool {
    let singular = ["ss", "us", "is"];
    word.len() > 2 && word.ends_with('s') && !singular.iter().any(|ending| word.ends_with(ending))
}

/// So many of a noun: "1 endpoint", "5 endpoints".
pub(super) fn count(number: u64, noun: &[String]) -> String {
    let Some((last, rest)) = noun.split_last() else {
        return number.to_string();
    };
    let last = match (number == 1, is_plural(last)) {
        (true, true) => singular(last),
        (false, false) => plural(last),
        (true, false) | (false, true) => last.clone(),
    };
    let words = rest.iter().chain([&last]);
    words.fold(number.to_string(), |text, word| format!("{text} {word}"))
}

fn singular(word: &str) -> String {
    let without = |ending: &str, instead: &str| {
        let stem = word.strip_suffix(ending)?;
        (stem.len() > 1).then(|| format!("{stem}{instead}"))
    };
    without("ies", "y")
        .or_else(|| {
            word.ends_with("statuses")
                .then(|| word.trim_end_matches("es").to_owned())
        })
        .or_else(|| without("sses", "ss"))
        .or_else(|| without("ches", "ch"))
        .or_else(|| without("shes", "sh"))
        .or_else(|| without("xes", "x"))
        .or_else(|| without("s", ""))
        .unwrap_or_else(|| word.to_owned())
}

fn plural(word: &str) -> String {
    let hisses = ["s", "x", "z", "ch", "sh"];
    if let Some(stem) = word.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'i', 'o', 'u'])
    {
        return format!("{stem}ies");
    }
    match hisses.iter().any(|ending| word.ends_with(ending)) {
        true => format!("{word}es"),
        false => format!("{word}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_type_name_is_a_noun_and_what_was_done_or_a_noun_alone() {
        let done = |noun: &str, verb: &str, plural| Reading::Done {
            noun: words(noun),
            verb: verb.to_owned(),
            plural,
        };
        assert_eq!(read("endpoints_added"), done("endpoints", "added", true));
        assert_eq!(read("project_created"), done("project", "created", false));
        assert_eq!(read("api.key-sent"), done("api key", "sent", false));
        assert_eq!(read("status_changed"), done("status", "changed", false));
        let happened = |noun| Reading::Happened { noun: words(noun) };
        assert_eq!(read("deployment"), happened("deployment"));
        assert_eq!(read("created"), happened("created"));
        assert_eq!(read("rss_feed"), happened("rss feed"));
        assert_eq!(read("_🎉_"), Reading::Unreadable);
    }

    #[test]
    fn one_is_singular_and_all_else_plural() {
        for (number, noun, expected) in [
            (1, "endpoints", "1 endpoint"),
            (0, "endpoints", "0 endpoints"),
            (5, "endpoint", "5 endpoints"),
            (2, "github_push", "2 github pushes"),
            (1, "queries", "1 query"),
            (2, "query", "2 queries"),
            (2, "key", "2 keys"),
            (2, "status", "2 statuses"),
            (1, "statuses", "1 status"),
            (3, "api_keys", "3 api keys"),
        ] {
            assert_eq!(count(number, &words(noun)), expected);
        }
    }

    #[test]
    fn a_heading_begins_with_a_capital() {
        assert_eq!(title("project_created"), "Project created");
        assert_eq!(title("ärger-da"), "Ärger da");
        assert_eq!(title("__"), "Activity");
    }

    proptest! {
        #[test]
        fn every_name_reads_as_something(name: String, number: u64) {
            let _ = title(&name);
            if let Reading::Done { noun, .. } | Reading::Happened { noun } = read(&name) {
                prop_assert!(count(number, &noun).starts_with(&number.to_string()));
            }
        }
    }
}
