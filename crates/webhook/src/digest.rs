//! Several actions of one project as one notification.

mod summary;
mod words;

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::notification::Columns;
use crate::{Error, Notification};
use summary::Tally;

pub(crate) use words::title;

/// Actions that a digest repeats, at most; and their bytes, unless the first alone has more.
const ACTIONS_MAX: usize = 100;
const ACTIONS_BYTES_MAX: usize = 256 * 1024;
/// Types that a digest counts, at most.
const COUNTS_MAX: usize = 100;

/// Actions of one project in the order of the log, told together.
#[derive(Clone, Copy, Debug)]
pub struct Digest<'a> {
    pub actions: &'a [Notification<'a>],
}

impl<'a> Digest<'a> {
    /// What a digest is made of; there is none of nothing.
    pub(crate) fn told(&self) -> Result<Told<'a>, Error> {
        let (Some(first), Some(last)) = (self.actions.first(), self.actions.last()) else {
            return Err(Error::InvalidFormat(
                "a digest needs at least one action".to_owned(),
            ));
        };
        Ok(Told {
            actions: self.actions,
            first: *first,
            last: *last,
            tallies: summary::tallies(self.actions),
        })
    }
}

/// A digest that holds something, counted.
pub(crate) struct Told<'a> {
    pub(crate) actions: &'a [Notification<'a>],
    pub(crate) first: Notification<'a>,
    pub(crate) last: Notification<'a>,
    tallies: Vec<Tally<'a>>,
}

impl<'a> Told<'a> {
    pub(crate) fn timestamp(&self) -> Timestamp {
        self.last.committed_at
    }

    pub(crate) fn project_id(&self) -> Option<&'a str> {
        self.first.action.project_id.as_deref()
    }

    /// A line for each type of action, in the order of their first action.
    pub(crate) fn summary(&self) -> Vec<String> {
        summary::lines(&self.tallies)
    }

    /// Of each action, in order.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = Option<&'a str>> {
        let actions = self.actions.iter();
        actions.map(|action| action.action.status.as_deref())
    }

    /// `data` of the body of format `full`.
    pub(crate) fn data(&self) -> Data<'a> {
        let actions = self.repeated();
        let counts = self.tallies.iter().take(COUNTS_MAX);
        Data {
            project_id: self.project_id(),
            from: self.first.committed_at.to_string(),
            to: self.last.committed_at.to_string(),
            count: self.actions.len(),
            summary: self.summary(),
            counts: counts
                .map(|tally| (tally.action_type.to_owned(), tally.actions.into()))
                .collect(),
            more: self.actions.len() - actions.len(),
            actions,
        }
    }

    /// The body of format `full`.
    pub(crate) fn full(&self) -> Full<'a> {
        Full {
            r#type: "digest",
            timestamp: self.timestamp().to_string(),
            data: self.data(),
        }
    }

    fn repeated(&self) -> Vec<Columns<'a>> {
        let mut bytes = 0;
        let mut repeated = Vec::new();
        for action in self.actions.iter().take(ACTIONS_MAX) {
            let columns = action.columns();
            bytes += written(&columns);
            if bytes > ACTIONS_BYTES_MAX && !repeated.is_empty() {
                break;
            }
            repeated.push(columns);
        }
        repeated
    }
}

#[derive(Serialize)]
pub(crate) struct Full<'a> {
    r#type: &'static str,
    /// RFC 3339, of the last action.
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
pub(crate) struct Data<'a> {
    project_id: Option<&'a str>,
    from: String,
    to: String,
    count: usize,
    summary: Vec<String>,
    counts: Map<String, Value>,
    actions: Vec<Columns<'a>>,
    /// Those that are counted and not repeated.
    more: usize,
}

/// How many bytes of JSON a value has.
fn written(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value)
        .expect("text, numbers and JSON values always make JSON");
    counter.0
}
