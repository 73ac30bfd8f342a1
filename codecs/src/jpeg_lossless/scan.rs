#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! The entropy-coded bytes of a scan to rows of samples.

use super::bits::{Bits, PADDING};
use super::error::DecodeError;
use super::header::{FrameHeader, Parser, ScanHeader};
use super::lookup::{Failure, Runs, Singles};
use super::predict::{Selection, initial, undo};
use super::stuffing::{position, unstuff};

/// Decodes a scan and gives every row to `take`, from the top: its number, and its samples as they lie in a native frame.
///
/// # Errors
/// The stream is wrong, or `take` fails.
pub(super) fn decode_scan<E: From<DecodeError>>(
    parser: &mut Parser<'_>,
    frame: &FrameHeader,
    scan: &ScanHeader,
    mut take: impl FnMut(u16, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    check_length(parser, frame, scan)?;
    let mut rows = Rows::new(frame, scan);
    let mut plain = Vec::new();
    let interval = if scan.restart_rows == 0 { frame.rows } else { scan.restart_rows };
    for (number, first) in (0..frame.rows).step_by(usize::from(interval)).enumerate() {
        if let Some(restarts) = number.checked_sub(1) {
            parser.restart(restarts)?;
        }
        let (rest, start) = parser.rest();
        plain.clear();
        let length = unstuff(rest, &mut plain);
        plain.extend([0; PADDING]);
        let mut bits = Bits::new(&plain);
        let locate = |failure, bits: &Bits<'_>| match failure {
            Failure::OutOfBits => DecodeError::Truncated { offset: start + length, within: "a scan" },
            Failure::NoSuchCode => {
                DecodeError::NoSuchCode { offset: start + position(rest, bits.position()) }
            }
        };
        rows.restart();
        for row in first..frame.rows.min(first.saturating_add(interval)) {
            let samples = rows.next(&mut bits).map_err(|failure| locate(failure, &bits))?;
            take(row, samples)?;
        }
        bits.check().map_err(|out| locate(out.into(), &bits))?;
        parser.skip(length);
    }
    Ok(())
}

/// A sample needs a bit at least: a stream that is too short for that is found before anything is allocated for it.
fn check_length(parser: &Parser<'_>, frame: &FrameHeader, scan: &ScanHeader) -> Result<(), DecodeError> {
    let (rest, start) = parser.rest();
    let samples = u64::from(frame.rows) * u64::from(frame.columns) * scan.codes.len() as u64;
    if samples.div_ceil(8) > rest.len() as u64 {
        return Err(DecodeError::Truncated { offset: start + rest.len(), within: "a scan" });
    }
    Ok(())
}

/// Decodes one row after another.
enum Rows {
    Grey(Bytes<1>),
    Colour(Bytes<3>),
    /// Everything that has no shorter way.
    Any(Words),
}

impl Rows {
    fn new(frame: &FrameHeader, scan: &ScanHeader) -> Self {
        let usual = frame.precision <= 8 && scan.point_transform == 0 && scan.selection == Selection::LEFT;
        let pixels = u32::from(frame.columns) * u32::from(frame.rows);
        match scan.codes.as_slice() {
            [code] if usual && pixels >= WORTH_A_TABLE => Self::Grey(Bytes::new(frame, Singles::new(code))),
            [code, second, third] if usual && pixels >= WORTH_A_TABLE && code == second && code == third => {
                Self::Colour(Bytes::new(frame, Singles::new(code)))
            }
            _ => Self::Any(Words::new(frame, scan)),
        }
    }

    /// Nothing before is known any more.
    fn restart(&mut self) {
        match self {
            Self::Grey(rows) => rows.before = [rows.initial; 1],
            Self::Colour(rows) => rows.before = [rows.initial; 3],
            Self::Any(rows) => rows.above = None,
        }
    }

    fn next(&mut self, bits: &mut Bits<'_>) -> Result<&[u8], Failure> {
        match self {
            Self::Grey(rows) => rows.next(bits),
            Self::Colour(rows) => rows.next(bits),
            Self::Any(rows) => rows.next(bits),
        }
    }
}

/// Pixels from which on a table of several differences is made faster than it is missed.
const WORTH_A_TABLE: u32 = 1 << 14;

/// Up to 8 bits, predicted from the left, one code for all components.
struct Bytes<const N: usize> {
    runs: Runs<N>,
    initial: u8,
    /// What predicts the first pixel of the next row.
    before: [u8; N],
    row: Vec<u8>,
}

impl<const N: usize> Bytes<N> {
    fn new(frame: &FrameHeader, singles: Singles) -> Self {
        let initial = initial(frame.precision, 0) as u8;
        let row = vec![0; usize::from(frame.columns) * N];
        Self { runs: Runs::new(singles), initial, before: [initial; N], row }
    }

    fn next(&mut self, bits: &mut Bits<'_>) -> Result<&[u8], Failure> {
        self.runs.fill(bits, self.before, &mut self.row)?;
        if let Some(first) = self.row.first_chunk() {
            self.before = *first;
        }
        Ok(&self.row)
    }
}

/// Any precision, predictor and codes.
struct Words {
    singles: Vec<Singles>,
    selection: Selection,
    initial: u16,
    point_transform: u8,
    wide: bool,
    row: Vec<u16>,
    /// The row before, unless a restart came between.
    above: Option<Vec<u16>>,
    bytes: Vec<u8>,
}

impl Words {
    fn new(frame: &FrameHeader, scan: &ScanHeader) -> Self {
        Self {
            singles: scan.codes.iter().map(Singles::new).collect(),
            selection: scan.selection,
            initial: initial(frame.precision, scan.point_transform),
            point_transform: scan.point_transform,
            wide: frame.precision > 8,
            row: vec![0; usize::from(frame.columns) * scan.codes.len()],
            above: None,
            bytes: Vec::new(),
        }
    }

    fn next(&mut self, bits: &mut Bits<'_>) -> Result<&[u8], Failure> {
        let above = self.above.as_deref();
        match self.singles.as_slice() {
            [first, second, third] => {
                for pixel in self.row.as_chunks_mut().0 {
                    *pixel = [first.next(bits)?, second.next(bits)?, third.next(bits)?];
                }
                undo::<3>(&mut self.row, above, self.selection, self.initial);
            }
            [only, ..] => {
                for sample in &mut self.row {
                    *sample = only.next(bits)?;
                }
                undo::<1>(&mut self.row, above, self.selection, self.initial);
            }
            [] => {}
        }
        self.bytes.clear();
        let samples = self.row.iter().map(|sample| sample << self.point_transform);
        if self.wide {
            self.bytes.extend(samples.flat_map(u16::to_le_bytes));
        } else {
            self.bytes.extend(samples.map(|sample| sample as u8));
        }
        let width = self.row.len();
        let above = self.above.get_or_insert_with(|| vec![0; width]);
        std::mem::swap(above, &mut self.row);
        Ok(&self.bytes)
    }
}
