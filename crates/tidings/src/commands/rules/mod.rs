//! The tools around rule packs.

mod check;
mod test;

use crate::Failure;
use crate::cli::Rules;

pub async fn rules(arguments: &Rules) -> Result<(), Failure> {
    match arguments {
        Rules::Check { packs, json } => check::check(packs, *json),
        Rules::Test { files, json } => test::test(files, *json),
    }
}
