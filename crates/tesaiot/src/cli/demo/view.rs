//! What the person in front sees: a table redrawn in place on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use tesaiot_contract::{DeviceId, Value};
use tesaiot_platform::Stored;

use crate::output;
use crate::output::table::Table;

/// Rows kept; a device that invents names does not fill the memory.
const MOST_ROWS: usize = 200;
/// Lines of a terminal whose height is not known, and lines left free for what is below the table.
const USUAL_HEIGHT: usize = 24;
const USUAL_WIDTH: usize = 80;
const BELOW: usize = 2;

/// The newest reading of one metric.
#[derive(Debug)]
struct Row {
    value: String,
    unit: String,
    /// The time of day: the date is today's, and the line has to fit
    device_time: String,
    stored_after: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Style {
    /// Redrawn in place
    Table,
    /// A line for each reading
    Lines,
    /// Stdout is for the summary
    Silent,
}

/// The picture so far.
pub(crate) struct View {
    style: Style,
    rows: BTreeMap<(DeviceId, Box<str>), Row>,
    samples: u64,
    started: Instant,
    /// Lines of the last picture, to be drawn over
    drawn: usize,
    changed: bool,
}

impl View {
    /// An empty one. With `silent` nothing is written to stdout.
    pub(crate) fn new(silent: bool) -> Self {
        let style = match silent {
            true => Style::Silent,
            false if io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb") => {
                Style::Table
            }
            false => Style::Lines,
        };
        Self { style, rows: BTreeMap::new(), samples: 0, started: Instant::now(), drawn: 0, changed: true }
    }

    /// Says what runs, and how to take part.
    pub(crate) fn introduce(&self, lines: &[String]) -> anyhow::Result<()> {
        let text = format!(
            "A platform is up, an agent (API key) and a publisher (certificate) are connected to it over TLS.\n\
             Lines to copy into another terminal while it runs:\n\n{}\n",
            lines.join("\n\n")
        );
        if self.style == Style::Silent {
            output::say(text);
            return Ok(());
        }
        output::line(text)?;
        output::say("Ctrl-C ends it.\n");
        Ok(())
    }

    /// Takes in a sample that was stored.
    pub(crate) fn stored(&mut self, stored: &Stored) -> anyhow::Result<()> {
        self.samples += 1;
        self.changed = true;
        let time = stored.sample.time;
        let device_time = time.map_or_else(|| "-".to_owned(), |time| time.strftime("%H:%M:%S%.3fZ").to_string());
        let stored_after = milliseconds(stored.stored_at.duration_since(stored.received_at).unsigned_abs());
        for metric in &stored.sample.metrics {
            let row = Row {
                value: shown(&metric.value),
                unit: metric.unit.as_deref().unwrap_or_default().to_owned(),
                device_time: device_time.clone(),
                stored_after: stored_after.clone(),
            };
            if self.style == Style::Lines {
                let unit = if row.unit.is_empty() { String::new() } else { format!(" {}", row.unit) };
                let line = format!("{}  {} = {}{unit}", stored.device, metric.name, row.value);
                let line = output::plain(&line);
                let time = time.map_or_else(|| "-".to_owned(), |time| time.to_string());
                output::line(format_args!("{line}  {time}  stored after {stored_after}"))?;
            }
            let key = (stored.device.clone(), metric.name.clone());
            if self.rows.len() < MOST_ROWS || self.rows.contains_key(&key) {
                self.rows.insert(key, row);
            }
        }
        Ok(())
    }

    /// Counts samples that came too fast to be shown.
    pub(crate) fn missed(&mut self, count: u64) {
        self.samples += count;
        self.changed = true;
    }

    /// Draws the table over the last one, if this is a terminal and anything is new.
    pub(crate) fn draw(&mut self) -> anyhow::Result<()> {
        if self.style != Style::Table || !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let (width, height) = terminal_size::terminal_size()
            .map_or((USUAL_WIDTH, USUAL_HEIGHT), |(width, height)| (usize::from(width.0), usize::from(height.0)));
        let picture = picture(&self.text(), width, height.saturating_sub(BELOW).max(1));
        // Up to where the last picture begins, and clear from there: ECMA-48, CUU and ED.
        let over = if self.drawn > 0 { format!("\u{1b}[{}A\u{1b}[J", self.drawn) } else { String::new() };
        self.drawn = picture.lines().count();
        output::data(format_args!("{over}{picture}"))
    }

    fn text(&self) -> String {
        let mut table = Table::new(["DEVICE", "METRIC", "VALUE", "UNIT", "DEVICE TIME", "STORED AFTER"]);
        for ((device, metric), row) in &self.rows {
            table.row([
                device.to_string(),
                metric.to_string(),
                row.value.clone(),
                row.unit.clone(),
                row.device_time.clone(),
                row.stored_after.clone(),
            ]);
        }
        format!("{table}{} samples stored in {} s\n", self.samples, self.started.elapsed().as_secs())
    }
}

/// What fits: a line that wraps, or a picture that scrolls, could not be drawn over. The last line is always there.
fn picture(text: &str, width: usize, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (body, last) = lines.split_at(lines.len().saturating_sub(1));
    let shown = body.iter().take(height.saturating_sub(1)).chain(last);
    shown.map(|line| line.chars().take(width).chain(['\n']).collect::<String>()).collect()
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Float(number) => number.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Text(text) => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use tesaiot_contract::{Metric, Sample};

    use super::*;

    fn sample(device: &str, metrics: &[(&str, Value, Option<&str>)]) -> Stored {
        let received_at: Timestamp = "2026-01-31T08:00:00.25Z".parse().unwrap();
        Stored {
            device: DeviceId::new(device).unwrap(),
            kind: None,
            received_at,
            stored_at: received_at + SignedDuration::from_micros(2_340),
            sample: Sample {
                time: Some("2026-01-31T08:00:00Z".parse().unwrap()),
                id: None,
                metrics: metrics
                    .iter()
                    .map(|(name, value, unit)| Metric {
                        name: (*name).into(),
                        value: value.clone(),
                        unit: unit.map(Into::into),
                    })
                    .collect(),
            },
        }
    }

    #[test]
    fn the_newest_reading_of_each_metric() {
        let mut view = View::new(true);
        view.stored(&sample("pump-7", &[("spo2", Value::Integer(96), Some("%")), ("motion", Value::Bool(true), None)]))
            .unwrap();
        view.stored(&sample("pump-7", &[("spo2", Value::Integer(97), Some("%"))])).unwrap();
        view.missed(3);
        let text = view.text();
        let (table, count) = text.rsplit_once("5 samples stored").unwrap();
        assert!(count.starts_with(" in "));
        insta::assert_snapshot!(table, @r"
        DEVICE  METRIC  VALUE  UNIT  DEVICE TIME    STORED AFTER
        pump-7  motion  true         08:00:00.000Z  2.3 ms
        pump-7  spo2    97     %     08:00:00.000Z  2.3 ms
        ");
    }

    #[test]
    fn invented_names_do_not_fill_the_memory() {
        let mut view = View::new(true);
        for number in 0..MOST_ROWS + 50 {
            view.stored(&sample("pump-7", &[(&format!("m{number}"), Value::Integer(1), None)])).unwrap();
        }
        assert_eq!(view.rows.len(), MOST_ROWS);
    }

    #[test]
    fn a_picture_never_wraps_or_scrolls() {
        assert_eq!(picture("head\nlong line\nmore\nlast\n", 4, 3), "head\nlong\nlast\n");
        assert_eq!(picture("a\nb\n", 80, 24), "a\nb\n");
    }
}
