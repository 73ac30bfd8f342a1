//! Attributes of an instance that is stored already, read from the beginning of its data set and no further than needed.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;

use chrysalis_queue::Blob;
use dicom_core::Tag;

use super::attributes::{Attributes, ExtraTags};
use super::scan::Scan;
use super::transfer_syntax::TransferSyntax;
use super::walk::Walk;

/// Bytes read at a time: most headers of ultrasound end within the first two.
const STEPS: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];

/// Bytes of a data set that [`read_attributes`] reads at most; what is skipped does not count.
pub const MAX_READ: u64 = 1 << 20;

/// These attributes of a stored instance, and the Specific Character Set to decode them by. Other attributes that are always
/// captured are there only as far as the reading came: it stops at the first top-level element behind the last of `tags`, or
/// after [`MAX_READ`] bytes. The payload's hash is not checked.
///
/// # Errors
/// The file cannot be read, or more than [`MAX_EXTRA_TAGS`](super::attributes::MAX_EXTRA_TAGS) tags are asked for.
pub fn read_attributes(
    blob: &Blob,
    transfer_syntax: &TransferSyntax,
    tags: &[Tag],
) -> io::Result<Attributes> {
    let Some(last) = tags.iter().max() else { return Ok(Attributes::default()) };
    let read_at = |buffer: &mut [u8], offset| blob.read_at(buffer, offset);
    let enough = |walk: &Walk, read| read >= MAX_READ || walk.has_passed(*last);
    Ok(walk(read_at, transfer_syntax, tags, enough)?.into_attributes())
}

/// The whole walk over a data set as a receiver makes it, with these attributes: what rules are asked about must not depend on
/// when they are asked. Long values are skipped, so it costs little more than the headers do. `read_at` reads from an
/// offset on; 0 is the end.
///
/// # Errors
/// As [`read_attributes`].
pub fn walk_whole(
    read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    transfer_syntax: &TransferSyntax,
    tags: &[Tag],
) -> io::Result<Scan> {
    Ok(walk(read_at, transfer_syntax, tags, |_, _| false)?.finish())
}

fn walk(
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    transfer_syntax: &TransferSyntax,
    tags: &[Tag],
    enough: impl Fn(&Walk, u64) -> bool,
) -> io::Result<Walk> {
    let too_many = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let extra = ExtraTags::new(tags.iter().copied()).map_err(too_many)?;
    let mut walk = Walk::capturing(transfer_syntax.encoding(), extra);
    let mut buffer = Vec::new();
    let (mut offset, mut read) = (0, 0);
    for step in STEPS.into_iter().chain(std::iter::repeat(STEPS.last().copied().unwrap_or_default())) {
        buffer.resize(step, 0);
        let count = read_at(&mut buffer, offset)?;
        walk.feed(buffer.get(..count).unwrap_or_default());
        read += count as u64;
        if count == 0 || enough(&walk, read) {
            break;
        }
        offset += count as u64 + walk.skip_value();
    }
    Ok(walk)
}

#[cfg(test)]
mod tests {
    use super::{MAX_READ, walk, walk_whole};
    use crate::dicom::attributes::Attribute;
    use crate::dicom::scan::Structure;
    use crate::dicom::{Tag, TransferSyntax};
    use std::io;

