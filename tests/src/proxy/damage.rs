//! Changes in the stream that are not what the server sent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::{COPY_DATA, HEADER_BYTES};

/// How the next change in the stream is spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Its last bytes are missing; the frame says so.
    Truncated,
    /// Its frame says that it is longer than any can be.
    Oversized,
    /// It is of a kind that the protocol does not know.
    UnknownTag,
}

#[derive(Debug, Default)]
pub(super) struct Spoiler {
    damage: Mutex<Option<Damage>>,
    done: AtomicBool,
}

impl Spoiler {
    pub(super) fn order(&self, damage: Damage) {
        self.done.store(false, Ordering::SeqCst);
        *self.damage() = Some(damage);
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    fn damage(&self) -> MutexGuard<'_, Option<Damage>> {
        self.damage.lock().expect("nobody panics while holding it")
    }

    /// Spoils an Insert, where one is to be spoiled.
    pub(super) fn spoil(&self, frame: &mut Vec<u8>) {
        /// Where XLogData begins its message: after tag, two positions and a time.
        const MESSAGE: usize = HEADER_BYTES + 1 + 3 * 8;
        if !matches!(frame[..], [COPY_DATA, _, _, _, _, b'w', ..])
            || frame.get(MESSAGE) != Some(&b'I')
        {
            return;
        }
        let Some(damage) = self.damage().take() else {
            return;
        };
        match damage {
            Damage::Truncated => {
                frame.truncate(frame.len() - 3);
                let length = u32::try_from(frame.len() - 1).expect("a test's frame is short");
                frame[1..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
            }
            Damage::Oversized => frame[1..HEADER_BYTES].copy_from_slice(&u32::MAX.to_be_bytes()),
            Damage::UnknownTag => frame[MESSAGE] = b'?',
        }
        self.done.store(true, Ordering::SeqCst);
    }
}
