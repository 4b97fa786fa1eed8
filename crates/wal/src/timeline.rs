use activity::Lsn;

use crate::Malformed;

/// Where each timeline that leads to another one was left, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineHistory(Vec<(u32, Lsn)>);

impl TimelineHistory {
    /// Reads a history file: lines of a timeline, the position where it was left, and words on why.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let unreadable = || Malformed::MissingAnswer("a timeline's history");
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let left = lines.map(|line| {
            let mut fields = line.split_whitespace();
            let timeline = fields.next().and_then(|field| field.parse().ok());
            let at = fields.next().and_then(|field| field.parse().ok());
            timeline.zip(at).ok_or_else(unreadable)
        });
        Ok(Self(left.collect::<Result<_, _>>()?))
    }

    /// Up to where this timeline is part of the history; `None` where it is none of it.
    pub fn left(&self, timeline: u32) -> Option<Lsn> {
        let found = self.0.iter().find(|(left, _)| *left == timeline);
        found.map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_tells_where_each_timeline_was_left() {
        let text = "1\t0/3000000\tno recovery target specified\n\n# a comment\n2\t1/A0\tbefore 2026-01-01\n";
        let history = TimelineHistory::parse(text).unwrap();
        assert_eq!(history.left(1), Some(Lsn::new(0x300_0000)));
        assert_eq!(history.left(2), Some(Lsn::new(0x1_0000_00A0)));
        assert_eq!(history.left(3), None);
        assert_eq!(TimelineHistory::parse("").unwrap().left(1), None);
    }

    #[test]
    fn a_history_that_is_none_is_refused() {
        for text in ["one\t0/0\n", "1\n", "1\tthere\twhy\n"] {
            assert!(TimelineHistory::parse(text).is_err(), "{text}");
        }
    }
}
