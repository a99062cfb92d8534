//! Buckets, aggregates, exports and plots against the same, done naively over a list of points.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::Value;

use super::any_time;
use super::model::Held;
use crate::telemetry::{Algorithm, Bucket, BucketQuery, Fill, PlotPoint, RangeQuery, Telemetry};
use crate::time::to_nanoseconds;

/// Points by device, in the order of arrival.
pub(super) type Points = BTreeMap<DeviceId, Vec<Held>>;

pub(super) fn any_question() -> impl Strategy<Value = BucketQuery> {
    let width = prop_oneof![
        Just(Duration::from_nanos(1)),
        (1..20_u64).prop_map(Duration::from_secs),
        (1..200_u64).prop_map(|minutes| Duration::from_secs(60 * minutes)),
        (1..50_u64).prop_map(|hours| Duration::from_secs(3600 * hours)),
        (1..4_u64).prop_map(|days| Duration::from_secs(86_400 * days)),
        Just(Duration::from_secs(86_400 * 365)),
        Just(Duration::MAX),
    ];
    let fill =
        prop_oneof![Just(Fill::None), Just(Fill::Null), Just(Fill::Previous), Just(Fill::Linear), Just(Fill::Zero)];
    let origin = prop_oneof![any_time(), Just(Timestamp::UNIX_EPOCH)];
    ("[a-d]", any_time(), any_time(), any::<bool>(), width, origin, fill, 0..30_usize).prop_map(
        |(metric, from, to, all, width, origin, fill, limit)| BucketQuery {
            metric: metric.into(),
            from: if all { Timestamp::MIN } else { from },
            to: if all { Timestamp::MAX } else { to },
            width,
            origin,
            fill,
            limit: if fill == Fill::None && limit > 20 { usize::MAX } else { limit },
        },
    )
}

pub(super) fn compare(telemetry: &Telemetry, points: &Points, question: &BucketQuery) {
    for (device, points) in points {
        let found = telemetry.buckets(device, question).unwrap();
        same_buckets(&found, &buckets(points.iter().collect(), question), question);
        compare_export(telemetry, device, question);
        compare_plots(telemetry, device, points, question);
    }
    let everything = points.values().flatten().collect();
    let found = telemetry.aggregate(None, question).unwrap();
    same_buckets(&found, &buckets(everything, question), question);
    let some: Vec<DeviceId> = points.keys().take(2).rev().cloned().collect();
    let of_some = points.values().take(2).flatten().collect();
    let found = telemetry.aggregate(Some(&some), question).unwrap();
    same_buckets(&found, &buckets(of_some, question), question);
    compare_fleet(telemetry);
}

/// The points of the question, in the order of time; equal times in the order given.
fn selected<'a>(mut points: Vec<&'a Held>, question: &BucketQuery) -> Vec<&'a Held> {
    points.retain(|point| {
        *point.series.metric == *question.metric && question.from <= point.time && point.time < question.to
    });
    points.sort_by_key(|point| point.time);
    points
}

fn number_of(time: Timestamp, question: &BucketQuery) -> i128 {
    let width = question.width.as_nanos().try_into().unwrap();
    (i128::from(to_nanoseconds(time)) - i128::from(to_nanoseconds(question.origin))).div_euclid(width)
}

fn buckets(points: Vec<&Held>, question: &BucketQuery) -> Vec<(i128, Bucket)> {
    let mut by_number: BTreeMap<i128, Vec<&Held>> = BTreeMap::new();
    for point in selected(points, question) {
        by_number.entry(number_of(point.time, question)).or_default().push(point);
    }
    let full: Vec<(i128, Bucket)> =
        by_number.into_iter().map(|(number, points)| (number, bucket(&points, start(number, question)))).collect();
    if question.fill == Fill::None {
        return full.into_iter().take(question.limit).collect();
    }
    if question.from >= question.to {
        return Vec::new();
    }
    let last_instant = question.to.as_nanosecond() - 1;
    let to = crate::time::from_nanoseconds(last_instant.clamp(i64::MIN.into(), i64::MAX.into()).try_into().unwrap());
    let first = match question.from {
        from if from == Timestamp::MIN => full.first().map(|(number, _)| *number),
        from => Some(number_of(from, question)),
    };
    let last = match question.to {
        to if to == Timestamp::MAX => full.last().map(|(number, _)| *number),
        _ => Some(number_of(to, question)),
    };
    let (Some(first), Some(last)) = (first, last) else {
        return Vec::new();
    };
    (first..=last).take(question.limit).map(|number| (number, at(number, &full, question))).collect()
}

