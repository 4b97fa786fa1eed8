use std::time::Duration;

/// Measured times, in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// The smallest measured time that at least `percent` of a hundred do not exceed (nearest rank).
    /// `None` where nothing was measured.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(milliseconds: impl IntoIterator<Item = u64>) -> Latencies {
        Latencies(
            milliseconds
                .into_iter()
                .map(Duration::from_millis)
                .collect(),
        )
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(latencies([]).percentile(50), None);
    }

    #[test]
    fn a_single_time_is_every_percentile() {
        for percent in [0, 50, 99, 100] {
            let found = latencies([7]).percentile(percent);
            assert_eq!(found, Some(Duration::from_millis(7)));
        }
    }

    #[test]
    fn a_percentile_is_a_measured_time_by_nearest_rank() {
        let hundred = latencies((1..=100).rev());
        for percent in [1, 50, 99, 100] {
            let found = hundred.percentile(percent);
            assert_eq!(found, Some(Duration::from_millis(percent as u64)));
        }
        let five = latencies([35, 20, 15, 50, 40]);
        assert_eq!(five.percentile(40), Some(Duration::from_millis(20)));
        assert_eq!(five.percentile(99), Some(Duration::from_millis(50)));
    }
}
