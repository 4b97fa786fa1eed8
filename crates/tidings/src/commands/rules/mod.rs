//! The tools around rule packs.

mod check;
mod explain;
mod preview;
mod test;

use crate::Failure;
use crate::cli::Rules;
use crate::settings::Settings;

pub async fn rules(
    settings: impl Fn() -> Result<Settings, Failure>,
    arguments: &Rules,
) -> Result<(), Failure> {
    match arguments {
        Rules::Check(arguments) => check::check(settings, arguments).await,
        Rules::Explain { action, json } => explain::explain(&settings()?, action, *json).await,
        Rules::Preview(arguments) => preview::preview(&settings()?, arguments).await,
        Rules::Test { files, json } => test::test(files, *json),
    }
}
