//! The messages of an Arrow IPC stream: a FlatBuffer that describes, and a body that it describes.
//!
//! ```text
//! 0xFFFFFFFF · length of the description, padded (i32) · description · padding to 8 bytes · body
//! ```
//!
//! The numbers below are those of Arrow's `Message.fbs` and `Schema.fbs`; a table's field `n` stands in slot `4 + 2n`.

use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, TableFinishedWIPOffset, UnionWIPOffset, Vector, WIPOffset};

use super::column::Column;

/// The marker at the end of a stream.
pub(in super::super) const END: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

/// `MetadataVersion.V5`.
const VERSION: i16 = 4;
/// `MessageHeader`.
const SCHEMA: u8 = 1;
const RECORD_BATCH: u8 = 3;
/// Every buffer begins at a multiple of it.
const ALIGNMENT: usize = 8;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nanoseconds, UTC.
    Time,
    Integer,
    Float,
    Boolean,
    Text,
}

/// A column of the schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) nullable: bool,
}

type Builder<'a> = FlatBufferBuilder<'a>;
type Table = WIPOffset<TableFinishedWIPOffset>;

/// The place of the field `n` of a table.
const fn slot(n: u16) -> u16 {
    4 + 2 * n
}

/// The schema message, with one word about the whole.
pub(super) fn schema(fields: &[Field], (key, value): (&str, &str)) -> Vec<u8> {
    let mut builder = Builder::new();
    let fields: Vec<Table> = fields.iter().map(|field| described(&mut builder, field)).collect();
    let fields = builder.create_vector(&fields);
    let (key, value) = (builder.create_string(key), builder.create_string(value));
    let table = builder.start_table();
    builder.push_slot_always(slot(0), key);
    builder.push_slot_always(slot(1), value);
    let about = builder.end_table(table);
    let about = builder.create_vector(&[about]);
    let table = builder.start_table();
    // Slot 0, endianness, is little by default.
    builder.push_slot_always(slot(1), fields);
    builder.push_slot_always(slot(2), about);
    let schema = builder.end_table(table);
    let mut bytes = Vec::new();
    framed(&mut bytes, builder, SCHEMA, schema, 0);
    bytes
}

fn described(builder: &mut Builder<'_>, field: &Field) -> Table {
    let name = builder.create_string(field.name);
    let utc = builder.create_string("UTC");
    let table = builder.start_table();
    let type_number: u8 = match field.kind {
        Kind::Integer => {
            builder.push_slot_always(slot(0), 64_i32);
            builder.push_slot_always(slot(1), true);
            2
        }
        Kind::Float => {
            // `Precision.DOUBLE`
            builder.push_slot_always(slot(0), 2_i16);
            3
        }
        Kind::Text => 5,
        Kind::Boolean => 6,
        Kind::Time => {
            // `TimeUnit.NANOSECOND`
            builder.push_slot_always(slot(0), 3_i16);
            builder.push_slot_always(slot(1), utc);
            10
        }
    };
    let kind = builder.end_table(table);
    let children: WIPOffset<Vector<'_, ForwardsUOffset<UnionWIPOffset>>> = {
        builder.start_vector::<ForwardsUOffset<UnionWIPOffset>>(0);
        builder.end_vector(0)
    };
    let table = builder.start_table();
    builder.push_slot_always(slot(0), name);
    builder.push_slot_always(slot(1), field.nullable);
    builder.push_slot_always(slot(2), type_number);
    builder.push_slot_always(slot(3), kind);
    builder.push_slot_always(slot(5), children);
    builder.end_table(table)
}

/// Appends a record batch message.
pub(super) fn record_batch<const N: usize>(bytes: &mut Vec<u8>, rows: usize, columns: [Column; N]) {
    let (mut nodes, mut buffers, mut body) = (Vec::new(), Vec::new(), Vec::new());
    for column in columns {
        nodes.push((rows, column.nulls()));
        for buffer in column.buffers() {
            buffers.push((body.len(), buffer.len()));
            body.extend_from_slice(&buffer);
            body.resize(body.len().next_multiple_of(ALIGNMENT), 0);
        }
    }
    let mut builder = Builder::new();
    let nodes = pairs(&mut builder, &nodes);
    let buffers = pairs(&mut builder, &buffers);
    let table = builder.start_table();
    builder.push_slot_always(slot(0), rows as i64);
    builder.push_slot_always(slot(1), nodes);
    builder.push_slot_always(slot(2), buffers);
    let batch = builder.end_table(table);
    framed(bytes, builder, RECORD_BATCH, batch, body.len());
    bytes.append(&mut body);
}

/// A vector of structs of two 64-bit numbers.
fn pairs<'a>(builder: &mut Builder<'a>, pairs: &[(usize, usize)]) -> WIPOffset<Vector<'a, i64>> {
    builder.start_vector::<i64>(2 * pairs.len());
    // A FlatBuffer is built from its end.
    for (first, second) in pairs.iter().rev() {
        builder.push(*second as i64);
        builder.push(*first as i64);
    }
    builder.end_vector(pairs.len())
}

/// Appends the description of a message, whose body is to follow.
fn framed(bytes: &mut Vec<u8>, mut builder: Builder<'_>, kind: u8, header: Table, body: usize) {
    let table = builder.start_table();
    builder.push_slot_always(slot(3), body as i64);
    builder.push_slot_always(slot(2), header);
    builder.push_slot_always(slot(0), VERSION);
    builder.push_slot_always(slot(1), kind);
    let message = builder.end_table(table);
    builder.finish_minimal(message);
    let description = builder.finished_data();
    // The eight bytes before it are a multiple of the alignment.
    let length = description.len().next_multiple_of(ALIGNMENT);
    bytes.extend_from_slice(&END[..4]);
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    bytes.extend_from_slice(description);
    bytes.resize(bytes.len() + length - description.len(), 0);
}
