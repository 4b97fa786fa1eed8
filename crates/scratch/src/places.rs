//! Where things lie that outlive one server: the cache, outside every checkout.

use std::env;
use std::path::{Path, PathBuf};

/// As root, for all users of the machine; `scripts/postgres.sh` fills it too.
const SHARED: &str = "/var/cache/tidings";

/// The cache that this user may write, if there is a place for one.
pub(crate) fn cache() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from(SHARED));
    }
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(base.join("tidings"))
}

/// Directories with server binaries that `make` installed.
pub(crate) fn cached_servers() -> Vec<PathBuf> {
    let caches = cache().into_iter().chain([PathBuf::from(SHARED)]);
    caches
        .flat_map(|cache| bins_below(&cache.join("postgres")))
        .collect()
}

/// `parent/*/bin`.
pub(crate) fn bins_below(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = parent.read_dir() else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect()
}

/// An absolute path out of a variable.
fn set(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}
