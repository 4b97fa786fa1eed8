//! Secrets of an endpoint, in the settings or in files beside them.

use std::path::Path;

use anyhow::bail;
use secrecy::{ExposeSecret as _, SecretString};

use crate::settings::read_secret;

/// `NAME`, or what the file of `NAME_file` holds.
pub(super) fn either(
    folder: &Path,
    name: &str,
    value: Option<&SecretString>,
    file: Option<&str>,
) -> anyhow::Result<Option<SecretString>> {
    let key = format!("{name}_file");
    match (value, file) {
        (Some(_), Some(_)) => bail!("{name} and {key} are both set: keep one"),
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(file)) => Ok(Some(read_secret(folder, &key, file)?.into())),
        (None, None) => Ok(None),
    }
}

pub(super) fn exposed(secret: &SecretString) -> &str {
    secret.expose_secret()
}
