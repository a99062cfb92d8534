//! Points in a span of time: chunks and the head, merged in the order of time.
//!
//! Chunks that overlap in time (late data) are read together as one cluster and merged; clusters
//! are read one after the other, from either end, until the limit is reached.

use std::sync::Arc;

use tesaiot_contract::DeviceId;

use super::Telemetry;
use super::chunk::Chunk;
use super::codec::Malformed;
use super::head::{Column, Head, Rows};
use super::query::{Point, RangeQuery, Series};
use super::span::Span;
use super::view::{Source, View};
use crate::error::StoreError;
use crate::time::{from_nanoseconds, to_nanoseconds};

/// Points of one metric in a chunk, as most devices have them.
const POINTS_IN_CHUNK: usize = 800;
/// Points that memory is reserved for before they are found.
const MOST_RESERVED: usize = 100_000;

impl Telemetry {
    /// The points of a device in a span of time, in the order of time; equal times in the order
    /// of arrival. Newest first is exactly the reverse. A corrupt chunk is passed over, logged and
    /// counted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn range(&self, device: &DeviceId, query: &RangeQuery) -> Result<Vec<Point>, StoreError> {
        let Some(span) = Span::of(query.from, query.to).filter(|_| query.limit > 0) else {
            return Ok(Vec::new());
        };
        let Some(device) = self.shared.device(device) else {
            return Ok(Vec::new());
        };
        let metric = query.metric.as_deref();
        self.view(
            &device,
            |state| {
                let mut points = Vec::new();
                collect_head(&state.head, metric, span, &mut points);
                points
            },
            |view, head| merge(view, head, query, span),
        )
    }
}

fn merge(view: &View<'_>, mut head: Vec<Point>, query: &RangeQuery, span: Span) -> Result<Vec<Point>, StoreError> {
    let mut sources = view.sources(span, usize::MAX)?;
    head.sort_by_key(|point| point.time);
    if let (Some(first), Some(last)) = (head.first(), head.last()) {
        let span = Span { from: to_nanoseconds(first.time), to: to_nanoseconds(last.time) };
        sources.push(Source { span, chunk: None });
        sources.sort_by_key(|source| source.span.from);
    }
    let mut clusters = clusters(sources);
    if query.newest_first {
        clusters.reverse();
    }
    let mut points = Vec::new();
    if query.metric.is_some() {
        // A chunk holds some hundred points of a metric; what is too much is never touched.
        points.reserve(query.limit.min(clusters.len().saturating_mul(POINTS_IN_CHUNK)).min(MOST_RESERVED));
    }
    for cluster in clusters {
        if points.len() >= query.limit {
            break;
        }
        if query.newest_first {
            let mut found = Vec::new();
            read_together(view, cluster, &mut head, query.metric.as_deref(), span, &mut found)?;
            found.reverse();
            points.append(&mut found);
        } else {
            read_together(view, cluster, &mut head, query.metric.as_deref(), span, &mut points)?;
        }
    }
    points.truncate(query.limit);
    Ok(points)
}

/// Adds the points of sources in the order of time. The sources lie behind what `points` has.
pub(super) fn read_together(
    view: &View<'_>,
    mut sources: Vec<Source>,
    head: &mut Vec<Point>,
    metric: Option<&str>,
    span: Span,
    points: &mut Vec<Point>,
) -> Result<(), StoreError> {
    // In the order of arrival, for the stable sort: chunks by number, then the head.
    sources.sort_by_key(|source| source.chunk.unwrap_or(i64::MAX));
    let start = points.len();
    for source in &sources {
        match source.chunk {
            None => points.append(head),
            Some(number) => view.chunk(number, |chunk| decode(chunk, metric, span, points))?,
        }
    }
    if sources.len() > 1 {
        points[start..].sort_by_key(|point| point.time);
    }
    Ok(())
}

