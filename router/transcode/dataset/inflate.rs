//! A deflated data set (PS3.5 A.5) inflated, within bounds: nothing that is deflated is spliced or encoded anew as it is.

use std::io::{self, Write};

use flate2::{Decompress, FlushDecompress, Status};

use crate::dicom::walk::longest_inflated;
use crate::transcode::Source;

/// Bytes read and inflated at a time.
const PIECE: usize = 32 << 10;

/// A deflated data set cannot be inflated.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// The stored bytes cannot be read.
    #[error("the data set cannot be read: {0}")]
    Source(#[source] io::Error),
    /// What was inflated cannot be taken.
    #[error("the inflated data set cannot be written: {0}")]
    Output(#[source] io::Error),
    /// The bytes are not a deflated stream.
    #[error("the deflated data set is corrupt at offset {at}")]
    Corrupt {
        /// How many bytes were read up to then.
        at: u64,
    },
    /// The bytes end before the stream does.
    #[error("the deflated data set is cut off")]
    Truncated,
    /// It becomes longer than it may.
    #[error("the deflated data set becomes longer than {limit} bytes")]
    TooLong {
        /// What it may be, in bytes.
        limit: u64,
    },
}

/// Writes the inflated data set, which is in Explicit VR Little Endian, and returns its length. It is at most `limit` bytes
/// long, and no longer than a receiver takes of a deflated data set of that length.
///
/// # Errors
/// [`InflateError`]; what was written until then is of no use.
pub fn inflate(source: &dyn Source, out: &mut dyn Write, limit: u64) -> Result<u64, InflateError> {
    let limit = limit.min(longest_inflated(source.len()));
    let mut stream = Decompress::new(false);
    let (mut input, mut output) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let count = source.read_at(&mut input, stream.total_in()).map_err(InflateError::Source)?;
        let piece = input.get(..count).unwrap_or_default();
        let (taken, given) = (stream.total_in(), stream.total_out());
        let status = stream.decompress(piece, &mut output, FlushDecompress::None);
        let length = stream.total_out();
        if length > limit {
            return Err(InflateError::TooLong { limit });
        }
        let inflated = usize::try_from(length - given).ok().and_then(|count| output.get(..count));
        out.write_all(inflated.unwrap_or_default()).map_err(InflateError::Output)?;
        match status {
            Ok(Status::StreamEnd) => return Ok(length),
            Ok(Status::Ok | Status::BufError) if stream.total_in() == taken && length == given => {
                return Err(InflateError::Truncated);
            }
            Ok(Status::Ok | Status::BufError) => {}
            Err(_) => return Err(InflateError::Corrupt { at: stream.total_in() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InflateError, inflate};
    use std::io::Write;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_data_set_is_inflated_and_what_stands_behind_the_stream_is_left_alone() {
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        let mut source = deflated(&bytes);
        source.extend([0; 7]);
        let mut out = Vec::new();
        assert_eq!(inflate(&source, &mut out, u64::MAX).unwrap(), bytes.len() as u64);
        assert!(out == bytes);
    }

    #[test]
    fn limits_are_kept() {
        let bytes = vec![7; 100_000];
        let mut out = Vec::new();
        assert!(inflate(&deflated(&bytes), &mut out, 100_000).is_ok());
        let error = inflate(&deflated(&bytes), &mut Vec::new(), 99_999).unwrap_err();
        assert!(matches!(error, InflateError::TooLong { limit: 99_999 }), "{error}");
        let bomb = deflated(&vec![0; 32 << 20]);
        let mut out = Vec::new();
        let error = inflate(&bomb, &mut out, u64::MAX).unwrap_err();
        assert!(matches!(error, InflateError::TooLong { .. }), "{error}");
        assert!(out.len() < 30 << 20, "{}", out.len());
    }

    #[test]
    fn a_stream_that_is_cut_or_corrupt_is_named_so() {
        let bytes: Vec<u8> = (0..50_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        let source = deflated(&bytes);
        for cut in [0, 1, 100, source.len() - 1] {
            let error = inflate(&source[..cut].to_vec(), &mut Vec::new(), u64::MAX).unwrap_err();
            assert!(matches!(error, InflateError::Truncated), "{cut}: {error}");
        }
        let error = inflate(&vec![0xFF; 100], &mut Vec::new(), u64::MAX).unwrap_err();
        assert!(matches!(error, InflateError::Corrupt { .. }), "{error}");
    }
}
