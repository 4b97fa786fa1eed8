use super::*;

fn sentence(details: &str) -> Sentence {
    Sentence {
        project_id: "p_1".to_owned(),
        action_type: "github_push".to_owned(),
        details: details.to_owned(),
        status: "success".to_owned(),
        environment: "development".to_owned(),
    }
}

/// A moment, in milliseconds after the first.
struct Clock(Instant);

impl Clock {
    fn at(&self, milliseconds: u64) -> Instant {
        self.0 + Duration::from_millis(milliseconds)
    }
}

fn begin() -> (Ledger, Clock) {
    (Ledger::default(), Clock(Instant::now()))
}

/// One commit that gives `said`, its row and its notification.
fn whole(ledger: &mut Ledger, clock: &Clock, id: &str, said: &str) {
    ledger.committed(clock.at(0), vec![sentence(said)]);
    ledger.recorded(clock.at(5), id, sentence(said));
    ledger.notified(clock.at(8), id, sentence(said));
}

#[test]
fn what_arrives_once_is_neither_lost_nor_there_twice() {
    let (mut ledger, clock) = begin();
    assert!(ledger.is_settled());
    whole(&mut ledger, &clock, "a", "one");
    whole(&mut ledger, &clock, "b", "one");
    ledger.rolled_back();
    let totals = ledger.totals();
    assert!(totals.is_flawless(), "{totals:?}");
    assert_eq!(totals.actions["github_push"], 2);
    assert_eq!((totals.worker.committed, totals.worker.rolled_back), (2, 1));
    assert_eq!(totals.received, 2);
    let half = |latencies: Latencies| latencies.percentile(50);
    assert_eq!(half(totals.to_row), Some(Duration::from_millis(5)));
    assert_eq!(half(totals.to_webhook), Some(Duration::from_millis(8)));
}

#[test]
fn an_action_without_a_row_is_lost() {
    let (mut ledger, clock) = begin();
    ledger.committed(clock.at(0), vec![sentence("one"), sentence("two")]);
    ledger.recorded(clock.at(1), "a", sentence("one"));
    ledger.notified(clock.at(2), "a", sentence("one"));
    assert!(!ledger.is_settled());
    assert_eq!(ledger.totals().lost, 1);
}

#[test]
fn an_action_without_a_notification_is_lost() {
    let (mut ledger, clock) = begin();
    ledger.committed(clock.at(0), vec![sentence("one")]);
    ledger.recorded(clock.at(1), "a", sentence("one"));
    assert_eq!(ledger.totals().lost, 1);
    ledger.refused();
    let totals = ledger.totals();
    assert_eq!((totals.lost, totals.invalid), (1, 1));
}

#[test]
fn a_second_row_of_one_commit_is_a_duplicate() {
    let (mut ledger, clock) = begin();
    whole(&mut ledger, &clock, "a", "one");
    ledger.recorded(clock.at(9), "b", sentence("one"));
    let totals = ledger.totals();
    assert_eq!((totals.lost, totals.duplicates), (0, 1));
    assert!(!totals.is_flawless());
}

#[test]
fn a_second_notification_of_one_id_is_a_duplicate() {
    let (mut ledger, clock) = begin();
    whole(&mut ledger, &clock, "a", "one");
    let again = ledger.notified(clock.at(9), "a", sentence("one"));
    assert!(again.is_some());
    assert_eq!(ledger.totals().duplicates, 1);
}

#[test]
fn the_same_row_seen_twice_is_one_row() {
    let (mut ledger, clock) = begin();
    whole(&mut ledger, &clock, "a", "one");
    assert_eq!(
        ledger.recorded(clock.at(20), "a", sentence("one")),
        Vec::new()
    );
    assert!(ledger.totals().is_flawless());
}

#[test]
fn a_row_that_no_commit_accounts_for_is_unexpected() {
    let (mut ledger, clock) = begin();
    ledger.rolled_back();
    ledger.recorded(clock.at(1), "a", sentence("one"));
    let totals = ledger.totals();
    assert_eq!((totals.duplicates, totals.unexpected), (0, 1));
    assert!(!totals.is_flawless());
}

#[test]
fn a_notification_unlike_its_row_or_without_one_is_unexpected() {
    let (mut ledger, clock) = begin();
    ledger.committed(clock.at(0), vec![sentence("one")]);
    ledger.recorded(clock.at(1), "a", sentence("one"));
    ledger.notified(clock.at(2), "a", sentence("another"));
    ledger.notified(clock.at(2), "b", sentence("one"));
    assert_eq!(ledger.totals().unexpected, 2);
}

#[test]
fn a_notification_that_overtakes_its_row_is_told_after_it() {
    let (mut ledger, clock) = begin();
    ledger.committed(clock.at(0), vec![sentence("one")]);
    assert_eq!(ledger.notified(clock.at(4), "a", sentence("one")), None);
    let told = ledger.recorded(clock.at(6), "a", sentence("one"));
    let told: Vec<_> = told
        .iter()
        .map(|fact| (fact.stage, fact.after.map(|after| after.as_millis())))
        .collect();
    assert_eq!(
        told,
        [(Stage::Recorded, Some(6)), (Stage::Notified, Some(4))]
    );
}

#[test]
fn a_row_seen_before_its_commit_is_told_still_belongs_to_it() {
    let (mut ledger, clock) = begin();
    ledger.recorded(clock.at(3), "a", sentence("one"));
    ledger.notified(clock.at(4), "a", sentence("one"));
    ledger.committed(clock.at(1), vec![sentence("one")]);
    let totals = ledger.totals();
    assert!(totals.is_flawless(), "{totals:?}");
    assert_eq!(totals.to_row.percentile(50), Some(Duration::from_millis(2)));
}
