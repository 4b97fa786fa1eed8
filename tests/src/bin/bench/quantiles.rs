/// Of measured durations, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Quantiles {
    /// By the nearest rank.
    ///
    /// # Panics
    /// If there are none.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values[rank.max(1) - 1]
        };
        Self {
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// The middle one; of an even number the lower of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    Quantiles::of(values.to_vec()).p50
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let quantiles = Quantiles::of((1..=200).rev().map(f64::from).collect());
        let Quantiles { p50, p95, p99, max } = quantiles;
        assert_eq!([p50, p95, p99, max], [100.0, 190.0, 198.0, 200.0]);
        assert_eq!(Quantiles::of(vec![7.0]).p99, 7.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}
