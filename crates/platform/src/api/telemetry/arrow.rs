//! Points as typed columns: an Arrow IPC stream, which pandas, polars, DuckDB and every Arrow library read as it is,
//! and from which one line writes Parquet.
//!
//! # The stream
//!
//! One schema message, then one record batch message for each batch of points, then the end-of-stream marker
//! (<https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format>). A stream without the marker was cut.
//! The columns are always the same; what a value *is* decides which of them are null:
//!
//! | Column | Type | |
//! |---|---|---|
//! | `time` | timestamp(ns, UTC) | the device's time, or the receive time when it gave none |
//! | `metric` | utf8 | |
//! | `value` | float64 | numbers; true and false as 1 and 0; null for text. Integers beyond 2⁵³ are rounded here |
//! | `value_integer` | int64 | integers, exactly; else null |
//! | `value_boolean` | bool | true and false; else null |
//! | `value_text` | utf8 | text; else null |
//! | `unit`, `type` | utf8 | null when the device gave none |
//! | `received_at` | timestamp(ns, UTC) | |
//!
//! The schema's metadata has the `device_id`.

mod column;
mod message;

use tesaiot_contract::{DeviceId, Value};
use tesaiot_store::telemetry::{Point, Points};

use column::{Cell, Column};
pub(super) use message::END;
use message::{Field, Kind};

/// Points in one record batch, at most: the texts of a column are counted in 32 bits, and each has at most 8 KiB.
const ROWS: usize = 8192;

const FIELDS: [Field; 9] = [
    Field { name: "time", kind: Kind::Time, nullable: false },
    Field { name: "metric", kind: Kind::Text, nullable: false },
    Field { name: "value", kind: Kind::Float, nullable: true },
    Field { name: "value_integer", kind: Kind::Integer, nullable: true },
    Field { name: "value_boolean", kind: Kind::Boolean, nullable: true },
    Field { name: "value_text", kind: Kind::Text, nullable: true },
    Field { name: "unit", kind: Kind::Text, nullable: true },
    Field { name: "type", kind: Kind::Text, nullable: true },
    Field { name: "received_at", kind: Kind::Time, nullable: false },
];

/// What a stream of a device's points begins with.
pub(super) fn begin(device: &DeviceId) -> Vec<u8> {
    message::schema(&FIELDS, ("device_id", device.as_str()))
}

/// Appends points as record batches.
pub(super) fn write(bytes: &mut Vec<u8>, points: &Points) {
    for first in (0..points.len()).step_by(ROWS) {
        let length = ROWS.min(points.len() - first);
        let mut columns = FIELDS.map(|field| Column::new(field.kind));
        for point in points.iter().skip(first).take(length) {
            for (column, cell) in columns.iter_mut().zip(cells(point)) {
                column.push(cell);
            }
        }
        message::record_batch(bytes, length, columns);
    }
}

/// A point in the order of [`FIELDS`].
fn cells(point: Point<'_>) -> [Cell<'_>; FIELDS.len()] {
    let (integer, boolean, words) = match point.value {
        Value::Float(_) => (Cell::Null, Cell::Null, Cell::Null),
        Value::Integer(number) => (Cell::Integer(*number), Cell::Null, Cell::Null),
        Value::Bool(truth) => (Cell::Null, Cell::Boolean(*truth), Cell::Null),
        Value::Text(text) => (Cell::Null, Cell::Null, Cell::Text(text)),
    };
    [
        time(point.time),
        Cell::Text(&point.series.metric),
        point.value.number().map_or(Cell::Null, Cell::Float),
        integer,
        boolean,
        words,
        point.series.unit.as_deref().map_or(Cell::Null, Cell::Text),
        point.series.kind.as_deref().map_or(Cell::Null, Cell::Text),
        time(point.received_at),
    ]
}

/// The store counts in 64-bit nanoseconds too: nothing is out of range that came out of it.
fn time(time: jiff::Timestamp) -> Cell<'static> {
    i64::try_from(time.as_nanosecond()).map_or(Cell::Null, Cell::Integer)
}
