//! The server's settings, kept as one file that is written whole.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Settings by name. Later ones replace earlier ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conf(BTreeMap<String, String>);

impl Conf {
    /// What every scratch server starts with: logical decoding on, small, and nothing left outside
    /// its directory (shared memory segments would outlive a kill -9).
    pub(crate) fn defaults() -> Self {
        let mut conf = Self::default();
        for (name, value) in [
            ("wal_level", "logical"),
            ("max_wal_senders", "20"),
            ("max_replication_slots", "20"),
            ("max_connections", "60"),
            ("shared_buffers", "32MB"),
            ("dynamic_shared_memory_type", "mmap"),
            ("listen_addresses", ""),
            ("unix_socket_permissions", "0700"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("log_line_prefix", "%m [%p] %q%u@%d %a "),
            ("logging_collector", "off"),
            ("hot_standby", "on"),
        ] {
            conf.set(name, value);
        }
        conf
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// As a configuration file has it.
    pub(crate) fn render(&self) -> String {
        let mut file = String::new();
        for (name, value) in &self.0 {
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            writeln!(file, "{name} = '{value}'").expect("a string takes all that is written");
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_and_the_last_one_counts() {
        let mut conf = Conf::default();
        conf.set("work_mem", "1MB");
        conf.set("work_mem", "2MB");
        conf.set("log_line_prefix", r"it's \ %m");
        assert_eq!(
            conf.render(),
            "log_line_prefix = 'it''s \\\\ %m'\nwork_mem = '2MB'\n"
        );
    }
}
