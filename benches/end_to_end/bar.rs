//! What is asked of crossfade: a ratio to something else in the same run, and how far it may go.

use crate::stats::{Samples, head, row};

/// How far a figure may go.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
        }
    }

    fn show(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {most}"),
            Self::AtLeast(least) => format!("at least {least}"),
        }
    }
}

/// The medians' ratio; `None` when one was not measured.
pub(crate) fn ratio(one: &Samples, other: &Samples) -> Option<f64> {
    Some(one.median()? / other.median().filter(|median| *median > 0.0)?)
}

/// A table of what was reached; what could not be measured is left out.
pub(crate) fn print(bars: impl IntoIterator<Item = (String, Option<f64>, Bar)>) {
    let measured = bars.into_iter().filter_map(|(what, figure, bar)| Some((what, figure?, bar)));
    let mut measured = measured.peekable();
    if measured.peek().is_none() {
        return;
    }
    println!();
    head(&["asked of crossfade", "bar", "reached", ""]);
    for (what, figure, bar) in measured {
        let verdict = if bar.is_met_by(figure) { "met" } else { "MISSED" };
        row(&[what, bar.show(), format!("{figure:.2}"), verdict.to_owned()]);
    }
}