/// The points of a head in a span, in the order of arrival.
pub(super) fn collect_head(head: &Head, metric: Option<&str>, span: Span, found: &mut Vec<Point>) {
    let wanted = |column: &&Column| metric.is_none_or(|metric| metric == &*column.name);
    let columns: Vec<&Column> = head.columns.iter().filter(wanted).collect();
    collect(&head.rows, &columns, span, found);
}

/// Groups sources, which are in the order of their first times, so that no two groups overlap.
/// Sources that only touch belong together: equal times must stay in the order of arrival.
fn clusters(sources: Vec<Source>) -> Vec<Vec<Source>> {
    let mut clusters: Vec<Vec<Source>> = Vec::new();
    let mut end = i64::MIN;
    for source in sources {
        let to = source.span.to;
        match clusters.last_mut() {
            Some(cluster) if source.span.from <= end => cluster.push(source),
            _ => clusters.push(vec![source]),
        }
        end = end.max(to);
    }
    clusters
}

fn decode(chunk: &Chunk<'_>, metric: Option<&str>, span: Span, found: &mut Vec<Point>) -> Result<(), Malformed> {
    let columns = chunk.columns(metric)?;
    if !columns.is_empty() {
        collect(&chunk.rows()?, &columns.iter().collect::<Vec<_>>(), span, found);
    }
    Ok(())
}

/// The points of some columns, row by row.
fn collect(rows: &Rows, columns: &[&Column], span: Span, found: &mut Vec<Point>) {
    if let [column] = columns {
        // Most questions are for one metric.
        let mut series = SeriesOf::new(rows, column);
        for (place, row) in column.rows.iter().enumerate() {
            found.extend(series.point(*row as usize, place, span));
        }
        return;
    }
    // Row by row, in the work of the values there are: of a device that never sends a name twice,
    // columns times rows would be without end.
    let mut cells = Vec::new();
    for (number, column) in (0_u32..).zip(columns) {
        let is_wanted = |row: &u32| rows.times.get(*row as usize).is_some_and(|time| span.contains(*time));
        let wanted = (0_u32..).zip(&column.rows).filter(|(_, row)| is_wanted(row));
        cells.extend(wanted.map(|(place, row)| (*row, number, place)));
    }
    cells.sort_unstable();
    let mut series: Vec<SeriesOf<'_>> = columns.iter().map(|column| SeriesOf::new(rows, column)).collect();
    for (row, number, place) in cells {
        found.extend(series[number as usize].point(row as usize, place as usize, span));
    }
}

/// The points of one column, and the series they share.
struct SeriesOf<'a> {
    rows: &'a Rows,
    column: &'a Column,
    /// The kind of the rows that `series` is of, as in [`Rows::kinds`]. A device seldom changes it.
    kind: u32,
    series: Arc<Series>,
}

impl<'a> SeriesOf<'a> {
    fn new(rows: &'a Rows, column: &'a Column) -> Self {
        let kind = column.rows.first().and_then(|row| rows.kinds.get(*row as usize)).copied().unwrap_or_default();
        Self { rows, column, kind, series: series(rows, column, kind) }
    }

    #[inline]
    fn point(&mut self, row: usize, place: usize, span: Span) -> Option<Point> {
        let rows = self.rows;
        let time = *rows.times.get(row)?;
        if !span.contains(time) {
            return None;
        }
        let kind = *rows.kinds.get(row)?;
        if kind != self.kind {
            (self.kind, self.series) = (kind, series(rows, self.column, kind));
        }
        Some(Point {
            series: Arc::clone(&self.series),
            time: from_nanoseconds(time),
            device_time: *rows.device_time.get(row)?,
            received_at: from_nanoseconds(*rows.received.get(row)?),
            value: self.column.values.get(place)?,
        })
    }
}

fn series(rows: &Rows, column: &Column, kind: u32) -> Arc<Series> {
    Arc::new(Series {
        metric: Arc::clone(&column.name),
        unit: column.unit.clone(),
        kind: rows.kind_name(kind).cloned(),
    })
}
