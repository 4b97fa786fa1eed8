use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Begin, Lsn, Position};

/// The characters of an id in ascending byte order, so that ids sort as their bits do.
const ALPHABET: &[u8; 64] = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 21;
const ORDINAL_BITS: u32 = 24;
const HASH_BITS: u32 = 42;

/// What an action's identity is a function of: the WAL and the rule, nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The cluster's system identifier, as `IDENTIFY_SYSTEM` prints it.
    pub system_id: &'a str,
    pub begin: &'a Begin,
    pub position: Position,
    pub rule: &'a str,
    /// Among the actions of the transaction, from 0.
    pub ordinal: u32,
}

/// The same for an action that no change of the stream made: reconcile, backfill, the watchdog.
#[derive(Clone, Copy, Debug)]
pub struct Unstreamed<'a> {
    pub system_id: &'a str,
    /// Whose action it is: "reconcile", "backfill", "watchdog", "notice", …
    pub kind: &'a str,
    /// What tells it from all others of its kind, such as table, key, rule and the position at which a
    /// chunk was read. The same for the same action, however often it is tried.
    pub subject: &'a [&'a str],
    /// The position up to which the stream was committed when it was made: ids sort by it.
    pub at: Lsn,
    /// Among the actions that are made together, from 0.
    pub ordinal: u32,
}

/// The identity of an action: 21 characters of `-0-9A-Z_a-z`.
///
/// 60 bits of commit position, 24 bits of ordinal, 42 bits of a SHA-256 over what tells this
/// action from another one that reuses the position (another cluster, another timeline). Ids
/// sort in commit order under `collate "C"`. Past 16,777,215 actions in one transaction the ordinal
/// starts over: such ids are still told apart by the hash, but no longer sort.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId([u8; LENGTH]);

impl ActionId {
    pub fn of(identity: &Identity<'_>) -> Self {
        let Begin {
            commit_lsn,
            commit_time,
            xid,
        } = identity.begin;
        let hash = hash(identity, *commit_time, xid.0);
        Self::assemble(*commit_lsn, identity.ordinal, hash)
    }

