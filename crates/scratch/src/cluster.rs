//! The files of a database cluster: made by initdb once per version, then copied.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::{Binaries, Error, places};

/// Makes a new cluster in `data`, which must not exist yet.
pub(crate) fn create(
    binaries: &Binaries,
    account: Account,
    data: &Path,
    own_identity: bool,
) -> Result<(), Error> {
    match template(binaries, account) {
        Some(template) if !own_identity => copy(&template?, data, account, &|_| Copied::Whole),
        Some(_) | None => init(binaries, account, data),
    }
}

/// The cached cluster; `None` where there is no place for a cache.
fn template(binaries: &Binaries, account: Account) -> Option<Result<PathBuf, Error>> {
    let cache = places::cache()?.join("clusters");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&cache)
        .ok()?;
    let lock = File::create(cache.join("lock")).ok()?;
    // One maker at a time, over all threads and processes; free again however the holder ends.
    lock.lock().ok()?;
    Some(made(binaries, account, &cache))
}

fn made(binaries: &Binaries, account: Account, cache: &Path) -> Result<PathBuf, Error> {
    let mut hash = DefaultHasher::new();
    (&binaries.dir, account.uid()).hash(&mut hash);
    let template = cache.join(format!("{}-{:016x}", binaries.version, hash.finish()));
    if template.exists() {
        return Ok(template);
    }
    let draft = tempfile::tempdir_in(cache).map_err(Error::at(cache))?;
    let data = draft.path().join("data");
    account.own(draft.path())?;
    init(binaries, account, &data)?;
    fs::rename(&data, &template).map_err(Error::at(&template))?;
    Ok(template)
}

fn init(binaries: &Binaries, account: Account, data: &Path) -> Result<(), Error> {
    // Sorted by code point like C, and case known beyond ASCII where the system has C.UTF-8.
    run_initdb(binaries, account, data, "C.UTF-8")
        .or_else(|_| run_initdb(binaries, account, data, "C"))
}

fn run_initdb(
    binaries: &Binaries,
    account: Account,
    data: &Path,
    ctype: &str,
) -> Result<(), Error> {
    let program = binaries.program("initdb");
    let mut initdb = account.command(&program);
    initdb.args([
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
    ]);
    initdb
        .arg(format!("--lc-ctype={ctype}"))
        .args(["--no-sync", "--no-instructions", "-D"]);
    let output = initdb.arg(data).output().map_err(Error::at(&program))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&text).trim().to_owned();
    Err(Error::Program {
        program,
        status: output.status,
        output: output_text,
    })
}

/// What becomes of a directory's contents in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    Whole,
    Empty,
    Never,
}

/// Copies a directory, whose top-level entries `choose` decides about.
///
/// A file that vanishes meanwhile is left out: the source may be a running server in backup mode.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    account: Account,
    choose: &dyn Fn(&OsStr) -> Copied,
) -> Result<(), Error> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(to)
        .map_err(Error::at(to))?;
    account.own(to)?;
    for entry in from.read_dir().map_err(Error::at(from))? {
        let entry = entry.map_err(Error::at(from))?;
        let (name, source) = (entry.file_name(), entry.path());
        let target = to.join(&name);
        let choice = choose(&name);
        let kind = entry.file_type().map_err(Error::at(&source))?;
        match choice {
            Copied::Never => {}
            Copied::Whole | Copied::Empty if kind.is_dir() => {
                copy(&source, &target, account, &|_| match choice {
                    Copied::Whole => Copied::Whole,
                    Copied::Empty | Copied::Never => Copied::Never,
                })?;
            }
            Copied::Whole | Copied::Empty if kind.is_file() => {
                copy_file(&source, &target, account)?;
            }
            Copied::Whole | Copied::Empty => {}
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, account: Account) -> Result<(), Error> {
    match fs::copy(from, to) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::at(from)(error)),
    }
    private(to).map_err(Error::at(to))?;
    account.own(to)
}

fn private(file: &Path) -> io::Result<()> {
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}
