//! How far this machine's clock and the server's are apart. Pure.

use super::check::{Check, Complaint};

const NAME: &str = "clock";
/// Receivers refuse a notification whose time is further from theirs (Standard Webhooks).
const TOLERANCE: f64 = 300.0;
/// What is worth a word: retries and times in logs are off by so much.
const NOTICEABLE: f64 = 5.0;
const MEND: &str = "timedatectl set-ntp true # on the machine whose clock is wrong";

/// The server's clock, asked between two looks at ours; all in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub before: f64,
    pub server: f64,
    pub after: f64,
}

impl Reading {
    /// How far this machine is ahead, at the least: the answer may have been given at any time in between.
    fn skew(&self) -> f64 {
        if self.server < self.before {
            self.before - self.server
        } else {
            (self.after - self.server).min(0.0)
        }
    }
}

pub fn clock(reading: &Reading) -> Check {
    let skew = reading.skew();
    let told = format!(
        "this machine's clock is {:.1} s {} the server's",
        skew.abs(),
        if skew > 0.0 { "ahead of" } else { "behind" }
    );
    let complaint = match skew.abs() {
        apart if apart >= TOLERANCE => Some(Complaint::fail(
            format!(
                "{told}: where it is this one that is wrong, receivers refuse every notification (webhook-timestamp, 5 min)"
            ),
            MEND,
        )),
        apart if apart >= NOTICEABLE => Some(Complaint::warn(
            format!("{told}: from 5 min on receivers refuse notifications (webhook-timestamp)"),
            MEND,
        )),
        _ => None,
    };
    Check::of(NAME, "this machine and the server agree", complaint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    fn read(before: f64, server: f64, after: f64) -> Check {
        clock(&Reading {
            before,
            server,
            after,
        })
    }

    #[test]
    fn clocks_that_are_apart_are_told_by_how_much_at_the_least() {
        assert_eq!(read(1000.0, 1000.5, 1001.0).status, Status::Ok);
        // A slow answer is no skew.
        assert_eq!(read(1000.0, 1029.0, 1030.0).status, Status::Ok);
        let behind = read(1000.0, 1020.0, 1001.0);
        assert_eq!(behind.status, Status::Warn);
        assert!(
            behind.message.contains("19.0 s behind"),
            "{}",
            behind.message
        );
        let ahead = read(1000.0, 600.0, 1001.0);
        assert_eq!(ahead.status, Status::Fail);
        assert!(
            ahead.message.contains("400.0 s ahead of"),
            "{}",
            ahead.message
        );
    }
}
