use crate::Failure;
use crate::cli::Demo;
pub async fn demo(_arguments: &Demo) -> Result<(), Failure> {
    Ok(())
}
