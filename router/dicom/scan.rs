//! The running walk over a data set: bytes in any chunking, a verdict on the structure and a few attributes out.
//!
//! It is iterative and needs memory that depends on nothing the sender chose: a stack of at most [`MAX_NESTING`] sequences,
//! and [`Attributes`], which are bounded. Values are skipped by their length, so a chunk inside Pixel Data costs nothing.
//! Only what comes out as [`Structure::Sound`] may ever be handed to a parser that builds a tree.
//!
//! ```text
//! Header --complete--> Value (skip, capture) --length reached--> Header
//!    |                                                             |
//!    +--- nothing sensible can follow ---> Lost (count only) <-----+
//! ```
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use dicom_core::VR;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::header::Tag;
use dicom_dictionary_std::StandardDataDictionary;

use super::attributes::{Attributes, ExtraTags, Slot};
use super::transfer_syntax::Encoding;

/// The deepest nesting of sequences that is walked.
pub const MAX_NESTING: usize = 64;

/// What a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Captured top-level attributes, as far as the walk came.
    pub attributes: Attributes,
    /// Whether the structure is sound, odd or cut off.
    pub structure: Structure,
    /// What follows the last meaningful element.
    pub tail: Tail,
    /// Harmless deviations, worth a line in the log.
    pub notes: Notes,
    /// Bytes fed in all.
    pub length: u64,
}

/// The structure of a data set as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    /// Every element was walked and fits.
    Sound,
    /// Complete as far as can be told, but not as PS3.5 has it: pass it through, never take it apart.
    Odd {
        /// The first oddity.
        reason: Oddity,
        /// Its offset in the data set, in bytes.
        at: u64,
    },
    /// The bytes ended inside an element.
    Truncated {
        /// Offset at which bytes are missing: the length of what came.
        at: u64,
    },
    /// Deflated or unknown encoding: not looked into.
    NotWalked,
}

/// An oddity of structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum Oddity {
    #[error("undefined length on a value representation that cannot have it")]
    UndefinedLength,
    #[error("pixel data fragments in an encoding that has none")]
    UnexpectedFragments,
    #[error("sequences nested deeper than 64")]
    TooDeep,
    #[error("a sequence or item without its delimiter")]
    MissingDelimiter,
    #[error("a delimiter where none belongs")]
    StrayDelimiter,
    #[error("an element of group 0000 or 0002")]
    ForbiddenGroup,
    #[error("an unknown value representation")]
    UnknownVr,
    #[error("an odd element length")]
    OddLength,
    #[error("an element that ends beyond the item or sequence it is in")]
    Overrun,
    #[error("something other than an item in a sequence")]
    NotAnItem,
    #[error("inflate limit")]
    InflateLimit,
    #[error("a deflated stream that is corrupt")]
    CorruptDeflate,
}

/// What stands at the end of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing special.
    Plain,
    /// A Data Set Trailing Padding element (FFFC,FFFC).
    Padding,
    /// This many zero bytes that belong to no element.
    Zeros(u64),
}

/// Deviations that every reader copes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notes {
    /// Top-level tags were not in ascending order.
    pub out_of_order: bool,
    /// A top-level tag came twice in a row, or a captured one a second time.
    pub duplicate: bool,
}

impl Scan {
    /// Whether a Data Set Trailing Padding element (PS3.10 7.2) may be appended, so that any reader still finds its way:
    /// the structure is sound and walked, the length is even, and nothing unusual stands at the end already.
    pub fn can_append_padding(&self) -> bool {
        self.structure == Structure::Sound && self.tail == Tail::Plain && self.length.is_multiple_of(2)
    }
}

/// The walk itself; feed it, then finish it.
#[derive(Debug)]
pub struct Scanner {
    attributes: Attributes,
    phase: Phase,
    /// Header bytes collected so far, when they came in pieces.
    header: [u8; 12],
    have: usize,
    levels: Vec<Level>,
    depth: usize,
    position: u64,
    odd: Option<(Oddity, u64)>,
    notes: Notes,
    last_tag: u32,
    tail: Tail,
    coding: Coding,
    encapsulated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Collecting an element or item header.
    Header,
    /// Inside a value with this many bytes left.
    Value { left: u64, capture: Option<Slot> },
    /// Zeros after the data set.
    Zeros,
    /// The structure cannot be followed further.
    Lost,
    /// The encoding is not walked.
    Blind,
}

/// An open sequence, item or run of fragments.
#[derive(Debug, Clone, Copy)]
struct Level {
    kind: Kind,
    /// Where it ends, if its length was given.
    end: Option<u64>,
    coding: Coding,
}

/// How headers are encoded: those of the data set, or of what is inside a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Coding {
    /// Whether elements carry their VR.
    explicit: bool,
    big_endian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequence,
    Item,
    Fragments,
}

