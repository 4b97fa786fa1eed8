//! Whatever a server sends, decoding and assembling it ends with changes or an error, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wal::{Limits, Resume};

const LIMITS: Limits = Limits {
    changes: 3,
    bytes: 4096,
};

fuzz_target!(|frames: &[u8]| {
    let _ = wal::replay(frames, LIMITS, Resume::default());
});
