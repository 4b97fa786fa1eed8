use activity::Seq;

use super::*;

fn stored() -> Progress {
    Progress {
        epoch: 3,
        slot: "tidings".into(),
        publication: "tidings".into(),
        lineage: Lineage {
            system_id: "7".into(),
            timeline: 1,
            publication_oid: 16400,
        },
        commit_lsn: Lsn::new(900),
        end_lsn: Lsn::new(1000),
        confirm_limit: Lsn::new(2000),
        seq: Seq::new(5),
        half: None,
    }
}

fn slot() -> Slot {
    Slot {
        plugin: Some("pgoutput".into()),
        database: Some("app".into()),
        active_pid: None,
        confirmed: Some(Lsn::new(1000)),
        wal_status: Some("reserved".into()),
        invalidation: None,
        lag_bytes: 0,
        retained_bytes: 0,
        safe_bytes: None,
    }
}

/// Everything as it was left.
fn found() -> Found {
    Found {
        lineage: stored().lineage,
        database: "app".into(),
        slot: Some(slot()),
        flushed: Some(Lsn::new(5000)),
        branch: None,
        committed: Ends::default(),
        confirmed_by_us: None,
    }
}

/// After a promotion, off at this position.
fn promoted(branch: u64) -> Found {
    let mut found = found();
    found.lineage.timeline = 2;
    found.branch = Some(Lsn::new(branch));
    found
}

#[track_caller]
fn assert_rebuilds(found: &Found, named: &str) {
    match judge(&stored(), found) {
        Verdict::Rebuild(why) => assert!(why.contains(named), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_refuses(found: &Found, named: &str) {
    match judge(&stored(), found) {
        Verdict::Refuse(text) => assert!(
            text.contains(named) && text.contains("--new-slot"),
            "{text}"
        ),
        other => panic!("{other:?}"),
    }
}

fn confirmed(mut found: Found, at: u64) -> Found {
    found.slot = Some(Slot {
        confirmed: Some(Lsn::new(at)),
        ..slot()
    });
    found
}

#[test]
fn what_is_as_it_was_left_is_resumed() {
    assert_eq!(judge(&stored(), &found()), Verdict::Resume);
    // Marks are confirmed without a write, up to the limit.
    assert_eq!(judge(&stored(), &confirmed(found(), 2000)), Verdict::Resume);
    // A crash may have come before anything was confirmed.
    assert_eq!(judge(&stored(), &confirmed(found(), 10)), Verdict::Resume);
}

#[test]
fn another_cluster_is_refused_whatever_else_is_there() {
    let mut other = found();
    other.lineage.system_id = "8".into();
    assert_refuses(&other, "another cluster");
    other.slot = None;
    assert_refuses(&other, "another cluster");
}

#[test]
fn a_slot_of_somebody_else_is_never_replaced() {
    let mut other = found();
    for (plugin, database) in [
        (Some("wal2json"), Some("app")),
        (Some("pgoutput"), Some("b")),
        (None, None),
    ] {
        other.slot = Some(Slot {
            plugin: plugin.map(Into::into),
            database: database.map(Into::into),
            wal_status: Some("lost".into()),
            ..slot()
        });
        assert_refuses(&other, "belongs to somebody else");
    }
}

#[test]
fn a_slot_that_leads_nowhere_is_made_anew() {
    let mut gone = found();
    gone.slot = None;
    assert_rebuilds(&gone, "does not exist");
    let lost = |invalidation: Option<&str>| {
        let mut lost = found();
        lost.slot = Some(Slot {
            wal_status: Some("lost".into()),
            invalidation: invalidation.map(Into::into),
            ..slot()
        });
        lost
    };
    assert_rebuilds(&lost(None), "max_slot_wal_keep_size");
    assert_rebuilds(&lost(Some("wal_removed")), "max_slot_wal_keep_size");
    assert_rebuilds(&lost(Some("idle_timeout")), "idle_replication_slot_timeout");
    assert_rebuilds(&lost(Some("rows_removed")), "hot_standby_feedback");
    assert_rebuilds(&confirmed(found(), 2001), "moved by somebody else");
    let remembered = |position| Found {
        confirmed_by_us: Some(Lsn::new(1500)),
        ..confirmed(found(), position)
    };
    assert_eq!(judge(&stored(), &remembered(1500)), Verdict::Resume);
    assert_rebuilds(&remembered(1501), "nothing past 0/5DC");
    let mut early = found();
    early.flushed = Some(Lsn::new(999));
    assert_rebuilds(&early, "restored backup");
    let mut recreated = found();
    recreated.lineage.publication_oid = 16401;
    assert_rebuilds(&recreated, "dropped and recreated");
}

#[test]
fn a_promoted_standby_is_followed_where_its_slot_fits() {
    let follow = |found: &Found| judge(&stored(), found);
    assert_eq!(follow(&promoted(1000)), Verdict::Follow { compare: false });
    assert_eq!(follow(&promoted(4000)), Verdict::Follow { compare: false });
    let ahead = confirmed(promoted(4000), 1001);
    assert_eq!(follow(&ahead), Verdict::Follow { compare: true });
}

#[test]
fn who_remembers_commits_that_did_not_come_along_knows_a_gap_from_marks() {
    let ends = |ends: &[u64]| ends.iter().copied().map(Lsn::new).collect::<Ends>();
    let ahead = |committed: &[u64]| Found {
        committed: ends(committed),
        ..confirmed(promoted(4000), 1100)
    };
    // All that was committed came along, or is sent again: the slot is ahead by marks, as far as this process
    // knows. Another one may have captured since.
    let follow = Verdict::Follow { compare: true };
    assert_eq!(judge(&stored(), &ahead(&[900, 1000])), follow);
    assert_eq!(judge(&stored(), &ahead(&[1000, 1101])), follow);
    assert_rebuilds(
        &ahead(&[1000, 1100, 1200]),
        "it lacks what we committed after 0/3E8",
    );
    let behind = Found {
        committed: ends(&[1000, 1500]),
        ..promoted(1200)
    };
    assert_eq!(
        judge(&stored(), &behind),
        Verdict::Follow { compare: false }
    );
    assert_eq!(behind.never_had(), Some((Lsn::new(1200), Lsn::new(1500))));
    assert_eq!(ahead(&[1000, 1100]).never_had(), None);
    assert_eq!(found().never_had(), None);
}

#[test]
fn a_promoted_standby_that_lacks_what_we_have_is_compared() {
    assert_rebuilds(&promoted(999), "before progress at 0/3E8");
    let mut stranger = promoted(4000);
    stranger.branch = None;
    assert_rebuilds(&stranger, "did not come from that timeline");
    let mut bare = promoted(4000);
    bare.slot = None;
    assert_rebuilds(&bare, "a standby was promoted");
    assert_rebuilds(&bare, "tidings does not exist there");
    assert_rebuilds(&confirmed(promoted(4000), 2001), "moved by somebody else");
}
