//! Rows of text in columns that fit the terminal.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use crate::telemetry::terminal::{printable, shortened};

/// Between columns.
const GAP: usize = 2;
/// No column is made narrower than this.
const NARROWEST: usize = 8;

/// Columns under a header. The columns named as elastic are cut where a row is too wide.
pub struct Table<const N: usize> {
    header: [&'static str; N],
    elastic: [bool; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows. A header that ends in `~` names an elastic column.
    pub fn new(header: [&'static str; N]) -> Self {
        let elastic = header.map(|name| name.ends_with('~'));
        Self { header: header.map(|name| name.trim_end_matches('~')), elastic, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell)));
    }

    /// Writes the header and all rows, each at most `width` wide where that is possible.
    pub fn write(&self, out: &mut impl Write, width: usize) -> io::Result<()> {
        let mut widths = self.header.map(UnicodeWidthStr::width);
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(cell.width());
            }
        }
        fit(&mut widths, &self.elastic, width.saturating_sub(GAP * N.saturating_sub(1)));
        line(out, self.header, &widths)?;
        self.rows.iter().try_for_each(|row| line(out, row.each_ref().map(String::as_str), &widths))
    }
}

fn line<const N: usize>(out: &mut impl Write, cells: [&str; N], widths: &[usize; N]) -> io::Result<()> {
    let mut line = String::new();
    for (cell, width) in cells.into_iter().zip(widths) {
        let cell = shortened(cell, *width);
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + GAP));
    }
    writeln!(out, "{}", line.trim_end())
}

/// Narrows elastic columns, the widest first, until all fit into `room`.
fn fit(widths: &mut [usize], elastic: &[bool], room: usize) {
    let mut excess = widths.iter().sum::<usize>().saturating_sub(room);
    while excess > 0 {
        let widest = (0..widths.len()).filter(|column| elastic[*column]).max_by_key(|column| widths[*column]);
        let Some(widest) = widest.filter(|column| widths[*column] > NARROWEST) else { return };
        widths[widest] -= 1;
        excess -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(width: usize) -> String {
        let mut table = Table::new(["#", "TEXT~", "PLACE~"]);
        table.row(["1".into(), "Rubber boots for the rain".into(), "here".into()]);
        table.row(["2".into(), "雨靴".into(), "a\u{1b}[31mb\n".into()]);
        let mut out = Vec::new();
        table.write(&mut out, width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let expected = "\
#  TEXT                       PLACE
1  Rubber boots for the rain  here
2  雨靴                       a [31mb
";
        assert_eq!(written(80), expected);
    }

    #[test]
    fn a_cell_that_is_cut_among_emoji_keeps_its_column() {
        let mut table = Table::new(["TEXT~", "PLACE"]);
        table.row(["❤\u{fe0f}❤\u{fe0f}❤\u{fe0f} Mother's day mug".into(), "here".into()]);
        let mut out = Vec::new();
        table.write(&mut out, 14).unwrap();
        let expected = "TEXT      PLACE\n❤\u{fe0f}❤\u{fe0f}❤\u{fe0f} …  here\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_cell_that_is_wider_than_its_column_is_no_reason_to_fail() {
        let mut out = Vec::new();
        line(&mut out, ["boots", "x"], &[0, 1]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "…  x\n");
    }

    #[test]
    fn elastic_columns_give_way_and_the_others_do_not() {
        let expected = "\
#  TEXT          PLACE
1  Rubber boot…  here
2  雨靴          a [31mb
";
        assert_eq!(written(25), expected);
        let narrowest = written(1);
        assert!(narrowest.lines().all(|line| line.width() <= 1 + 2 * NARROWEST + 2 * GAP), "{narrowest}");
    }
}
