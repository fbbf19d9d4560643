//! Parts of rows in columns.

use super::{Part, last};

/// Rows of a part; the JSON has all.
const ROWS: usize = 100;

pub(super) fn columns_of(parts: &[Part]) -> String {
    let mut text = String::new();
    for (title, rows) in parts {
        let (skipped, rows) = last(rows, ROWS);
        text.extend(["\n", title, "\n"]);
        if rows.is_empty() {
            text.push_str("  none\n");
        }
        if skipped > 0 {
            text.extend(["  … ", &skipped.to_string(), " earlier\n"]);
        }
        let widths = widths(rows);
        for row in rows {
            text.extend(["  ", &columns(row, &widths), "\n"]);
        }
    }
    text
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..count).map(width).collect()
}

fn columns(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}
