//! Values of a data set's attributes: leniently read, but exactly.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;

use dicom_core::VR;

use super::Source;
use super::dataset::{Outline, OutlineError, ReadError};
use crate::dicom::{Tag, Uid};

/// A data set and its outline.
pub(super) struct Values<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) outline: &'a Outline,
}

/// Why pixels are not transcoded.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The stored bytes cannot be read.
    Source(io::Error),
    /// The data set is not decoded here, but there is nothing wrong with it.
    Foreign(String),
    /// It contradicts itself, or may not be changed.
    Odd(String),
}

impl Values<'_> {
    /// An unsigned number of 16 bits, or of 32 (some write UL for US); of several, the first. None if there is none.
    pub(super) fn number(&self, tag: Tag) -> Result<Option<u32>, Refusal> {
        let Some(value) = self.bytes(tag, MAX_VALUE)? else { return Ok(None) };
        let is_long = self.outline.get(tag).is_some_and(|element| matches!(element.vr, VR::UL | VR::SL));
        match *value.as_slice() {
            [] => Ok(None),
            [a, b, c, d, ..] if is_long => Ok(Some(u32::from_le_bytes([a, b, c, d]))),
            [a, b, ..] if !is_long => Ok(Some(u32::from(u16::from_le_bytes([a, b])))),
            _ => Err(Refusal::Odd(format!("{tag} is no whole number"))),
        }
    }

    /// A text without the spaces and NULs around it; empty if there is none.
    pub(super) fn text(&self, tag: Tag) -> Result<String, Refusal> {
        let value = self.bytes(tag, MAX_VALUE)?.unwrap_or_default();
        let text: String = value.iter().map(|&byte| char::from(byte)).collect();
        Ok(text.trim_matches([' ', '\0']).to_owned())
    }

    pub(super) fn uid(&self, tag: Tag) -> Result<Uid, Refusal> {
        Ok(Uid::from_wire(&self.bytes(tag, MAX_VALUE)?.unwrap_or_default()))
    }

    /// The bytes of a value in little endian, if it is there.
    pub(super) fn bytes(&self, tag: Tag, max: usize) -> Result<Option<Vec<u8>>, Refusal> {
        self.outline.value(self.source, tag, max).map_err(Refusal::from)
    }

    /// Each item of a sequence.
    pub(super) fn items(&self, tag: Tag) -> Result<Vec<Outline>, Refusal> {
        self.outline.items(self.source, tag).map_err(Refusal::from)
    }

    /// Whether an element is there.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.outline.get(tag).is_some()
    }
}

impl From<OutlineError> for Refusal {
    fn from(error: OutlineError) -> Self {
        match error {
            OutlineError::Read(ReadError::Source(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                Self::Source(error)
            }
            error => Self::Odd(error.to_string()),
        }
    }
}

/// The longest value of an attribute that says what pixels are, in bytes.
const MAX_VALUE: usize = 4096;
