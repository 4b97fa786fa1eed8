use super::*;
use crate::message::{Insert, Truncate};
use activity::{Column, Relation, ReplicaIdentity, TableName, Value, Xid};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

const TABLE: u32 = 16391;
const MESSAGE_BYTES: usize = 100;
const WHOLE: Limits = Limits {
    changes: usize::MAX,
    bytes: usize::MAX,
};

type Input = (Lsn, Message);

/// One transaction of a generated WAL: for each record how many rows it holds; none stands for a
/// logical message.
type Records = Vec<u8>;

fn relation() -> Message {
    Message::Relation(Relation {
        oid: TABLE,
        table: TableName::new("public", "items"),
        identity: ReplicaIdentity::Default,
        columns: vec![Column {
            name: "id".to_owned(),
            type_oid: 25,
            type_modifier: -1,
            key: true,
        }],
    })
}

fn begin(commit_lsn: u64) -> Message {
    Message::Begin(Begin {
        commit_lsn: Lsn::new(commit_lsn),
        commit_time: Timestamp::UNIX_EPOCH,
        xid: Xid(1),
    })
}

fn commit(commit_lsn: u64) -> Message {
    Message::Commit(Commit {
        commit_lsn: Lsn::new(commit_lsn),
        end_lsn: Lsn::new(commit_lsn + 8),
    })
}

fn insert(id: u64) -> Message {
    Message::Insert(Insert {
        relation: TABLE,
        new: vec![Value::Text(id.to_string().into())],
    })
}

fn logical(content: u64) -> Message {
    Message::Logical(Logical {
        transactional: true,
        prefix: "tidings".into(),
        content: content.to_string().into_bytes().into(),
    })
}

/// The messages that a server sends for these transactions.
fn wal(transactions: &[Records]) -> Vec<Input> {
    let (mut wal, mut lsn, mut id) = (Vec::new(), 1000, 0);
    for records in transactions {
        let place = wal.len();
        let first = lsn;
        wal.push((Lsn::ZERO, relation()));
        for rows in records {
            let end = lsn + 8;
            if *rows == 0 {
                // A message is found at the end of its record.
                wal.push((Lsn::new(end), logical(id)));
                id += 1;
            }
            for _ in 0..*rows {
                wal.push((Lsn::new(lsn), insert(id)));
                id += 1;
            }
            lsn = end;
        }
        wal.insert(place, (Lsn::new(first), begin(lsn)));
        wal.push((Lsn::new(lsn + 8), commit(lsn)));
        lsn += 8;
    }
    wal
}

fn assemble(wal: &[Input], limits: Limits, resume: Resume) -> Result<Vec<Event>, Malformed> {
    let mut assembler = Assembler::new(limits, resume);
    let mut events = Vec::new();
    for (start, message) in wal.iter().cloned() {
        events.extend(assembler.push(start, MESSAGE_BYTES, message)?);
    }
    Ok(events)
}

fn parts(events: &[Event]) -> Vec<&Part> {
    let parts = events.iter().filter_map(|event| match event {
        Event::Part(part) => Some(part),
        Event::Mark(_) => None,
    });
    parts.collect()
}

/// Every change with the commit it belongs to.
fn changes(events: &[Event]) -> Vec<(Lsn, Change)> {
    let of = |part: &Part| {
        let commit_lsn = part.begin.commit_lsn;
        part.changes
            .clone()
            .into_iter()
            .map(move |change| (commit_lsn, change))
    };
    parts(events).into_iter().flat_map(of).collect()
}

fn transactions() -> impl Strategy<Value = Vec<Records>> {
    vec(vec(0..4u8, 0..6), 0..6)
}

