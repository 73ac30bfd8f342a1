#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! A deflated data set, inflated into a file of the cache so that it can be read by range.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use super::TranscodeError;
use super::cache::{Cache, Kept, PIECE, Weight};
use super::dataset;
use super::source::Source;

/// Inflates a data set. Without a folder it takes memory, and then no more than [`MOST_IN_MEMORY`].
///
/// # Errors
/// It cannot be read or inflated, or is too large.
pub(crate) fn inflate<T: Weight>(
    source: &dyn Source,
    cache: &Cache<T>,
) -> Result<Arc<dyn Source>, TranscodeError> {
    let written = |error: io::Error| TranscodeError::Cache(error.into());
    let Some(mut draft) = cache.draft().map_err(written)? else {
        let mut inflated = Vec::new();
        dataset::inflate(source, &mut inflated, MOST_IN_MEMORY)?;
        return Ok(Arc::new(inflated));
    };
    dataset::inflate(source, &mut draft, cache.usage().1)?;
    draft.flush().map_err(written)?;
    let kept = draft.finish().map_err(written)?;
    Ok(Arc::new(Inflated { kept, last: Mutex::new(Piece { at: None, bytes: Vec::new() }) }))
}

/// What is inflated without a folder, in bytes at most.
const MOST_IN_MEMORY: u64 = 64 << 20;

/// A file of the cache as a source. Elements are read a few bytes at a time, so the last piece is kept.
struct Inflated {
    kept: Kept,
    last: Mutex<Piece>,
}

struct Piece {
    at: Option<u64>,
    bytes: Vec<u8>,
}

impl Source for Inflated {
    fn len(&self) -> u64 {
        self.kept.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let within = (offset % PIECE as u64) as usize;
        let begin = offset - within as u64;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Piece { at, bytes } = &mut *last;
        if *at != Some(begin) {
            *at = None;
            self.kept.read_piece(begin, bytes)?;
            *at = Some(begin);
        }
        let from = bytes.get(within..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), from.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}
