//! Columns that line up, for people. Programs get JSON.

use std::fmt;

use super::plain;

/// Rows of text under a header. A cell's width is counted in characters.
pub(crate) struct Table<const N: usize> {
    header: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// An empty table.
    pub(crate) fn new(header: [&'static str; N]) -> Self {
        Self { header, rows: Vec::new() }
    }

    /// Adds a row. What a cell contains may come from a device: control characters are replaced.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| plain(&cell)));
    }

    fn widths(&self) -> [usize; N] {
        std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.header[column].len()]).max().unwrap_or(0)
        })
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        write_row(f, &self.header.map(str::to_owned), &widths)?;
        self.rows.iter().try_for_each(|row| write_row(f, row, &widths))
    }
}

fn write_row<const N: usize>(f: &mut fmt::Formatter<'_>, row: &[String; N], widths: &[usize; N]) -> fmt::Result {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line.push_str(&format!("{cell:<width$}  "));
    }
    writeln!(f, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_with_spaces() {
        let mut table = Table::new(["ID", "NAME", "UNIT"]);
        table.row(["pump-1".into(), "Ward ไทย".into(), "°C".into()]);
        table.row(["a".into(), String::new(), String::new()]);
        assert_eq!(table.to_string(), "ID      NAME      UNIT\npump-1  Ward ไทย  °C\na\n");
    }
}
