//! Parts of rows as one file that a browser shows and prints.

use super::{Part, last};

/// Rows of a part, so that it prints on two pages; the JSON has all.
const ROWS: usize = 25;
/// Letters of a cell.
const LETTERS: usize = 160;

const STYLE: &str = "
@page { size: A4; margin: 14mm; }
:root { color-scheme: light dark; }
body { font: 10pt/1.35 system-ui, sans-serif; font-variant-numeric: tabular-nums; max-width: 50rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 15pt; margin: 0; } h2 { font-size: 10.5pt; margin: .9rem 0 .2rem; break-after: avoid; }
p { margin: .1rem 0; opacity: .7; }
table { border-collapse: collapse; width: 100%; font-size: 8.5pt; }
td { border-top: 1px solid color-mix(in srgb, currentColor 18%, transparent); padding: .14rem .6rem .14rem 0; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { width: 11.5rem; opacity: .75; }
tr { break-inside: avoid; }
@media print { body { margin: 0; padding: 0; max-width: none; font-size: 9pt; } table { font-size: 7.5pt; } }
";

/// Parts under a title, with a note below it.
pub(super) fn page(title: &str, note: &str, parts: &[Part]) -> String {
    let parts: String = parts.iter().map(|(title, rows)| part(title, rows)).collect();
    let note = escaped(note);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n\
         <h1>{title}</h1>\n<p>{note}</p>\n{parts}</html>\n"
    )
}

fn part(title: &str, rows: &[Vec<String>]) -> String {
    let (skipped, rows) = last(rows, ROWS);
    let note = match (rows.is_empty(), skipped) {
        (true, _) => "<p>none</p>\n".to_owned(),
        (false, 0) => String::new(),
        (false, skipped) => format!("<p>… {skipped} earlier</p>\n"),
    };
    let rows: String = rows.iter().map(|row| self::row(row)).collect();
    format!("<h2>{title}</h2>\n{note}<table>\n{rows}</table>\n")
}

fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
    format!("<tr><td>{}</td></tr>\n", cells.join("</td><td>"))
}

/// What is somebody's word is never markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars().take(LETTERS) {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
