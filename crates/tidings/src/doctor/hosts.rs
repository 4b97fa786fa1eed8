//! The hosts of a URL that names several: one takes writes, the others are its standbys. Pure.

use connect::{Identity, SessionAttrs};
use store::doctor::Standing;

use super::check::{Check, Complaint};

const NAME: &str = "hosts";

/// One host of `database.url`.
pub struct Host {
    pub name: String,
    /// What it says of itself, or why it can not be asked.
    pub answer: Result<Answer, String>,
}

pub struct Answer {
    pub server: Option<Identity>,
    pub standing: Standing,
}

impl Host {
    /// How it stands, if it is a standby.
    pub fn standby(&self) -> Option<&Standing> {
        let standing = self.answer.as_ref().ok().map(|answer| &answer.standing);
        standing.filter(|standing| standing.in_recovery)
    }

    fn says(&self) -> String {
        let name = &self.name;
        match &self.answer {
            Ok(answer) if answer.standing.in_recovery => format!("{name} is a standby"),
            Ok(answer) => match timeline(answer) {
                Some(timeline) => format!("{name} takes writes on timeline {timeline}"),
                None => format!("{name} takes writes"),
            },
            Err(why) => why.clone(),
        }
    }
}

pub fn hosts(wanted: SessionAttrs, hosts: &[Host]) -> Check {
    if hosts.len() < 2 {
        return Check::ok(NAME, "database.url names one host");
    }
    let mut complaints = Vec::new();
    if wanted != SessionAttrs::ReadWrite {
        complaints.push(Complaint::fail(
            "database.url names several hosts and takes whichever answers first, a standby too",
            "database.url: add target_session_attrs=read-write to its parameters",
        ));
    }
    for host in hosts {
        if let Err(why) = &host.answer {
            complaints.push(Complaint::warn(
                why,
                format!("start {}, or take it out of database.url", host.name),
            ));
        }
    }
    let primaries: Vec<&Host> = hosts
        .iter()
        .filter(|host| host.answer.as_ref().is_ok_and(|a| !a.standing.in_recovery))
        .collect();
    if primaries.len() > 1 {
        let told: Vec<String> = primaries.iter().map(|host| host.says()).collect();
        let newest = primaries
            .iter()
            .filter_map(|host| timeline(host.answer.as_ref().ok()?))
            .max();
        let old = primaries.iter().filter(|host| {
            let own = host.answer.as_ref().ok().and_then(timeline);
            own < newest || newest.is_none()
        });
        let old: Vec<&str> = old.map(|host| host.name.as_str()).collect();
        complaints.push(Complaint::fail(
            format!("more than one host takes writes: {}", told.join(", ")),
            match old.as_slice() {
                [] => "stop all but one of them".to_owned(),
                old => format!(
                    "stop {}, or make it a standby of the promoted one (pg_rewind)",
                    old.join(", ")
                ),
            },
        ));
    }
    let told: Vec<String> = hosts.iter().map(Host::says).collect();
    Check::of(NAME, told.join("; "), complaints)
}

fn timeline(answer: &Answer) -> Option<u32> {
    answer.server.as_ref()?.timeline
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    fn primary(name: &str, timeline: u32) -> Host {
        let server = Identity {
            system_id: "7".to_owned(),
            timeline: Some(timeline),
            started: "now".to_owned(),
        };
        Host {
            name: name.to_owned(),
            answer: Ok(Answer {
                server: Some(server),
                standing: Standing::default(),
            }),
        }
    }

    fn standby(name: &str) -> Host {
        Host {
            name: name.to_owned(),
            answer: Ok(Answer {
                server: None,
                standing: Standing {
                    in_recovery: true,
                    ..Standing::default()
                },
            }),
        }
    }

    #[test]
    fn one_primary_and_its_standbys_are_well_behind_a_url_that_asks_for_the_primary() {
        let check = hosts(SessionAttrs::ReadWrite, &[primary("a", 1), standby("b")]);
        assert_eq!(check.status, Status::Ok);
        assert_eq!(
            check.message,
            "a takes writes on timeline 1; b is a standby"
        );
        let check = hosts(SessionAttrs::Any, &[primary("a", 1), standby("b")]);
        assert_eq!(check.status, Status::Fail);
        let check = hosts(SessionAttrs::Any, &[primary("a", 1)]);
        assert_eq!(check.status, Status::Ok);
    }

    #[test]
    fn of_two_that_take_writes_the_one_of_the_earlier_timeline_is_to_go() {
        let check = hosts(
            SessionAttrs::ReadWrite,
            &[primary("a", 1), primary("b", 2), standby("c")],
        );
        assert_eq!(check.status, Status::Fail);
        assert!(check.message.contains("b takes writes on timeline 2"));
        assert!(check.mend.unwrap().starts_with("stop a, or make"));
    }

    #[test]
    fn one_that_can_not_be_asked_is_named_with_the_reason() {
        let gone = Host {
            name: "b".to_owned(),
            answer: Err("b is unreachable".to_owned()),
        };
        let check = hosts(SessionAttrs::ReadWrite, &[primary("a", 1), gone]);
        assert_eq!(check.status, Status::Warn);
        assert_eq!(check.message, "b is unreachable");
    }
}
