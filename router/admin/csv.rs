//! Comma-separated values (RFC 4180), safe to open in a spreadsheet.

use std::io::{self, Write};

/// Writes one row. A cell that a spreadsheet would take for a formula gets an apostrophe in front: titles and comments
/// are what somebody sent.
pub(super) fn write_row(out: &mut dyn Write, cells: &[String]) -> io::Result<()> {
    let mut row = String::new();
    for (place, cell) in cells.iter().enumerate() {
        if place > 0 {
            row.push(',');
        }
        let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
        if guard.is_empty() && !cell.contains(['"', ',', '\r', '\n']) {
            row.push_str(cell);
        } else {
            row.push('"');
            row.push_str(guard);
            row.push_str(&cell.replace('"', "\"\""));
            row.push('"');
        }
    }
    row.push_str("\r\n");
    out.write_all(row.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::write_row;

    #[test]
    fn cells_are_quoted_where_they_must_be_and_none_is_a_formula() {
        let table = [
            ("VIVID1", "VIVID1"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@A1", "\"'@A1\""),
            ("\t=1", "\"'\t=1\""),
            ("1=1", "1=1"),
            ("", ""),
        ];
        for (cell, written) in table {
            let mut out = Vec::new();
            write_row(&mut out, &[cell.to_owned(), "x".to_owned()]).expect("a vector takes everything");
            assert_eq!(String::from_utf8_lossy(&out), format!("{written},x\r\n"));
        }
    }
}
