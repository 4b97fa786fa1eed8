//! Names of tables and columns as the words they are made of. Pure.

/// The words of a name in lower case, however they are joined: `projectId`, `project_id`,
/// `Project ID` and `PROJECT-ID` are the same two.
pub fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let characters: Vec<char> = name.chars().collect();
    for (at, &character) in characters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| characters.get(at));
        let after = characters.get(at + 1);
        let hump = character.is_uppercase()
            && before.is_some_and(|b| {
                b.is_lowercase() || b.is_ascii_digit() || after.is_some_and(|a| a.is_lowercase())
            });
        if (hump || !character.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// An English word in the singular; what is none stays as it is.
pub fn singular(word: &str) -> String {
    let without = |ending: &str, instead: &str| {
        let stem = word.strip_suffix(ending)?;
        (stem.len() > 1).then(|| format!("{stem}{instead}"))
    };
    if [
        "ss",
        "us",
        "is",
        "postgres",
        "kubernetes",
        "dns",
        "aws",
        "https",
    ]
    .iter()
    .any(|ending| word.ends_with(ending))
    {
        return word.to_owned();
    }
    without("ies", "y")
        .or_else(|| without("sses", "ss"))
        .or_else(|| without("ches", "ch"))
        .or_else(|| without("shes", "sh"))
        .or_else(|| without("xes", "x"))
        .or_else(|| without("statuses", "status"))
        .or_else(|| without("s", ""))
        .unwrap_or_else(|| word.to_owned())
}

/// The words of a table's name, the last one in the singular: what one row is.
pub fn noun(table: &str) -> Vec<String> {
    let mut noun = words(table);
    if let Some(last) = noun.last_mut() {
        *last = singular(last);
    }
    noun
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_split_wherever_people_join_words() {
        for name in [
            "project_id",
            "projectId",
            "ProjectId",
            "ProjectID",
            "project id",
            "PROJECT-ID",
        ] {
            assert_eq!(words(name), ["project", "id"], "{name}");
        }
        assert_eq!(words("HTTPServerURL2"), ["http", "server", "url2"]);
    }

    #[test]
    fn plurals_are_put_in_the_singular() {
        for (plural, expected) in [
            ("projects", "project"),
            ("databases", "database"),
            ("queries", "query"),
            ("status", "status"),
            ("branches", "branch"),
            ("releases", "release"),
            ("postgres", "postgres"),
            ("addresses", "address"),
            ("s", "s"),
        ] {
            assert_eq!(singular(plural), expected);
        }
        assert_eq!(noun("standalone_postgresqls"), ["standalone", "postgresql"]);
    }

    proptest! {
        #[test]
        fn no_name_is_too_odd(name: String) {
            let _ = noun(&name);
        }
    }
}
