//! What has become of the partitions of a table. Pure.

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) gone: Vec<u32>,
    pub(super) come: Vec<u32>,
    /// Nobody has looked before.
    is_first: bool,
}

impl Change {
    /// Both in ascending order.
    pub(super) fn between(before: Option<&[u32]>, now: &[u32]) -> Self {
        let Some(before) = before else {
            return Self {
                is_first: true,
                ..Self::default()
            };
        };
        let without = |these: &[u32], those: &[u32]| {
            let left = these.iter().filter(|oid| !those.contains(oid));
            left.copied().collect()
        };
        Self {
            gone: without(before, now),
            come: without(now, before),
            is_first: false,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        !self.is_first && self.gone.is_empty() && self.come.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_come_and_go_are_told_apart() {
        let change = Change::between(Some(&[1, 2]), &[2, 3]);
        assert_eq!((change.gone, change.come), (vec![1], vec![3]));
        assert!(Change::between(Some(&[1]), &[1]).is_none());
        // With those that are there at first nothing has come.
        let first = Change::between(None, &[1]);
        assert!(!first.is_none() && first.gone.is_empty() && first.come.is_empty());
    }
}
