//! Whether `setup` has been run, and by this version. Pure.

use store::doctor::Migrations;

use super::check::{Check, Complaint};

const NAME: &str = "setup";

/// `first`: statements that only a superuser may run, before setup.
pub fn setup(
    migrations: Option<&Migrations>,
    has_progress: bool,
    renamed: Option<String>,
    first: &[String],
) -> Check {
    let Some(migrations) = migrations.filter(|_| has_progress) else {
        let mut mend: Vec<String> = first
            .iter()
            .map(|statement| format!("{statement} -- as a superuser"))
            .collect();
        mend.push("tidings setup".to_owned());
        return Check::fail(
            NAME,
            "nothing was set up yet: there is no progress to go on from",
            mend.join("\n"),
        );
    };
    let mut complaints = Vec::new();
    if !migrations.unknown.is_empty() {
        complaints.push(Complaint::fail(
            format!(
                "the schema is of a newer version: it has {}",
                migrations.unknown.join(", ")
            ),
            "tidings --version # install the version that made it",
        ));
    }
    if !migrations.pending.is_empty() {
        complaints.push(Complaint::warn(
            format!(
                "the schema is of an older version: it lacks {}",
                migrations.pending.join(", ")
            ),
            "tidings setup # `tidings run` does it, too, at its start",
        ));
    }
    if let Some(what) = renamed {
        complaints.push(Complaint::fail(
            what,
            "tidings setup --new-slot # or mend capture.slot and capture.publication",
        ));
    }
    Check::of(NAME, "the schema is there and up to date", complaints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn how_the_schema_stands_to_this_version_is_told() {
        let current = Migrations::default();
        assert_eq!(setup(Some(&current), true, None, &[]).status, Status::Ok);
        let grant = "grant \"tidings\" to \"app\";".to_owned();
        for migrations in [None, Some(&current)] {
            let check = setup(migrations, false, None, std::slice::from_ref(&grant));
            assert_eq!(check.status, Status::Fail);
            let mend = check.mend.unwrap();
            assert!(
                mend.starts_with(&grant) && mend.ends_with("\ntidings setup"),
                "{mend}"
            );
        }
        let older = Migrations {
            pending: vec!["V8__lanes".to_owned()],
            ..current.clone()
        };
        assert_eq!(setup(Some(&older), true, None, &[]).status, Status::Warn);
        let newer = Migrations {
            unknown: vec!["V99__later".to_owned()],
            ..current.clone()
        };
        assert_eq!(setup(Some(&newer), true, None, &[]).status, Status::Fail);
        let other = setup(Some(&current), true, Some("another slot".to_owned()), &[]);
        assert_eq!(other.status, Status::Fail);
    }
}
