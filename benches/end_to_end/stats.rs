//! Medians, spreads and Markdown tables.

/// Repeated measurements of one thing.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, value: f64) {
        let at = self.0.partition_point(|other| *other < value);
        self.0.insert(at, value);
    }

    pub(crate) fn median(&self) -> Option<f64> {
        self.0.get(self.0.len() / 2).copied()
    }

    /// Median and extremes: `12.3 (11.9-12.8)`.
    pub(crate) fn show(&self, decimals: usize) -> String {
        match (self.0.first(), self.median(), self.0.last()) {
            (Some(low), Some(middle), Some(high)) if low < high => {
                format!("{middle:.decimals$} ({low:.decimals$}-{high:.decimals$})")
            }
            (_, Some(middle), _) => format!("{middle:.decimals$}"),
            _ => "-".to_owned(),
        }
    }
}

pub(crate) fn title(text: &str) {
    println!("\n### {text}\n");
}

/// The head of a Markdown table.
pub(crate) fn head(columns: &[&str]) {
    row(columns);
    println!("|{}", " --- |".repeat(columns.len()));
}

pub(crate) fn row<Cell: AsRef<str>>(cells: &[Cell]) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    println!("| {} |", cells.join(" | "));
}
