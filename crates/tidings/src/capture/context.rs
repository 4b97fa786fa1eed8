use std::sync::Arc;

use connect::Target;
use rules::Rules;
use tokio::sync::Notify;

use crate::settings::Settings;
use api::Health;

/// What every session of capture needs.
pub struct Context {
    pub settings: Arc<Settings>,
    pub target: Target,
    pub rules: Arc<Rules>,
    pub health: Arc<Health>,
    /// Told after each commit that appended actions.
    pub appended: Arc<Notify>,
}