    fn element(tag: Tag, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
        bytes.extend(vr);
        if vr == b"OW" {
            bytes.extend([0, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
        } else {
            bytes.extend((value.len() as u16).to_le_bytes());
        }
        bytes.extend(value);
        bytes
    }

    /// The values of these tags, and how far was read.
    fn read(data_set: &[u8], tags: &[Tag]) -> (Vec<String>, u64) {
        let mut end = 0;
        let read_at = |buffer: &mut [u8], offset: u64| {
            let rest = &data_set[data_set.len().min(offset as usize)..];
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            end = offset + count as u64;
            Ok(count)
        };
        let enough = |walk: &super::Walk, read: u64| {
            read >= MAX_READ || tags.iter().max().is_none_or(|last| walk.has_passed(*last))
        };
        let walk = walk(read_at, &TransferSyntax::EXPLICIT_VR_LE, tags, enough).unwrap();
        (tags.iter().map(|tag| walk.attributes().decoded(*tag)).collect(), end)
    }

    fn data_set(before: usize) -> Vec<u8> {
        [
            element(Attribute::Modality.tag(), b"CS", b"US"),
            element(Tag(0x0009, 0x1010), b"OW", &vec![0; before]),
            element(Tag(0x0010, 0x0010), b"PN", b"Test^Patient"),
            element(Attribute::PatientId.tag(), b"LO", b"4711"),
            element(Tag(0x7FE0, 0x0010), b"OW", &vec![0; 4 << 20]),
        ]
        .concat()
    }

    #[test]
    fn reading_stops_where_the_last_tag_is_passed_and_skips_long_values() {
        let tags = [Attribute::PatientId.tag(), Tag(0x0010, 0x0010)];
        let values = vec!["4711".to_owned(), "Test^Patient".to_owned()];
        assert_eq!(read(&data_set(0), &tags), (values.clone(), 4 << 10));
        for long in [10_000, 100_000, 2 << 20, 20 << 20] {
            let (read, end) = read(&data_set(long), &tags);
            assert_eq!(read, values);
            assert!(end < long as u64 + (32 << 10), "{long}: {end}");
        }
    }

    #[test]
    fn a_header_that_never_ends_is_read_so_far_and_no_further() {
        let mut endless = element(Attribute::Modality.tag(), b"CS", b"US");
        endless.extend((0..200_000).flat_map(|_| element(Tag(0x0009, 0x1010), b"LO", b"1234")));
        let (values, end) = read(&endless, &[Attribute::Modality.tag(), Attribute::PatientId.tag()]);
        assert_eq!(values, ["US", ""]);
        assert!((MAX_READ..MAX_READ + (64 << 10)).contains(&end), "{end}");
    }

    #[test]
    fn a_whole_walk_finds_what_a_receiver_found_wherever_it_stands() {
        let walked = |data_set: &[u8], tag| {
            let read_at = |buffer: &mut [u8], offset: u64| {
                let rest = data_set.get(offset as usize..).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            };
            let scan = walk_whole(read_at, &TransferSyntax::EXPLICIT_VR_LE, &[tag]).unwrap();
            (scan.attributes.decoded(tag), scan.structure)
        };
        let mut data_set = data_set(2 << 20);
        assert_eq!(walked(&data_set, Attribute::PatientId.tag()), ("4711".into(), Structure::Sound));
        let late = Tag(0x0010, 0x4000);
        data_set.extend(element(late, b"LT", b"behind the pixels, out of order"));
        assert_eq!(walked(&data_set, late).0, "behind the pixels, out of order");
        data_set.truncate(3 << 20);
        assert!(matches!(walked(&data_set, late).1, Structure::Truncated { .. }));
    }

    #[test]
    fn an_absent_tag_costs_no_more_than_one_that_is_there_and_no_tag_costs_nothing() {
        assert_eq!(read(&data_set(0), &[Tag(0x0018, 0x0015)]), (vec![String::new()], 4 << 10));
        assert_eq!(read(b"", &[Tag(0x0018, 0x0015)]), (vec![String::new()], 0));
    }

    #[test]
    fn what_the_disk_says_is_passed_on_and_too_many_tags_are_refused() {
        let broken = |_: &mut [u8], _| Err(io::Error::from(io::ErrorKind::PermissionDenied));
        let tags: Vec<_> = (0..99).map(|n| Tag(0x0018, n)).collect();
        let kind =
            |tags: &[Tag]| walk_whole(broken, &TransferSyntax::EXPLICIT_VR_LE, tags).unwrap_err().kind();
        assert_eq!(kind(&tags[..1]), io::ErrorKind::PermissionDenied);
        assert_eq!(kind(&tags), io::ErrorKind::InvalidInput);
    }
}
