//! Chunks and heads into buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Telemetry;
use super::super::chunk::{Chunk, Series};
use super::super::codec::Malformed;
use super::super::head::{Column, Head, Values, Words};
use super::super::rollup::{Piece, Resolution};
use super::super::shared::Device;
use super::super::span::Span;
use super::super::view::{Source, View};
use super::accumulator::Place;
use super::{Accumulator, Grid};
use crate::error::StoreError;

/// Chunks listed at a time: a year of one sample a second is ten such stretches.
const STRETCH: usize = 4096;
/// Stands for the head where chunks have their number: it comes after all of them.
const HEAD: i64 = i64::MAX;

/// The earliest buckets of a span, at most a limit of them.
pub(in crate::telemetry) struct Buckets {
    pub(in crate::telemetry) grid: Grid,
    pub(in crate::telemetry) span: Span,
    limit: usize,
    found: BTreeMap<i128, Accumulator>,
    /// Chunks that were counted by their statistics, for the first and last values of their bucket: looked at when
    /// what is around them is known, or when there are many.
    unopened: BTreeMap<i128, Vec<Source>>,
    unopened_count: usize,
}

/// A part of a column, in the order of time.
struct Run {
    chunk: i64,
    times: Vec<i64>,
    /// The row of each value, when it is not its place.
    rows: Option<Vec<u32>>,
    values: Values,
}

impl Telemetry {
    /// Adds everything a device has of a metric.
    pub(in crate::telemetry) fn fold(
        &self,
        device: &Device,
        metric: &str,
        buckets: &mut Buckets,
    ) -> Result<(), StoreError> {
        let span = buckets.span;
        self.view(
            device,
            |state| head_runs(&state.head, metric, span),
            |view, head| {
                for run in &head {
                    buckets.add(run);
                }
                buckets.fold_rollups(view, metric, &Resolution::ALL)?;
                buckets.open_edges(view, metric)
            },
        )
    }
}

fn fold_chunks(view: &View<'_>, metric: &str, buckets: &mut Buckets) -> Result<(), StoreError> {
    let mut rest = buckets.span;
    loop {
        let (stretch, sources) = view.stretch(rest, STRETCH)?;
        for source in sources {
            // What began before this stretch was added with the stretch it began in.
            if rest.from > buckets.span.from && source.span.from < rest.from {
                continue;
            }
            if buckets.is_beyond(source.span.from) {
                return Ok(());
            }
            buckets.add_source(view, metric, source)?;
        }
        if stretch.to >= rest.to {
            return Ok(());
        }
        rest.from = stretch.to + 1;
    }
}

impl Buckets {
    /// Adds rollups where they lie in one bucket, the coarsest first; and what they leave open of the span, from finer
    /// ones and in the end from the chunks. In the order of time, so that it can stop behind the last bucket wanted.
    fn fold_rollups(&mut self, view: &View<'_>, metric: &str, resolutions: &[Resolution]) -> Result<(), StoreError> {
        let Some((coarsest, finer)) = resolutions.split_last() else {
            return fold_chunks(view, metric, self);
        };
        if !self.grid.is_at_least(coarsest.width()) || self.span.to.saturating_sub(self.span.from) < coarsest.width() {
            return self.fold_rollups(view, metric, finer);
        }
        if let Some(sources) = view.few_sources(self.span)? {
            return sources.into_iter().try_for_each(|source| self.add_source(view, metric, source));
        }
        let whole = self.span;
        // What is left open and touches is read together.
        let mut open: Option<Span> = None;
        view.rolled(metric, *coarsest, whole, &mut |piece| {
            let next = match piece {
                Piece::Open(span) => span,
                Piece::Window(window, values) => {
                    let bucket = self.grid.number(window.from);
                    if bucket == self.grid.number(window.to) {
                        if let Some(bucket) = self.bucket(bucket) {
                            bucket.join(values);
                        }
                        return Ok(!self.is_beyond(window.from));
                    }
                    window
                }
            };
            match &mut open {
                Some(open) if open.to.checked_add(1) == Some(next.from) => open.to = next.to,
                _ => {
                    if let Some(before) = open.replace(next) {
                        self.span = before;
                        self.fold_rollups(view, metric, finer)?;
                    }
                }
            }
            Ok(!self.is_beyond(next.from))
        })?;
        if let Some(last) = open {
            self.span = last;
            self.fold_rollups(view, metric, finer)?;
        }
        self.span = whole;
        Ok(())
    }

    pub(in crate::telemetry) fn new(grid: Grid, span: Span, limit: usize) -> Self {
        Self { grid, span, limit, found: BTreeMap::new(), unopened: BTreeMap::new(), unopened_count: 0 }
    }

    /// The buckets with points, by number.
    pub(in crate::telemetry) fn into_found(self) -> BTreeMap<i128, Accumulator> {
        self.found
    }

    /// Takes in the buckets of another device.
    pub(in crate::telemetry) fn merge(&mut self, other: Self) {
        for (number, bucket) in other.found {
            if let Some(known) = self.bucket(number) {
                known.merge(bucket);
            }
        }
    }

    /// Whether a time lies behind all the buckets that can still be in the answer.
    fn is_beyond(&self, time: i64) -> bool {
        self.found.len() >= self.limit
            && self.found.last_key_value().is_some_and(|(last, _)| self.grid.number(time) > *last)
    }

    /// A bucket, unless it is behind those that are wanted.
    fn bucket(&mut self, number: i128) -> Option<&mut Accumulator> {
        if self.found.len() >= self.limit && !self.found.contains_key(&number) {
            let (&last, _) = self.found.last_key_value()?;
            if number > last {
                return None;
            }
            self.found.remove(&last);
            self.unopened_count -= self.unopened.remove(&last).map_or(0, |sources| sources.len());
        }
        Some(self.found.entry(number).or_default())
    }

