use serde_json::json;

use crate::Failure;
use crate::cli::Doctor;
use crate::doctor::{Check, Status, examine};
use crate::settings::Settings;

/// Where the column of messages begins.
const NAME_WIDTH: usize = 18;

/// Prints every check. Fails where one of them does.
pub async fn doctor(settings: &Settings, arguments: &Doctor) -> Result<(), Failure> {
    let checks = examine(settings, arguments.probe).await?;
    let failed = count(&checks, Status::Fail);
    if arguments.json {
        println!("{:#}", json!({"ok": failed == 0, "checks": checks}));
    } else {
        print!("{}", table(&checks));
    }
    match failed {
        0 => Ok(()),
        1 => Err(Failure::Failed(anyhow::anyhow!("1 check failed"))),
        failed => Err(Failure::Failed(anyhow::anyhow!("{failed} checks failed"))),
    }
}

fn count(checks: &[Check], status: Status) -> usize {
    checks.iter().filter(|check| check.status == status).count()
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Skipped => "skipped",
        Status::Warn => "warn",
        Status::Fail => "FAIL",
    }
}

/// A line for each check; what mends it stands below.
fn table(checks: &[Check]) -> String {
    let mut lines = String::new();
    for check in checks {
        let (word, name) = (word(check.status), check.name);
        let mut begin = format!("{word:<8}{name:<NAME_WIDTH$}");
        for line in check.message.lines() {
            lines += &format!("{begin}{line}\n");
            begin = " ".repeat(8 + NAME_WIDTH);
        }
        for line in check.mend.iter().flat_map(|mend| mend.lines()) {
            lines += &format!("{:>8}{:NAME_WIDTH$}  > {line}\n", "", "");
        }
    }
    lines += &format!(
        "{} checks: {} ok, {} warn, {} fail, {} skipped\n",
        checks.len(),
        count(checks, Status::Ok),
        count(checks, Status::Warn),
        count(checks, Status::Fail),
        count(checks, Status::Skipped),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_its_line_and_what_mends_it_stands_below() {
        let checks = [
            Check::ok("connection", "tidings@db:5432/app"),
            Check::fail("slot", "gone\nfor good", "tidings setup --new-slot"),
        ];
        assert_eq!(
            table(&checks),
            "ok      connection        tidings@db:5432/app\n\
             FAIL    slot              gone\n                          for good\n                            \
             > tidings setup --new-slot\n\
             2 checks: 1 ok, 0 warn, 1 fail, 0 skipped\n"
        );
    }
}
