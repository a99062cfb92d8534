//! Durations of repeated runs.

use std::time::Duration;

/// Durations of one thing, measured several times.
pub(crate) struct Samples {
    name: &'static str,
    seconds: Vec<f64>,
}

impl Samples {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, seconds: Vec::new() }
    }

    pub(crate) fn push(&mut self, took: Duration) {
        self.seconds.push(took.as_secs_f64());
        self.seconds.sort_by(f64::total_cmp);
    }

    /// The middle one, in seconds.
    pub(crate) fn median(&self) -> f64 {
        self.seconds[self.seconds.len() / 2]
    }

    pub(crate) fn print(&self) {
        let (first, last) = (self.seconds[0], self.seconds[self.seconds.len() - 1]);
        let (min, median, max) = (first * 1e3, self.median() * 1e3, last * 1e3);
        println!("{:<44} median {median:7.1} ms   min {min:7.1}   max {max:7.1}", self.name);
    }

    pub(crate) fn print_rate(&self, count: usize) {
        let median = self.median();
        println!("{:<44} median {median:7.3} s   {:>7.0} samples/s", self.name, count as f64 / median);
    }
}
