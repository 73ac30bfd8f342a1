//! DICOM Part 10 files (PS3.10 chapter 7): the head that is written in front of a data set, the header of the trailing
//! padding element behind it, and a lenient reader of heads that others have written.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{self, Read, Seek, SeekFrom};

use super::ae_title::AeTitle;
use super::attributes::Attribute;
use super::scan::Scanner;
use super::transfer_syntax::{Encoding, TransferSyntax};
use super::uid::{self, Uid};

/// What the file meta group says about an instance and how it came.
#[derive(Debug, Clone)]
pub struct HeadFields<'a> {
    /// Media Storage SOP Class UID (0002,0002).
    pub sop_class: &'a Uid,
    /// Media Storage SOP Instance UID (0002,0003).
    pub sop_instance: &'a Uid,
    /// Transfer Syntax UID (0002,0010) of the data set.
    pub transfer_syntax: &'a TransferSyntax,
    /// Who called: Source (0002,0016) and Sending (0002,0017) Application Entity Title.
    pub calling: &'a AeTitle,
    /// Who was called: Receiving Application Entity Title (0002,0018).
    pub called: &'a AeTitle,
}

/// Preamble (zeros, since CVE-2019-11687 what others put there is not kept), `DICM` and file meta group.
pub fn head(fields: &HeadFields<'_>) -> Vec<u8> {
    let mut meta = Vec::with_capacity(512);
    put_long(&mut meta, 0x0001, *b"OB", &[0, 1]);
    put_short(&mut meta, 0x0002, *b"UI", fields.sop_class.to_padded());
    put_short(&mut meta, 0x0003, *b"UI", fields.sop_instance.to_padded());
    put_short(&mut meta, 0x0010, *b"UI", fields.transfer_syntax.0.to_padded());
    put_short(&mut meta, 0x0012, *b"UI", uid::IMPLEMENTATION_CLASS.to_padded());
    put_short(&mut meta, 0x0013, *b"SH", padded_text(uid::IMPLEMENTATION_VERSION));
    for (element, title) in [(0x0016, fields.calling), (0x0017, fields.calling), (0x0018, fields.called)] {
        if !title.is_empty() {
            put_short(&mut meta, element, *b"AE", padded_text(title.as_str()));
        }
    }
    let mut head = Vec::with_capacity(PREAMBLE + 16 + meta.len());
    head.resize(PREAMBLE, 0);
    head.extend_from_slice(MAGIC);
    let length = u32::try_from(meta.len()).unwrap_or(u32::MAX);
    put_short(&mut head, 0x0000, *b"UL", length.to_le_bytes().to_vec());
    head.extend_from_slice(&meta);
    head
}

/// The header of a Data Set Trailing Padding element (FFFC,FFFC) whose value has this many bytes, in the data set's own
/// encoding; empty for encodings in which nothing can be appended (deflated, unknown).
pub fn padding_header(encoding: Encoding, value_length: u32) -> Vec<u8> {
    let tag = [0xFC, 0xFF, 0xFC, 0xFF];
    match encoding {
        Encoding::ImplicitLe => [tag, value_length.to_le_bytes()].concat(),
        Encoding::ExplicitLe | Encoding::Encapsulated => {
            [&tag[..], b"OB\0\0", &value_length.to_le_bytes()].concat()
        }
        Encoding::ExplicitBe => {
            [&[0xFF, 0xFC, 0xFF, 0xFC], &b"OB\0\0"[..], &value_length.to_be_bytes()].concat()
        }
        Encoding::DeflatedLe | Encoding::Unknown => Vec::new(),
    }
}

/// What is known of a file before its data set is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHead {
    /// How the data set is encoded: from the file meta group, or guessed when there is none.
    pub transfer_syntax: TransferSyntax,
    /// SOP class, from the data set, else from the meta group.
    pub sop_class: Uid,
    /// SOP instance, from the data set, else from the meta group.
    pub sop_instance: Uid,
    /// Sending (0002,0017), else Source Application Entity Title (0002,0016), if the meta group has one.
    pub calling: Option<AeTitle>,
    /// Receiving Application Entity Title (0002,0018), if the meta group has one.
    pub called: Option<AeTitle>,
    /// Where the data set begins, in bytes from the start of the file.
    pub data_set_offset: u64,
    /// Length of the data set, in bytes.
    pub data_set_length: u64,
}

/// Why a file is not taken for DICOM, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileHeadError {
    /// Reading failed.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Neither a meta group nor anything that looks like a data set.
    #[error("not a DICOM file")]
    NotDicom,
    /// No SOP class or instance UID in the meta group or the data set's beginning.
    #[error("no SOP class or instance UID")]
    NoIdentity,
    /// A DICOMDIR, which is no storage instance (PS3.10 8.6).
    #[error("a DICOMDIR, which cannot be stored")]
    Directory,
}

