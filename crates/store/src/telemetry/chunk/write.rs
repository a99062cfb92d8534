//! From a head to its chunks: order by time, cut where the times are far apart, compress.

use std::sync::Arc;

use super::super::codec::Writer;
use super::super::head::{Column, Head, Values, Words};
use super::super::numbers::{encode, encode_bits};
use super::{Statistics, VERSION};

/// A chunk spans at most this many nanoseconds (seven days), so that a reader finds every chunk
/// that reaches into a time by looking back no further. A device whose clock jumps about gets
/// more and smaller chunks.
pub(in crate::telemetry) const MAXIMUM_SPAN: i64 = 7 * 24 * 3600 * 1_000_000_000;

/// No value in this row.
const ABSENT: u32 = u32::MAX;

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

/// All samples of a head as chunks. The sort is stable: equal times stay in the order of arrival.
pub(in crate::telemetry) fn seal(head: &Head, level: usize) -> Vec<Sealed> {
    let times = &head.rows.times;
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|row| times[*row]);
    let places: Vec<Vec<u32>> = head.columns.iter().map(|column| places_of_rows(column, times.len())).collect();
    let mut chunks = Vec::new();
    let mut rest = &order[..];
    while let Some(first) = rest.first() {
        let end = times[*first].saturating_add(MAXIMUM_SPAN);
        let (piece, later) = rest.split_at(rest.partition_point(|row| times[*row] <= end));
        chunks.push(write(head, piece, &places, level));
        rest = later;
    }
    chunks
}

/// For each row the place of its value in the column.
fn places_of_rows(column: &Column, rows: usize) -> Vec<u32> {
    let mut places = vec![ABSENT; rows];
    for (place, row) in (0..).zip(&column.rows) {
        places[*row as usize] = place;
    }
    places
}

fn write(head: &Head, order: &[usize], places: &[Vec<u32>], level: usize) -> Sealed {
    let times: Vec<i64> = order.iter().map(|row| head.rows.times[*row]).collect();
    let received: Vec<i64> =
        order.iter().zip(&times).map(|(row, time)| head.rows.received[*row].wrapping_sub(*time)).collect();
    let mut sections = vec![
        encode(&times, level),
        encode(&received, level),
        bits_unless_all(order.iter().map(|row| head.rows.device_time[*row])),
        kinds(head, order, level),
    ];
    let mut columns = Vec::new();
    for (column, places) in head.columns.iter().zip(places) {
        let present: Vec<usize> =
            order.iter().map(|row| places[*row]).filter(|place| *place != ABSENT).map(|place| place as usize).collect();
        // A column may have all its values in another piece of the head.
        if present.is_empty() {
            continue;
        }
        let values = select(&column.values, &present);
        sections.push(bits_unless_all(order.iter().map(|row| places[*row] != ABSENT)));
        sections.push(values_section(&values, level));
        columns.push((column, Statistics::of(&values), present.len()));
    }
    let mut writer = Writer::new(VERSION);
    writer.length(order.len());
    writer.length(head.rows.kind_names.len());
    for kind in &head.rows.kind_names {
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

fn bits_unless_all(bits: impl Iterator<Item = bool> + Clone) -> Vec<u8> {
    if bits.clone().all(|bit| bit) { Vec::new() } else { encode_bits(bits) }
}

fn kinds(head: &Head, order: &[usize], level: usize) -> Vec<u8> {
    if head.rows.kind_names.is_empty() {
        return Vec::new();
    }
    let kinds: Vec<u32> = order.iter().map(|row| head.rows.kinds[*row]).collect();
    encode(&kinds, level)
}

/// The values at some places, in their order. Of texts, only those that occur.
fn select(values: &Values, places: &[usize]) -> Values {
    match values {
        Values::Float(values) => Values::Float(places.iter().map(|place| values[*place]).collect()),
        Values::Integer(values) => Values::Integer(places.iter().map(|place| values[*place]).collect()),
        Values::Bool(values) => Values::Bool(places.iter().map(|place| values[*place]).collect()),
        Values::Text(words) => {
            let mut renumbered = vec![ABSENT; words.words.len()];
            let mut kept = Vec::new();
            let indexes = places
                .iter()
                .map(|place| {
                    let old = words.indexes[*place] as usize;
                    if renumbered[old] == ABSENT {
                        renumbered[old] = kept.len() as u32;
                        kept.push(Arc::clone(&words.words[old]));
                    }
                    renumbered[old]
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
