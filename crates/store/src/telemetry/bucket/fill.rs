//! From accumulated buckets to the answer, with something in the empty ones.

use tesaiot_contract::telemetry::Value;

use super::{Accumulator, Bucket, BucketQuery, Buckets, Fill, Grid};
use jiff::Timestamp;

/// The answer to a query.
pub(in crate::telemetry) fn answer(buckets: Buckets, query: &BucketQuery) -> Vec<Bucket> {
    let grid = buckets.grid;
    let span = buckets.span;
    let found: Vec<(i128, Bucket)> =
        buckets.into_found().into_iter().map(|(number, bucket)| (number, finished(grid, number, &bucket))).collect();
    if query.fill == Fill::None {
        return found.into_iter().map(|(_, bucket)| bucket).take(query.limit).collect();
    }
    let (Some((first, _)), Some((last, _))) = (found.first(), found.last()) else {
        // Nothing to fill with, but the shape that was asked for.
        let ends = (query.from > Timestamp::MIN && query.to < Timestamp::MAX)
            .then(|| (grid.number(span.from), grid.number(span.to)));
        return ends.map_or_else(Vec::new, |(first, last)| {
            (first..=last).take(query.limit).map(|number| empty(grid, number, query.fill, None, None)).collect()
        });
    };
    let start = if query.from > Timestamp::MIN { grid.number(span.from) } else { *first };
    let end = if query.to < Timestamp::MAX { grid.number(span.to) } else { *last };
    filled(grid, found, start..=end, query)
}

fn filled(
    grid: Grid,
    found: Vec<(i128, Bucket)>,
    numbers: std::ops::RangeInclusive<i128>,
    query: &BucketQuery,
) -> Vec<Bucket> {
    let mut answer: Vec<Bucket> = Vec::new();
    let mut found = found.into_iter().peekable();
    let mut previous: Option<(i128, Bucket)> = None;
    for number in numbers.take(query.limit) {
        if let Some((_, bucket)) = found.next_if(|(found, _)| *found == number) {
            answer.push(bucket.clone());
            previous = Some((number, bucket));
        } else {
            answer.push(empty(grid, number, query.fill, previous.as_ref(), found.peek()));
        }
    }
    answer
}

fn finished(grid: Grid, number: i128, bucket: &Accumulator) -> Bucket {
    let sum = bucket.sum();
    Bucket {
        start: grid.start(number),
        count: bucket.count,
        minimum: sum.map(|_| bucket.minimum),
        maximum: sum.map(|_| bucket.maximum),
        sum,
        average: sum.map(|sum| sum / bucket.numbers as f64),
        first: bucket.first.as_ref().map(|(_, value)| value.clone()),
        last: bucket.last.as_ref().map(|(_, value)| value.clone()),
    }
}

/// A bucket without points between two others.
fn empty(
    grid: Grid,
    number: i128,
    fill: Fill,
    before: Option<&(i128, Bucket)>,
    after: Option<&(i128, Bucket)>,
) -> Bucket {
    let start = grid.start(number);
    let all = |number: Option<f64>| Bucket {
        start,
        count: 0,
        minimum: number,
        maximum: number,
        sum: number,
        average: number,
        first: number.map(Value::Float),
        last: number.map(Value::Float),
    };
    match (fill, before, after) {
        (Fill::Zero, ..) => all(Some(0.0)),
        (Fill::Previous, Some((_, before)), _) => Bucket { start, count: 0, ..before.clone() },
        (Fill::Linear, Some((left, before)), Some((right, after))) => {
            let share = (number - left) as f64 / (right - left) as f64;
            let between =
                |before: Option<f64>, after: Option<f64>| Some((before?).mul_add(1.0 - share, after? * share));
            let value = |before: &Option<Value>, after: &Option<Value>| {
                between(as_number(before.as_ref()), as_number(after.as_ref())).map(Value::Float)
            };
            Bucket {
                start,
                count: 0,
                minimum: between(before.minimum, after.minimum),
                maximum: between(before.maximum, after.maximum),
                sum: between(before.sum, after.sum),
                average: between(before.average, after.average),
                first: value(&before.first, &after.first),
                last: value(&before.last, &after.last),
            }
        }
        _ => all(None),
    }
}

/// A value that can lie on a line.
pub(in crate::telemetry) fn as_number(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        Value::Bool(flag) => Some(if *flag { 1.0 } else { 0.0 }),
        Value::Text(_) => None,
    }
}
