/// Which server a session is on, as far as the server tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Unique per cluster, and the same on its physical copies.
    pub system_id: String,
    /// That it writes; `None` while it is a standby.
    pub timeline: Option<u32>,
    /// When it started: tells two servers of one cluster apart.
    pub started: String,
}

impl Identity {
    /// A query of one row, which [`Self::read`] takes as text. Every role may ask it.
    ///
    /// The timeline is taken from the name of the WAL file that is being written: the control file
    /// learns of a promotion only with the checkpoint after it.
    pub const QUERY: &str = "select system_identifier,
        case when not pg_is_in_recovery() then pg_walfile_name(pg_current_wal_insert_lsn()) end,
        pg_postmaster_start_time()
      from pg_control_system()";

    /// `None` where the answer is not of this query.
    pub fn read<'a>(column: impl Fn(usize) -> Option<&'a str>) -> Option<Self> {
        let timeline = match column(1) {
            Some(file) => Some(u32::from_str_radix(file.get(..8)?, 16).ok()?),
            None => None,
        };
        Some(Self {
            system_id: column(0)?.to_owned(),
            timeline,
            started: column(2)?.to_owned(),
        })
    }

    /// Whether both are sessions of one server, promoted in between or not.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.system_id == other.system_id && self.started == other.started
    }

    /// Whether a refusal of [`Self::QUERY`] means that this server does not tell. Some that speak the
    /// protocol of Postgres have no such functions, and a standby may be promoted between two of them.
    pub fn is_withheld(sqlstate: &str) -> bool {
        let classes = ["0A", "42", "55"];
        classes.iter().any(|class| sqlstate.starts_with(class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(row: [Option<&'static str>; 3]) -> Option<Identity> {
        Identity::read(|column| row[column])
    }

    #[test]
    fn a_timeline_is_read_from_the_name_of_a_wal_file() {
        let started = Some("2026-01-01 00:00:00+00");
        let primary = read([Some("7"), Some("0000001B0000000000000003"), started]).unwrap();
        assert_eq!(primary.timeline, Some(27));
        let standby = read([Some("7"), None, started]).unwrap();
        assert_eq!((standby.timeline, &*standby.system_id), (None, "7"));
        assert!(primary.is_same_server(&standby), "it was promoted since");
    }

    #[test]
    fn an_answer_to_something_else_is_no_identity() {
        for row in [
            [None, None, Some("now")],
            [Some("7"), None, None],
            [Some("7"), Some("1"), Some("now")],
            [Some("7"), Some("timeline"), Some("now")],
            [Some("7"), Some("éééééé"), Some("now")],
        ] {
            assert_eq!(read(row), None, "{row:?}");
        }
    }
}
