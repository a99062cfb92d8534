//! Points in a span of time: chunks and the head, merged in the order of time.
//!
//! Chunks that overlap in time (late data) are read together as one cluster and merged; clusters
//! are read one after the other, from either end, until the limit is reached.

use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::Value;

use super::Telemetry;
use super::chunk::Chunk;
use super::codec::Malformed;
use super::head::{Column, Head, Rows, Values};
use super::points::{Points, Row};
use super::query::RangeQuery;
use super::span::Span;
use super::view::{Source, View};
use crate::error::StoreError;

/// Points of one metric in a chunk, as most devices have them.
const POINTS_IN_CHUNK: usize = 800;
/// Points that memory is reserved for before they are found.
const MOST_RESERVED: usize = 100_000;

impl Telemetry {
    /// The points of a device in a span of time, in the order of time; equal times in the order
    /// of arrival. Newest first is exactly the reverse. A corrupt chunk is passed over, logged and
    /// counted. What is older than the retention of the device is not there, dropped or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn range(&self, device: &DeviceId, query: &RangeQuery) -> Result<Points, StoreError> {
        let Some(span) = Span::of(query.from, query.to).filter(|_| query.limit > 0) else {
            return Ok(Points::default());
        };
        let Some(span) = self.shared.kept(device, span) else {
            return Ok(Points::default());
        };
        let Some(device) = self.shared.device(device) else {
            return Ok(Points::default());
        };
        let metric = query.metric.as_deref();
        self.view(
            &device,
            |state| {
                let mut points = Points::default();
                collect_head(&state.head, metric, span, &mut points);
                points
            },
            |view, head| merge(view, head, query, span),
        )
    }
}

fn merge(view: &View<'_>, mut head: Points, query: &RangeQuery, span: Span) -> Result<Points, StoreError> {
    let mut sources = view.sources(span, usize::MAX)?;
    head.sort_from(0);
    if let Some((from, to)) = head.ends() {
        sources.push(Source { span: Span { from, to }, chunk: None });
        sources.sort_by_key(|source| source.span.from);
    }
    let mut clusters = clusters(sources);
    if query.newest_first {
        clusters.reverse();
    }
    let mut points = Points::default();
    if query.metric.is_some() {
        // A chunk holds some hundred points of a metric; what is too much is never touched.
        points.reserve(query.limit.min(clusters.len().saturating_mul(POINTS_IN_CHUNK)).min(MOST_RESERVED));
    }
    for cluster in clusters {
        if points.len() >= query.limit {
            break;
        }
        if query.newest_first {
            let mut found = Points::default();
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
    head: &mut Points,
    metric: Option<&str>,
    span: Span,
    points: &mut Points,
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
        points.sort_from(start);
    }
    Ok(())
}

/// The points of a head in a span, in the order of arrival.
pub(super) fn collect_head(head: &Head, metric: Option<&str>, span: Span, found: &mut Points) {
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

fn decode(chunk: &Chunk<'_>, metric: Option<&str>, span: Span, found: &mut Points) -> Result<(), Malformed> {
    let columns = chunk.columns(metric)?;
    match &columns[..] {
        [] => {}
        // Most questions are for one metric.
        [column] => collect_sorted(&chunk.rows()?, column, span, found),
        _ => collect(&chunk.rows()?, &columns.iter().collect::<Vec<_>>(), span, found),
    }
    Ok(())
}

/// The points of one column whose rows are in the order of time.
fn collect_sorted(rows: &Rows, column: &Column, span: Span, found: &mut Points) {
    let time = |row: &u32| rows.times[*row as usize];
    let start = column.rows.partition_point(|row| time(row) < span.from);
    let end = column.rows.partition_point(|row| time(row) <= span.to);
    let mut places = start..end;
    // As long as the kind stays the same, which is to the end, nothing is looked at for each point but its numbers.
    while let Some(&first) = column.rows.get(places.start).filter(|_| !places.is_empty()) {
        let kind = rows.kinds[first as usize];
        let stretch = column.rows[places.clone()].iter().take_while(|row| rows.kinds[**row as usize] == kind).count();
        let series = found.series(&column.name, column.unit.as_deref(), rows.kind_name(kind));
        let same = places.start..places.start + stretch;
        let row = |row: &u32, value: Value| {
            let row = *row as usize;
            let (time, received) = (rows.times[row], rows.received[row]);
            Row { time, received, value, series, device_time: rows.device_time[row] }
        };
        let numbers = column.rows[same.clone()].iter();
        match &column.values {
            Values::Float(values) => {
                found.extend(numbers.zip(&values[same]).map(|(number, value)| row(number, Value::Float(*value))));
            }
            Values::Integer(values) => {
                found.extend(numbers.zip(&values[same]).map(|(number, value)| row(number, Value::Integer(*value))));
            }
            values => {
                found.extend(numbers.zip(same).filter_map(|(number, place)| Some(row(number, values.get(place)?))));
            }
        }
        places.start += stretch;
    }
}

/// The points of some columns, row by row, in the work of the values there are: of a device that never sends a name
/// twice, columns times rows would be without end.
fn collect(rows: &Rows, columns: &[&Column], span: Span, found: &mut Points) {
    let mut cells = Vec::new();
    for (number, column) in (0_u32..).zip(columns) {
        let is_wanted = |row: &u32| rows.times.get(*row as usize).is_some_and(|time| span.contains(*time));
        let wanted = (0_u32..).zip(&column.rows).filter(|(_, row)| is_wanted(row));
        cells.extend(wanted.map(|(place, row)| (*row, number, place)));
    }
    cells.sort_unstable();
    // Of each column the kind of its last point, as in `Rows::kinds`, and the place of the series of both.
    let mut known: Vec<Option<(u32, u32)>> = vec![None; columns.len()];
    for (row, number, place) in cells {
        let column = columns[number as usize];
        let (row, known) = (row as usize, &mut known[number as usize]);
        let kind = rows.kinds[row];
        let series = match known {
            Some((of, series)) if *of == kind => *series,
            _ => found.series(&column.name, column.unit.as_deref(), rows.kind_name(kind)),
        };
        *known = Some((kind, series));
        if let Some(value) = column.values.get(place as usize) {
            let (time, received) = (rows.times[row], rows.received[row]);
            found.push(Row { time, received, value, series, device_time: rows.device_time[row] });
        }
    }
}