fn start(number: i128, question: &BucketQuery) -> Timestamp {
    let width: i128 = question.width.as_nanos().try_into().unwrap();
    let start = i128::from(to_nanoseconds(question.origin)) + number * width;
    crate::time::from_nanoseconds(start.clamp(i64::MIN.into(), i64::MAX.into()).try_into().unwrap())
}

fn bucket(points: &[&Held], start: Timestamp) -> Bucket {
    let numbers: Vec<f64> = points.iter().filter_map(|point| number(&point.value)).collect();
    let real: Vec<f64> = numbers.iter().copied().filter(|number| !number.is_nan()).collect();
    let sum = (!real.is_empty()).then(|| real.iter().sum::<f64>());
    Bucket {
        start,
        count: points.len() as u64,
        minimum: real.iter().copied().reduce(f64::min),
        maximum: real.iter().copied().reduce(f64::max),
        sum,
        average: sum.map(|sum| sum / numbers.len() as f64),
        first: points.first().map(|point| point.value.clone()),
        last: points.last().map(|point| point.value.clone()),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Text(_) => None,
    }
}

/// The bucket of a number, made up when there is none.
fn at(number_wanted: i128, full: &[(i128, Bucket)], question: &BucketQuery) -> Bucket {
    if let Some((_, bucket)) = full.iter().find(|(number, _)| *number == number_wanted) {
        return bucket.clone();
    }
    let nothing = Bucket {
        start: start(number_wanted, question),
        count: 0,
        minimum: None,
        maximum: None,
        sum: None,
        average: None,
        first: None,
        last: None,
    };
    let before = full.iter().rev().find(|(number, _)| *number < number_wanted);
    let after = full.iter().find(|(number, _)| *number > number_wanted);
    match question.fill {
        Fill::None | Fill::Null => nothing,
        Fill::Zero => {
            let (zero, value) = (Some(0.0), Some(Value::Float(0.0)));
            let (first, last) = (value.clone(), value);
            Bucket { minimum: zero, maximum: zero, sum: zero, average: zero, first, last, ..nothing }
        }
        Fill::Previous => {
            before.map_or(nothing.clone(), |(_, before)| Bucket { start: nothing.start, count: 0, ..before.clone() })
        }
        Fill::Linear => {
            let (Some((left, before)), Some((right, after))) = (before, after) else {
                return nothing;
            };
            let share = (number_wanted - left) as f64 / (right - left) as f64;
            let line = |from: Option<f64>, to: Option<f64>| Some(from? * (1.0 - share) + to? * share);
            let value = |from: &Option<Value>, to: &Option<Value>| {
                line(from.as_ref().and_then(number), to.as_ref().and_then(number)).map(Value::Float)
            };
            Bucket {
                minimum: line(before.minimum, after.minimum),
                maximum: line(before.maximum, after.maximum),
                sum: line(before.sum, after.sum),
                average: line(before.average, after.average),
                first: value(&before.first, &after.first),
                last: value(&before.last, &after.last),
                ..nothing
            }
        }
    }
}

fn same_buckets(found: &[Bucket], expected: &[(i128, Bucket)], question: &BucketQuery) {
    let starts = |buckets: &mut dyn Iterator<Item = &Bucket>| -> Vec<(Timestamp, u64)> {
        buckets.map(|bucket| (bucket.start, bucket.count)).collect()
    };
    let expected_starts = starts(&mut expected.iter().map(|(_, bucket)| bucket));
    assert_eq!(starts(&mut found.iter()), expected_starts, "{question:?}");
    for (found, (_, expected)) in found.iter().zip(expected) {
        let is_exact = found.count > 0;
        for (found, expected, is_exact) in [
            (found.minimum, expected.minimum, is_exact),
            (found.maximum, expected.maximum, is_exact),
            // Sums of floats depend on their order.
            (found.sum, expected.sum, false),
            (found.average, expected.average, false),
        ] {
            let is_same = match (found, expected) {
                (Some(found), Some(expected)) if is_exact => found == expected,
                (Some(found), Some(expected)) => is_near(found, expected),
                (None, None) => true,
                _ => false,
            };
            assert!(is_same, "{found:?} {expected:?} {question:?}");
        }
        for (found, expected) in [(&found.first, &expected.first), (&found.last, &expected.last)] {
            match (found, expected) {
                (Some(Value::Float(found)), Some(Value::Float(expected))) if !is_exact => {
                    assert!(is_near(*found, *expected), "{question:?}");
                }
                // By their text: what is not a number is as good as itself.
                _ => assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{question:?}"),
            }
        }
    }
}

