//! What is asked of stored telemetry, as query parameters.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tesaiot_store::telemetry::{Algorithm, Bucket, BucketQuery, Fill, RangeQuery};

use super::super::problem::Problem;
use super::value;

/// Points or buckets in one answer, unless asked otherwise, and at most.
const POINTS: (usize, usize) = (1000, 100_000);
/// Points of a plot at most: more than any screen is wide.
const PLOT: usize = 10_000;

/// Which points: `since` or `from`/`to` (also `start_time`/`end_time`), and what of them.
#[derive(Debug, Default, Deserialize)]
pub(in crate::api) struct Question {
    pub(super) metric: Option<Box<str>>,
    since: Option<String>,
    #[serde(alias = "start_time")]
    from: Option<Timestamp>,
    #[serde(alias = "end_time")]
    to: Option<Timestamp>,
    limit: Option<usize>,
    order: Option<String>,
    bucket: Option<String>,
    aggregate: Option<String>,
    fill: Option<String>,
    points: Option<usize>,
    algorithm: Option<String>,
    format: Option<String>,
    /// Device ids with commas between them, for questions to several devices.
    pub(super) devices: Option<String>,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
    Ndjson,
    /// Typed columns: of points only.
    Arrow,
}

/// In which form the points are wanted.
#[derive(Debug)]
pub(super) enum Kind {
    /// The points as they came.
    Points,
    /// In buckets.
    Buckets(BucketQuery),
    /// In as many points as a plot has room for.
    Plot(usize, Algorithm),
}

/// What a bucket tells of itself, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Count,
    Minimum,
    Maximum,
    Average,
    Sum,
    First,
    Last,
}

const AGGREGATES: [(&str, Aggregate); 7] = [
    ("count", Aggregate::Count),
    ("min", Aggregate::Minimum),
    ("max", Aggregate::Maximum),
    ("avg", Aggregate::Average),
    ("sum", Aggregate::Sum),
    ("first", Aggregate::First),
    ("last", Aggregate::Last),
];

impl Question {
    /// The span of time. `limit` is what was asked for; none for all.
    pub(super) fn range(&self, now: Timestamp) -> Result<RangeQuery, Problem> {
        let from = match (&self.since, self.from) {
            (Some(_), Some(_)) => return Err(Problem::invalid("give 'since' or 'from', not both")),
            (Some(since), None) => {
                let span = duration(since)
                    .ok_or_else(|| Problem::invalid("'since' is a number and a unit: 90s, 15m, 24h or 7d"))?;
                now.checked_sub(span).unwrap_or(Timestamp::MIN)
            }
            (None, from) => from.unwrap_or(Timestamp::MIN),
        };
        let newest_first = match self.order.as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Problem::invalid("'order' is 'asc' or 'desc'")),
        };
        let to = self.to.unwrap_or(Timestamp::MAX);
        if from >= to {
            return Err(Problem::invalid("'from' must be before 'to'"));
        }
        let limit = self.limit.map_or(usize::MAX, |limit| limit.max(1));
        Ok(RangeQuery { metric: self.metric.clone(), from, to, limit, newest_first })
    }

    /// The width of a bucket, as it was asked for.
    pub(super) fn bucket(&self) -> Option<&str> {
        self.bucket.as_deref()
    }

    /// The bound of an answer that is held in memory.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(POINTS.0).clamp(1, POINTS.1)
    }

    pub(super) fn format(&self) -> Result<Format, Problem> {
        match self.format.as_deref() {
            None | Some("json") => Ok(Format::Json),
            Some("csv") => Ok(Format::Csv),
            Some("ndjson") => Ok(Format::Ndjson),
            Some("arrow") => Ok(Format::Arrow),
            Some(_) => Err(Problem::invalid("'format' is 'json', 'csv', 'ndjson' or 'arrow'")),
        }
    }

    /// The format of an answer that is not points as they came.
    pub(super) fn format_of_few(&self) -> Result<Format, Problem> {
        match self.format()? {
            Format::Arrow => Err(Problem::invalid("'arrow' is of points as they came: ask for 'csv' or 'json' here")),
            other => Ok(other),
        }
    }

    pub(super) fn kind(&self, range: &RangeQuery) -> Result<Kind, Problem> {
        match (&self.bucket, self.points) {
            (Some(_), Some(_)) => Err(Problem::invalid("give 'bucket' or 'points', not both")),
            (Some(bucket), None) => Ok(Kind::Buckets(self.buckets(range, Some(bucket))?)),
            (None, Some(points)) => {
                self.needs_metric("points")?;
                if !(1..=PLOT).contains(&points) {
                    return Err(Problem::invalid(format!("'points' is a number from 1 to {PLOT}")));
                }
                Ok(Kind::Plot(points, self.algorithm()?))
            }
            (None, None) if self.aggregate.is_some() || self.fill.is_some() => {
                Err(Problem::invalid("'aggregate' and 'fill' go with 'bucket'"))
            }
            (None, None) => Ok(Kind::Points),
        }
    }

    /// The question in buckets, or in one bucket for the whole span. One more bucket than asked
    /// for: it tells whether there are more.
    pub(super) fn buckets(&self, range: &RangeQuery, bucket: Option<&str>) -> Result<BucketQuery, Problem> {
        let metric = self.needs_metric("bucket")?;
        let (width, origin) = match bucket {
            None => (Duration::MAX, range.from),
            Some(bucket) => {
                let width = duration(bucket).and_then(|width| Duration::try_from(width).ok());
                let width = width
                    .filter(|width| !width.is_zero())
                    .ok_or_else(|| Problem::invalid("'bucket' is a number above zero and a unit: 10s, 1m, 6h or 7d"))?;
                (width, Timestamp::UNIX_EPOCH)
            }
        };
        if range.newest_first {
            return Err(Problem::invalid("buckets come in the order of time: leave 'order' out"));
        }
        let fill = match self.fill.as_deref() {
            None | Some("none") => Fill::None,
            Some("null") => Fill::Null,
            Some("previous") => Fill::Previous,
            Some("linear") => Fill::Linear,
            Some("zero") => Fill::Zero,
            Some(_) => return Err(Problem::invalid("'fill' is 'none', 'null', 'previous', 'linear' or 'zero'")),
        };
        Ok(BucketQuery { metric, from: range.from, to: range.to, width, origin, fill, limit: self.limit() + 1 })
    }

    /// The aggregates that were asked for, or all.
    pub(super) fn aggregates(&self) -> Result<Vec<(&'static str, Aggregate)>, Problem> {
        let Some(names) = &self.aggregate else {
            return Ok(AGGREGATES.to_vec());
        };
        let known = |name: &str| AGGREGATES.into_iter().find(|(known, _)| *known == name);
        names
            .split(',')
            .map(|name| {
                known(name).ok_or_else(|| Problem::invalid("'aggregate' is some of count,min,max,avg,sum,first,last"))
            })
            .collect()
    }

    pub(super) fn needs_metric(&self, what: &str) -> Result<Box<str>, Problem> {
        self.metric.clone().ok_or_else(|| Problem::invalid(format!("'{what}' is of one metric: name it with 'metric'")))
    }

    fn algorithm(&self) -> Result<Algorithm, Problem> {
        match self.algorithm.as_deref() {
            None | Some("lttb") => Ok(Algorithm::Lttb),
            Some("minmax") => Ok(Algorithm::MinMax),
            Some(_) => Err(Problem::invalid("'algorithm' is 'lttb' or 'minmax'")),
        }
    }
}