    /// Of an action that no change of the stream made.
    pub fn unstreamed(identity: &Unstreamed<'_>) -> Self {
        let mut digest = Sha256::new()
            .chain_update(identity.system_id.as_bytes())
            .chain_update([0])
            .chain_update(identity.kind.as_bytes());
        for part in identity.subject {
            digest.update([0]);
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        Self::assemble(
            identity.at,
            identity.ordinal,
            first_bits(&digest.finalize()),
        )
    }

    fn assemble(lsn: Lsn, ordinal: u32, hash: u64) -> Self {
        let ordinal = u128::from(ordinal) & ((1 << ORDINAL_BITS) - 1);
        let lsn = u128::from(lsn.get()) & ((1 << 60) - 1);
        Self::encode(lsn << (ORDINAL_BITS + HASH_BITS) | ordinal << HASH_BITS | u128::from(hash))
    }

    /// The position of the commit that the id carries.
    pub fn commit_lsn(&self) -> Lsn {
        let bits = self.0[..10].iter().fold(0, |bits, c| bits << 6 | digit(*c));
        Lsn::new(bits)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }

    fn encode(bits: u128) -> Self {
        let mut characters = [0; LENGTH];
        for (place, character) in characters.iter_mut().enumerate() {
            let shift = 6 * (LENGTH - 1 - place);
            *character = ALPHABET[(bits >> shift & 0x3F) as usize];
        }
        Self(characters)
    }
}

fn digit(character: u8) -> u64 {
    let place = ALPHABET.iter().position(|c| *c == character);
    place.expect("an id holds only characters of the alphabet") as u64
}

/// The first 42 bits of the SHA-256 over the identity's parts, each ended or of fixed length.
fn hash(identity: &Identity<'_>, commit_time: Timestamp, xid: u32) -> u64 {
    let digest = Sha256::new()
        .chain_update(identity.system_id.as_bytes())
        .chain_update([0])
        .chain_update(identity.begin.commit_lsn.get().to_be_bytes())
        .chain_update(commit_time.as_microsecond().to_be_bytes())
        .chain_update(xid.to_be_bytes())
        .chain_update(identity.position.lsn.get().to_be_bytes())
        .chain_update(identity.position.index.to_be_bytes())
        .chain_update(identity.rule.as_bytes())
        .finalize();
    first_bits(&digest)
}

fn first_bits(digest: &[u8]) -> u64 {
    let first: [u8; 8] = digest[..8].try_into().expect("a SHA-256 has 32 bytes");
    u64::from_be_bytes(first) >> (64 - HASH_BITS)
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not 21 characters of `-0-9A-Z_a-z`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an action id: 21 characters of -0-9A-Z_a-z")]
pub struct InvalidActionId(String);

impl FromStr for ActionId {
    type Err = InvalidActionId;

    fn from_str(text: &str) -> Result<Self, InvalidActionId> {
        let characters: [u8; LENGTH] = text
            .as_bytes()
            .try_into()
            .map_err(|_| InvalidActionId(text.to_owned()))?;
        if characters.iter().all(|c| ALPHABET.contains(c)) {
            Ok(Self(characters))
        } else {
            Err(InvalidActionId(text.to_owned()))
        }
    }
}

impl Serialize for ActionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ActionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Xid;
    use proptest::prelude::*;

    fn begin(commit_lsn: u64) -> Begin {
        let commit_time = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
        Begin {
            commit_lsn: Lsn::new(commit_lsn),
            commit_time,
            xid: Xid(742),
        }
    }

    fn id(begin: &Begin, lsn: u64, index: u32, ordinal: u32, rule: &str) -> ActionId {
        let position = Position {
            lsn: Lsn::new(lsn),
            index,
        };
        ActionId::of(&Identity {
            system_id: "7300000000000000000",
            begin,
            position,
            rule,
            ordinal,
        })
    }

    proptest! {
        #[test]
        fn ids_sort_in_commit_order(
            a in 0..1u64 << 60, b in 0..1u64 << 60, i in 0..1u32 << 24, j in 0..1u32 << 24,
        ) {
            let (first, second) = (id(&begin(a), a, 0, i, "r"), id(&begin(b), b, 0, j, "r"));
            prop_assume!((a, i) != (b, j));
            prop_assert_eq!(first.as_str() < second.as_str(), (a, i) < (b, j));
        }

        #[test]
        fn an_id_reads_back_and_carries_its_commit(a in 0..1u64 << 60, i in 0..1u32 << 24) {
            let id = id(&begin(a), a, 0, i, "r");
            prop_assert_eq!(id.as_str().parse(), Ok(id));
            prop_assert_eq!(id.commit_lsn(), Lsn::new(a));
            prop_assert_eq!(id.as_str().len(), 21);
        }
    }

    #[test]
    fn the_rows_of_one_copy_have_ids_of_their_own() {
        let begin = begin(0x16_B374_D848);
        let ids: std::collections::HashSet<_> = (0..1000)
            .map(|row| id(&begin, 0x16_B374_0000, row, row, "r"))
            .collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn another_transaction_that_reuses_a_position_gives_another_id() {
        let here = begin(500);
        let later = Begin {
            commit_time: here.commit_time + jiff::SignedDuration::from_micros(1),
            ..here
        };
        let other = Begin {
            xid: Xid(743),
            ..here
        };
        let ids = [&here, &later, &other].map(|begin| id(begin, 400, 0, 0, "r"));
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
        assert_ne!(id(&here, 400, 0, 0, "r"), id(&here, 400, 0, 0, "s"));
    }

    #[test]
    fn an_unstreamed_action_has_one_id_however_often_it_is_made() {
        let id = |subject: &[&str]| {
            ActionId::unstreamed(&Unstreamed {
                system_id: "7300000000000000000",
                kind: "reconcile",
                subject,
                at: Lsn::new(500),
                ordinal: 0,
            })
        };
        assert_eq!(id(&["a", "b"]), id(&["a", "b"]));
        assert_ne!(id(&["a", "b"]), id(&["ab", ""]));
        assert_eq!(id(&["a"]).commit_lsn(), Lsn::new(500));
    }

    /// An id that changed would make every action of a replayed transaction a new one.
    #[test]
    fn the_formula_stays_as_it_is() {
        let id = id(
            &begin(0x16_B374_D848),
            0x16_B374_D000,
            3,
            2,
            "reference/project_created",
        );
        assert_eq!(id.as_str(), "---0PnSCW7---1L_QRhX_");
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in [
            "",
            "short",
            "!00000000000000000000",
            "0000000000000000000000",
        ] {
            assert!(text.parse::<ActionId>().is_err());
        }
    }
}
