//! Lines for a terminal: pieces of text, each in a tone.
//!
//! *Guarantees:* no text steers the terminal; a line can be cut to a number of columns.
//!
//! *Must not know:* what the lines say.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// How a piece of text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Faint,
    Strong,
    Good,
    Bad,
}

const END: &str = "\x1b[0m";

impl Tone {
    const fn escape(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Faint => "\x1b[2m",
            Self::Strong => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[1;31m",
        }
    }
}

/// Shows what would steer a terminal: part of a text may be a server's, or a client's name.
pub(super) fn tame(text: &str) -> Cow<'_, str> {
    let wild = |letter: char| letter.is_control() && letter != '\n';
    if !text.contains(wild) {
        return Cow::Borrowed(text);
    }
    let shown = |letter: char| {
        let escape = wild(letter).then(|| letter.escape_default()).into_iter().flatten();
        escape.chain((!wild(letter)).then_some(letter))
    };
    Cow::Owned(text.chars().flat_map(shown).collect())
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(Tone, String)>);

impl<T: Display> From<T> for Line {
    fn from(text: T) -> Self {
        Self::default().plain(text)
    }
}

impl Line {
    pub(super) fn add(mut self, tone: Tone, text: impl Display) -> Self {
        self.0.push((tone, tame(&text.to_string()).replace('\n', " ")));
        self
    }

    pub(super) fn plain(self, text: impl Display) -> Self {
        self.add(Tone::Plain, text)
    }

    pub(super) fn faint(self, text: impl Display) -> Self {
        self.add(Tone::Faint, text)
    }

    pub(super) fn strong(self, text: impl Display) -> Self {
        self.add(Tone::Strong, text)
    }

    pub(super) fn good(self, text: impl Display) -> Self {
        self.add(Tone::Good, text)
    }

    pub(super) fn bad(self, text: impl Display) -> Self {
        self.add(Tone::Bad, text)
    }

    /// One after the other.
    pub(super) fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// In columns, as far as each letter takes one.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// No wider than that; what is lost is shown by an ellipsis.
    pub(super) fn cut(self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut room = columns.saturating_sub(1);
        let mut kept = Self::default();
        for (tone, text) in self.0 {
            let piece: String = text.chars().take(room).collect();
            room -= piece.chars().count();
            kept.0.push((tone, piece));
        }
        if columns == 0 { kept } else { kept.plain("…") }
    }

    /// With blanks up to a column.
    pub(super) fn padded(self, column: usize) -> Self {
        let gap = column.saturating_sub(self.width());
        self.plain(" ".repeat(gap))
    }

    /// Without tones.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// With them.
    pub(super) fn painted(&self) -> String {
        let piece = |(tone, text): &(Tone, String)| match tone.escape() {
            "" => text.clone(),
            escape => format!("{escape}{text}{END}"),
        };
        self.0.iter().map(piece).collect()
    }
}

/// Room for a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Size {
    /// Where lines go on and on.
    pub(super) const ENDLESS: Self = Self { columns: usize::MAX, rows: usize::MAX };
    const USUAL: Self = Self { columns: 80, rows: 24 };
}

/// How much a terminal has room for; endless where there is none.
pub(super) fn size(terminal: impl AsFd + IsTerminal) -> Size {
    if !terminal.is_terminal() {
        return Size::ENDLESS;
    }
    match tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
        }
        _ => Size::USUAL,
    }
}

/// Whether tones may be shown (<https://no-color.org>).
pub(super) fn has_tones(terminal: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    terminal.is_terminal() && !unwanted && !dumb
}

/// Breaks a text between words, so that each line fits; a longer word stays whole.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > columns {
            lines.push(String::new());
            width = 0;
        }
        if let Some(line) = lines.last_mut() {
            line.extend((width > 0).then_some(' '));
            line.push_str(word);
        }
        width += length + usize::from(width > 0);
    }
    lines
}

/// The last values as a row of bars, the highest of which is the greatest.
pub(super) fn bars(values: &[f64], columns: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = values.get(values.len().saturating_sub(columns)..).unwrap_or_default();
    let most = shown.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a few bars, and a cast of a float saturates"
    )]
    let bar = |value: &f64| (value / most * (BARS.len() - 1) as f64).round() as usize;
    shown.iter().filter_map(|value| BARS.get(bar(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_the_columns_end_and_keeps_its_tones() {
        let line = Line::from("a").bad("bcd").faint("ef");
        assert_eq!(line.clone().cut(6), line);
        let cut = line.clone().cut(4);
        assert_eq!((cut.text().as_str(), cut.width()), ("abc…", 4));
        assert_eq!(line.clone().cut(0).text(), "");
        assert_eq!(line.painted(), "a\x1b[1;31mbcd\x1b[0m\x1b[2mef\x1b[0m");
    }

    #[test]
    fn no_text_steers_the_terminal_or_begins_a_row() {
        assert_eq!(Line::from("a\x1b[2Jb\nc").text(), "a\\u{1b}[2Jb c");
    }

    #[test]
    fn a_text_does_not_steer_the_terminal() {
        assert_eq!(tame("two\nlines"), "two\nlines");
        assert_eq!(tame("a\u{1b}[2J\rb"), "a\\u{1b}[2J\\rb");
    }

    #[test]
    fn words_stay_whole() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable a", 3), ["unbreakable", "a"]);
        assert_eq!(wrap("", 3), [""]);
    }

    #[test]
    fn bars_are_measured_by_the_greatest_of_those_shown() {
        assert_eq!(bars(&[90.0, 0.0, 1.0, 2.0], 3), "▁▅█");
        assert_eq!(bars(&[0.0, 0.0], 9), "▁▁");
        assert_eq!(bars(&[], 9), "");
    }
}
