//! Counters of the message path, and the Prometheus text format. A counter is one relaxed atomic
//! that its owner holds: nothing is looked up by name.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Goes up only.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Answered requests by the class of their status.
#[derive(Debug, Default)]
pub struct Requests([Counter; 5]);

impl Requests {
    /// The classes, in order.
    pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

    /// Counts an answer.
    pub fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        if let Some(counter) = self.0.get(class) {
            counter.add();
        }
    }

    /// Class and count.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Self::CLASSES
            .into_iter()
            .zip(self.0.iter().map(Counter::get))
    }
}

/// Codes that have a counter of their own (spec 02 §8); all others share one.
const CODES: [u32; 18] = [
    101_500, 101_501, 101_502, 101_503, 101_504, 101_505, 101_506, 101_507, 101_508, 101_509,
    101_510, 102_510, 303_000, 303_001, 303_002, 303_003, 303_200, 500_000,
];

/// Failures by code.
#[derive(Debug, Default)]
pub struct Failures {
    known: [Counter; CODES.len()],
    other: Counter,
}

impl Failures {
    /// Counts a failure.
    pub fn failed(&self, code: u32) {
        let slot = CODES.iter().position(|known| *known == code);
        slot.and_then(|at| self.known.get(at))
            .unwrap_or(&self.other)
            .add();
    }

    /// The codes that came, and how often; `None` stands for all others.
    pub fn counts(&self) -> impl Iterator<Item = (Option<u32>, u64)> + '_ {
        let known = CODES
            .iter()
            .zip(&self.known)
            .map(|(code, counter)| (Some(*code), counter.get()));
        known
            .chain(std::iter::once((None, self.other.get())))
            .filter(|(_, count)| *count > 0)
    }
}

/// Writes the text format of Prometheus (version 0.0.4).
#[derive(Debug, Default)]
pub struct Text(String);

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up only.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Text {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A family with a single sample.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.single("up", Kind::Gauge, "Runs.", 1);
        text.family("hits_total", Kind::Counter, "Hits.");
        text.sample("hits_total", &[("path", "a\"b\\c\nd"), ("n", "1")], 7);
        expect![[r#"
            # HELP up Runs.
            # TYPE up gauge
            up 1
            # HELP hits_total Hits.
            # TYPE hits_total counter
            hits_total{path="a\"b\\c\nd",n="1"} 7
        "#]]
        .assert_eq(&text.finish());
    }

    #[test]
    fn odd_statuses_and_codes_are_counted_too() {
        let requests = Requests::default();
        for status in [0, 99, 200, 299, 404, 503, 999] {
            requests.answered(status);
        }
        let counts: Vec<u64> = requests.counts().map(|(_, n)| n).collect();
        assert_eq!(counts, [2, 2, 0, 1, 2]);
        let failures = Failures::default();
        for code in [101_503, 101_503, 42, 0] {
            failures.failed(code);
        }
        let counts: Vec<_> = failures.counts().collect();
        assert_eq!(counts, [(Some(101_503), 2), (None, 2)]);
    }
}