impl Aggregate {
    pub(super) fn of(self, bucket: &Bucket) -> Value {
        match self {
            Self::Count => bucket.count.into(),
            Self::Minimum => json!(bucket.minimum),
            Self::Maximum => json!(bucket.maximum),
            Self::Average => json!(bucket.average),
            Self::Sum => json!(bucket.sum),
            Self::First => bucket.first.as_ref().map_or(Value::Null, value),
            Self::Last => bucket.last.as_ref().map_or(Value::Null, value),
        }
    }
}

/// A bucket with what was asked of it.
pub(super) fn shown_bucket(bucket: &Bucket, aggregates: &[(&'static str, Aggregate)]) -> Value {
    let mut shown = Map::new();
    shown.insert("start".to_owned(), bucket.start.to_string().into());
    shown.extend(aggregates.iter().map(|(name, aggregate)| ((*name).to_owned(), aggregate.of(bucket))));
    Value::Object(shown)
}

/// A span of time: `90s`, `15m`, `24h`, `7d`.
fn duration(text: &str) -> Option<jiff::SignedDuration> {
    let unit = text.chars().last()?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().ok().filter(|number| *number >= 0)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    Some(jiff::SignedDuration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        assert_eq!(duration("15m"), Some(jiff::SignedDuration::from_mins(15)));
        assert_eq!(duration("7d"), Some(jiff::SignedDuration::from_hours(7 * 24)));
        for bad in ["", "m", "15", "-1m", "1w", "9999999999999999999d", "9223372036854775807d", "1ชม"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |question: Question| {
            question.range(Timestamp::UNIX_EPOCH).and_then(|range| question.kind(&range).map(drop)).is_err()
        };
        let text = |text: &str| Some(text.to_owned());
        let asked = || Question { metric: Some("a".into()), ..Question::default() };
        assert!(!refused(Question { bucket: text("1m"), fill: text("linear"), ..asked() }));
        assert!(!refused(Question { points: Some(500), algorithm: text("minmax"), ..asked() }));
        assert!(refused(Question { bucket: text("1m"), metric: None, ..asked() }), "no metric");
        assert!(refused(Question { bucket: text("0m"), ..asked() }), "no width");
        assert!(refused(Question { bucket: text("1m"), points: Some(5), ..asked() }), "both");
        assert!(refused(Question { bucket: text("1m"), order: text("desc"), ..asked() }), "backwards");
        assert!(refused(Question { bucket: text("1m"), fill: text("magic"), ..asked() }), "an unknown fill");
        assert!(refused(Question { fill: text("zero"), ..asked() }), "a fill without buckets");
        assert!(refused(Question { points: Some(0), ..asked() }), "no points");
        assert!(refused(Question { since: text("1m"), from: Some(Timestamp::MIN), ..asked() }), "two beginnings");
        assert!(Question { aggregate: text("avg,median"), ..asked() }.aggregates().is_err());
        let two = Question { aggregate: text("max,avg"), ..asked() }.aggregates().map(|all| all.len());
        assert_eq!(two.ok(), Some(2));
    }
}
