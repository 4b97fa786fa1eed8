//! One line of the table: how a thing stands, and what mends it. Pure.

use serde::Serialize;

/// In ascending gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// It could not be looked at; the message says why.
    Skipped,
    Warn,
    Fail,
}

/// Scripts rely on its names and its shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub status: Status,
    pub message: String,
    /// Statements that psql runs, a setting or a command, one a line; what stands behind `--` or `#` is for
    /// people.
    pub mend: Option<String>,
}

/// One thing that is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    status: Status,
    what: String,
    mend: String,
}

impl Complaint {
    pub fn warn(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            status: Status::Warn,
            what: what.into(),
            mend: mend.into(),
        }
    }

    pub fn fail(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            status: Status::Fail,
            ..Self::warn(what, mend)
        }
    }
}

impl Check {
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Ok,
            message: message.into(),
            mend: None,
        }
    }

    pub fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self {
            status: Status::Skipped,
            ..Self::ok(name, why)
        }
    }

    pub fn fail(name: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::of(name, "", [Complaint::fail(what, mend)])
    }

    /// `well`, unless there is something to complain of. Each complaint has lines of its own, the
    /// gravest first.
    pub fn of(
        name: &'static str,
        well: impl Into<String>,
        complaints: impl IntoIterator<Item = Complaint>,
    ) -> Self {
        let mut complaints: Vec<Complaint> = complaints.into_iter().collect();
        complaints.sort_by_key(|complaint| std::cmp::Reverse(complaint.status));
        let Some(worst) = complaints.first() else {
            return Self::ok(name, well);
        };
        let mut mends: Vec<&str> = Vec::new();
        for complaint in &complaints {
            let mend = complaint.mend.as_str();
            if !mend.is_empty() && !mends.contains(&mend) {
                mends.push(mend);
            }
        }
        let told: Vec<&str> = complaints.iter().map(|c| c.what.as_str()).collect();
        Self {
            name,
            status: worst.status,
            message: told.join("\n"),
            mend: (!mends.is_empty()).then(|| mends.join("\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_complaint_decides_and_every_mend_is_told_once() {
        let check = Check::of(
            "slot",
            "well",
            [
                Complaint::warn("a little", "select 1;"),
                Complaint::fail("a lot", "select 2;"),
                Complaint::warn("again", "select 1;"),
            ],
        );
        assert_eq!(check.status, Status::Fail);
        assert_eq!(check.message, "a lot\na little\nagain");
        assert_eq!(check.mend.as_deref(), Some("select 2;\nselect 1;"));
        let well = Check::of("slot", "well", []);
        assert_eq!((well.status, well.mend), (Status::Ok, None));
    }

    #[test]
    fn a_check_keeps_its_shape() {
        let check = Check::fail("slot", "gone", "tidings setup --new-slot");
        assert_eq!(
            serde_json::to_value(&check).unwrap(),
            serde_json::json!({
                "name": "slot", "status": "fail", "message": "gone",
                "mend": "tidings setup --new-slot",
            })
        );
        let skipped = serde_json::to_value(Check::skipped("slot", "no connection")).unwrap();
        assert_eq!(skipped["status"], "skipped");
        assert!(skipped["mend"].is_null());
    }
}