proptest! {
    #[test]
    fn cuts_lose_nothing_and_repeat_nothing(
        transactions in transactions(), most in 1..6usize, by_bytes: bool,
    ) {
        let wal = wal(&transactions);
        let whole = assemble(&wal, WHOLE, Resume::default()).unwrap();
        let limits = match by_bytes {
            true => Limits { bytes: most * MESSAGE_BYTES, ..WHOLE },
            false => Limits { changes: most, ..WHOLE },
        };
        let cut = assemble(&wal, limits, Resume::default()).unwrap();
        prop_assert_eq!(changes(&cut), changes(&whole));
        let mut fresh = true;
        for part in parts(&cut) {
            prop_assert!(part.changes.len() <= most);
            prop_assert!(!part.changes.is_empty() || part.end.is_some() && !part.first);
            prop_assert_eq!(part.first, fresh);
            fresh = part.end.is_some();
        }
    }

    #[test]
    fn every_transaction_ends_in_a_mark_or_a_part(transactions in transactions()) {
        let wal = wal(&transactions);
        let events = assemble(&wal, WHOLE, Resume::default()).unwrap();
        prop_assert_eq!(events.len(), transactions.len());
        for (event, records) in events.iter().zip(&transactions) {
            prop_assert_eq!(matches!(event, Event::Mark(_)), records.is_empty());
        }
    }

    #[test]
    fn a_resume_after_any_change_gives_exactly_the_rest(
        transactions in transactions(), at: prop::sample::Index, most in 1..6usize,
    ) {
        let wal = wal(&transactions);
        let all = changes(&assemble(&wal, WHOLE, Resume::default()).unwrap());
        prop_assume!(!all.is_empty());
        let at = at.index(all.len());
        let (half, done) = &all[at];
        let before = all.iter().map(|(commit, _)| *commit).filter(|commit| commit < half);
        let resume = Resume {
            commit_lsn: before.max().unwrap_or_default(),
            half: Some((*half, done.position)),
        };
        let limits = Limits { changes: most, ..WHOLE };
        let rest = assemble(&wal, limits, resume).unwrap();
        prop_assert_eq!(&changes(&rest)[..], &all[at + 1..]);
        let halves: Vec<_> = parts(&rest).into_iter().filter(|p| p.begin.commit_lsn == *half).collect();
        prop_assert!(halves.iter().all(|part| !part.first));
        prop_assert!(halves.last().is_some_and(|part| part.end.is_some()));
    }

    #[test]
    fn a_resume_after_any_transaction_gives_exactly_the_rest(
        transactions in transactions(), at: prop::sample::Index,
    ) {
        let wal = wal(&transactions);
        let all = changes(&assemble(&wal, WHOLE, Resume::default()).unwrap());
        prop_assume!(!all.is_empty());
        let commit_lsn = all[at.index(all.len())].0;
        let resume = Resume { commit_lsn, half: None };
        let rest = assemble(&wal, WHOLE, resume).unwrap();
        let later: Vec<_> = all.into_iter().filter(|(commit, _)| *commit > commit_lsn).collect();
        prop_assert_eq!(changes(&rest), later);
    }

    #[test]
    fn every_change_has_an_address_of_its_own_in_ascending_order(transactions in transactions()) {
        let wal = wal(&transactions);
        for part in parts(&assemble(&wal, WHOLE, Resume::default()).unwrap()) {
            prop_assert!(part.changes.is_sorted_by(|a, b| a.position < b.position));
        }
    }

    #[test]
    fn any_messages_in_any_order_give_events_or_an_error(
        messages in vec((any::<u64>(), crate::message::strategy::message()), 0..30),
    ) {
        let wal: Vec<Input> = messages.into_iter().map(|(at, m)| (Lsn::new(at), m)).collect();
        let _ = assemble(&wal, WHOLE, Resume::default());
    }
}

fn refused(messages: impl IntoIterator<Item = Message>) -> Malformed {
    let wal: Vec<Input> = messages.into_iter().map(|m| (Lsn::new(1), m)).collect();
    assemble(&wal, WHOLE, Resume::default()).unwrap_err()
}