    fn add(&mut self, run: &Run) {
        let mut start = run.times.partition_point(|time| *time < self.span.from);
        let end = run.times.partition_point(|time| *time <= self.span.to);
        while start < end {
            let number = self.grid.number(run.times[start]);
            let bucket_end = self.grid.end(number);
            let length = run.times[start..end].partition_point(|time| *time <= bucket_end);
            let stop = start + length;
            let Some(bucket) = self.bucket(number) else {
                return;
            };
            bucket.add(&run.values, start..stop);
            bucket.offer(&run.values, (run.place(start), start), (run.place(stop - 1), stop - 1));
            start = stop;
        }
    }

    fn add_source(&mut self, view: &View<'_>, metric: &str, source: Source) -> Result<(), StoreError> {
        let Some(number) = source.chunk else {
            return Ok(());
        };
        let bucket = self.grid.number(source.span.from);
        let is_inside = bucket == self.grid.number(source.span.to)
            && self.span.contains(source.span.from)
            && self.span.contains(source.span.to);
        view.chunk(number, |chunk| {
            if !is_inside {
                return runs(chunk, number, metric).map(|runs| runs.iter().for_each(|run| self.add(run)));
            }
            let mut is_there = false;
            for series in chunk.series(metric) {
                if let Some(bucket) = self.bucket(bucket) {
                    bucket.add_statistics(series.count as u64, series.statistics);
                    is_there = true;
                }
            }
            if is_there {
                self.unopened.entry(bucket).or_default().push(source);
                self.unopened_count += 1;
            }
            Ok(())
        })?;
        if self.unopened_count > STRETCH { self.open_edges(view, metric) } else { Ok(()) }
    }

    /// Decodes, of the chunks that were counted by their statistics, those that can hold the first
    /// or the last value of their bucket.
    fn open_edges(&mut self, view: &View<'_>, metric: &str) -> Result<(), StoreError> {
        self.unopened_count = 0;
        for (bucket, mut sources) in std::mem::take(&mut self.unopened) {
            let Some(bucket) = self.found.get_mut(&bucket) else {
                continue;
            };
            let mut opened = Vec::new();
            sources.sort_by_key(|source| source.span.from);
            for source in &sources {
                if bucket.first.as_ref().is_some_and(|(place, _)| place.time < source.span.from) {
                    break;
                }
                offer(view, metric, *source, bucket)?;
                opened.push(source.chunk);
            }
            sources.sort_by_key(|source| std::cmp::Reverse(source.span.to));
            for source in &sources {
                if bucket.last.as_ref().is_some_and(|(place, _)| place.time > source.span.to) {
                    break;
                }
                if !opened.contains(&source.chunk) {
                    offer(view, metric, *source, bucket)?;
                }
            }
        }
        Ok(())
    }
}

/// Offers the first and last value of a chunk to a bucket that counts it already.
fn offer(view: &View<'_>, metric: &str, source: Source, bucket: &mut Accumulator) -> Result<(), StoreError> {
    let Some(number) = source.chunk else {
        return Ok(());
    };
    view.chunk(number, |chunk| {
        for run in runs(chunk, number, metric)? {
            if let Some(last) = run.times.len().checked_sub(1) {
                bucket.offer(&run.values, (run.place(0), 0), (run.place(last), last));
            }
        }
        Ok(())
    })
}

impl Run {
    fn place(&self, index: usize) -> Place {
        let row = self.rows.as_ref().map_or(index as u32, |rows| rows[index]);
        Place { time: self.times[index], chunk: self.chunk, row }
    }
}

/// The columns of a metric in a chunk.
fn runs(chunk: &Chunk<'_>, number: i64, metric: &str) -> Result<Vec<Run>, Malformed> {
    let columns: Vec<Series> = chunk.series(metric).collect();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let mut all = chunk.times()?;
    let is_alone = columns.len() == 1;
    columns
        .iter()
        .map(|column| {
            let rows = chunk.rows_of(column)?;
            let times = match &rows {
                None if is_alone => std::mem::take(&mut all),
                None => all.clone(),
                Some(rows) => rows.iter().map(|row| all[*row as usize]).collect(),
            };
            Ok(Run { chunk: number, times, rows, values: chunk.values_of(column)? })
        })
        .collect()
}

/// The columns of a metric in a head, as far as they lie in a span, in the order of time.
fn head_runs(head: &Head, metric: &str, span: Span) -> Vec<Run> {
    let columns = head.columns.iter().filter(|column| *column.name == *metric);
    columns.map(|column| head_run(head, column, span)).collect()
}

fn head_run(head: &Head, column: &Column, span: Span) -> Run {
    let times = &head.rows.times;
    let mut places: Vec<usize> =
        (0..column.rows.len()).filter(|place| span.contains(times[column.rows[*place] as usize])).collect();
    // Stable: equal times stay in the order of arrival.
    places.sort_by_key(|place| times[column.rows[*place] as usize]);
    let rows: Vec<u32> = places.iter().map(|place| column.rows[*place]).collect();
    let values = match &column.values {
        Values::Float(values) => Values::Float(places.iter().map(|place| values[*place]).collect()),
        Values::Integer(values) => Values::Integer(places.iter().map(|place| values[*place]).collect()),
        Values::Bool(values) => Values::Bool(places.iter().map(|place| values[*place]).collect()),
        Values::Text(words) => Values::Text(Words::from_parts(
            places.iter().map(|place| words.indexes[*place]).collect(),
            words.words.iter().map(Arc::clone).collect(),
        )),
    };
    Run { chunk: HEAD, times: rows.iter().map(|row| times[*row as usize]).collect(), rows: Some(rows), values }
}
