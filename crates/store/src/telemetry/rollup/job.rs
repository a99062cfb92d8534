//! Computing the rollups of one day, a few chunks at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::append::Appender;
use super::super::bucket::{Accumulator, Place};
use super::super::checksum::of_rollup;
use super::super::chunk::Chunk;
use super::super::codec::Malformed;
use super::super::head::Column;
use super::super::span::Span;
use super::super::stored;
use super::page::{Page, Windows};
use super::{DAY, Resolution, day_start};
use crate::error::{During, StoreError};

/// Chunks decoded in one call of `maintain`.
const CHUNKS_PER_CALL: usize = 4;
/// Windows of all metrics of a day, above which the day is left to its chunks: a device that
/// invents names all day would take memory for each of them.
const MAXIMUM_WINDOWS: usize = 200_000;
/// What a metric takes besides its windows, in windows: its part of a tree has room for as many.
const WINDOWS_OF_A_METRIC: usize = 11;
/// Days that are ever rolled up: at the very ends of time a day is not whole.
const DAYS: std::ops::RangeInclusive<i64> = -106_000..=106_000;

/// A day that is being computed.
#[derive(Debug)]
pub(in crate::telemetry) struct Job {
    pub(in crate::telemetry) device: i64,
    pub(in crate::telemetry) day: i64,
    chunks: VecDeque<i64>,
    minutes: BTreeMap<Arc<str>, Windows>,
    windows: usize,
    /// The resolutions whose page is still to be made.
    wanted: VecDeque<Resolution>,
    pages: Vec<Made>,
}

/// A page that is ready to be stored.
#[derive(Debug)]
struct Made {
    resolution: Resolution,
    first_day: i64,
    /// Nothing for a page without days.
    blob: Option<Vec<u8>>,
}

impl Appender {
    /// Does a bounded piece of the work on rollups. Answers whether there is more.
    pub(in crate::telemetry) fn roll_up(&mut self) -> Result<bool, StoreError> {
        let failed = |appender: &Self, source| StoreError::from_sqlite(appender.path(), During::Read, source);
        let mut job = match self.rollup.take() {
            Some(job) => job,
            None => match self.next_day().map_err(|source| failed(self, source))? {
                Some(job) => job,
                None => return Ok(false),
            },
        };
        let level = self.shared.options.compression_level;
        let is_finished = job.step(&self.connection, level).map_err(|source| failed(self, source))?;
        if is_finished {
            let written: u64 =
                job.pages.iter().filter_map(|made| made.blob.as_ref()).map(|blob| blob.len() as u64).sum();
            let stored = self.relaxed(|appender| job.store(&mut appender.connection));
            if stored.is_err() {
                self.rollup = Some(job);
            }
            stored?;
            self.log_bytes += written + (16 << 10);
        } else {
            self.rollup = Some(job);
        }
        Ok(true)
    }

    /// The next day that is marked and ready, one device after the other.
    fn next_day(&mut self) -> rusqlite::Result<Option<Job>> {
        let mut found = None;
        for after in [self.rolled_up, (i64::MIN, i64::MIN)] {
            found = self
                .connection
                .prepare_cached(
                    "SELECT device, day FROM rollup_due INDEXED BY rollup_ready
                     WHERE ready = 1 AND (device, day) > (?1, ?2) ORDER BY device, day LIMIT 1",
                )?
                .query_row(params![after.0, after.1], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if found.is_some() {
                break;
            }
        }
        let Some((device, day)) = found else {
            return Ok(None);
        };
        self.rolled_up = (device, day);
        Job::new(&self.connection, device, day).map(Some)
    }
}

impl Job {
    fn new(connection: &Connection, device: i64, day: i64) -> rusqlite::Result<Self> {
        let mut job = Self {
            device,
            day,
            chunks: VecDeque::new(),
            minutes: BTreeMap::new(),
            windows: 0,
            wanted: VecDeque::new(),
            pages: Vec::new(),
        };
        if DAYS.contains(&day) {
            let chunks = stored::list(connection, device, job.span(), i64::MAX, usize::MAX)?;
            job.chunks = chunks.into_iter().map(|chunk| chunk.number).collect();
            job.wanted = Resolution::ALL.into();
        }
        Ok(job)
    }

    fn span(&self) -> Span {
        Span { from: day_start(self.day), to: day_start(self.day) + (DAY - 1) }
    }

    /// Decodes some chunks, or makes one page. Answers whether everything is made.
    fn step(&mut self, connection: &Connection, level: usize) -> rusqlite::Result<bool> {
        if !self.chunks.is_empty() {
            for _ in 0..CHUNKS_PER_CALL {
                if let Some(number) = self.chunks.pop_front() {
                    self.add(connection, number)?;
                }
            }
            return Ok(false);
        }
        if let Some(resolution) = self.wanted.pop_front() {
            let made = self.make(connection, resolution, level)?;
            self.pages.push(made);
        }
        Ok(self.wanted.is_empty())
    }

    /// Takes in a chunk. A corrupt one is passed over, as every reader does.
    fn add(&mut self, connection: &Connection, number: i64) -> rusqlite::Result<()> {
        let outcome = stored::read(connection, self.device, number, |chunk| self.add_chunk(number, chunk))?;
        if let Some(Err(malformed)) = outcome {
            tracing::error!(chunk = number, reason = %malformed, "a chunk is corrupt; it is in no rollup");
        }
        Ok(())
    }

