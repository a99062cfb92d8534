//! Reading a chunk: the checksum of everything first, then only the columns that are asked for.

use std::sync::Arc;

use super::super::codec::{Checksum, Malformed, Reader};
use super::super::head::{Column, Rows, Values, Words};
use super::super::numbers::{Plain, decode, decode_bits};
use super::{
    BOOL, DEVICE_TIME, FIXED_SECTIONS, FLOAT, INTEGER, KINDS, RECEIVED, Statistics, TIMES, VERSION,
    VERSION_WITHOUT_LISTS, VERSION_WITHOUT_STEPS,
};

/// A chunk can have no more rows than this: far above what is ever sealed together, and it bounds
/// what a damaged blob with a lucky checksum could make us reserve.
const MAXIMUM_ROWS: usize = 1 << 22;

/// Kinds or columns that memory is reserved for before they are read.
const FEW: usize = 64;

/// A chunk whose checksum is right and whose header is read.
pub(in crate::telemetry) struct Chunk<'a> {
    rows: usize,
    has_lists: bool,
    kinds: Vec<Arc<str>>,
    columns: Vec<Header<'a>>,
    sections: Vec<&'a [u8]>,
}

struct Header<'a> {
    name: &'a str,
    unit: Option<&'a str>,
    type_byte: u8,
    count: usize,
    statistics: Statistics,
}

/// A column that is not decoded.
pub(in crate::telemetry) struct Series {
    place: usize,
    /// Its values, at least one.
    pub(in crate::telemetry) count: usize,
    pub(in crate::telemetry) statistics: Statistics,
}

impl<'a> Chunk<'a> {
    /// A chunk whose checksum must be looked at.
    pub(in crate::telemetry) fn open(blob: &'a [u8]) -> Result<Self, Malformed> {
        Self::read(blob, Checksum::Compare)
    }

    /// A chunk of a row whose own checksum, which covers the whole blob, is known to be right.
    pub(in crate::telemetry) fn open_checked(blob: &'a [u8]) -> Result<Self, Malformed> {
        Self::read(blob, Checksum::Known)
    }

    fn read(blob: &'a [u8], checksum: Checksum) -> Result<Self, Malformed> {
        let (version, mut reader) =
            Reader::open_any(blob, &[VERSION, VERSION_WITHOUT_STEPS, VERSION_WITHOUT_LISTS], checksum)?;
        let rows = reader.length()?;
        if rows == 0 || rows > MAXIMUM_ROWS {
            return Err(Malformed("a chunk has an impossible number of rows"));
        }
        let count = reader.count()?;
        let mut kinds = Vec::with_capacity(count.min(FEW));
        for _ in 0..count {
            kinds.push(Arc::from(reader.text()?));
        }
        let count = reader.count()?;
        let mut columns = Vec::with_capacity(count.min(FEW));
        for _ in 0..count {
            columns.push(Header::read(&mut reader, rows)?);
        }
        let lengths = reader.clone();
        for _ in 0..FIXED_SECTIONS + 2 * columns.len() {
            reader.length()?;
        }
        let (mut lengths, mut sections) = (lengths, Vec::with_capacity(FIXED_SECTIONS + 2 * columns.len()));
        for _ in 0..FIXED_SECTIONS + 2 * columns.len() {
            let length = lengths.length()?;
            sections.push(reader.raw(length)?);
        }
        if !reader.is_empty() {
            return Err(Malformed("bytes follow the last section"));
        }
        Ok(Self { rows, has_lists: version != VERSION_WITHOUT_LISTS, kinds, columns, sections })
    }

    /// How many samples it has.
    pub(in crate::telemetry) fn len(&self) -> usize {
        self.rows
    }

    /// Times, receive times and kinds.
    pub(in crate::telemetry) fn rows(&self) -> Result<Rows, Malformed> {
        let times = self.times()?;
        let mut received: Vec<i64> = decode(self.section(RECEIVED)?, self.rows)?;
        for (received, time) in received.iter_mut().zip(&times) {
            *received = received.wrapping_add(*time);
        }
        let kinds = match self.section(KINDS)? {
            [] => vec![0; self.rows],
            bytes => decode(bytes, self.rows)?,
        };
        Ok(Rows { times, received, device_time: self.bits_or_all(DEVICE_TIME)?, kinds, kind_names: self.kinds.clone() })
    }

    /// The columns of one metric, or all, decoded.
    pub(in crate::telemetry) fn columns(&self, metric: Option<&str>) -> Result<Vec<Column>, Malformed> {
        self.columns
            .iter()
            .enumerate()
            .filter(|(_, header)| metric.is_none_or(|metric| metric == header.name))
            .map(|(place, header)| self.column(place, header))
            .collect()
    }

    /// The times of the rows, rising.
    pub(in crate::telemetry) fn times(&self) -> Result<Vec<i64>, Malformed> {
        let times: Vec<i64> = decode(self.section(TIMES)?, self.rows)?;
        if !times.is_sorted() {
            return Err(Malformed("the times of a chunk are not in order"));
        }
        Ok(times)
    }

