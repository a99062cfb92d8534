//! What is wanted of the stored readings of one metric: buckets, or the points of a plot.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use crate::cli::client::wire::{PlotPoint, shown};
use crate::cli::span::Span;
use crate::output::table::Table;

/// Flags that make fewer lines of many readings.
#[derive(Args, Debug)]
pub(super) struct Shape {
    /// In buckets of this width, counted from 1970-01-01 UTC: 10s, 1m, 6h, 7d
    #[arg(long, value_name = "SPAN", requires = "metric", conflicts_with = "points")]
    bucket: Option<Span>,
    /// What to tell of each bucket [default: all of it]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT", requires = "bucket")]
    aggregate: Vec<Aggregate>,
    /// What stands in buckets without readings
    #[arg(long, value_enum, value_name = "HOW", requires = "bucket")]
    fill: Option<Fill>,
    /// At most so many readings, chosen so that a plot of them looks the same
    #[arg(long, value_name = "N", requires = "metric", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    points: Option<u32>,
    /// How they are chosen
    #[arg(long, value_enum, requires = "points")]
    algorithm: Option<Algorithm>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Aggregate {
    Count,
    Min,
    Max,
    Avg,
    Sum,
    First,
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fill {
    /// There are no such buckets
    None,
    /// Nothing
    Null,
    /// The values of the bucket before
    Previous,
    /// A straight line between the buckets around it
    Linear,
    /// Zero
    Zero,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Algorithm {
    /// Largest-Triangle-Three-Buckets (Steinarsson 2013)
    Lttb,
    /// The smallest and the largest of each stretch of time
    Minmax,
}

impl Shape {
    pub(super) fn is_buckets(&self) -> bool {
        self.bucket.is_some()
    }

    pub(super) fn is_plot(&self) -> bool {
        self.points.is_some()
    }

    /// As the platform reads it.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        if let Some(bucket) = &self.bucket {
            query.push(("bucket", bucket.as_str().to_owned()));
        }
        if !self.aggregate.is_empty() {
            query.push(("aggregate", self.columns().join(",")));
        }
        query.extend(self.fill.map(|fill| ("fill", name(&fill))));
        query.extend(self.points.map(|points| ("points", points.to_string())));
        query.extend(self.algorithm.map(|algorithm| ("algorithm", name(&algorithm))));
        query
    }

    fn columns(&self) -> Vec<String> {
        match &*self.aggregate {
            [] => Aggregate::value_variants().iter().map(name).collect(),
            some => some.iter().map(name).collect(),
        }
    }

    /// Buckets in columns for people.
    pub(super) fn table(&self, buckets: &[Map<String, Value>]) -> Table<8> {
        // Columns that were not asked for stay empty at the end of the line, and are cut off there.
        const HEADERS: [(&str, &str); 7] = [
            ("count", "COUNT"),
            ("min", "MIN"),
            ("max", "MAX"),
            ("avg", "AVG"),
            ("sum", "SUM"),
            ("first", "FIRST"),
            ("last", "LAST"),
        ];
        let mut columns = self.columns();
        columns.dedup();
        columns.insert(0, "start".to_owned());
        let header = |place: usize| {
            let column = columns.get(place).map_or("", String::as_str);
            if place == 0 {
                "START"
            } else {
                HEADERS.iter().find(|(name, _)| *name == column).map_or("", |found| found.1)
            }
        };
        let mut table = Table::new(std::array::from_fn(header));
        for bucket in buckets {
            let cell = |place: usize| match columns.get(place).and_then(|column| bucket.get(column)) {
                None | Some(Value::Null) => String::new(),
                Some(value) => shown(value),
            };
            table.row(std::array::from_fn(cell));
        }
        table
    }
}

/// The points of a plot in columns for people.
pub(super) fn plot_table(points: &[PlotPoint]) -> Table<2> {
    let mut table = Table::new(["TIME", "VALUE"]);
    for point in points {
        table.row([point.time.clone(), shown(&point.value)]);
    }
    table
}

fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_columns_that_were_asked_for() {
        let shape = Shape {
            bucket: "1m".parse().ok(),
            aggregate: vec![Aggregate::Max, Aggregate::Avg],
            fill: Some(Fill::Linear),
            points: None,
            algorithm: None,
        };
        let query = shape.query();
        assert_eq!(query, [("bucket", "1m".into()), ("aggregate", "max,avg".into()), ("fill", "linear".into())]);
        let bucket = json!({"start": "2026-01-31T08:00:00Z", "max": 2.5, "avg": null});
        let table = shape.table(&[bucket.as_object().cloned().unwrap_or_default()]);
        insta::assert_snapshot!(table, @r"
        START                 MAX  AVG
        2026-01-31T08:00:00Z  2.5
        ");
    }
}