/// A complete header.
struct Header {
    tag: u32,
    vr: Option<[u8; 2]>,
    length: u32,
    size: usize,
}

/// What is inside a UN of undefined length, whatever is around it (PS3.5 6.2.2 Note 2).
const IMPLICIT: Coding = Coding { explicit: false, big_endian: false };

const ITEM: u32 = 0xFFFE_E000;
const ITEM_END: u32 = 0xFFFE_E00D;
const SEQUENCE_END: u32 = 0xFFFE_E0DD;
const PADDING: u32 = 0xFFFC_FFFC;
const PIXEL_DATA: u32 = 0x7FE0_0010;
const UNDEFINED: u32 = 0xFFFF_FFFF;

impl Scanner {
    /// A walk over a data set in this encoding.
    pub fn new(encoding: Encoding) -> Self {
        Self::capturing(encoding, ExtraTags::default())
    }

    /// A walk that captures these tags too.
    pub fn capturing(encoding: Encoding, extra: ExtraTags) -> Self {
        let big_endian = encoding == Encoding::ExplicitBe;
        let blind = matches!(encoding, Encoding::DeflatedLe | Encoding::Unknown);
        Self {
            attributes: Attributes::new(big_endian, extra),
            phase: if blind { Phase::Blind } else { Phase::Header },
            header: [0; 12],
            have: 0,
            levels: Vec::new(),
            depth: 0,
            position: 0,
            odd: None,
            notes: Notes::default(),
            last_tag: 0,
            tail: Tail::Plain,
            coding: Coding { explicit: encoding != Encoding::ImplicitLe, big_endian },
            encapsulated: encoding == Encoding::Encapsulated,
        }
    }

