//! Decides what may be confirmed. Pure: confirms and shown positions in, a position out.

use std::collections::VecDeque;

use activity::Lsn;

use crate::Confirm;

/// As many confirms wait for their gates at most; newer ones are merged into the last.
const WAITING_MAX: usize = 64;

/// Confirms whose gate the stream has not shown yet.
///
/// What comes out never exceeds a position that was pushed, nor what the stream has shown, and it
/// never goes back. The oldest confirm waits undisturbed, however many newer ones arrive with later
/// gates; so what comes out moves on whenever the stream does.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Positions and gates both ascend strictly. A position is its own gate too.
    waiting: VecDeque<Confirm>,
    /// The highest position pushed.
    pushed: Lsn,
    confirmable: Lsn,
}

impl Gate {
    pub(crate) fn push(&mut self, confirm: Confirm) {
        if confirm.position <= self.pushed {
            return;
        }
        self.pushed = confirm.position;
        let confirm = Confirm {
            gate: confirm.gate.max(confirm.position),
            ..confirm
        };
        while self.waiting.back().is_some_and(|w| w.gate >= confirm.gate) {
            self.waiting.pop_back();
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_back();
        }
        self.waiting.push_back(confirm);
    }

    /// What may be confirmed once the stream has shown everything up to `shown`.
    pub(crate) fn confirmable(&mut self, shown: Lsn) -> Lsn {
        while let Some(first) = self.waiting.pop_front_if(|first| first.gate <= shown) {
            self.confirmable = first.position;
        }
        self.confirmable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn confirm(position: u64, gate: u64) -> Confirm {
        Confirm {
            position: Lsn::new(position),
            gate: Lsn::new(gate),
        }
    }

    #[test]
    fn a_position_waits_for_its_gate() {
        let mut gate = Gate::default();
        gate.push(confirm(10, 20));
        assert_eq!(gate.confirmable(Lsn::new(19)), Lsn::ZERO);
        assert_eq!(gate.confirmable(Lsn::new(20)), Lsn::new(10));
    }

    #[test]
    fn a_position_that_the_stream_has_not_shown_is_not_confirmed() {
        let mut gate = Gate::default();
        gate.push(confirm(30, 5));
        assert_eq!(gate.confirmable(Lsn::new(29)), Lsn::ZERO);
        assert_eq!(gate.confirmable(Lsn::new(30)), Lsn::new(30));
    }

    #[test]
    fn newer_confirms_with_later_gates_do_not_hold_up_the_oldest() {
        let mut gate = Gate::default();
        let mut confirmed = Lsn::ZERO;
        for step in 1..10_000u64 {
            // Our commit always lies a little ahead of what the stream shows.
            gate.push(confirm(step * 10, step * 10 + 1000));
            let now = gate.confirmable(Lsn::new(step * 10));
            assert!(now >= confirmed && gate.waiting.len() <= WAITING_MAX);
            confirmed = now;
        }
        assert!(confirmed > Lsn::new(90_000));
    }

    proptest! {
        #[test]
        fn nothing_is_confirmed_that_was_not_pushed_gated_and_shown(
            steps in prop::collection::vec((0..500u64, 0..700u64, 0..700u64), 1..300),
        ) {
            let mut gate = Gate::default();
            let (mut pushed, mut shown, mut before) = (Vec::new(), 0, Lsn::ZERO);
            for (position, at, show) in steps {
                gate.push(confirm(position, at));
                pushed.push(confirm(position, at));
                shown = show.max(shown);
                let now = gate.confirmable(Lsn::new(shown));
                prop_assert!(now >= before && now <= Lsn::new(shown));
                let asked = |c: &Confirm| c.position == now && c.gate <= Lsn::new(shown);
                prop_assert!(now == Lsn::ZERO || pushed.iter().any(asked));
                prop_assert!(gate.waiting.len() <= WAITING_MAX);
                before = now;
            }
            let end = gate.confirmable(Lsn::MAX);
            let highest = pushed.iter().map(|c| c.position).max();
            prop_assert_eq!(Some(end), highest);
        }
    }
}
