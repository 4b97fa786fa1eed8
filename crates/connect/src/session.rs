//! The settings that every session of ours needs whatever the server, database and role say.
//!
//! They decide how values print (so they are the same through the stream and through SQL), and that
//! our writes are not refused by a read-only default.

/// Settings of every session, as names and values without spaces.
const PRINTING: [(&str, &str); 9] = [
    ("DateStyle", "ISO,MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("client_encoding", "UTF8"),
    ("search_path", "pg_catalog"),
    ("default_transaction_read_only", "off"),
];

/// The server's side of keepalives: its own default leaves the locks of a dead host in place for hours, the one
/// on the slot as well as those of a writer.
const KEEPALIVES: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "30000"),
];

/// Settings of SQL sessions besides: a writer that stalls inside a transaction gives its locks back.
const WRITING: [(&str, &str); 2] = [
    ("jit", "off"),
    ("idle_in_transaction_session_timeout", "30s"),
];

/// The startup parameter `options`: the user's own first, so that ours win where both speak.
pub(crate) fn options(own: Option<&str>, sql: bool) -> String {
    let mut options = own.unwrap_or_default().to_owned();
    let writing = if sql { &WRITING[..] } else { &[] };
    for (name, value) in PRINTING.iter().chain(&KEEPALIVES).chain(writing) {
        if !options.is_empty() {
            options.push(' ');
        }
        options.push_str(&format!("-c {name}={value}"));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_options_stay_and_come_first() {
        let options = options(Some("-c geqo=off"), true);
        assert!(options.starts_with("-c geqo=off -c DateStyle=ISO,MDY "));
        assert!(options.ends_with("-c idle_in_transaction_session_timeout=30s"));
    }

    #[test]
    fn a_replication_session_gets_what_decides_how_values_print_and_keepalives() {
        let options = options(None, false);
        assert!(!options.contains("jit"));
        assert!(options.starts_with("-c DateStyle=ISO,MDY"));
        assert!(options.ends_with("-c tcp_user_timeout=30000"));
    }
}
