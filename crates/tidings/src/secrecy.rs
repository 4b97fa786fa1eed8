//! Which columns look as if they held secrets, by their names. Pure.

use activity::TableName;

use crate::words::{singular, words};

/// Alone enough to call a column secret.
const SECRET: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "apikey",
    "dsn",
    "salt",
    "otp",
    "totp",
    "mfa",
    "cookie",
    "pem",
    "keystore",
    "dotenv",
    "envvar",
    "jwt",
    "bearer",
    "ssn",
    "iban",
    "cvv",
    "pin",
];

/// Two words that are, one after the other.
const SECRET_PAIRS: &[(&str, &str)] = &[
    ("api", "key"),
    ("private", "key"),
    ("access", "key"),
    ("signing", "key"),
    ("encryption", "key"),
    ("ssh", "key"),
    ("service", "key"),
    ("client", "key"),
    ("auth", "key"),
    ("license", "key"),
    ("env", "var"),
    ("environment", "variable"),
    ("connection", "string"),
    ("connection", "url"),
    ("connection", "uri"),
    ("database", "url"),
    ("db", "url"),
    ("postgres", "url"),
    ("redis", "url"),
    ("recovery", "code"),
    ("backup", "code"),
    ("card", "number"),
];

/// Words that a column of this name does not hold the secret itself.
const HARMLESS_ENDINGS: &[&str] = &[
    "id", "uuid", "at", "on", "count", "name", "type", "kind", "status", "state", "enabled",
    "expiry", "expires", "length", "hint", "version", "limit", "used",
];

/// Whether a column's name says that its values should stay where they are.
pub fn looks_secret(table: &TableName, column: &str) -> bool {
    let named: Vec<String> = words(column).iter().map(|word| singular(word)).collect();
    let Some(last) = named.last() else {
        return false;
    };
    if HARMLESS_ENDINGS.contains(&last.as_str()) {
        return false;
    }
    let has = |word: &String| SECRET.contains(&word.as_str());
    let pair = |pair: &[String]| matches!(pair, [a, b] if SECRET_PAIRS.contains(&(a.as_str(), b.as_str())));
    // `env` as a text holds a process's variables as often as the name of an environment.
    let variables = named == ["env"];
    let of = words(&table.name);
    let kept = of.last().map(|word| singular(word)).unwrap_or_default();
    let key_of_keys = last == "key" && matches!(kept.as_str(), "key" | "token" | "secret");
    named.iter().any(has) || named.windows(2).any(pair) || variables || key_of_keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names_however_they_are_spelled() {
        let table = TableName::new("public", "things");
        for column in [
            "password",
            "postgres_password",
            "databasePassword",
            "api_key",
            "apiKey",
            "PrivateKey",
            "access_tokens",
            "client_secret",
            "credential",
            "env",
            "env_vars",
            "DATABASE_URL",
            "password_hash",
        ] {
            assert!(looks_secret(&table, column), "{column}");
        }
        for column in [
            "name",
            "environment",
            "environment_id",
            "token_count",
            "key",
            "project_key",
            "url",
            "password_changed_at",
            "secret_name",
            "monkey",
            "keyboard",
            "access_token_id",
        ] {
            assert!(!looks_secret(&table, column), "{column}");
        }
        assert!(looks_secret(
            &TableName::new("public", "mcp_keys"),
            "mcp_key"
        ));
    }
}