/// Sums that cancel to a small rest, or overflow, say nothing about the code.
fn is_near(found: f64, expected: f64) -> bool {
    let size = found.abs().max(expected.abs());
    size.is_nan() || size > 1e15 || (found - expected).abs() <= 1e-9 * size.max(1e9)
}

fn compare_export(telemetry: &Telemetry, device: &DeviceId, question: &BucketQuery) {
    for metric in [None, Some(question.metric.clone())] {
        let query = RangeQuery {
            metric,
            from: question.from,
            to: question.to,
            limit: if question.limit > 10 { usize::MAX } else { question.limit },
            newest_first: false,
        };
        let mut exported = Vec::new();
        for batch in telemetry.export(device, &query) {
            let batch = batch.unwrap();
            assert!(!batch.is_empty());
            exported.extend(batch.iter().map(|point| format!("{point:?}")));
        }
        let expected = telemetry.range(device, &query).unwrap();
        let expected: Vec<String> = expected.iter().map(|point| format!("{point:?}")).collect();
        assert_eq!(exported, expected, "{query:?}");
    }
}

fn compare_plots(telemetry: &Telemetry, device: &DeviceId, points: &[Held], question: &BucketQuery) {
    let query = RangeQuery {
        metric: Some(question.metric.clone()),
        from: question.from,
        to: question.to,
        ..RangeQuery::default()
    };
    let numbers: Vec<PlotPoint> = selected(points.iter().collect(), question)
        .iter()
        .filter_map(|point| Some(PlotPoint { time: point.time, value: number(&point.value)? }))
        .filter(|point| !point.value.is_nan())
        .collect();
    let room = question.limit.min(12);
    for algorithm in [Algorithm::Lttb, Algorithm::MinMax] {
        let plot = telemetry.downsample(device, &query, room, algorithm).unwrap();
        assert!(plot.len() <= room);
        let mut rest = numbers.iter();
        assert!(plot.iter().all(|chosen| rest.any(|point| point == chosen)), "points of the series, in its order");
        // What is not a number counts as a point in statistics, and may move the parts.
        if numbers.len() <= room && plot.len() < numbers.len() {
            assert!(points.iter().any(|point| matches!(point.value, Value::Float(value) if value.is_nan())));
        }
        if algorithm == Algorithm::Lttb && room > 1 {
            assert_eq!((plot.first(), plot.last()), (numbers.first(), numbers.last()));
        }
        if algorithm == Algorithm::MinMax && room > 1 {
            let highest = |points: &[PlotPoint]| points.iter().map(|point| point.value).reduce(f64::max);
            let lowest = |points: &[PlotPoint]| points.iter().map(|point| point.value).reduce(f64::min);
            assert_eq!((lowest(&plot), highest(&plot)), (lowest(&numbers), highest(&numbers)));
        }
    }
}

fn compare_fleet(telemetry: &Telemetry) {
    let expected: Vec<_> = telemetry.devices().into_iter().map(|id| (id.clone(), telemetry.latest(&id))).collect();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = telemetry.latest_all(after.as_ref(), 2, None);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        found.extend(page);
    }
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    for (id, latest) in telemetry.latest_all(None, usize::MAX, Some("a")) {
        let expected: Vec<_> =
            telemetry.latest(&id).into_iter().filter(|latest| &*latest.series.metric == "a").collect();
        assert_eq!(format!("{latest:?}"), format!("{expected:?}"));
    }
}
