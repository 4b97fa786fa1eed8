use anyhow::bail;
use store::endpoints::{Filter, Options};
use webhook::TypePattern;

use crate::settings::Webhooks;

/// Refuses an endpoint that could never work, as far as that shows without asking anybody.
///
/// # Errors
/// What is wrong, and what to do.
pub fn check(
    url: &str,
    filter: &Filter,
    options: &Options,
    webhooks: &Webhooks,
) -> anyhow::Result<()> {
    webhooks.sender().guard().validate(url)?;
    for pattern in &filter.types {
        pattern.parse::<TypePattern>()?;
    }
    webhooks.format(options)?;
    let most = webhooks.in_flight / 4;
    match options.in_flight {
        Some(in_flight) if !(2..=most).contains(&usize::from(in_flight)) => bail!(
            "in_flight must be at least 2 (retries and first attempts each keep one), and at most \
             {most}, a quarter of webhooks.in_flight"
        ),
        Some(_) | None => {}
    }
    Ok(())
}