impl FileHead {
    /// Reads preamble and meta group leniently: either may be missing and the group length may be wrong. Then looks
    /// into the beginning of the data set for its SOP class and instance.
    ///
    /// # Errors
    /// [`FileHeadError`] when the file cannot be read, is not DICOM, or names no instance.
    pub fn read(reader: &mut (impl Read + Seek)) -> Result<Self, FileHeadError> {
        let length = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        let mut start = Vec::with_capacity(8192);
        reader.by_ref().take(MAX_META).read_to_end(&mut start)?;
        let has_magic = start.get(PREAMBLE..PREAMBLE + 4) == Some(MAGIC);
        let mut meta = Meta::default();
        let offset = meta.read(&start, if has_magic { PREAMBLE + 4 } else { 0 });
        let rest = start.get(offset..).unwrap_or_default();
        let transfer_syntax = match meta.transfer_syntax {
            Some(uid) => TransferSyntax(uid),
            None => guess(rest).ok_or(FileHeadError::NotDicom)?,
        };
        // A receiver compares the command with the data set, so where the meta group disagrees, the data set is right.
        let mut scanner = Scanner::new(transfer_syntax.encoding());
        scanner.feed(rest);
        let found = scanner.attributes();
        let sop_class = found.uid(Attribute::SopClassUid).or(meta.sop_class);
        let sop_instance = found.uid(Attribute::SopInstanceUid).or(meta.sop_instance);
        let (Some(sop_class), Some(sop_instance)) = (sop_class, sop_instance) else {
            return Err(FileHeadError::NoIdentity);
        };
        if sop_class == DIRECTORY {
            return Err(FileHeadError::Directory);
        }
        let data_set_offset = offset as u64;
        let data_set_length = length.saturating_sub(data_set_offset);
        let (calling, called) = (meta.sending.or(meta.source), meta.receiving);
        Ok(Self {
            transfer_syntax,
            sop_class,
            sop_instance,
            calling,
            called,
            data_set_offset,
            data_set_length,
        })
    }
}

/// The elements of a meta group that matter here.
#[derive(Default)]
struct Meta {
    transfer_syntax: Option<Uid>,
    sop_class: Option<Uid>,
    sop_instance: Option<Uid>,
    source: Option<AeTitle>,
    sending: Option<AeTitle>,
    receiving: Option<AeTitle>,
}

impl Meta {
    /// Walks elements of group 0002 from `offset` on and returns where the first other one begins. The group length is not
    /// needed for that, so it may be wrong or missing.
    fn read(&mut self, bytes: &[u8], mut offset: usize) -> usize {
        while let Some((element, value, next)) = meta_element(bytes, offset) {
            let uid = || Some(Uid::from_wire(value)).filter(|uid| !uid.is_empty());
            let title = || Some(AeTitle::from_wire(value)).filter(|title| !title.is_empty());
            match element {
                0x0002 => self.sop_class = uid(),
                0x0003 => self.sop_instance = uid(),
                0x0010 => self.transfer_syntax = uid(),
                0x0016 => self.source = title(),
                0x0017 => self.sending = title(),
                0x0018 => self.receiving = title(),
                _ => {}
            }
            offset = next;
        }
        offset
    }
}

/// The element of group 0002 at `offset`: its number, value and where the next begins.
fn meta_element(bytes: &[u8], offset: usize) -> Option<(u16, &[u8], usize)> {
    let header: &[u8; 8] = bytes.get(offset..)?.first_chunk()?;
    let [2, 0, low, high, a, b, c, d] = *header else { return None };
    let (start, length) = if matches!(&[a, b], b"OB" | b"UN" | b"OW" | b"UT" | b"SQ") {
        let wide: &[u8; 4] = bytes.get(offset + 8..)?.first_chunk()?;
        (offset + 12, usize::try_from(u32::from_le_bytes(*wide)).ok()?)
    } else {
        (offset + 8, usize::from(u16::from_le_bytes([c, d])))
    };
    let end = start.checked_add(length)?;
    Some((u16::from_le_bytes([low, high]), bytes.get(start..end)?, end))
}

/// Whether a data set without meta group is in explicit or implicit VR, judged by its first element.
fn guess(data_set: &[u8]) -> Option<TransferSyntax> {
    let [low, high, _, _, a, b, c, d] = *data_set.first_chunk::<8>()?;
    let group = u16::from_le_bytes([low, high]);
    if group == 0 || group > 0x0020 || group % 2 == 1 {
        return None;
    }
    if a.is_ascii_uppercase() && b.is_ascii_uppercase() {
        Some(TransferSyntax::EXPLICIT_VR_LE)
    } else if u32::from_le_bytes([a, b, c, d]) < 0x0001_0000 {
        Some(TransferSyntax::IMPLICIT_VR_LE)
    } else {
        None
    }
}

