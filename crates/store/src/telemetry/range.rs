//! Points in a span of time: chunks and the head, merged in the order of time.
//!
//! Chunks that overlap in time (late data) are read together as one cluster and merged; clusters
//! are read one after the other, from either end, until the limit is reached.

use std::sync::Arc;

use rusqlite::{Connection, params};
use tesaiot_contract::DeviceId;

use super::Telemetry;
use super::chunk::{Chunk, MAXIMUM_SPAN};
use super::codec::Malformed;
use super::head::{Column, Rows};
use super::query::{Point, RangeQuery};
use super::shared::add;
use crate::error::{During, StoreError};
use crate::time::from_nanoseconds;

/// A span of nanoseconds, both ends included.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
}

/// Something that holds points: a chunk, or the head.
struct Source {
    span: Span,
    /// The number of a chunk; the head has none and comes after all of them.
    chunk: Option<i64>,
}

impl Telemetry {
    /// The points of a device in a span of time, in the order of time; equal times in the order
    /// of arrival. Newest first is exactly the reverse. A corrupt chunk is passed over, logged and
    /// counted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn range(&self, device: &DeviceId, query: &RangeQuery) -> Result<Vec<Point>, StoreError> {
        let Some(span) = Span::of(query) else {
            return Ok(Vec::new());
        };
        let Some(device) = self.shared.device(device) else {
            return Ok(Vec::new());
        };
        // The head first, with the number of the last chunk it does not overlap: points that are
        // sealed while we read are then seen once.
        let mut head = Vec::new();
        let (number, visible_chunk) = {
            let state = device.read();
            let wanted = |column: &&Column| query.metric.as_deref().is_none_or(|metric| metric == &*column.name);
            let columns: Vec<&Column> = state.head.columns.iter().filter(wanted).collect();
            collect(&state.head.rows, &columns, span, &mut head);
            (state.number, state.visible_chunk)
        };
        let sources = self.shared.readers.with(|connection| {
            number
                .map_or_else(|| Ok(Vec::new()), |number| sources(connection, number, visible_chunk, span))
                .map_err(|source| StoreError::from_sqlite(self.shared.readers.path(), During::Read, source))
        })?;
        self.merge(sources, head, query, span)
    }

    fn merge(
        &self,
        mut sources: Vec<Source>,
        mut head: Vec<Point>,
        query: &RangeQuery,
        span: Span,
    ) -> Result<Vec<Point>, StoreError> {
        head.sort_by_key(|point| point.time);
        if let (Some(first), Some(last)) = (head.first(), head.last()) {
            let span =
                Span { from: crate::time::to_nanoseconds(first.time), to: crate::time::to_nanoseconds(last.time) };
            sources.push(Source { span, chunk: None });
            sources.sort_by_key(|source| source.span.from);
        }
        let mut clusters = clusters(sources);
        if query.newest_first {
            clusters.reverse();
        }
        let mut points = Vec::new();
        for cluster in clusters {
            if points.len() >= query.limit {
                break;
            }
            let mut found = self.read_cluster(cluster, &mut head, query, span)?;
            if query.newest_first {
                found.reverse();
            }
            if points.is_empty() {
                points = found;
            } else {
                points.append(&mut found);
            }
        }
        points.truncate(query.limit);
        Ok(points)
    }

    fn read_cluster(
        &self,
        mut cluster: Vec<Source>,
        head: &mut Vec<Point>,
        query: &RangeQuery,
        span: Span,
    ) -> Result<Vec<Point>, StoreError> {
        // In the order of arrival, for the stable sort: chunks by number, then the head.
        cluster.sort_by_key(|source| source.chunk.unwrap_or(i64::MAX));
        let mut found = Vec::new();
        self.shared.readers.with(|connection| {
            for source in &cluster {
                match source.chunk {
                    None => found.append(head),
                    Some(number) => self.read_chunk(connection, number, query, span, &mut found)?,
                }
            }
            Ok(())
        })?;
        if cluster.len() > 1 {
            found.sort_by_key(|point| point.time);
        }
        Ok(found)
    }

    fn read_chunk(
        &self,
        connection: &Connection,
        number: i64,
        query: &RangeQuery,
        span: Span,
        found: &mut Vec<Point>,
    ) -> Result<(), StoreError> {
        let read = |source| StoreError::from_sqlite(self.shared.readers.path(), During::Read, source);
        let mut statement = connection.prepare_cached("SELECT blob FROM chunk WHERE number = ?1").map_err(read)?;
        let mut rows = statement.query([number]).map_err(read)?;
        let Some(row) = rows.next().map_err(read)? else {
            return Ok(());
        };
        let blob = row.get_ref(0).map_err(read)?.as_blob().map_err(|error| read(error.into()))?;
        if let Err(malformed) = decode(blob, query.metric.as_deref(), span, found) {
            add(&self.shared.totals.corrupt_chunk_reads, 1);
            tracing::error!(chunk = number, reason = %malformed, "a chunk is corrupt; its points are passed over");
        }
        Ok(())
    }
}

impl Span {
    /// The query's span, unless it is empty.
    fn of(query: &RangeQuery) -> Option<Self> {
        if query.limit == 0 || query.from >= query.to {
            return None;
        }
        let clamp =
            |nanoseconds: i128| i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX });
        Some(Self { from: clamp(query.from.as_nanosecond()), to: clamp(query.to.as_nanosecond() - 1) })
    }

    fn contains(self, time: i64) -> bool {
        (self.from..=self.to).contains(&time)
    }
}

fn sources(connection: &Connection, device: i64, visible: i64, span: Span) -> rusqlite::Result<Vec<Source>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, first_time, last_time FROM chunk INDEXED BY chunk_by_time
         WHERE device = ?1 AND first_time BETWEEN ?2 AND ?3 AND last_time >= ?4 AND number <= ?5
         ORDER BY first_time",
    )?;
    let earliest = span.from.saturating_sub(MAXIMUM_SPAN);
    let rows = statement.query_map(params![device, earliest, span.to, span.from, visible], |row| {
        Ok(Source { chunk: Some(row.get(0)?), span: Span { from: row.get(1)?, to: row.get(2)? } })
    })?;
    rows.collect()
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

fn decode(blob: &[u8], metric: Option<&str>, span: Span, found: &mut Vec<Point>) -> Result<(), Malformed> {
    let chunk = Chunk::open(blob)?;
    let columns = chunk.columns(metric)?;
    if !columns.is_empty() {
        collect(&chunk.rows()?, &columns.iter().collect::<Vec<_>>(), span, found);
    }
    Ok(())
}

/// The points of some columns, row by row.
fn collect(rows: &Rows, columns: &[&Column], span: Span, found: &mut Vec<Point>) {
    // Where each column stands: its next value.
    let mut places = vec![0_usize; columns.len()];
    for (row, time) in rows.times.iter().enumerate() {
        let is_wanted = span.contains(*time);
        for (column, place) in columns.iter().zip(&mut places) {
            if column.rows.get(*place).is_none_or(|next| *next as usize != row) {
                continue;
            }
            if is_wanted && let Some(value) = column.values.get(*place) {
                found.push(Point {
                    metric: Arc::clone(&column.name),
                    time: from_nanoseconds(*time),
                    device_time: rows.device_time[row],
                    received_at: from_nanoseconds(rows.received[row]),
                    value,
                    unit: column.unit.clone(),
                    kind: rows.kind(row).cloned(),
                });
            }
            *place += 1;
        }
    }
}