    fn add_chunk(&mut self, number: i64, chunk: &Chunk<'_>) -> Result<(), Malformed> {
        // Decoded completely before anything is counted: a chunk counts as a whole or not at all.
        let (times, columns) = (chunk.times()?, chunk.columns(None)?);
        for column in &columns {
            if self.windows <= MAXIMUM_WINDOWS {
                self.add_column(number, &times, column);
            }
        }
        if self.windows > MAXIMUM_WINDOWS {
            self.minutes.clear();
            self.chunks.clear();
        }
        Ok(())
    }

    fn add_column(&mut self, chunk: i64, times: &[i64], column: &Column) {
        let (span, width) = (self.span(), Resolution::Minute.width());
        let time = |place: usize| times[column.rows[place] as usize];
        let mut start = column.rows.partition_point(|row| times[*row as usize] < span.from);
        let end = column.rows.partition_point(|row| times[*row as usize] <= span.to);
        if start == end {
            return;
        }
        let windows = self.minutes.entry(Arc::clone(&column.name)).or_default();
        let known = windows.len();
        if known == 0 {
            self.windows += WINDOWS_OF_A_METRIC;
        }
        while start < end {
            let window = (time(start) - span.from) / width;
            let window_end = span.from + (window + 1) * width;
            let stop = start + column.rows[start..end].partition_point(|row| times[*row as usize] < window_end);
            let place = |place: usize| (Place { time: time(place), chunk, row: column.rows[place] }, place);
            let accumulator = windows.entry(window as u32).or_default();
            accumulator.add(&column.values, start..stop);
            accumulator.offer(&column.values, place(start), place(stop - 1));
            start = stop;
        }
        self.windows += windows.len() - known;
    }

    /// The page of one resolution with this day in it.
    fn make(&self, connection: &Connection, resolution: Resolution, level: usize) -> rusqlite::Result<Made> {
        let first_day = resolution.page_of(self.day);
        let mut page = Page::default();
        if resolution.page_days() > 1 {
            page = stored_page(connection, self.device, resolution, first_day)?;
        }
        let day = (self.day - first_day) as u32;
        page.forget_day(day, resolution);
        if self.windows <= MAXIMUM_WINDOWS && !self.minutes.is_empty() {
            page.days.insert(day);
            for (metric, minutes) in &self.minutes {
                page.metrics.entry(Arc::clone(metric)).or_default().extend(coarser(minutes, day, resolution));
            }
        }
        let blob = (!page.days.is_empty()).then(|| page.encode(day_start(first_day), level));
        Ok(Made { resolution, first_day, blob })
    }

    /// The pages, and the end of the mark, in one transaction.
    fn store(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        for Made { resolution, first_day, blob } in &self.pages {
            let resolution = resolution.number();
            match blob {
                Some(blob) => transaction
                    .prepare_cached(
                        "INSERT INTO rollup (device, resolution, first_day, page, checksum) VALUES (?1, ?2, ?3, ?4, ?5)
                         ON CONFLICT (device, resolution, first_day)
                         DO UPDATE SET page = excluded.page, checksum = excluded.checksum",
                    )?
                    .execute(params![
                        self.device,
                        resolution,
                        first_day,
                        blob,
                        of_rollup(self.device, resolution, *first_day, blob).finish()
                    ])?,
                None => transaction
                    .prepare_cached("DELETE FROM rollup WHERE device = ?1 AND resolution = ?2 AND first_day = ?3")?
                    .execute(params![self.device, resolution, first_day])?,
            };
        }
        transaction
            .prepare_cached("DELETE FROM rollup_due WHERE device = ?1 AND day = ?2")?
            .execute([self.device, self.day])?;
        transaction.commit()
    }
}

/// A page that is there. What a corrupt one said is lost: its days are computed again when their
/// chunks are still there.
fn stored_page(connection: &Connection, device: i64, resolution: Resolution, first_day: i64) -> rusqlite::Result<Page> {
    let found = connection
        .prepare_cached("SELECT page, checksum FROM rollup WHERE device = ?1 AND resolution = ?2 AND first_day = ?3")?
        .query_row(params![device, resolution.number(), first_day], |row| {
            let blob = row.get_ref(0)?.as_blob()?;
            let is_its_own = of_rollup(device, resolution.number(), first_day, blob).matches(row.get(1)?);
            Ok(if is_its_own {
                Page::decode(blob, day_start(first_day))
            } else {
                Err(Malformed("the row is not what was written"))
            })
        })
        .optional()?;
    Ok(match found {
        None => Page::default(),
        Some(Ok(page)) => page,
        Some(Err(malformed)) => {
            tracing::error!(device, first_day, reason = %malformed, "a page of rollups is corrupt; it is made anew");
            Page::default()
        }
    })
}

/// The minutes of a day as windows of a page.
fn coarser(minutes: &Windows, day: u32, resolution: Resolution) -> Windows {
    let minutes_per_window = (resolution.width() / Resolution::Minute.width()) as u32;
    let first = day * resolution.windows_of_day() as u32;
    let mut windows = Windows::new();
    // In the order of time: what is taken in last is later.
    for (minute, found) in minutes {
        let window: &mut Accumulator = windows.entry(first + minute / minutes_per_window).or_default();
        window.merge(found.clone());
    }
    for window in windows.values_mut() {
        window.floats = shortened(window.floats);
    }
    windows
}

/// The shortest decimal that is as good a sum: adding tenths leaves noise in the last places,
/// which does not compress. Never further off than eight units of the last place, which is what
/// the order of adding changes too.
fn shortened(sum: f64) -> f64 {
    let tolerance = sum.abs() * f64::EPSILON * 4.0;
    let mut scale = 1.0;
    for _ in 0..=6 {
        let candidate = (sum * scale).round() / scale;
        if (candidate - sum).abs() <= tolerance {
            return candidate;
        }
        scale *= 10.0;
    }
    sum
}
