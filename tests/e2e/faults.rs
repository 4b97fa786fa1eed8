//! A short cut of the fault matrix: whatever goes wrong, nothing is lost and nothing is there twice.
//! `make faults` does each of these often.

use scratch::{Binaries, Server};
use tests::{Random, Scenario, Trial};

/// Plays one round, and panics unless nothing is lost or there twice.
async fn play(name: &str) {
    let scenario = Scenario::named(name).expect("a scenario of the matrix");
    if Binaries::find().unwrap().version.major < scenario.since() {
        return;
    }
    let seed = Random::from_environment().seed();
    let tally = scenario.play(seed, scenario.short).await;
    println!(
        "{name}: {} runs, recovered in {:?}",
        tally.runs, tally.recoveries
    );
    assert_eq!(tally.runs, scenario.short);
    assert!(tally.is_clean(), "{tally:#?}");
}

/// `name of the test: name of the scenario`.
macro_rules! short_cut {
    ($($test:ident: $name:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            play($name).await;
        })*

        #[test]
        fn every_scenario_with_a_short_cut_is_played() {
            let played = [$($name),*];
            for scenario in &tests::SCENARIOS {
                let is_played = played.contains(&scenario.name);
                assert_eq!(is_played, scenario.short > 0, "{}", scenario.name);
            }
        }
    };
}

short_cut! {
    kills_of_the_sidecar_lose_nothing: "sidecar-killed";
    kills_of_a_delivering_process_repeat_only_what_was_under_way: "deliverer-killed";
    stops_in_good_order_repeat_nothing: "sidecar-terminated";
    kills_between_the_messages_of_a_commit_lose_nothing: "commit-killed";
    cuts_between_the_messages_of_a_commit_lose_nothing: "commit-cut";
    kills_between_the_messages_of_a_settle_lose_nothing: "settle-killed";
    cuts_between_the_messages_of_a_settle_lose_nothing: "settle-cut";
    a_standby_takes_over_from_a_killed_sidecar_in_time: "standby-takes-over";
    a_standby_takes_over_from_a_frozen_one_that_writes_nothing_afterwards: "active-frozen";
    a_standby_takes_over_from_one_whose_host_is_gone: "active-unreachable";
    connections_that_are_cut_lose_nothing: "connections-cut";
    connections_closed_in_one_direction_lose_nothing: "half-closed";
    a_network_that_goes_silent_is_noticed_and_left: "network-silent";
    a_slow_network_loses_nothing: "network-slow";
    sessions_that_are_ended_lose_nothing: "backend-terminated";
    a_server_process_that_is_killed_loses_nothing: "backend-killed";
    kills_of_postgres_lose_nothing: "postgres-killed";
    restarts_of_postgres_are_not_held_up_and_lose_nothing: "postgres-restarted";
    a_full_disk_loses_nothing: "disk-full";
    after_a_dropped_slot_every_final_state_is_told_once: "slot-dropped";
    after_an_invalidated_slot_every_final_state_is_told_once: "slot-invalidated";
    after_a_recreated_publication_every_final_state_is_told_once: "publication-recreated";
    a_failover_with_the_slot_is_exactly_once: "failover";
    after_a_failover_without_the_slot_every_final_state_is_told_once: "failover-without-slot";
    after_10_000_unobserved_changes_every_final_state_is_told_once_and_marked: "10,000-unobserved";
    subscribers_that_misbehave_get_everything_in_the_end: "receiver-faults";
}

/// What is done behind the sidecar's back, and what the account says of it.
const TAMPERED: [(&str, &str); 6] = [
    (
        r#"update tidings.images set row = row || '{"status": "other"}'
           where (table_id, key) = (select table_id, key from tidings.images where row ? 'status' limit 1)"#,
        "1 images are not as their rows are",
    ),
    (
        "insert into tidings.attempts
           (attempted_at, seq, endpoint_id, action_id, attempt, outcome, status, latency_ms)
         select attempted_at + interval '1 ms', seq, endpoint_id, action_id, attempt, outcome, status, latency_ms
         from tidings.attempts where outcome = 'delivered' limit 1",
        "not so in 1 cases: what was delivered, and stored as such, is not sent again",
    ),
    (
        "update tidings.actions set origin = 'reconciled' where seq = 1",
        "not so in 1 cases: every action comes from the stream",
    ),
    (
        "insert into tidings.gaps (reason, from_lsn, until_lsn, rebuilt_at) values ('x', '0/1', '0/2', now())",
        "not so in 1 cases: there was no gap",
    ),
    (
        "update tidings.actions set created_at = created_at - 1000 where seq = 2;
         update project_actions p set created_at = a.created_at
         from tidings.actions a where a.action_id = p.action_id and seq = 2",
        "not of its time: ",
    ),
    (
        "update tidings.actions set environment = 'elsewhere' where seq = 3;
         update project_actions p set environment = 'elsewhere'
         from tidings.actions a where a.action_id = p.action_id and seq = 3",
        "unexpected, or once too often: ",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_account_tells_of_everything_that_is_changed_behind_the_sidecars_back() {
    let mut trial = Trial::prepare(Server::builder().fast(), Random::from_environment()).await;
    let _sidecar = trial.stage.run().await;
    let load = trial.load().await;
    load.until_more(100).await;
    let expected = load.stop().await;
    trial.audit(&expected).await.assert_clean();
    for (change, told) in TAMPERED {
        trial.stage.execute(change).await;
        let audit = trial.audit(&expected).await;
        let is_told = audit.faults.iter().any(|fault| fault.starts_with(told));
        assert!(is_told, "{told:?} is not among {:#?}", audit.faults);
    }
}