fn put_short(to: &mut Vec<u8>, element: u16, vr: [u8; 2], value: Vec<u8>) {
    to.extend_from_slice(&[2, 0]);
    to.extend_from_slice(&element.to_le_bytes());
    to.extend_from_slice(&vr);
    to.extend_from_slice(&u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
    to.extend(value);
}

fn put_long(to: &mut Vec<u8>, element: u16, vr: [u8; 2], value: &[u8]) {
    to.extend_from_slice(&[2, 0]);
    to.extend_from_slice(&element.to_le_bytes());
    to.extend_from_slice(&vr);
    to.extend_from_slice(&[0, 0]);
    to.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_le_bytes());
    to.extend_from_slice(value);
}

fn padded_text(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
    if bytes.len() % 2 == 1 {
        bytes.push(b' ');
    }
    bytes
}

const PREAMBLE: usize = 128;
const MAGIC: &[u8] = b"DICM";
/// Bytes of a file that are looked at for its head.
const MAX_META: u64 = 256 * 1024;
const DIRECTORY: Uid = Uid::from_static("1.2.840.10008.1.3.10");

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn example() -> Vec<u8> {
        head(&HeadFields {
            sop_class: &uid::US_IMAGE,
            sop_instance: &Uid::new("1.2.3.4.5"),
            transfer_syntax: &TransferSyntax::JPEG_BASELINE,
            calling: &"VIVID".parse().unwrap(),
            called: &AeTitle::default(),
        })
    }

    #[test]
    fn what_is_written_is_read_back() {
        let head_length = example().len();
        assert_eq!(head_length % 2, 0);
        let file = [example(), vec![8, 0, 0x60, 0, b'C', b'S', 2, 0, b'U', b'S']].concat();
        let read = FileHead::read(&mut Cursor::new(file)).unwrap();
        assert_eq!(read.transfer_syntax, TransferSyntax::JPEG_BASELINE);
        assert_eq!((read.sop_class, read.sop_instance), (uid::US_IMAGE, Uid::new("1.2.3.4.5")));
        assert_eq!((read.calling, read.called), ("VIVID".parse().ok(), None));
        assert_eq!((read.data_set_offset, read.data_set_length), (head_length as u64, 10));
    }

    #[test]
    fn the_group_length_counts_what_follows_it() {
        let head = example();
        let length = u32::from_le_bytes(head[140..144].try_into().unwrap());
        assert_eq!(length as usize, head.len() - 144);
    }

    #[test]
    fn a_wrong_group_length_and_a_missing_preamble_do_no_harm() {
        let mut file = [example(), vec![8, 0, 0x60, 0, b'C', b'S', 2, 0, b'U', b'S']].concat();
        file[140] = 0xFF;
        assert!(FileHead::read(&mut Cursor::new(file.clone())).is_ok());
        let bare = file.split_off(132);
        assert_eq!(FileHead::read(&mut Cursor::new(bare)).unwrap().sop_instance, Uid::new("1.2.3.4.5"));
    }

    #[test]
    fn where_meta_group_and_data_set_disagree_the_data_set_is_right() {
        let file = [example(), [&[8, 0, 0x18, 0][..], b"UI\x04\x001.9\0"].concat()].concat();
        assert_eq!(FileHead::read(&mut Cursor::new(file)).unwrap().sop_instance, Uid::new("1.9"));
    }

    #[test]
    fn without_a_meta_group_the_data_set_speaks_for_itself() {
        let explicit =
            [&[8, 0, 0x16, 0][..], b"UI\x04\x001.2\0", &[8, 0, 0x18, 0], b"UI\x04\x001.3\0"].concat();
        let implicit =
            [&[8, 0, 0x16, 0, 4, 0, 0, 0][..], b"1.2\0", &[8, 0, 0x18, 0, 4, 0, 0, 0], b"1.3\0"].concat();
        for (bytes, syntax) in
            [(explicit, TransferSyntax::EXPLICIT_VR_LE), (implicit, TransferSyntax::IMPLICIT_VR_LE)]
        {
            let read = FileHead::read(&mut Cursor::new(bytes)).unwrap();
            assert_eq!((read.transfer_syntax, read.data_set_offset), (syntax, 0));
            assert_eq!((read.sop_class, read.sop_instance), (Uid::new("1.2"), Uid::new("1.3")));
        }
        let text = Cursor::new(b"just some text, no DICOM at all".to_vec());
        assert!(matches!(FileHead::read(&mut text.clone()), Err(FileHeadError::NotDicom)));
    }

    #[test]
    fn the_padding_header_is_in_the_data_sets_own_encoding() {
        assert_eq!(padding_header(Encoding::ImplicitLe, 0x0102), [0xFC, 0xFF, 0xFC, 0xFF, 2, 1, 0, 0]);
        assert_eq!(padding_header(Encoding::ExplicitLe, 2), *b"\xFC\xFF\xFC\xFFOB\0\0\x02\0\0\0");
        assert_eq!(padding_header(Encoding::ExplicitBe, 2), *b"\xFF\xFC\xFF\xFCOB\0\0\0\0\0\x02");
        assert!(padding_header(Encoding::DeflatedLe, 2).is_empty());
    }
}
