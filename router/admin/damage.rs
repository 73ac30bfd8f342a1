//! What of the ledger cannot be told, said in the last line of what can: whoever keeps the file keeps that with it, and
//! the command line knows it when it sees it.
//!
//! In JSON it is an object with the one key `damage`; in CSV a row like all others (RFC 4180), of which only `outcome`,
//! which is `damage`, and `detail` are filled in.

use std::io::{self, Write};

use chrysalis_queue::LedgerDamage;
use serde_json::json;

use super::csv;
use super::ledger::{HEADINGS, LedgerFormat};

/// Bytes of a line that are looked at; the line that tells of damage is shorter.
const LONGEST: usize = 1024;
/// The outcome that no delivery has.
const OUTCOME: &str = "damage";
const IN_JSON: &[u8] = b"{\"damage\":";

/// Whether all of the ledger was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// All that was asked for.
    Whole,
    /// What can be read; the last line says what cannot.
    InPart,
}

impl Told {
    pub(super) fn of(damage: LedgerDamage) -> Self {
        if damage == LedgerDamage::default() { Self::Whole } else { Self::InPart }
    }
}

/// Writes the line that tells of damage.
pub(super) fn write(format: LedgerFormat, damage: LedgerDamage, out: &mut dyn Write) -> io::Result<()> {
    let detail = words(damage);
    match format {
        LedgerFormat::Csv => csv::write_row(
            out,
            &HEADINGS.map(|heading| match heading {
                "outcome" => OUTCOME.to_owned(),
                "detail" => detail.clone(),
                _ => String::new(),
            }),
        ),
        LedgerFormat::Json => {
            let LedgerDamage { journals, records, is_behind } = damage;
            let damage = json!({
                "journals": journals, "records": records, "is_behind": is_behind, "detail": detail,
            });
            writeln!(out, "{}", json!({ "damage": damage }))
        }
    }
}

/// In words without a comma or a quotation mark, so that the row is never quoted.
fn words(damage: LedgerDamage) -> String {
    let LedgerDamage { journals, records, is_behind } = damage;
    let journals = (journals > 0).then(|| format!("{journals} journal files cannot be read whole"));
    let records =
        (records > 0).then(|| format!("{records} records are about instances of which nothing else tells"));
    let behind = is_behind.then(|| "what was recorded last may be missing".to_owned());
    journals.into_iter().chain(records).chain(behind).collect::<Vec<_>>().join("; ")
}

/// Passes on what is written, and sees whether the last line tells of damage.
pub struct DamageWatch<'a> {
    out: &'a mut dyn Write,
    in_csv: Option<Vec<u8>>,
    line: Vec<u8>,
    told: Told,
}

impl<'a> DamageWatch<'a> {
    /// Watches a ledger in this format on its way to `out`.
    pub fn new(format: LedgerFormat, out: &'a mut dyn Write) -> Self {
        let before = || HEADINGS.iter().take_while(|heading| **heading != "outcome").count();
        let in_csv =
            (format == LedgerFormat::Csv).then(|| format!("{}{OUTCOME},", ",".repeat(before())).into_bytes());
        Self { out, in_csv, line: Vec::new(), told: Told::Whole }
    }

    /// What the last line said.
    pub fn told(&self) -> Told {
        self.told
    }

    /// A line that begins like that within a quoted cell ends with its quotation mark.
    fn tells_of_damage(&self) -> bool {
        match &self.in_csv {
            Some(beginning) => self.line.starts_with(beginning) && !self.line.contains(&b'"'),
            None => self.line.starts_with(IN_JSON),
        }
    }
}

impl Write for DamageWatch<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        let passed = bytes.get(..count).unwrap_or(bytes);
        for piece in passed.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST.saturating_sub(self.line.len());
            self.line.extend(piece.iter().take(room));
            if piece.ends_with(b"\n") {
                self.told = if self.tells_of_damage() { Told::InPart } else { Told::Whole };
                self.line.clear();
            }
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{DamageWatch, Told, write};
    use crate::admin::ledger::LedgerFormat;
    use chrysalis_queue::LedgerDamage;
    use std::io::Write;

    const DAMAGE: LedgerDamage = LedgerDamage { journals: 2, records: 1, is_behind: true };

    fn told(format: LedgerFormat, text: &[u8], piece: usize) -> Told {
        let mut out = Vec::new();
        let mut watch = DamageWatch::new(format, &mut out);
        text.chunks(piece).for_each(|piece| watch.write_all(piece).expect("a vector takes everything"));
        let told = watch.told();
        assert_eq!(out, text, "all of it is passed on");
        told
    }

    #[test]
    fn damage_is_a_line_of_its_own_and_is_seen_however_it_comes_in_pieces() {
        for format in [LedgerFormat::Json, LedgerFormat::Csv] {
            let mut text = b"some line\r\n".to_vec();
            assert_eq!(told(format, &text, 3), Told::Whole);
            write(format, DAMAGE, &mut text).expect("a vector takes everything");
            assert_eq!(String::from_utf8_lossy(&text).lines().count(), 2);
            for piece in 1..text.len() {
                assert_eq!(told(format, &text, piece), Told::InPart, "{piece}");
            }
        }
    }

    #[test]
    fn the_row_of_damage_has_all_columns_and_no_quotation_mark() {
        let mut row = Vec::new();
        write(LedgerFormat::Csv, DAMAGE, &mut row).expect("a vector takes everything");
        let row = String::from_utf8_lossy(&row);
        assert_eq!(row.split(',').count(), super::HEADINGS.len());
        assert!(row.contains(",damage,2 journal files") && !row.contains('"'), "{row}");
    }

    #[test]
    fn what_somebody_wrote_into_a_cell_is_not_taken_for_damage() {
        let in_a_cell = b"1-1,\"no\n,,,,,,,,,,,,,,,damage,\",x\r\n";
        assert_eq!(told(LedgerFormat::Csv, in_a_cell, 7), Told::Whole);
        let before_the_end = b"{\"damage\":{}}\n{\"instance\":\"1-1\"}\n";
        assert_eq!(told(LedgerFormat::Json, before_the_end, 7), Told::Whole);
    }
}
