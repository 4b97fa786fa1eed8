//! Where secrets on the command line come from: files, standard input, variables.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use secrecy::SecretString;

/// The longest secret that is read, in bytes.
const BYTES_MAX: u64 = 256 << 10;

/// What the file holds, without the line break at its end; `-` is standard input.
pub fn file(option: &str, path: &Path) -> anyhow::Result<SecretString> {
    let mut text = String::new();
    if path == Path::new("-") {
        let read = std::io::stdin().take(BYTES_MAX).read_to_string(&mut text);
        read.with_context(|| format!("{option} reads standard input"))?;
    } else {
        let file = std::fs::File::open(path);
        let read = file.and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
        read.with_context(|| format!("{option} names {}", path.display()))?;
    }
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!("{option} leads to nothing: the file is empty");
    }
    Ok(text.to_owned().into())
}

/// What the variable of this name holds.
pub fn variable(option: &str, name: &str) -> anyhow::Result<SecretString> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => Ok(text.into()),
        Ok(_) | Err(_) => bail!("{option} names the variable {name}, which is not set"),
    }
}
