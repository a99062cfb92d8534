//! Stored readings as a table, JSON, lines of JSON, CSV (RFC 4180), or an Arrow stream.

use std::borrow::Cow;
use std::fmt::Write;

use clap::ValueEnum;

use crate::cli::client::wire::{Point, shown};
use crate::output::table::Table;

/// How readings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// One JSON array
    Json,
    /// One JSON object on each line
    Ndjson,
    /// Comma-separated, with a header
    Csv,
    /// Typed columns for pandas, polars, DuckDB: an Arrow IPC stream, of all readings, into a file or a pipe
    Arrow,
}

impl Format {
    /// The platform's word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Table | Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
        }
    }
}

/// Why readings are not printed as an Arrow stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArrowError {
    /// Only whole readings have the columns.
    #[error("--format arrow is of all readings as they came")]
    NotPoints,
    /// Bytes that no person reads.
    #[error("an Arrow stream is not text, and stdout is a terminal")]
    Terminal,
}

impl ArrowError {
    /// What to do now.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NotPoints => "leave --limit, --bucket and --points out, and choose with --since, --from and --to",
            Self::Terminal => "write it to a file: --format arrow > readings.arrows",
        }
    }
}

/// Readings as text, all lines ended. Arrow is no text and is never rendered here.
pub(crate) fn render(format: Format, points: &[Point]) -> Result<String, serde_json::Error> {
    Ok(match format {
        Format::Table | Format::Arrow => table(points).to_string(),
        Format::Json => serde_json::to_string_pretty(points)? + "\n",
        Format::Ndjson => {
            let lines: Result<Vec<String>, _> = points.iter().map(serde_json::to_string).collect();
            lines?.into_iter().map(|line| line + "\n").collect()
        }
        Format::Csv => csv(points),
    })
}

fn table(points: &[Point]) -> Table<5> {
    let mut table = Table::new(["TIME", "METRIC", "VALUE", "UNIT", "TYPE"]);
    for point in points {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        table.row([
            point.time.clone(),
            point.metric.clone(),
            shown(&point.value),
            text(&point.unit),
            text(&point.kind),
        ]);
    }
    table
}

fn csv(points: &[Point]) -> String {
    let mut text = String::from("time,metric,value,unit,type,received_at\r\n");
    for point in points {
        let value = shown(&point.value);
        let optional = |text: &'_ Option<String>| text.clone().unwrap_or_default();
        let (unit, kind) = (optional(&point.unit), optional(&point.kind));
        let cells = [&point.time, &point.metric, &value, &unit, &kind, &point.received_at].map(|cell| quoted(cell));
        // Writing to a String does not fail.
        let _ = write!(text, "{}\r\n", cells.join(","));
    }
    text
}

/// A cell with a separator, a quote or a line break stands in quotes, and its quotes are doubled.
fn quoted(cell: &str) -> Cow<'_, str> {
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\"")).into()
    } else {
        cell.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn points() -> Vec<Point> {
        let point = |metric: &str, value: Value, unit: Option<&str>| Point {
            metric: metric.into(),
            value,
            unit: unit.map(str::to_owned),
            time: "2026-01-31T08:00:00Z".into(),
            received_at: "2026-01-31T08:00:00.125Z".into(),
            kind: (metric == "temperature").then(|| "room/air".into()),
        };
        vec![
            point("temperature", json!(21.5), Some("°C")),
            point("motion", json!(true), None),
            point("note", json!("a \"quoted\", long\nword\u{1b}[2J"), None),
        ]
    }

    #[test]
    fn a_table_for_people() {
        insta::assert_snapshot!(render(Format::Table, &points()).unwrap(), @r#"
        TIME                  METRIC       VALUE                      UNIT  TYPE
        2026-01-31T08:00:00Z  temperature  21.5                       °C    room/air
        2026-01-31T08:00:00Z  motion       true
        2026-01-31T08:00:00Z  note         a "quoted", long�word�[2J
        "#);
    }

    #[test]
    fn comma_separated_for_spreadsheets() {
        assert_eq!(
            render(Format::Csv, &points()).unwrap(),
            "time,metric,value,unit,type,received_at\r\n\
             2026-01-31T08:00:00Z,temperature,21.5,°C,room/air,2026-01-31T08:00:00.125Z\r\n\
             2026-01-31T08:00:00Z,motion,true,,,2026-01-31T08:00:00.125Z\r\n\
             2026-01-31T08:00:00Z,note,\"a \"\"quoted\"\", long\nword\u{1b}[2J\",,,2026-01-31T08:00:00.125Z\r\n"
        );
    }

    #[test]
    fn json_in_one_piece_or_by_line_says_the_same() {
        let whole: Value = serde_json::from_str(&render(Format::Json, &points()).unwrap()).unwrap();
        let lines = render(Format::Ndjson, &points()).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(whole, Value::Array(lines));
        assert_eq!(whole[0]["type"], "room/air");
    }
}
