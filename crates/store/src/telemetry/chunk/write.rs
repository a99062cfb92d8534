//! From a head to its chunks: order by time, cut (`cut`), compress.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::codec::Writer;
use super::super::head::{Head, Values, Words};
use super::super::numbers::{encode, encode_bits};
use super::cut::{Cell, Cells, cut};
use super::{Statistics, VERSION};

/// A chunk that is ready to be stored.
#[derive(Debug)]
pub(in crate::telemetry) struct Sealed {
    /// The earliest time in it, nanoseconds.
    pub(in crate::telemetry) first_time: i64,
    /// The latest time in it.
    pub(in crate::telemetry) last_time: i64,
    pub(in crate::telemetry) samples: usize,
    pub(in crate::telemetry) blob: Vec<u8>,
}

/// All samples of a head as chunks of usually so many `samples`. The sort is stable: equal times stay in the order of arrival.
pub(in crate::telemetry) fn seal(head: &Head, samples: usize, level: usize) -> Vec<Sealed> {
    let times = &head.rows.times;
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|row| times[*row]);
    let cells = Cells::of(head);
    cut(head, &cells, &order, samples).into_iter().map(|piece| write(head, &cells, &order[piece], level)).collect()
}

fn write(head: &Head, cells: &Cells, order: &[usize], level: usize) -> Sealed {
    let times: Vec<i64> = order.iter().map(|row| head.rows.times[*row]).collect();
    let received: Vec<i64> =
        order.iter().zip(&times).map(|(row, time)| head.rows.received[*row].wrapping_sub(*time)).collect();
    let device_time = order.iter().map(|row| head.rows.device_time[*row]);
    let (kind_names, kinds) = kinds(head, order);
    let mut sections = vec![
        encode(&times, level),
        encode(&received, level),
        if device_time.clone().all(|bit| bit) { Vec::new() } else { encode_bits(device_time) },
        if kind_names.is_empty() { Vec::new() } else { encode(&kinds, level) },
    ];
    let mut columns = Vec::new();
    for present in by_column(cells, order).chunk_by(|one, next| one.column == next.column) {
        let Some(column) = present.first().and_then(|first| head.columns.get(first.column as usize)) else {
            continue;
        };
        let values = select(&column.values, present);
        sections.push(rows_section(present, order.len()));
        sections.push(values_section(&values, level));
        columns.push((column, Statistics::of(&values), present.len()));
    }
    let mut writer = Writer::new(VERSION);
    writer.length(order.len());
    writer.length(kind_names.len());
    for kind in &kind_names {
        writer.text(kind);
    }
    writer.length(columns.len());
    for (column, statistics, count) in columns {
        writer.text(&column.name);
        writer.optional_text(column.unit.as_deref());
        writer.byte(statistics.type_byte());
        writer.length(count);
        statistics.write(&mut writer);
    }
    for section in &sections {
        writer.length(section.len());
    }
    for section in &sections {
        writer.raw(section);
    }
    Sealed {
        first_time: times.first().copied().unwrap_or_default(),
        last_time: times.last().copied().unwrap_or_default(),
        samples: order.len(),
        blob: writer.finish(),
    }
}

/// A value of a chunk.
struct Present {
    column: u32,
    /// Of the chunk.
    row: u32,
    /// In the values of the column in the head.
    place: u32,
}

/// The values of some rows of the head, in the order of columns and of these rows.
fn by_column(cells: &Cells, order: &[usize]) -> Vec<Present> {
    let mut found: Vec<Present> = (0..)
        .zip(order)
        .flat_map(|(row, of_head)| {
            cells.of_row(*of_head).iter().map(move |&Cell { column, place }| Present { column, row, place })
        })
        .collect();
    found.sort_unstable_by_key(|present| (present.column, present.row));
    found
}

/// Which rows have a value: nothing for all, else bits or a list, whichever is shorter.
fn rows_section(present: &[Present], rows: usize) -> Vec<u8> {
    if present.len() == rows {
        return Vec::new();
    }
    let length_of_bits = rows.div_ceil(8);
    if present.len() < length_of_bits {
        let mut list = Writer::new(VERSION);
        let mut next = 0;
        for present in present {
            list.unsigned(u64::from(present.row - next));
            next = present.row + 1;
        }
        if list.body().len() < length_of_bits {
            return list.body().to_vec();
        }
    }
    let mut bits = vec![0; length_of_bits];
    for present in present {
        bits[present.row as usize / 8] |= 1 << (present.row % 8);
    }
    bits
}

/// The kinds that occur in some rows, and of each row 0 or the place of its kind plus one.
fn kinds(head: &Head, order: &[usize]) -> (Vec<Arc<str>>, Vec<u32>) {
    let mut numbers = HashMap::new();
    let mut names = Vec::new();
    let kinds = order
        .iter()
        .map(|row| {
            let Some(name) = head.rows.kind(*row) else {
                return 0;
            };
            *numbers.entry(head.rows.kinds[*row]).or_insert_with(|| {
                names.push(Arc::clone(name));
                names.len() as u32
            })
        })
        .collect();
    (names, kinds)
}

/// The values at some places, in their order. Of texts, only those that occur.
fn select(values: &Values, present: &[Present]) -> Values {
    let places = present.iter().map(|present| present.place as usize);
    match values {
        Values::Float(values) => Values::Float(places.map(|place| values[place]).collect()),
        Values::Integer(values) => Values::Integer(places.map(|place| values[place]).collect()),
        Values::Bool(values) => Values::Bool(places.map(|place| values[place]).collect()),
        Values::Text(words) => {
            let mut renumbered = HashMap::new();
            let mut kept = Vec::new();
            let indexes = places
                .map(|place| {
                    let old = words.indexes[place];
                    *renumbered.entry(old).or_insert_with(|| {
                        kept.push(Arc::clone(&words.words[old as usize]));
                        kept.len() as u32 - 1
                    })
                })
                .collect();
            Values::Text(Words::from_parts(indexes, kept))
        }
    }
}

fn values_section(values: &Values, level: usize) -> Vec<u8> {
    match values {
        Values::Float(values) => encode(values, level),
        Values::Integer(values) => encode(values, level),
        Values::Bool(values) => encode_bits(values.iter().copied()),
        Values::Text(words) => {
            let mut writer = Writer::new(VERSION);
            writer.length(words.words.len());
            for word in &words.words {
                writer.text(word);
            }
            writer.raw(&encode(&words.indexes, level));
            writer.body().to_vec()
        }
    }
}
