#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! The colours of a PALETTE COLOR image, from its attributes (PS3.3 C.7.6.3, C.7.9).

use chrysalis_codecs::palette::{Form, Indices, Palette, Table};
use dicom_core::Tag;

use super::TranscodeError;
use super::dataset::Outline;
use super::source::Source;
use super::subject::Sign;

/// Reads the three tables of an image whose indices are signed or not.
///
/// # Errors
/// One of them is missing or broken, or cannot be read.
pub(crate) fn read(source: &dyn Source, outline: &Outline, sign: Sign) -> Result<Palette, TranscodeError> {
    let red = Parts::read(source, outline, 0)?;
    let green = Parts::read(source, outline, 1)?;
    let blue = Parts::read(source, outline, 2)?;
    let indices = match sign {
        Sign::Unsigned => Indices::Unsigned,
        Sign::Signed => Indices::Signed,
    };
    Palette::new(red.table(), green.table(), blue.table(), indices)
        .map_err(|error| TranscodeError::Pixels(error.to_string()))
}

/// One table's descriptor and data.
struct Parts {
    descriptor: [u16; 3],
    data: Vec<u8>,
    form: Form,
}

impl Parts {
    /// The first, second or third of the tables.
    fn read(source: &dyn Source, outline: &Outline, which: u16) -> Result<Self, TranscodeError> {
        let value = |element: u16, max| outline.value(source, Tag(GROUP, element + which), max);
        let bytes = value(DESCRIPTOR, 6)?.unwrap_or_default();
        let descriptor = match bytes.as_slice() {
            &[a, b, c, d, e, f] => [[a, b], [c, d], [e, f]].map(u16::from_le_bytes),
            _ => return Err(TranscodeError::Pixels("a palette has no descriptor of three values".into())),
        };
        let (data, form) = match value(DATA, LONGEST)? {
            Some(data) => (data, Form::Plain),
            None => (value(SEGMENTED, LONGEST)?.unwrap_or_default(), Form::Segmented),
        };
        Ok(Self { descriptor, data, form })
    }

    fn table(&self) -> Table<'_> {
        Table { descriptor: self.descriptor, data: &self.data, form: self.form }
    }
}

const GROUP: u16 = 0x0028;
/// Red Palette Color Lookup Table Descriptor; green and blue follow.
const DESCRIPTOR: u16 = 0x1101;
/// Red Palette Color Lookup Table Data; green and blue follow.
const DATA: u16 = 0x1201;
/// Segmented Red Palette Color Lookup Table Data; green and blue follow.
const SEGMENTED: u16 = 0x1221;
/// 65,536 entries of two bytes; segments of more than that are no use.
const LONGEST: usize = 1 << 18;
