use std::collections::HashMap;

use crate::{Error, Session};

/// Those that matter to a stream. One that a version does not know is not among the answers.
const NAMES: [&str; 14] = [
    "idle_replication_slot_timeout",
    "logical_decoding_work_mem",
    "max_connections",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "max_wal_size",
    "reserved_connections",
    "superuser_reserved_connections",
    "synchronized_standby_slots",
    "wal_keep_size",
    "wal_level",
    "wal_sender_timeout",
];

/// The server's settings as this session has them.
#[derive(Clone, Debug, Default)]
pub struct Settings(HashMap<String, (String, Option<String>)>);

impl Settings {
    /// For tests: names, values and units as `pg_settings` has them.
    pub fn of(settings: &[(&str, &str, Option<&str>)]) -> Self {
        let one = |(name, value, unit): &(&str, &str, Option<&str>)| {
            let unit = unit.map(str::to_owned);
            ((*name).to_owned(), ((*value).to_owned(), unit))
        };
        Self(settings.iter().map(one).collect())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(value, _)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// A size; what is below zero stands for itself.
    pub fn bytes(&self, name: &str) -> Option<i64> {
        self.scaled(name, |unit| {
            Some(match unit {
                "B" => 1,
                "kB" => 1 << 10,
                "8kB" => 8 << 10,
                "MB" => 1 << 20,
                "GB" => 1 << 30,
                _ => return None,
            })
        })
    }

    /// A time in milliseconds; what is below zero stands for itself.
    pub fn milliseconds(&self, name: &str) -> Option<i64> {
        self.scaled(name, |unit| {
            Some(match unit {
                "ms" => 1,
                "s" => 1000,
                "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            })
        })
    }

    fn scaled(&self, name: &str, scale: impl Fn(&str) -> Option<i64>) -> Option<i64> {
        let number = self.number(name)?;
        let (_, unit) = self.0.get(name)?;
        match unit {
            Some(unit) if number > 0 => number.checked_mul(scale(unit)?),
            _ => Some(number),
        }
    }
}

pub async fn settings(session: &Session) -> Result<Settings, Error> {
    let rows = session
        .query(
            "select name, setting, unit from pg_settings where name = any($1)",
            &[&NAMES.as_slice()],
        )
        .await?;
    let one = |row: &tokio_postgres::Row| (row.get(0), (row.get(1), row.get(2)));
    Ok(Settings(rows.iter().map(one).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_told_in_one_unit_each() {
        let settings = Settings::of(&[
            ("max_slot_wal_keep_size", "-1", Some("MB")),
            ("max_wal_size", "1024", Some("MB")),
            ("wal_sender_timeout", "60000", Some("ms")),
            ("idle_replication_slot_timeout", "90", Some("s")),
            ("wal_level", "logical", None),
        ]);
        assert_eq!(settings.bytes("max_slot_wal_keep_size"), Some(-1));
        assert_eq!(settings.bytes("max_wal_size"), Some(1 << 30));
        assert_eq!(settings.milliseconds("wal_sender_timeout"), Some(60_000));
        let idle = settings.milliseconds("idle_replication_slot_timeout");
        assert_eq!(idle, Some(90_000));
        assert_eq!(settings.bytes("wal_sender_timeout"), None);
        assert_eq!(settings.number("wal_level"), None);
        assert_eq!(settings.text("not there"), None);
    }
}
