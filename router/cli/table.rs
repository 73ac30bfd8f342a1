//! What people read: aligned columns, ages and sizes. Nothing from outside reaches a terminal unescaped.

use std::io::{self, Write};

/// Rows of text under headings, each column as wide as its longest cell.
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with one cell for each heading.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let headings = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        let lines: Vec<_> = std::iter::once(&headings).chain(&self.rows).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line: &&Vec<String>| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.headings.len()).map(width).collect();
        for line in lines {
            let cells: Vec<_> =
                line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// The text with control characters escaped.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// An age with its two largest units: `12s`, `3m12s`, `2h05m`, `3d04h`.
pub(super) fn age(seconds: f64) -> String {
    // A negative or absurd age is the other side's mistake; the cast saturates.
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// A size with one decimal in the largest unit that it fills.
pub(super) fn size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, scale)| bytes >= *scale) {
        Some((name, scale)) => format!("{:.1} {name}", bytes as f64 / *scale as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, age, size};

    #[test]
    fn an_age_has_two_units() {
        let table = [
            (0.9, "0s"),
            (12.0, "12s"),
            (192.4, "3m12s"),
            (7500.0, "2h05m"),
            (273_600.0, "3d04h"),
            (-1.0, "0s"),
        ];
        for (seconds, text) in table {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn a_size_has_one_decimal() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (86 << 20, "86.0 MiB"), (2 << 30, "2.0 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn columns_are_aligned_and_control_characters_shown() {
        let mut table = Table::new(&["A", "LONG"]);
        table.row(["wide cell".to_owned(), "x".to_owned()]);
        table.row(["\u{1b}[2J".to_owned(), String::new()]);
        let mut out = Vec::new();
        table.write(&mut out).expect("a vector takes everything");
        assert_eq!(String::from_utf8_lossy(&out), "A          LONG\nwide cell  x\n\\u{1b}[2J\n");
    }
}
