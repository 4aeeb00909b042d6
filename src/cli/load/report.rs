//! What a run came to: counts, rates, latencies, and the bar that shows them grow.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Latencies are kept to three digits.
const DIGITS: u8 = 3;
/// Longer ones, from a clock that jumped, count as so long: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// How often a bar is drawn, in times a second.
const DRAWN_HZ: u8 = 10;

/// What one client did, and then all of them.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// Messages that were delivered before.
    pub(super) redelivered: u64,
    began: Option<Instant>,
    ended: Option<Instant>,
    /// Microseconds.
    latency: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "fails only for digits above 5")]
        let latency = Histogram::new(DIGITS).expect("three digits are allowed");
        Self { messages: 0, bytes: 0, redelivered: 0, began: None, ended: None, latency }
    }
}

impl Tally {
    pub(super) fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    /// Time counts up to here.
    pub(super) fn end(&mut self) {
        self.ended = Some(Instant::now());
    }

    pub(super) fn message(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn latency(&mut self, took: Duration) {
        self.latency_us(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn latency_us(&mut self, took: u64) {
        // The histogram grows with its values; only memory could be missing.
        if let Err(error) = self.latency.record(took.min(LATENCY_US_MAX)) {
            tracing::error!("a latency cannot be kept: {error}");
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.redelivered += other.redelivered;
        self.began = [self.began, other.began].into_iter().flatten().min();
        self.ended = [self.ended, other.ended].into_iter().flatten().max();
        // Fails only for values that a fixed-size histogram cannot hold; these grow.
        if let Err(error) = self.latency.add(&other.latency) {
            tracing::error!("latencies cannot be added: {error}");
        }
    }
}

/// The result of a run, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    command: &'static str,
    clients: u32,
    messages: u64,
    /// Of bodies alone.
    bytes: u64,
    redelivered: u64,
    seconds: f64,
    messages_per_second: f64,
    /// `None` when nothing was measured.
    latency_us: Option<Latency>,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl Report {
    pub(super) fn new(command: &'static str, clients: u32, all: Tally) -> Self {
        let took = match (all.began, all.ended) {
            (Some(began), Some(ended)) => ended.saturating_duration_since(began),
            _ => Duration::ZERO,
        };
        let seconds = took.as_secs_f64();
        let rate = if seconds > 0.0 { all.messages as f64 / seconds } else { 0.0 };
        let latency = &all.latency;
        let at = |quantile| latency.value_at_quantile(quantile);
        let latency_us = (!latency.is_empty()).then(|| Latency {
            mean: latency.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: latency.max(),
        });
        Self {
            command,
            clients,
            messages: all.messages,
            bytes: all.bytes,
            redelivered: all.redelivered,
            seconds,
            messages_per_second: rate,
            latency_us,
        }
    }

    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            let line = serde_json::to_string(self)?;
            return writeln!(out, "{line}");
        }
        let verb = if self.command == "producer" { "Produced" } else { "Consumed" };
        writeln!(out, "{verb}: {} messages", self.messages)?;
        let mebibytes = self.bytes as f64 / f64::from(1 << 20);
        let Self { seconds, messages_per_second: rate, .. } = self;
        writeln!(out, "  in {seconds:.3} s: {rate:.0} messages/s, {mebibytes:.1} MiB")?;
        if self.redelivered > 0 {
            writeln!(out, "  of them delivered before: {}", self.redelivered)?;
        }
        if let Some(Latency { p50, p90, p99, p99_9, max, mean }) = &self.latency_us {
            writeln!(
                out,
                "  latency in us: p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}, max {max}, mean {mean:.0}"
            )?;
        }
        Ok(())
    }
}

/// A bar on standard error, where that is a terminal.
#[derive(Debug, Clone)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Without a total it only counts.
    pub(super) fn new(total: Option<u64>) -> Self {
        let bar =
            ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(DRAWN_HZ));
        let template = match total {
            Some(_) => "{wide_bar} {human_pos}/{human_len} {per_sec} {eta}",
            None => "{spinner} {human_pos} {per_sec} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_added_up_from_the_first_beginning_to_the_last_end() {
        let start = Instant::now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let mut all = Tally::default();
        for (began, ended) in [(100, 300), (200, 600)] {
            let mut one = Tally { began: at(began), ended: at(ended), ..Tally::default() };
            for us in 1..=1000 {
                one.message(10);
                one.latency_us(us);
            }
            all.add(&one);
        }
        let report = Report::new("producer", 2, all);
        assert_eq!((report.messages, report.bytes, report.seconds), (2000, 20_000, 0.5));
        assert!((report.messages_per_second - 4000.0).abs() < 1e-6);
        let latency = report.latency_us.as_ref().unwrap();
        assert_eq!((latency.p50, latency.p99, latency.max), (500, 990, 1000));
        let json: serde_json::Value = serde_json::to_value(&report).unwrap();
        assert_eq!(json["latency_us"]["p99_9"], 999);
    }

    #[test]
    fn a_run_without_messages_has_no_latency_and_no_rate() {
        let report = Report::new("consumer", 1, Tally::default());
        assert!(report.latency_us.is_none());
        assert_eq!(report.messages_per_second, 0.0);
    }
}
