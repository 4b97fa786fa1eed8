use std::sync::Arc;

use connect::Target;
use rules::Rules;
use tokio::sync::{Notify, watch};

use super::committed::Committed;
use super::group::GroupSize;
use super::silences::Silences;
use crate::settings::Settings;
use api::Health;

/// What every session of capture needs.
pub struct Context {
    pub settings: Arc<Settings>,
    pub target: Target,
    /// Those in force; new ones take over between two sessions.
    pub rules: watch::Receiver<Arc<Rules>>,
    pub health: Arc<Health>,
    /// Told after each commit that appended actions.
    pub appended: Arc<Notify>,
    pub silences: Silences,
    pub committed: Committed,
    pub group_size: GroupSize,
}