#[test]
fn messages_out_of_order_are_refused_by_name() {
    let outside = |message| Malformed::OutsideTransaction { message };
    assert_eq!(refused([relation(), insert(1)]), outside("Insert"));
    assert_eq!(refused([logical(1)]), outside("Message"));
    assert_eq!(refused([commit(7)]), outside("Commit"));
    assert_eq!(refused([begin(7), begin(8)]), Malformed::NestedBegin);
    let mismatch = Malformed::CommitMismatch {
        begin: Lsn::new(7),
        commit: Lsn::new(8),
    };
    assert_eq!(refused([begin(7), commit(8)]), mismatch);
}

#[test]
fn a_row_that_fits_no_table_is_refused_by_name() {
    let unknown = Malformed::UnknownRelation { oid: TABLE };
    assert_eq!(refused([begin(7), insert(1)]), unknown);
    let relations = vec![TABLE];
    let truncate = Message::Truncate(Truncate { relations });
    assert_eq!(refused([begin(7), truncate]), unknown);
    let wide = Message::Insert(Insert {
        relation: TABLE,
        new: vec![Value::Null, Value::Null],
    });
    let count = Malformed::ColumnCount {
        values: 2,
        columns: 1,
    };
    assert_eq!(refused([begin(7), relation(), wide]), count);
}

#[test]
fn a_half_done_transaction_that_does_not_come_back_is_missed() {
    let position = Position {
        lsn: Lsn::new(5),
        index: 0,
    };
    let resume = Resume {
        commit_lsn: Lsn::new(3),
        half: Some((Lsn::new(7), position)),
    };
    let later = [(Lsn::new(8), begin(9))];
    let missing = Malformed::HalfDoneMissing {
        half: Lsn::new(7),
        next: Lsn::new(9),
    };
    assert_eq!(assemble(&later, WHOLE, resume), Err(missing));
}

fn announcement(content: u64) -> Message {
    let mut message = logical(content);
    if let Message::Logical(logical) = &mut message {
        logical.transactional = false;
    }
    message
}

fn ends(events: &[Event]) -> Vec<(u64, Option<u64>)> {
    let parts = parts(events).into_iter();
    parts
        .map(|p| (p.begin.commit_lsn.get(), p.end.map(Lsn::get)))
        .collect()
}

#[test]
fn a_message_of_no_transaction_is_a_transaction_of_its_own() {
    let wal = [(Lsn::new(100), announcement(1))];
    let events = assemble(&wal, WHOLE, Resume::default()).unwrap();
    assert_eq!(ends(&events), [(99, Some(100))]);
    let parts = parts(&events);
    assert_eq!((parts[0].begin.xid, parts[0].first), (Xid(0), true));
    assert_eq!(parts[0].changes.len(), 1);
}

#[test]
fn a_commit_where_the_message_before_it_ends_is_told_from_it() {
    // The record of the message ends where the commit record of the next transaction begins.
    let wal = [
        (Lsn::new(100), announcement(1)),
        (Lsn::ZERO, relation()),
        (Lsn::new(90), begin(100)),
        (Lsn::new(90), insert(1)),
        (Lsn::new(108), commit(100)),
    ];
    let all = assemble(&wal, WHOLE, Resume::default()).unwrap();
    assert_eq!(ends(&all), [(99, Some(100)), (100, Some(108))]);
    let after = |commit_lsn: u64| {
        let resume = Resume {
            commit_lsn: Lsn::new(commit_lsn),
            half: None,
        };
        assemble(&wal, WHOLE, resume).unwrap()
    };
    assert_eq!(ends(&after(99)), [(100, Some(108))]);
    assert_eq!(after(99)[0], Event::Mark(Lsn::new(100)));
    assert_eq!(ends(&after(100)), []);
}

#[test]
fn a_message_of_no_transaction_is_refused_inside_one_and_passed_over_under_other_names() {
    let inside = Malformed::MessageInside {
        commit: Lsn::new(7),
    };
    assert_eq!(refused([begin(7), announcement(1)]), inside);
    let mut other = announcement(1);
    if let Message::Logical(logical) = &mut other {
        logical.prefix = "other".into();
    }
    let wal = [(Lsn::new(1), other)];
    assert_eq!(assemble(&wal, WHOLE, Resume::default()), Ok(Vec::new()));
}
