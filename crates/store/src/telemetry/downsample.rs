//! A series in as many points as a plot has room for.
//!
//! Largest-Triangle-Three-Buckets, from S. Steinarsson, "Downsampling Time Series for Visual
//! Representation", University of Iceland, 2013: the points between the first and the last are
//! split into equal parts by number, and of each part the point stays that spans the largest
//! triangle with the point chosen before it and the average of the part after it. It keeps the
//! look of a line with few points. Two parts are in memory at a time.
//!
//! Minimum and maximum: of each stretch of equal time its smallest and its largest point. It
//! never misses a peak, and takes two points where the other takes one.

use std::time::Duration;

use jiff::Timestamp;
use tesaiot_contract::DeviceId;

use super::Telemetry;
use super::bucket::{Buckets, Grid, as_number};
use super::query::{Point, RangeQuery};
use super::span::Span;
use crate::error::StoreError;
use crate::time::to_nanoseconds;

/// How points are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// Largest-Triangle-Three-Buckets (Steinarsson 2013): the look of the line.
    #[default]
    Lttb,
    /// The smallest and the largest of each stretch of time: every peak.
    MinMax,
}

/// One point of a plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlotPoint {
    /// The time of the reading.
    pub time: Timestamp,
    /// The reading; bools are 0 and 1.
    pub value: f64,
}

