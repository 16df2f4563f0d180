//! Aligned columns of text for people. Pure. Owns the rule that nothing from a server reaches a terminal as a control
//! character.

use std::iter;

use unicode_width::UnicodeWidthStr as _;

/// Between two columns.
const GAP: &str = "  ";

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings, and no rows yet.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    /// Adds a row. An empty cell is shown as `-`.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { printable(&cell) };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// The lines, headings first. A character counts as many places as terminals give it: Chinese ones two.
    pub(crate) fn to_text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        self.rows.iter().map(|row| line(row, &widths)).collect()
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        let padding = width.saturating_sub(cell.width());
        line.push_str(cell);
        line.extend(iter::repeat_n(' ', padding));
        line.push_str(GAP);
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

/// The text with control characters escaped: what others wrote must not move the cursor of whoever reads it. So are the
/// characters that turn the direction of writing round.
pub(crate) fn printable(text: &str) -> String {
    let is_unsafe = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_unsafe(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests;