    /// Takes the next bytes, however many.
    pub fn feed(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            let used = match self.phase {
                Phase::Header => self.feed_header(chunk),
                Phase::Value { left, capture } => self.feed_value(chunk, left, capture),
                Phase::Zeros => self.feed_zeros(chunk),
                Phase::Lost | Phase::Blind => {
                    self.position += chunk.len() as u64;
                    chunk.len()
                }
            };
            chunk = chunk.get(used..).unwrap_or_default();
        }
    }

    /// The verdict, once all bytes were fed.
    pub fn finish(mut self) -> Scan {
        self.close_levels();
        let length = self.position + self.have as u64;
        let loose_zeros =
            self.have > 0 && self.levels.is_empty() && self.header_bytes().iter().all(|&b| b == 0);
        if loose_zeros {
            self.tail = Tail::Zeros(self.have as u64);
        }
        let cut = match self.phase {
            Phase::Header => {
                (self.have > 0 && !loose_zeros) || self.levels.iter().any(|level| level.end.is_some())
            }
            Phase::Value { left, .. } => left > 0,
            Phase::Zeros | Phase::Lost | Phase::Blind => false,
        };
        if !self.levels.is_empty() && !cut {
            self.note(Oddity::MissingDelimiter, length);
        }
        let structure = match (self.phase, cut, self.odd) {
            (Phase::Blind, ..) => Structure::NotWalked,
            (_, true, _) => Structure::Truncated { at: length },
            (_, false, Some((reason, at))) => Structure::Odd { reason, at },
            (_, false, None) => Structure::Sound,
        };
        Scan { attributes: self.attributes, structure, tail: self.tail, notes: self.notes, length }
    }

    /// What was captured so far; useful before the end, since Pixel Data comes last.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The same, for good.
    pub(super) fn into_attributes(self) -> Attributes {
        self.attributes
    }

    /// Whether nothing up to this tag is to be expected any more: a later one was met at top level, where tags ascend
    /// (PS3.5 7.1), or the walk has ended.
    pub(super) fn has_passed(&self, tag: Tag) -> bool {
        let number = u32::from(tag.0) << 16 | u32::from(tag.1);
        match self.phase {
            Phase::Header | Phase::Value { .. } => self.last_tag > number,
            Phase::Zeros | Phase::Lost | Phase::Blind => true,
        }
    }

    /// Leaves out what is left of a value that is not captured, but for its last byte: that one is to be fed, so that a data set
    /// which ends before it is seen to. Returns how many bytes were left out.
    pub(super) fn skip_value(&mut self) -> u64 {
        let Phase::Value { left: left @ 2.., capture: None } = self.phase else { return 0 };
        self.position += left - 1;
        self.phase = Phase::Value { left: 1, capture: None };
        left - 1
    }

    fn feed_value(&mut self, chunk: &[u8], left: u64, capture: Option<Slot>) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        if let (Some(slot), Some(piece)) = (capture, chunk.get(..used)) {
            self.attributes.extend(slot, piece);
        }
        self.position += used as u64;
        if left > used as u64 {
            self.phase = Phase::Value { left: left - used as u64, capture };
        } else {
            self.phase = Phase::Header;
            self.close_levels();
        }
        used
    }

    fn feed_zeros(&mut self, chunk: &[u8]) -> usize {
        let before = if let Tail::Zeros(count) = self.tail { count } else { 0 };
        if chunk.iter().any(|&byte| byte != 0) {
            self.tail = Tail::Plain;
            self.note(Oddity::ForbiddenGroup, self.position - before);
            self.phase = Phase::Lost;
        } else {
            self.tail = Tail::Zeros(before + chunk.len() as u64);
        }
        self.position += chunk.len() as u64;
        chunk.len()
    }

    /// Collects header bytes; acts when the header is complete. Returns how many bytes of the chunk it took.
    /// `position` does not count a header before it is complete.
    fn feed_header(&mut self, chunk: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let need = self.header_size();
            if self.have >= need {
                let header = self.parse_header(need);
                self.have = 0;
                self.position += need as u64;
                self.enter(&header);
                return used;
            }
            let Some(piece) = chunk.get(used..).filter(|rest| !rest.is_empty()) else { return used };
            let take = (need - self.have).min(piece.len());
            if let (Some(to), Some(from)) =
                (self.header.get_mut(self.have..self.have + take), piece.get(..take))
            {
                to.copy_from_slice(from);
            }
            self.have += take;
            used += take;
        }
    }

    fn header_bytes(&self) -> &[u8] {
        self.header.get(..self.have).unwrap_or_default()
    }

    /// Bytes the header needs, as far as what is there tells: 8, or 12 for the long explicit form (PS3.5 7.1.2).
    fn header_size(&self) -> usize {
        if self.have < 8 || !self.coding_here().explicit || self.tag() >> 16 == 0xFFFE {
            return 8;
        }
        let [_, _, _, _, a, b, ..] = self.header;
        if is_long(&[a, b]) { 12 } else { 8 }
    }

    /// How the next header is encoded.
    fn coding_here(&self) -> Coding {
        self.levels.last().map_or(self.coding, |level| level.coding)
    }

    fn tag(&self) -> u32 {
        let [a, b, c, d, ..] = self.header;
        let (group, element) = if self.coding_here().big_endian {
            (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
        } else {
            (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
        };
        u32::from(group) << 16 | u32::from(element)
    }

    fn parse_header(&self, size: usize) -> Header {
        let [_, _, _, _, a, b, c, d, e, f, g, h] = self.header;
        let Coding { explicit, big_endian } = self.coding_here();
        let wide = |bytes| if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        let tag = self.tag();
        if !explicit || tag >> 16 == 0xFFFE {
            return Header { tag, vr: None, length: wide([a, b, c, d]), size };
        }
        let length = match (size, big_endian) {
            (12, _) => wide([e, f, g, h]),
            (_, true) => u32::from(u16::from_be_bytes([c, d])),
            (_, false) => u32::from(u16::from_le_bytes([c, d])),
        };
        Header { tag, vr: Some([a, b]), length, size }
    }

    /// Acts on a complete header; `position` is already behind it.
    fn enter(&mut self, header: &Header) {
        self.phase = Phase::Header;
        let at = self.position - header.size as u64;
        match header.tag {
            ITEM => self.enter_item(header, at),
            ITEM_END | SEQUENCE_END => self.leave(header, at),
            _ => match self.levels.last().map(|level| level.kind) {
                Some(Kind::Sequence | Kind::Fragments) => self.lose(Oddity::NotAnItem, at),
                Some(Kind::Item) | None => self.enter_element(header, at),
            },
        }
        self.close_levels();
    }

    fn enter_item(&mut self, header: &Header, at: u64) {
        match self.levels.last().copied() {
            Some(Level { kind: Kind::Fragments, .. }) if header.length == UNDEFINED => {
                self.lose(Oddity::UndefinedLength, at);
            }
            Some(Level { kind: Kind::Fragments, .. }) => self.skip(header.length, None, at),
            Some(Level { kind: Kind::Sequence, coding, .. }) => {
                let end = self.end_of(header.length, at);
                self.levels.push(Level { kind: Kind::Item, end, coding });
            }
            Some(Level { kind: Kind::Item, .. }) | None => self.lose(Oddity::NotAnItem, at),
        }
    }

    /// A delimiter: closes what it belongs to, and is stepped over where it belongs to nothing.
    fn leave(&mut self, header: &Header, at: u64) {
        if header.length != 0 {
            return self.lose(Oddity::StrayDelimiter, at);
        }
        let open = self.levels.last().map(|level| (level.kind, level.end.is_none()));
        match (header.tag, open) {
            (ITEM_END, Some((Kind::Item, true))) => self.pop(),
            (SEQUENCE_END, Some((Kind::Sequence | Kind::Fragments, true))) => self.pop(),
            (SEQUENCE_END, Some((Kind::Item, true))) => {
                self.note(Oddity::MissingDelimiter, at);
                self.pop();
                if self.levels.last().is_some_and(|level| level.end.is_none()) {
                    self.pop();
                }
            }
            _ => self.note(Oddity::StrayDelimiter, at),
        }
    }

    fn enter_element(&mut self, header: &Header, at: u64) {
        let top = self.levels.is_empty();
        if top
            && header.tag == 0
            && header.length == 0
            && self.header.iter().take(header.size).all(|&b| b == 0)
        {
            self.tail = Tail::Zeros(header.size as u64);
            self.phase = Phase::Zeros;
            return;
        }
        if top {
            self.note_order(header.tag);
        }
        if matches!(header.tag >> 16, 0x0000 | 0x0002) {
            self.note(Oddity::ForbiddenGroup, at);
        }
        if header.vr.is_some_and(|vr| !is_known(&vr)) {
            return self.lose(Oddity::UnknownVr, at);
        }
        if header.length == UNDEFINED && (header.vr.is_none() || header.size == 12) {
            self.enter_undefined(header, at);
        } else if is_sequence(header) {
            self.push_sequence(header, self.coding_here(), at);
        } else {
            let capture = if top { self.attributes.slot(header.tag) } else { None };
            let first = capture.filter(|&slot| self.attributes.begin(slot, header.vr));
            self.notes.duplicate |= capture.is_some() && first.is_none();
            self.skip(header.length, first, at);
        }
    }

    /// An element of undefined length: a sequence, Pixel Data in fragments (PS3.5 A.4), an icon's too, or an oddity that is
    /// walked as whichever of the two it resembles.
    fn enter_undefined(&mut self, header: &Header, at: u64) {
        let coding = self.coding_here();
        let is_pixel_data = header.tag == PIXEL_DATA;
        match header.vr.as_ref() {
            Some(b"SQ") => self.push_sequence(header, coding, at),
            Some(b"UN") => {
                if is_pixel_data {
                    self.note(Oddity::UndefinedLength, at);
                }
                self.push_sequence(header, IMPLICIT, at);
            }
            None if implicit_sequence(header.tag) => self.push_sequence(header, coding, at),
            // A private element in implicit VR can only be a sequence if its length is undefined.
            None if (header.tag >> 16) % 2 == 1 => self.push_sequence(header, coding, at),
            None if !is_pixel_data => {
                self.note(Oddity::UndefinedLength, at);
                self.push_sequence(header, coding, at);
            }
            vr => {
                let has_fragments = self.encapsulated && matches!(vr, Some(b"OB" | b"OW"));
                match (is_pixel_data, has_fragments) {
                    (true, true) => {}
                    (true, false) => self.note(Oddity::UnexpectedFragments, at),
                    (false, _) => self.note(Oddity::UndefinedLength, at),
                }
                self.levels.push(Level { kind: Kind::Fragments, end: None, coding });
            }
        }
    }

    fn push_sequence(&mut self, header: &Header, coding: Coding, at: u64) {
        if self.depth >= MAX_NESTING {
            return self.lose(Oddity::TooDeep, at);
        }
        self.depth += 1;
        let end = self.end_of(header.length, at);
        self.levels.push(Level { kind: Kind::Sequence, end, coding });
    }

    /// The end of something of this length that starts here; notes when it lies beyond what encloses it.
    fn end_of(&mut self, length: u32, at: u64) -> Option<u64> {
        if length == UNDEFINED {
            return None;
        }
        let end = self.position + u64::from(length);
        self.check_inside(end, at);
        Some(end)
    }

    fn check_inside(&mut self, end: u64, at: u64) {
        if self.levels.iter().rev().find_map(|level| level.end).is_some_and(|outer| end > outer) {
            self.note(Oddity::Overrun, at);
        }
    }

    fn skip(&mut self, length: u32, capture: Option<Slot>, at: u64) {
        if length % 2 == 1 {
            self.note(Oddity::OddLength, at);
        }
        self.check_inside(self.position + u64::from(length), at);
        if length > 0 {
            self.phase = Phase::Value { left: u64::from(length), capture };
        }
    }

    /// Closes every sequence and item whose given end is reached. One that was overrun ends where its content did.
    fn close_levels(&mut self) {
        while let Some(level) = self.levels.last() {
            // An undefined-length level inside one whose end is reached was never delimited.
            let overdue = self.levels.iter().any(|outer| outer.end.is_some_and(|end| end <= self.position));
            let Phase::Header = self.phase else { return };
            if !overdue {
                return;
            }
            if level.end.is_none() {
                self.note(Oddity::MissingDelimiter, self.position);
            }
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(Level { kind: Kind::Sequence, .. }) = self.levels.pop() {
            self.depth -= 1;
        }
    }

    fn note_order(&mut self, tag: u32) {
        self.notes.duplicate |= tag == self.last_tag;
        self.notes.out_of_order |= tag < self.last_tag;
        self.last_tag = tag;
        self.tail = if tag == PADDING { Tail::Padding } else { Tail::Plain };
    }

    fn note(&mut self, reason: Oddity, at: u64) {
        self.odd.get_or_insert((reason, at));
    }

    fn lose(&mut self, reason: Oddity, at: u64) {
        self.note(reason, at);
        self.levels.clear();
        self.phase = Phase::Lost;
    }
}

/// VRs with two reserved bytes and a 32-bit length (PS3.5 Table 7.1-1).
fn is_long(vr: &[u8; 2]) -> bool {
    matches!(
        vr,
        b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT" | b"UV"
    )
}

fn is_known(vr: &[u8; 2]) -> bool {
    is_long(vr)
        || matches!(
            vr,
            b"AE"
                | b"AS"
                | b"AT"
                | b"CS"
                | b"DA"
                | b"DS"
                | b"DT"
                | b"FD"
                | b"FL"
                | b"IS"
                | b"LO"
                | b"LT"
                | b"PN"
                | b"SH"
                | b"SL"
                | b"SS"
                | b"ST"
                | b"TM"
                | b"UI"
                | b"UL"
                | b"US"
        )
}

/// Whether an element of given length holds items. In implicit VR only the dictionary can tell.
fn is_sequence(header: &Header) -> bool {
    match header.vr.as_ref() {
        Some(vr) => vr == b"SQ",
        None => header.length >= 8 && header.tag != PIXEL_DATA && implicit_sequence(header.tag),
    }
}

fn implicit_sequence(tag: u32) -> bool {
    let tag = Tag((tag >> 16) as u16, (tag & 0xFFFF) as u16);
    StandardDataDictionary.by_tag(tag).is_some_and(|entry| entry.vr() == VirtualVr::Exact(VR::SQ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::attributes::Attribute;
    use crate::dicom::uid::Uid;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    /// An element in Explicit VR Little Endian.
    fn element(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut bytes = header(tag, vr, value.len() as u32);
        bytes.extend_from_slice(value);
        bytes
    }

    fn header(tag: u32, vr: &[u8; 2], length: u32) -> Vec<u8> {
        let mut bytes = tag_bytes(tag);
        bytes.extend_from_slice(vr);
        if is_long(vr) {
            bytes.extend_from_slice(&[0, 0]);
            bytes.extend_from_slice(&length.to_le_bytes());
        } else {
            bytes.extend_from_slice(&(length as u16).to_le_bytes());
        }
        bytes
    }

    fn item(tag: u32, length: u32) -> Vec<u8> {
        [tag_bytes(tag), length.to_le_bytes().to_vec()].concat()
    }

    fn tag_bytes(tag: u32) -> Vec<u8> {
        [((tag >> 16) as u16).to_le_bytes(), (tag as u16).to_le_bytes()].concat()
    }

    fn scan(encoding: Encoding, bytes: &[u8]) -> Scan {
        let mut scanner = Scanner::new(encoding);
        scanner.feed(bytes);
        scanner.finish()
    }

    fn explicit(parts: &[Vec<u8>]) -> Scan {
        scan(Encoding::ExplicitLe, &parts.concat())
    }

    fn oddity(scan: &Scan) -> Option<Oddity> {
        match scan.structure {
            Structure::Odd { reason, .. } => Some(reason),
            Structure::Sound | Structure::Truncated { .. } | Structure::NotWalked => None,
        }
    }

    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..depth {
            bytes.extend(header(0x0040_0275, b"SQ", UNDEFINED));
            bytes.extend(item(ITEM, UNDEFINED));
        }
        for _ in 0..depth {
            bytes.extend(item(ITEM_END, 0));
            bytes.extend(item(SEQUENCE_END, 0));
        }
        bytes
    }

    #[test]
    fn attributes_are_picked_out_of_a_sound_data_set() {
        let scan = explicit(&[
            element(0x0008_0018, b"UI", b"1.2.3\0"),
            element(0x0008_1140, b"SQ", &[item(ITEM, 14), element(0x0010_0020, b"LO", b"NESTED")].concat()),
            element(0x0010_0020, b"LO", b"ID1 "),
            element(0x0028_0010, b"US", &[0x34, 0x12]),
            element(PIXEL_DATA, b"OW", &[7; 400]),
        ]);
        assert_eq!(scan.structure, Structure::Sound);
        assert!(scan.can_append_padding());
        assert_eq!(scan.attributes.uid(Attribute::SopInstanceUid), Some(Uid::new("1.2.3")));
        assert_eq!(scan.attributes.raw(Attribute::PatientId), Some(&b"ID1 "[..]));
        assert_eq!(scan.attributes.unsigned_short(Attribute::Rows), Some(0x1234));
    }

    #[test]
    fn implicit_and_big_endian_sets_are_read_in_their_own_order() {
        let implicit = [item(0x0008_1140, 22), item(ITEM, 14), item(0x0010_0020, 6), b"NESTED".to_vec()];
        let implicit = [implicit.concat(), item(0x0010_0020, 2), b"ID".to_vec()].concat();
        let found = scan(Encoding::ImplicitLe, &implicit);
        assert_eq!(
            (found.structure, found.attributes.text(Attribute::PatientId)),
            (Structure::Sound, "ID".into())
        );

        let big = [&[0x00, 0x28, 0x00, 0x10][..], b"US", &[0, 2, 0x12, 0x34]].concat();
        let found = scan(Encoding::ExplicitBe, &big);
        assert_eq!(found.attributes.unsigned_short(Attribute::Rows), Some(0x1234));
        assert!(found.can_append_padding());
    }

    #[test]
    fn case_83_a_truncated_value_is_reported_with_its_offset() {
        let mut bytes = element(0x0010_0020, b"LO", b"0123456789");
        bytes.truncate(13);
        assert_eq!(scan(Encoding::ExplicitLe, &bytes).structure, Structure::Truncated { at: 13 });
        bytes.truncate(5);
        assert_eq!(scan(Encoding::ExplicitLe, &bytes).structure, Structure::Truncated { at: 5 });
    }

    #[test]
    fn case_84_a_length_beyond_the_end_is_truncation_at_any_level() {
        let long = header(PIXEL_DATA, b"OW", 0xFFFF_FFF0);
        assert_eq!(explicit(&[long]).structure, Structure::Truncated { at: 12 });
        let nested =
            explicit(&[header(0x0008_1140, b"SQ", 100), item(ITEM, 92), element(0x0008_1150, b"UI", b"1.")]);
        assert_eq!(nested.structure, Structure::Truncated { at: 30 });
    }

    #[test]
    fn case_85_undefined_length_where_it_does_not_belong_is_odd_and_walked_on() {
        let id = || element(0x0020_000D, b"UI", b"1.2.");
        let fragments = |tag, vr| {
            [header(tag, vr, UNDEFINED), item(ITEM, 0), item(ITEM, 4), vec![1; 4], item(SEQUENCE_END, 0)]
                .concat()
        };
        let un =
            [header(PIXEL_DATA, b"UN", UNDEFINED), item(ITEM, UNDEFINED), item(0x0009_0001, 2), vec![1; 2]];
        let un = [un.concat(), item(ITEM_END, 0), item(SEQUENCE_END, 0)].concat();
        for odd in [fragments(0x0009_1001, b"OB"), fragments(0x0009_1001, b"UT"), un] {
            let scan = scan(Encoding::Encapsulated, &[odd, id()].concat());
            assert_eq!(oddity(&scan), Some(Oddity::UndefinedLength));
            assert_eq!(scan.attributes.text(Attribute::StudyInstanceUid), "1.2.");
            assert!(!scan.can_append_padding());
        }
        let us = [item(0x0028_0010, UNDEFINED), item(SEQUENCE_END, 0)].concat();
        assert_eq!(oddity(&scan(Encoding::ImplicitLe, &us)), Some(Oddity::UndefinedLength));
        let proper = fragments(PIXEL_DATA, b"OB");
        assert_eq!(scan(Encoding::Encapsulated, &proper).structure, Structure::Sound);
        assert_eq!(oddity(&scan(Encoding::ExplicitLe, &proper)), Some(Oddity::UnexpectedFragments));
    }

    #[test]
    fn case_85_pixel_data_in_fragments_may_lie_in_an_item_where_there_are_fragments_at_all() {
        for length in [UNDEFINED, 44] {
            let icon = [
                header(0x0088_0200, b"SQ", UNDEFINED),
                item(ITEM, length),
                header(PIXEL_DATA, b"OB", UNDEFINED),
                [item(ITEM, 0), item(ITEM, 8), vec![1; 8], item(SEQUENCE_END, 0)].concat(),
                if length == UNDEFINED { item(ITEM_END, 0) } else { vec![] },
                item(SEQUENCE_END, 0),
                element(0x0020_000D, b"UI", b"1.2."),
            ];
            let icon = icon.concat();
            assert_eq!(scan(Encoding::Encapsulated, &icon).structure, Structure::Sound);
            for encoding in [Encoding::ExplicitLe, Encoding::Encapsulated] {
                assert_eq!(scan(encoding, &icon).attributes.text(Attribute::StudyInstanceUid), "1.2.");
            }
            assert_eq!(oddity(&scan(Encoding::ExplicitLe, &icon)), Some(Oddity::UnexpectedFragments));
        }
    }

    #[test]
    fn an_unknown_sequence_is_walked_in_implicit_vr_little_endian_whatever_is_around_it() {
        let inside = |length, end: Vec<u8>| {
            let sequence =
                [item(0x0008_1140, UNDEFINED), item(ITEM, length), item(0x0028_0010, 2), vec![1, 0]];
            [sequence.concat(), end, item(SEQUENCE_END, 0)].concat()
        };
        for inside in [inside(UNDEFINED, item(ITEM_END, 0)), inside(10, vec![])] {
            let items = [item(ITEM, UNDEFINED), inside, item(ITEM_END, 0), item(SEQUENCE_END, 0)].concat();
            let little = [&header(0x0009_1001, b"UN", UNDEFINED), &items[..]].concat();
            let little = [little, element(0x0010_0020, b"LO", b"ID")].concat();
            let big = [&[0, 9, 0x10, 1][..], b"UN\0\0\xFF\xFF\xFF\xFF", &items].concat();
            let big = [&big[..], &[0, 0x10, 0, 0x20], b"LO\0\x02ID"].concat();
            for (encoding, bytes) in [
                (Encoding::ExplicitLe, &little),
                (Encoding::Encapsulated, &little),
                (Encoding::ExplicitBe, &big),
            ] {
                let found = scan(encoding, bytes);
                assert_eq!(found.structure, Structure::Sound, "{encoding:?}");
                assert_eq!(found.attributes.text(Attribute::PatientId), "ID");
            }
        }
        let mut deep = Vec::new();
        for _ in 0..=MAX_NESTING {
            deep.extend([item(0x0009_1001, UNDEFINED), item(ITEM, UNDEFINED)].concat());
        }
        deep.splice(..8, header(0x0009_1001, b"UN", UNDEFINED));
        assert_eq!(oddity(&explicit(&[deep])), Some(Oddity::TooDeep));
    }

    #[test]
    fn case_86_sixty_four_levels_are_walked_and_deeper_ones_are_left_alone() {
        assert_eq!(scan(Encoding::ExplicitLe, &nested(64)).structure, Structure::Sound);
        for depth in [65, 100_000] {
            assert_eq!(oddity(&scan(Encoding::ExplicitLe, &nested(depth))), Some(Oddity::TooDeep));
        }
    }

    #[test]
    fn case_87_a_last_sequence_without_delimiter_is_odd() {
        let scan = explicit(&[header(0x0008_1140, b"SQ", UNDEFINED), item(ITEM, UNDEFINED)]);
        assert_eq!(oddity(&scan), Some(Oddity::MissingDelimiter));
    }

    #[test]
    fn case_88_a_stray_delimiter_is_odd_and_stepped_over() {
        let scan = explicit(&[item(ITEM_END, 0), element(0x0010_0020, b"LO", b"ID")]);
        assert_eq!(oddity(&scan), Some(Oddity::StrayDelimiter));
        assert_eq!(scan.attributes.text(Attribute::PatientId), "ID");
    }

    #[test]
    fn case_89_disorder_and_duplicates_are_noted_only() {
        let scan = explicit(&[
            element(0x0010_0020, b"LO", b"A "),
            element(0x0008_0060, b"CS", b"US"),
            element(0x0010_0020, b"LO", b"B "),
        ]);
        assert_eq!(scan.structure, Structure::Sound);
        assert_eq!(scan.notes, Notes { out_of_order: true, duplicate: true });
        assert_eq!(scan.attributes.text(Attribute::PatientId), "A");
    }

    #[test]
    fn case_90_groups_0000_and_0002_are_odd_anywhere() {
        let meta = || element(0x0002_0010, b"UI", b"1.2.");
        let inside = explicit(&[header(0x0008_1140, b"SQ", 20), item(ITEM, 12), meta()]);
        for scan in [explicit(&[meta()]), explicit(&[element(0x0000_0002, b"UI", b"1.2.")]), inside] {
            assert_eq!(oddity(&scan), Some(Oddity::ForbiddenGroup));
        }
    }

    #[test]
    fn case_91_an_unknown_vr_ends_the_walk_but_not_the_data_set() {
        let scan = explicit(&[
            element(0x0008_0060, b"CS", b"US"),
            element(0x0009_0001, b"ZZ", b"1234"),
            vec![9; 99],
        ]);
        assert_eq!(scan.structure, Structure::Odd { reason: Oddity::UnknownVr, at: 10 });
        assert_eq!(scan.length, 10 + 12 + 99);
    }

    #[test]
    fn case_97_an_empty_patient_id_is_there_and_a_missing_study_is_not() {
        let scan = explicit(&[element(0x0010_0020, b"LO", b"")]);
        assert!(scan.attributes.contains(Attribute::PatientId));
        assert_eq!(scan.attributes.uid(Attribute::StudyInstanceUid), None);
    }

    #[test]
    fn case_98_an_odd_length_is_odd_and_walked_over() {
        let scan = explicit(&[element(0x0010_0020, b"LO", b"ABC"), element(0x0020_000D, b"UI", b"1.2")]);
        assert_eq!(oddity(&scan), Some(Oddity::OddLength));
        assert_eq!(scan.attributes.text(Attribute::StudyInstanceUid), "1.2");
    }

    #[test]
    fn what_stands_at_the_end_decides_whether_padding_may_follow() {
        let id = || element(0x0010_0020, b"LO", b"ID");
        let padded = explicit(&[id(), element(PADDING, b"OB", &[0; 10])]);
        assert_eq!((padded.structure, padded.tail), (Structure::Sound, Tail::Padding));
        let zeros = explicit(&[id(), vec![0; 512]]);
        assert_eq!((zeros.structure, zeros.tail), (Structure::Sound, Tail::Zeros(512)));
        let few = explicit(&[id(), vec![0; 3]]);
        assert_eq!((few.structure, few.tail), (Structure::Sound, Tail::Zeros(3)));
        for scan in [padded, zeros, few, scan(Encoding::DeflatedLe, &id())] {
            assert!(!scan.can_append_padding());
        }
        assert!(explicit(&[id()]).can_append_padding());
    }

    #[test]
    fn an_element_longer_than_its_item_is_odd() {
        let scan = explicit(&[
            header(0x0008_1140, b"SQ", 20),
            item(ITEM, 12),
            element(0x0008_1150, b"UI", &[b'1'; 20]),
        ]);
        assert_eq!(oddity(&scan), Some(Oddity::Overrun));
    }

    #[test]
    fn a_captured_value_is_bounded() {
        let scan = explicit(&[element(0x0010_0020, b"LO", &[b'X'; 60_000])]);
        assert_eq!(scan.attributes.raw(Attribute::PatientId).map(<[u8]>::len), Some(1024));
        assert!(scan.attributes.is_cut(Attribute::PatientId));
    }

    fn soup() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::strategy::{Just, Strategy};
        let piece = proptest::prop_oneof![
            Just(element(0x0010_0020, b"LO", b"IDENTITY")),
            Just(header(0x0008_1140, b"SQ", UNDEFINED)),
            Just(header(0x0008_1140, b"SQ", 40)),
            Just(header(PIXEL_DATA, b"OB", UNDEFINED)),
            Just(item(ITEM, UNDEFINED)),
            Just(item(ITEM, 6)),
            Just(item(ITEM_END, 0)),
            Just(item(SEQUENCE_END, 0)),
            Just(vec![0; 9]),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    fn encodings() -> [Encoding; 6] {
        use Encoding::{DeflatedLe, Encapsulated, ExplicitBe, ExplicitLe, ImplicitLe, Unknown};
        [ImplicitLe, ExplicitLe, ExplicitBe, DeflatedLe, Encapsulated, Unknown]
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn the_result_does_not_depend_on_chunking(bytes in soup(), size in 1_usize..40) {
            for encoding in encodings() {
                let mut scanner = Scanner::new(encoding);
                bytes.chunks(size).for_each(|chunk| scanner.feed(chunk));
                prop_assert_eq!(scanner.finish(), scan(encoding, &bytes));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_need_more_than_a_small_stack() {
        let work = || {
            let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
            let mut runner = proptest::test_runner::TestRunner::new(config);
            runner
                .run(&prop::collection::vec(any::<u8>(), 0..4096), |bytes| {
                    encodings().into_iter().for_each(|encoding| drop(scan(encoding, &bytes)));
                    Ok(())
                })
                .unwrap();
        };
        std::thread::Builder::new().stack_size(512 * 1024).spawn(work).unwrap().join().unwrap();
    }

    /// The folder of real files, where there is one.
    fn real_files() -> Vec<std::path::PathBuf> {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");
        let root = std::env::var("CHRYSALIS_TEST_DATA").unwrap_or_else(|_| beside.to_owned());
        let mut folders = vec![std::path::PathBuf::from(root)];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
            }
        }
        files
    }

    #[test]
    fn real_files_are_walked_to_their_end_in_any_chunking() {
        for path in real_files() {
            let bytes = std::fs::read(&path).unwrap();
            let Ok(head) = crate::dicom::part10::FileHead::read(&mut std::io::Cursor::new(&bytes)) else {
                continue;
            };
            let data_set = &bytes[head.data_set_offset as usize..];
            let encoding = head.transfer_syntax.encoding();
            let whole = scan(encoding, data_set);
            let mut pieces = Scanner::new(encoding);
            data_set.chunks(1021).for_each(|chunk| pieces.feed(chunk));
            assert_eq!(pieces.finish(), whole, "{}", path.display());
            println!("{:?} {:?} {:?} {}", whole.structure, whole.tail, whole.notes, path.display());
        }
    }
}