impl Telemetry {
    /// One metric of a device in at most `points` of its own points, in the order of time. Texts
    /// and values that are not a number are left out. The query's limit and order are not looked
    /// at; with no more points than `points` there are all of them.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the query names no metric; otherwise when the database cannot
    /// be read.
    pub fn downsample(
        &self,
        device: &DeviceId,
        query: &RangeQuery,
        points: usize,
        algorithm: Algorithm,
    ) -> Result<Vec<PlotPoint>, StoreError> {
        let Some(metric) = query.metric.clone() else {
            return Err(StoreError::Invalid { what: "a plot", reason: "shows one metric: name it" });
        };
        let query = RangeQuery { limit: usize::MAX, newest_first: false, ..query.clone() };
        let Some((count, first, last)) = self.extent(device, &metric, &query)? else {
            return Ok(Vec::new());
        };
        let numbers = self.export(device, &query).flat_map(|batch| match batch {
            Ok(points) => points.iter().filter_map(plotted).map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
        match algorithm {
            _ if count <= points as u64 => numbers.take(points).collect(),
            Algorithm::Lttb => lttb(numbers, count, points),
            Algorithm::MinMax => min_max(numbers, first, last, points),
        }
    }

    /// How many numbers there are, and the times of the first and the last point: from statistics.
    fn extent(
        &self,
        device: &DeviceId,
        metric: &str,
        query: &RangeQuery,
    ) -> Result<Option<(u64, i64, i64)>, StoreError> {
        let span = Span::of(query.from, query.to).and_then(|span| self.shared.kept(device, span));
        let Some((device, span)) = self.shared.device(device).zip(span) else {
            return Ok(None);
        };
        let mut buckets = Buckets::new(Grid::new(query.from, Duration::MAX)?, span, 1);
        self.fold(&device, metric, &mut buckets)?;
        let whole = buckets.into_found().into_values().next();
        Ok(whole.and_then(|whole| Some((whole.numbers, whole.first?.0.time, whole.last?.0.time))))
    }
}

fn plotted(point: Point<'_>) -> Option<PlotPoint> {
    let value = as_number(Some(point.value)).filter(|value| !value.is_nan())?;
    Some(PlotPoint { time: point.time, value })
}

/// Largest-Triangle-Three-Buckets over `count` points. Points may come and go between counting
/// and reading: the parts are then a little uneven.
fn lttb(
    mut numbers: impl Iterator<Item = Result<PlotPoint, StoreError>>,
    count: u64,
    points: usize,
) -> Result<Vec<PlotPoint>, StoreError> {
    let Some(first) = numbers.next().transpose()?.filter(|_| points > 0) else {
        return Ok(Vec::new());
    };
    let mut chosen = vec![first];
    // Without the first and the last.
    let (parts, inner) = (points.saturating_sub(2) as u64, count.saturating_sub(2).max(1));
    let mut before: Vec<PlotPoint> = Vec::new();
    let mut part: Vec<PlotPoint> = Vec::new();
    let mut part_number = 0;
    // The newest point read: the last of all stands for itself and is in no part.
    let mut newest: Option<PlotPoint> = None;
    for (index, next) in numbers.enumerate() {
        let Some(point) = newest.replace(next?).filter(|_| parts > 0) else {
            continue;
        };
        let place = (index as u64 - 1).min(inner - 1);
        let number = u64::try_from(u128::from(place) * u128::from(parts) / u128::from(inner)).unwrap_or(u64::MAX);
        if number != part_number {
            choose(&mut chosen, &before, &part);
            before = std::mem::take(&mut part);
            part_number = number;
        }
        part.push(point);
    }
    choose(&mut chosen, &before, &part);
    if let Some(last) = newest.filter(|_| points > 1) {
        choose(&mut chosen, &part, &[last]);
        chosen.push(last);
    }
    Ok(chosen)
}

/// Chooses the point of a part that spans the largest triangle with the point chosen last and the
/// average of the part that follows.
fn choose(chosen: &mut Vec<PlotPoint>, part: &[PlotPoint], following: &[PlotPoint]) {
    let Some(left) = chosen.last().copied().filter(|_| !part.is_empty() && !following.is_empty()) else {
        return;
    };
    // Times relative to the left corner: a float holds them exactly enough.
    let base = to_nanoseconds(left.time);
    let x = |point: &PlotPoint| to_nanoseconds(point.time).saturating_sub(base) as f64;
    let count = following.len() as f64;
    let right =
        (following.iter().map(x).sum::<f64>() / count, following.iter().map(|point| point.value).sum::<f64>() / count);
    let mut largest: Option<(f64, PlotPoint)> = None;
    for point in part {
        // Twice the area. The left corner stands at time 0.
        let area = (right.0.mul_add(point.value - left.value, -(x(point) * (right.1 - left.value)))).abs();
        if largest.is_none_or(|(known, _)| area > known) {
            largest = Some((area, *point));
        }
    }
    chosen.extend(largest.map(|(_, point)| point));
}

/// The smallest and the largest point of each of `points / 2` stretches of equal time.
fn min_max(
    numbers: impl Iterator<Item = Result<PlotPoint, StoreError>>,
    first: i64,
    last: i64,
    points: usize,
) -> Result<Vec<PlotPoint>, StoreError> {
    let span = (i128::from(last) - i128::from(first) + 1).unsigned_abs();
    let width = span.div_ceil((points / 2).max(1) as u128).max(1);
    let mut chosen = Vec::new();
    let mut stretch: Option<(u128, PlotPoint, PlotPoint)> = None;
    for point in numbers {
        let point = point?;
        let number = (i128::from(to_nanoseconds(point.time)) - i128::from(first)).unsigned_abs() / width;
        match &mut stretch {
            Some((known, smallest, largest)) if *known == number => {
                if point.value < smallest.value {
                    *smallest = point;
                }
                if point.value > largest.value {
                    *largest = point;
                }
            }
            _ => {
                chosen.extend(stretch.take().into_iter().flat_map(ends));
                stretch = Some((number, point, point));
            }
        }
    }
    chosen.extend(stretch.into_iter().flat_map(ends));
    chosen.truncate(points);
    Ok(chosen)
}

/// The two ends of a stretch in the order of time, or the one when it is both.
fn ends((_, smallest, largest): (u128, PlotPoint, PlotPoint)) -> impl Iterator<Item = PlotPoint> {
    let (one, other) = if smallest.time <= largest.time { (smallest, largest) } else { (largest, smallest) };
    std::iter::once(one).chain((one != other).then_some(other))
}
