//! What the demo prints: one line for each thing that happens, aligned, in 100 columns at most.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::ledger::{Fact, Stage, Totals};
use super::sentence::Sentence;

const COLUMNS: usize = 100;
/// Of "endpoints_modified", the longest type.
const TYPE_COLUMNS: usize = 18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Dim,
    Bold,
    Blue,
    Green,
    Cyan,
    Yellow,
    Red,
}

pub struct Screen<W> {
    out: W,
    colour: bool,
    started: Instant,
}

impl Screen<io::Stdout> {
    /// Standard output; in colour where it is a terminal and nobody objects.
    pub fn open() -> Self {
        let out = io::stdout();
        let told = |name, value: &str| env::var_os(name).is_some_and(|found| found == value);
        let objects = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = out.is_terminal() && !objects && !told("TERM", "dumb");
        Self {
            out,
            colour,
            started: Instant::now(),
        }
    }
}

impl<W: Write> Screen<W> {
    /// The moment that times are counted from.
    pub fn start(&mut self) {
        self.started = Instant::now();
    }

    pub fn headline(&mut self, postgres: &str) -> io::Result<()> {
        writeln!(
            self.out,
            "A worker on a Postgres {postgres} of its own, Tidings beside it, and a subscriber.\n"
        )
    }

    pub fn committed(&mut self, at: Instant, words: &str) -> io::Result<()> {
        self.line(
            at,
            Style::Blue,
            "worker",
            Style::Plain,
            &format!("{words} · commit"),
        )
    }

    pub fn rolled_back(&mut self, at: Instant, words: &str) -> io::Result<()> {
        let text = format!("{words} · rollback");
        self.line(at, Style::Blue, "worker", Style::Yellow, &text)
    }

    pub fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        let Sentence {
            action_type,
            details,
            status,
            environment,
            ..
        } = &fact.sentence;
        match fact.stage {
            Stage::Recorded => {
                let style = match status.as_str() {
                    "failed" => Style::Red,
                    _ => Style::Bold,
                };
                let text = format!("{action_type:TYPE_COLUMNS$}  {details}");
                self.line(fact.at, Style::Green, "action", style, &text)
            }
            Stage::Notified => {
                let after = fact.after.map(milliseconds).unwrap_or_default();
                let text = format!(
                    "{action_type:TYPE_COLUMNS$}  verified  +{after:<7}  {status}/{environment}"
                );
                self.line(fact.at, Style::Cyan, "webhook", Style::Dim, &text)
            }
        }
    }

    pub fn refused(&mut self, at: Instant, reason: &str) -> io::Result<()> {
        self.line(
            at,
            Style::Cyan,
            "webhook",
            Style::Red,
            &format!("refused: {reason}"),
        )
    }

    pub fn note(&mut self, text: &str) -> io::Result<()> {
        self.line(Instant::now(), Style::Plain, "demo", Style::Plain, text)
    }

    fn line(
        &mut self,
        at: Instant,
        label_style: Style,
        label: &str,
        style: Style,
        text: &str,
    ) -> io::Result<()> {
        let seconds = at.saturating_duration_since(self.started).as_secs_f64();
        let time = format!("{seconds:6.2}");
        let room = COLUMNS - time.len() - 2 - "webhook".len() - 2;
        let (time, label) = (
            self.painted(Style::Dim, &time),
            self.painted(label_style, &format!("{label:7}")),
        );
        let text = self.painted(style, fit(text, room).trim_end());
        writeln!(self.out, "{time}  {label}  {text}")
    }

    pub fn summary(&mut self, totals: &Totals) -> io::Result<()> {
        let count: usize = totals.actions.values().sum();
        writeln!(self.out, "\nactions by type")?;
        for (action_type, count) in &totals.actions {
            writeln!(self.out, "  {action_type:TYPE_COLUMNS$}  {count:>7}")?;
        }
        writeln!(self.out, "  {:TYPE_COLUMNS$}  {count:>7}", "total")?;
        let worker = totals.worker;
        writeln!(self.out)?;
        for (name, count) in [
            ("worker commits", worker.committed),
            ("rolled back", worker.rolled_back),
            ("notifications", totals.received),
            ("invalid signatures", totals.invalid),
            ("unexpected", totals.unexpected),
        ] {
            writeln!(self.out, "  {name:TYPE_COLUMNS$}  {count:>7}")?;
        }
        writeln!(self.out)?;
        writeln!(
            self.out,
            "  {:TYPE_COLUMNS$}  {:>9}  {:>9}",
            "", "p50", "p99"
        )?;
        for (name, latencies, how) in [
            (
                "commit→row",
                &totals.to_row,
                "COMMIT returned → row read by another session",
            ),
            (
                "commit→webhook",
                &totals.to_webhook,
                "COMMIT returned → request received",
            ),
        ] {
            let [half, most] = [50, 99].map(|percent| {
                let found = latencies.percentile(percent);
                found.map_or_else(|| "-".to_owned(), milliseconds)
            });
            writeln!(
                self.out,
                "  {name:TYPE_COLUMNS$}  {half:>9}  {most:>9}  {how}"
            )?;
        }
        writeln!(self.out)?;
        writeln!(self.out, "lost {}", totals.lost)?;
        writeln!(self.out, "duplicates {}", totals.duplicates)?;
        self.out.flush()
    }

    fn painted(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => None,
            Style::Bold => Some(1),
            Style::Dim => Some(2),
            Style::Red => Some(31),
            Style::Green => Some(32),
            Style::Yellow => Some(33),
            Style::Blue => Some(34),
            Style::Cyan => Some(36),
        };
        match code.filter(|_| self.colour) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

fn milliseconds(latency: Duration) -> String {
    let milliseconds = latency.as_secs_f64() * 1000.0;
    match milliseconds {
        ..10.0 => format!("{milliseconds:.1} ms"),
        _ => format!("{milliseconds:.0} ms"),
    }
}

/// The text in at most so many columns, of which each character takes one.
fn fit(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::demo::ledger::Ledger;

    fn printed(colour: bool, print: impl Fn(&mut Screen<Vec<u8>>) -> io::Result<()>) -> String {
        let mut screen = Screen {
            out: Vec::new(),
            colour,
            started: Instant::now(),
        };
        print(&mut screen).unwrap();
        String::from_utf8(screen.out).unwrap()
    }

    #[test]
    fn a_line_of_any_length_fits_into_100_columns() {
        for length in [0, 40, 82, 83, 84, 5_000] {
            let words = "é".repeat(length);
            let line = printed(false, |screen| screen.committed(Instant::now(), &words));
            assert!(line.trim_end().chars().count() <= COLUMNS, "{length}");
        }
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let line = |colour| {
            printed(colour, |screen| {
                screen.rolled_back(screen.started, "insert projects 'shop'")
            })
        };
        assert_eq!(
            line(false),
            "  0.00  worker   insert projects 'shop' · rollback\n"
        );
        let parts: Vec<String> = line(true)
            .split('\x1b')
            .map(|part| match part.split_once('m') {
                Some((code, text)) if code.starts_with('[') => text.to_owned(),
                _ => part.to_owned(),
            })
            .collect();
        assert_eq!(parts.concat(), line(false));
    }

    #[test]
    fn the_last_lines_are_what_was_counted() {
        let mut totals = Ledger::default().totals();
        (totals.lost, totals.duplicates) = (3, 2);
        let summary = printed(false, |screen| screen.summary(&totals));
        assert!(summary.ends_with("\nlost 3\nduplicates 2\n"), "{summary}");
    }
}