    /// The columns of one metric, not decoded.
    pub(in crate::telemetry) fn series(&self, metric: &str) -> impl Iterator<Item = Series> {
        let columns = self.columns.iter().enumerate().filter(move |(_, header)| header.name == metric);
        columns.map(|(place, header)| Series { place, count: header.count, statistics: header.statistics })
    }

    /// The rows that have a value of a column; none for all of them.
    pub(in crate::telemetry) fn rows_of(&self, series: &Series) -> Result<Option<Vec<u32>>, Malformed> {
        match self.section(FIXED_SECTIONS + 2 * series.place)? {
            [] if series.count == self.rows => Ok(None),
            _ => self.present(series.place, series.count).map(Some),
        }
    }

    /// The values of a column, in the order of its rows.
    pub(in crate::telemetry) fn values_of(&self, series: &Series) -> Result<Values, Malformed> {
        let header = self.columns.get(series.place).ok_or(Malformed("a column is missing"))?;
        values(self.section(FIXED_SECTIONS + 2 * series.place + 1)?, header)
    }

    /// Decodes everything, and compares each column with its statistics.
    pub(in crate::telemetry) fn verify(&self) -> Result<(), Malformed> {
        self.rows()?;
        for (place, header) in self.columns.iter().enumerate() {
            let column = self.column(place, header)?;
            // By their text: a sum that is not a number is as good as itself.
            if format!("{:?}", Statistics::of(&column.values)) != format!("{:?}", header.statistics) {
                return Err(Malformed("the statistics of a column do not fit its values"));
            }
        }
        Ok(())
    }

    fn column(&self, place: usize, header: &Header<'_>) -> Result<Column, Malformed> {
        let rows = self.present(place, header.count)?;
        let bytes = self.section(FIXED_SECTIONS + 2 * place + 1)?;
        Ok(Column {
            name: Arc::from(header.name),
            unit: header.unit.map(Arc::from),
            rows,
            values: values(bytes, header)?,
        })
    }

    /// The rows that have a value of the column at a place.
    fn present(&self, place: usize, count: usize) -> Result<Vec<u32>, Malformed> {
        let rows: Vec<u32> = match self.section(FIXED_SECTIONS + 2 * place)? {
            [] => (0..).take(self.rows).collect(),
            bytes if self.has_lists && bytes.len() < self.rows.div_ceil(8) => decode_rows(bytes, self.rows)?,
            bytes => {
                let bits = decode_bits(bytes, self.rows)?;
                (0..).zip(&bits).filter(|(_, bit)| **bit).map(|(row, _): (u32, _)| row).collect()
            }
        };
        if rows.len() != count {
            return Err(Malformed("a column has another number of values than its mask"));
        }
        Ok(rows)
    }

    fn section(&self, section: usize) -> Result<&'a [u8], Malformed> {
        self.sections.get(section).copied().ok_or(Malformed("a section is missing"))
    }

    fn bits_or_all(&self, section: usize) -> Result<Vec<bool>, Malformed> {
        match self.section(section)? {
            [] => Ok(vec![true; self.rows]),
            bytes => decode_bits(bytes, self.rows),
        }
    }
}

impl<'a> Header<'a> {
    fn read(reader: &mut Reader<'a>, rows: usize) -> Result<Self, Malformed> {
        let name = reader.text()?;
        let unit = reader.optional_text()?;
        let type_byte = reader.byte()?;
        let count = reader.length()?;
        if count == 0 || count > rows {
            return Err(Malformed("a column has an impossible number of values"));
        }
        let statistics = Statistics::read(type_byte, reader)?;
        Ok(Self { name, unit, type_byte, count, statistics })
    }
}

/// A list of rows that rise, all below `rows`. Each takes at least a byte.
fn decode_rows(bytes: &[u8], rows: usize) -> Result<Vec<u32>, Malformed> {
    let wrong = Malformed("a list of rows names one that is not there");
    let mut reader = Reader::body(bytes);
    let mut found = Vec::new();
    let mut next = 0_u64;
    while !reader.is_empty() {
        let row = next.checked_add(reader.unsigned()?).filter(|row| *row < rows as u64).ok_or(wrong)?;
        found.push(u32::try_from(row).map_err(|_| wrong)?);
        next = row + 1;
    }
    Ok(found)
}

fn values(bytes: &[u8], header: &Header<'_>) -> Result<Values, Malformed> {
    fn numbers<T: Plain>(bytes: &[u8], header: &Header<'_>) -> Result<Vec<T>, Malformed> {
        decode(bytes, header.count)
    }
    Ok(match header.type_byte {
        FLOAT => Values::Float(numbers(bytes, header)?),
        INTEGER => Values::Integer(numbers(bytes, header)?),
        BOOL => Values::Bool(decode_bits(bytes, header.count)?),
        _ => {
            let mut reader = Reader::body(bytes);
            let mut words = Vec::new();
            for _ in 0..reader.count()? {
                words.push(Arc::from(reader.text()?));
            }
            let indexes: Vec<u32> = numbers(reader.rest(), header)?;
            if indexes.iter().any(|index| *index as usize >= words.len()) {
                return Err(Malformed("a text is missing"));
            }
            Values::Text(Words::from_parts(indexes, words))
        }
    })
}
