//! The text format of Prometheus.

use std::fmt::Write;

use crate::ingest::latency::Histogram;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only rises, and begins anew with the process.
    Counter,
    /// It is what it is now.
    Gauge,
}

/// A page of families. Names and meanings are our own words; a label's value is escaped.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, meaning: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(name, kind, meaning);
    }

    fn head(&mut self, name: &str, kind: &str, meaning: &str) {
        // Writing to a String does not fail, here and below.
        let _ = writeln!(self.text, "# HELP {name} {}\n# TYPE {name} {kind}", on_one_line(meaning));
    }

    /// One sample of the family that was begun.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (place, (label, value)) in labels.iter().enumerate() {
            let separator = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{separator}{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// A family of one sample.
    pub(super) fn one(&mut self, name: &str, kind: Kind, meaning: &str, value: f64) {
        self.family(name, kind, meaning);
        self.sample(name, &[], value);
    }

    /// A family that is a histogram.
    pub(super) fn histogram(&mut self, name: &str, meaning: &str, histogram: &Histogram) {
        self.head(name, "histogram", meaning);
        let bucket = format!("{name}_bucket");
        for (bound, count) in &histogram.buckets {
            self.sample(&bucket, &[("le", &bound.to_string())], *count as f64);
        }
        self.sample(&bucket, &[("le", "+Inf")], histogram.count as f64);
        self.sample(&format!("{name}_sum"), &[], histogram.sum);
        self.sample(&format!("{name}_count"), &[], histogram.count as f64);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Backslash and line break, as the format wants them.
fn on_one_line(text: &str) -> String {
    text.replace('\\', r"\\").replace('\n', r"\n")
}

/// The same, and quotes.
fn escaped(text: &str) -> String {
    on_one_line(text).replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_samples_and_a_histogram() {
        let mut page = Exposition::default();
        page.one("up_seconds", Kind::Gauge, "Since the start.", 1.5);
        page.family("drops_total", Kind::Counter, "By cause.");
        page.sample("drops_total", &[("cause", "a \"b\"\n\\"), ("x", "y")], 3.0);
        let histogram = Histogram { buckets: vec![(0.0005, 1), (1.0, 2)], count: 4, sum: 2.25 };
        page.histogram("commit_seconds", "How long.", &histogram);
        let expected = r#"# HELP up_seconds Since the start.
# TYPE up_seconds gauge
up_seconds 1.5
# HELP drops_total By cause.
# TYPE drops_total counter
drops_total{cause="a \"b\"\n\\",x="y"} 3
# HELP commit_seconds How long.
# TYPE commit_seconds histogram
commit_seconds_bucket{le="0.0005"} 1
commit_seconds_bucket{le="1"} 2
commit_seconds_bucket{le="+Inf"} 4
commit_seconds_sum 2.25
commit_seconds_count 4
"#;
        assert_eq!(page.into_text(), expected);
    }
}
