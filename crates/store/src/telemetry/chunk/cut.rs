//! Where one chunk ends and the next begins: bounded in time, in rows times columns, and in bytes.
//!
//! A device may send a thousand samples at once, each with names that no other has. Nothing here
//! or in a chunk may cost columns times rows then: the work is that of the values there are.

use std::ops::Range;

use super::super::head::{Head, Values};

/// A chunk spans at most this many nanoseconds (seven days), so that a reader finds every chunk
/// that reaches into a time by looking back no further. A device whose clock jumps about gets
/// more and smaller chunks.
pub(in crate::telemetry) const MAXIMUM_SPAN: i64 = 7 * 24 * 3600 * 1_000_000_000;

/// Rows times columns of a chunk. A full head of a device that sends five thousand metrics each
/// time is below it.
const MAXIMUM_CELLS: usize = 1 << 22;
/// Bytes of a chunk before they are compressed: far below the thousand million that SQLite takes.
const MAXIMUM_BYTES: usize = 16 << 20;
/// What a number takes, and what a text takes besides its bytes.
const VALUE_BYTES: usize = 8;
/// What a column takes besides its name and its unit.
const COLUMN_BYTES: usize = 64;

/// A value of a row of a head.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    pub(super) column: u32,
    /// In the values of the column.
    pub(super) place: u32,
}

/// The values of a head row by row, where the head has them column by column.
pub(super) struct Cells {
    cells: Vec<Cell>,
    /// Where the cells of each row end.
    ends: Vec<usize>,
}

impl Cells {
    pub(super) fn of(head: &Head) -> Self {
        let all = || head.columns.iter().flat_map(|column| column.rows.iter());
        let mut ends = vec![0; head.len()];
        for row in all() {
            ends[*row as usize] += 1;
        }
        // From how many each row has, to where the first of each stands.
        let mut count = 0;
        for end in &mut ends {
            (*end, count) = (count, count + *end);
        }
        let mut cells = vec![Cell::default(); count];
        for (number, column) in (0..).zip(&head.columns) {
            for (place, row) in (0..).zip(&column.rows) {
                let next = &mut ends[*row as usize];
                cells[*next] = Cell { column: number, place };
                *next += 1;
            }
        }
        Self { cells, ends }
    }

    /// The values of a row, in the order of columns.
    pub(super) fn of_row(&self, row: usize) -> &[Cell] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.cells[start..self.ends[row]]
    }
}

/// The parts of `order`, the rows of a head in the order of time, that become one chunk each. `samples` is how many a
/// chunk usually has: what comes in bulk becomes chunks of that size too, for a reader that wants a little of them. Only
/// the last one has more.
pub(super) fn cut(head: &Head, cells: &Cells, order: &[usize], samples: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    // Of each column the last piece that has a value of it, counted from one.
    let mut seen = vec![0; head.columns.len()];
    let (mut columns, mut bytes) = (0, 0);
    for (place, row) in order.iter().enumerate() {
        let (new, more) = cost(head, cells.of_row(*row), |column| seen[column] != pieces.len() + 1);
        let is_usual = place - start < samples || order.len() - place < samples;
        let is_within = is_usual
            && head.rows.times[*row] <= head.rows.times[order[start]].saturating_add(MAXIMUM_SPAN)
            && (columns + new) * (place - start + 1) <= MAXIMUM_CELLS
            && bytes + more <= MAXIMUM_BYTES;
        (columns, bytes) = if is_within || place == start {
            (columns + new, bytes + more)
        } else {
            pieces.push(start..place);
            start = place;
            // Of a new piece every column is new.
            cost(head, cells.of_row(*row), |_| true)
        };
        for cell in cells.of_row(*row) {
            seen[cell.column as usize] = pieces.len() + 1;
        }
    }
    if start < order.len() {
        pieces.push(start..order.len());
    }
    pieces
}

/// How many columns a row adds to its piece, and about how many bytes.
fn cost(head: &Head, cells: &[Cell], is_new: impl Fn(usize) -> bool) -> (usize, usize) {
    let (mut new, mut bytes) = (0, 0);
    for cell in cells {
        let column = &head.columns[cell.column as usize];
        if is_new(cell.column as usize) {
            new += 1;
            bytes += COLUMN_BYTES + column.name.len() + column.unit.as_ref().map_or(0, |unit| unit.len());
        }
        bytes += VALUE_BYTES;
        if let Values::Text(words) = &column.values {
            // Each time: that a text comes again is not known before the piece is.
            let index = words.indexes.get(cell.place as usize);
            bytes += index.and_then(|index| words.words.get(*index as usize)).map_or(0, |word| word.len());
        }
    }
    (new, bytes)
}
