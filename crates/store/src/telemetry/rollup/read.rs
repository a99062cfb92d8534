//! Reading rollups: what they answer of a span, and what is left to be read from the chunks.

use rusqlite::{Connection, Row, params};

use super::super::bucket::Accumulator;
use super::super::checksum::of_rollup;
use super::super::codec::Checksum;
use super::super::span::Span;
use super::page::{Columns, Header};
use super::{DAY, Resolution, day_of, day_start};
use crate::error::StoreError;

/// The page that was decoded last. The edges of neighbouring buckets lie in the same one.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Decoded {
    page: Option<Page>,
}

/// What a page says of one metric.
#[derive(Debug)]
struct Page {
    resolution: Resolution,
    first_day: i64,
    metric: Box<str>,
    days: Vec<u32>,
    /// None when the page has nothing of it.
    windows: Option<Columns>,
}

impl Decoded {
    /// The page that was decoded last, if it is this one.
    fn known(&self, (metric, resolution, first_day): (&str, Resolution, i64)) -> Option<&Page> {
        self.page
            .as_ref()
            .filter(|page| (page.resolution, page.first_day) == (resolution, first_day) && *page.metric == *metric)
    }

    /// The page of a row, decoded. None when it is corrupt.
    fn read(
        &mut self,
        row: &Row<'_>,
        device: i64,
        (metric, resolution, first_day): (&str, Resolution, i64),
    ) -> rusqlite::Result<Option<&Page>> {
        let blob = row.get_ref(1)?.as_blob()?;
        // The checksum of the row covers the page too.
        let is_its_own = of_rollup(device, resolution.number(), first_day, blob).is(row.get(2)?);
        let header = is_its_own.then(|| Header::open(blob, day_start(first_day), Checksum::Known).ok()).flatten();
        self.page = header.and_then(|header| {
            let windows = header.windows(metric).ok()?;
            Some(Page { resolution, first_day, metric: metric.into(), days: header.days, windows })
        });
        Ok(self.page.as_ref())
    }
}

/// What rollups answer of a span, in the order of time.
#[derive(Debug)]
pub(in crate::telemetry) enum Piece {
    /// A window with points.
    Window(Span, Accumulator),
    /// What must be read from the chunks: days that are not rolled up, and the parts of windows at the ends of the
    /// span.
    Open(Span),
}

/// Hands out what rollups answer of a span, piece by piece: windows of one metric of a device that lie wholly in it.
/// Points of the head are in none of them. The connection is inside the transaction that the chunks are read in, and
/// `due` has the days of the span that are marked, rising. `each` says whether to go on. Answers how many pages were
/// corrupt, and were passed over.
pub(in crate::telemetry) fn pieces(
    connection: &Connection,
    (device, due): (i64, &[i64]),
    (metric, resolution, span): (&str, Resolution, Span),
    decoded: &mut Decoded,
    failed: impl Fn(rusqlite::Error) -> StoreError,
    each: &mut dyn FnMut(Piece) -> Result<bool, StoreError>,
) -> Result<u64, StoreError> {
    let mut corrupt = 0;
    let (first_day, last_day) = (day_of(span.from), day_of(span.to));
    let first_page = resolution.page_of(first_day);
    let mut out = HandOut { due, span, open_from: Some(span.from), each };
    // The edges of neighbouring buckets lie in the same page: nothing is asked of the database for them.
    let known = decoded.known((metric, resolution, first_page)).filter(|_| resolution.page_of(last_day) == first_page);
    if let Some(page) = known {
        if out.page(page)? {
            out.rest()?;
        }
        return Ok(corrupt);
    }
    let mut statement = connection
        .prepare_cached(
            "SELECT first_day, page, checksum FROM rollup INDEXED BY rollup_by_day
             WHERE device = ?1 AND resolution = ?2 AND first_day BETWEEN ?3 AND ?4 ORDER BY first_day",
        )
        .map_err(&failed)?;
    let mut pages = statement.query(params![device, resolution.number(), first_page, last_day]).map_err(&failed)?;
    while let Some(row) = pages.next().map_err(&failed)? {
        let page_day: i64 = row.get(0).map_err(&failed)?;
        let Some(page) = decoded.read(row, device, (metric, resolution, page_day)).map_err(&failed)? else {
            corrupt += 1;
            tracing::error!(device, page_day, "a page of rollups is corrupt; it is passed over");
            continue;
        };
        if !out.page(page)? {
            return Ok(corrupt);
        }
    }
    out.rest()?;
    Ok(corrupt)
}

/// What is handed out of a span, in the order of time.
struct HandOut<'a> {
    due: &'a [i64],
    span: Span,
    /// From where on nothing was handed out yet.
    open_from: Option<i64>,
    each: &'a mut dyn FnMut(Piece) -> Result<bool, StoreError>,
}

impl HandOut<'_> {
    /// What a page says, and what is open before it. Answers whether to go on.
    fn page(&mut self, page: &Page) -> Result<bool, StoreError> {
        let width = page.resolution.width();
        let page_start = day_start(page.first_day);
        for day in &page.days {
            let day = page.first_day.saturating_add(i64::from(*day));
            if self.due.binary_search(&day).is_ok() {
                continue;
            }
            // The windows of the day that lie wholly in the span.
            let Some((from, to)) = aligned(day, width, self.span) else {
                continue;
            };
            if let Some(open) = self.open_from.filter(|open| *open < from)
                && !(self.each)(Piece::Open(Span { from: open, to: from - 1 }))?
            {
                return Ok(false);
            }
            self.open_from = to.checked_add(1).filter(|next| *next <= self.span.to);
            let number = |time: i64| ((time - page_start) / width) as u32;
            let Some(windows) = &page.windows else {
                continue;
            };
            for place in windows.places(number(from)..=number(to)) {
                let Some((window, found)) = windows.window(place) else {
                    continue;
                };
                let start = page_start + i64::from(window) * width;
                if !(self.each)(Piece::Window(Span { from: start, to: start + (width - 1) }, found))? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// What is open behind the last page.
    fn rest(&mut self) -> Result<(), StoreError> {
        match self.open_from.filter(|open| *open <= self.span.to) {
            Some(from) => (self.each)(Piece::Open(Span { from, to: self.span.to })).map(drop),
            None => Ok(()),
        }
    }
}

/// The days of a device that are marked, rising, at most a limit of them.
pub(in crate::telemetry) fn due(
    connection: &Connection,
    device: i64,
    (first, last): (i64, i64),
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT day FROM rollup_due WHERE device = ?1 AND day BETWEEN ?2 AND ?3 ORDER BY day LIMIT ?4")?
        .query_map(params![device, first, last, i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get(0))?
        .collect()
}

/// The first and last time of the windows of a day that lie wholly in a span, if there are any.
fn aligned(day: i64, width: i64, span: Span) -> Option<(i64, i64)> {
    // A day at either end of time is not whole.
    let start = day.checked_mul(DAY)?;
    let end = start.checked_add(DAY)?;
    let from = if span.from <= start {
        start
    } else {
        let into = span.from.checked_sub(start)?;
        start.checked_add(into.checked_add(width - 1)? / width * width)?
    };
    let to =
        if span.to >= end - 1 { end } else { start.checked_add((span.to.checked_sub(start)? + 1) / width * width)? };
    (from < to).then_some((from, to - 1))
}
