//! When a delivery is attempted, told before it fails. Pure.

use std::time::Duration;

/// When each attempt falls after the first, and when the delivery is given up: "attempts after 5 s,
/// 5 min 5 s, …; gives up after 75 h 35 min 5 s".
///
/// The last delay of the schedule leads to the last attempt, and after it the delivery is given up. The
/// variation of each by a tenth is left out.
pub fn timetable(schedule: &[Duration]) -> String {
    let mut after = Duration::ZERO;
    let attempts: Vec<String> = schedule
        .iter()
        .map(|delay| {
            after = after.saturating_add(*delay);
            length(after)
        })
        .collect();
    if attempts.is_empty() {
        return "one attempt only; gives up when it fails".to_owned();
    }
    format!(
        "attempts after {}; gives up after {}",
        attempts.join(", "),
        length(after)
    )
}

/// A length of time in hours, minutes and seconds; below a second in milliseconds.
pub fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{} ms", duration.as_millis());
    }
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(delays: &[u64]) -> Vec<Duration> {
        delays.iter().copied().map(Duration::from_secs).collect()
    }

    #[test]
    fn each_attempt_falls_after_the_sum_of_the_delays_before_it() {
        assert_eq!(
            timetable(&seconds(&[
                5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400
            ])),
            "attempts after 5 s, 5 min 5 s, 35 min 5 s, 2 h 35 min 5 s, 7 h 35 min 5 s, \
             17 h 35 min 5 s, 31 h 35 min 5 s, 51 h 35 min 5 s, 75 h 35 min 5 s; \
             gives up after 75 h 35 min 5 s"
        );
    }

    #[test]
    fn a_schedule_without_delays_is_one_attempt() {
        assert_eq!(timetable(&[]), "one attempt only; gives up when it fails");
    }

    #[test]
    fn lengths_leave_out_what_is_zero() {
        assert_eq!(length(Duration::from_millis(250)), "250 ms");
        assert_eq!(length(Duration::from_secs(3600)), "1 h");
        assert_eq!(length(Duration::from_secs(86_461)), "24 h 1 min 1 s");
    }
}
