use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use rules::cases::{Run, Suite};
use serde_json::json;

use crate::settings::PackReference;
use crate::{Failure, packs};

pub fn test(files: &[PathBuf], json: bool) -> Result<(), Failure> {
    let mut played = Vec::new();
    for file in files {
        let path = beside(file);
        played.push((path.clone(), play(&path)?));
    }
    let verdicts = || played.iter().flat_map(|(_, run)| &run.verdicts);
    let (all, failed) = (
        verdicts().count(),
        verdicts().filter(|v| !v.holds()).count(),
    );
    if json {
        let files = played.iter().map(|(path, run)| {
            json!({"file": path.display().to_string(), "cases": run.verdicts, "untested": run.untested})
        });
        let files: Vec<_> = files.collect();
        println!(
            "{:#}",
            json!({"ok": failed == 0, "cases": all, "failed": failed, "files": files})
        );
    } else {
        for (path, run) in &played {
            print!("{}", told(path, run));
        }
        println!("{} passed, {failed} failed", all - failed);
    }
    match failed {
        0 => Ok(()),
        1 => Err(Failure::Failed(anyhow!("1 case does not hold"))),
        n => Err(Failure::Failed(anyhow!("{n} cases do not hold"))),
    }
}

fn told(path: &Path, run: &Run) -> String {
    let mut text = format!("{}\n", path.display());
    for verdict in &run.verdicts {
        text += &format!("{verdict}\n");
    }
    if !run.untested.is_empty() {
        text += &format!(
            "note  no case makes these rules tell: {}\n",
            run.untested.join(", ")
        );
    }
    text
}

/// The file of cases that is meant: that of a pack lies beside it.
fn beside(file: &Path) -> PathBuf {
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let stem = name.strip_suffix(".toml").unwrap_or(&name);
    let cases = file.with_file_name(format!("{stem}.cases.toml"));
    if !stem.ends_with(".cases") && cases.is_file() {
        cases
    } else {
        file.to_owned()
    }
}

fn play(path: &Path) -> Result<Run, Failure> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cases: no file at {}", path.display()))
        .map_err(Failure::Settings)?;
    let refused = |errors: rules::Errors| Failure::Settings(anyhow!("{errors}"));
    let suite = Suite::read(&path.display().to_string(), &text).map_err(refused)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let reference = PackReference {
        pack: suite.pack().to_owned(),
        schema: suite.schema().map(str::to_owned),
    };
    let mut pack = packs::read(&reference, folder)?;
    pack.origin = folder.join(suite.pack()).display().to_string();
    suite.run(&pack).map_err(refused)
}
