//! Elements one after the other, pulled from a source: no recursion, values skipped by their length, and memory that
//! depends on nothing but a stack of at most [`MAX_NESTING`] sequences.
//!
//! It takes what the running walk calls sound. Anything else is an error that says where.

use std::io;

use dicom_core::dictionary::VirtualVr;
use dicom_core::{Tag, VR};

use super::coding::{Coding, ITEM, ITEM_END, PIXEL_DATA, SEQUENCE_END, is_long};
use super::vr;
use super::window::Window;
use crate::dicom::Encoding;
use crate::dicom::scan::{MAX_NESTING, Oddity};
use crate::transcode::Source;

/// A data set that cannot be read element by element.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stored bytes cannot be read.
    #[error("the data set cannot be read: {0}")]
    Source(#[from] io::Error),
    /// The data set is not as PS3.5 has it.
    #[error("{reason} at offset {at} of the data set")]
    Odd {
        /// What is wrong.
        reason: Oddity,
        /// Where it is, in bytes.
        at: u64,
    },
    /// The bytes end inside an element.
    #[error("the data set ends inside the element at offset {at}")]
    Truncated {
        /// Where that element begins, in bytes.
        at: u64,
    },
    /// Deflated, or of an unknown encoding: there are no elements to be read.
    #[error("a data set in this encoding has no elements that can be read")]
    Encoding,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// An element with a value.
    Value(Head),
    /// A sequence begins.
    Sequence(Head),
    /// An item begins. Its header has eight bytes.
    Item { length: Option<u32>, value: u64 },
    /// Pixel Data in fragments begins.
    Fragments(Head),
    /// A fragment, or the offset table.
    Fragment,
    /// An item ended; `content` is where its elements end, before any delimiter.
    ItemEnd { length: Option<u32>, content: u64 },
    /// A sequence or run of fragments ended.
    SequenceEnd,
}

/// The header of an element, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) tag: Tag,
    /// As written; none in implicit VR.
    pub(super) vr: Option<VR>,
    /// How the header is encoded.
    pub(super) coding: Coding,
    /// Where the header begins.
    pub(super) start: u64,
    /// Where the value begins.
    pub(super) value: u64,
    /// Length of the value, if it is given.
    pub(super) length: Option<u32>,
}

/// The pull reader.
pub(super) struct Reader<'a> {
    window: Window<'a>,
    levels: Vec<Level>,
    position: u64,
    /// The end of everything that is read.
    end: u64,
    coding: Coding,
    is_encapsulated: bool,
}

/// An open sequence, item or run of fragments.
#[derive(Debug, Clone, Copy)]
struct Level {
    kind: Kind,
    length: Option<u32>,
    /// Where it ends, or if its length is not given, whatever encloses it.
    limit: u64,
    coding: Coding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequence,
    Item,
    Fragments,
}

impl<'a> Reader<'a> {
    /// Reads a whole data set.
    ///
    /// # Errors
    /// [`ReadError::Encoding`].
    pub(super) fn new(source: &'a dyn Source, encoding: Encoding) -> Result<Self, ReadError> {
        let coding = coding_of(encoding).ok_or(ReadError::Encoding)?;
        Ok(Self {
            window: Window::new(source),
            levels: Vec::new(),
            position: 0,
            end: source.len(),
            coding,
            is_encapsulated: encoding == Encoding::Encapsulated,
        })
    }

    /// Reads the items of one sequence, whose value begins at `value`: what comes first is an item or the sequence's end.
    pub(super) fn of_items(
        source: &'a dyn Source,
        coding: Coding,
        value: u64,
        length: Option<u32>,
        limit: u64,
    ) -> Self {
        let level = Level { kind: Kind::Sequence, length, limit, coding };
        Self {
            window: Window::new(source),
            levels: vec![level],
            position: value,
            end: limit,
            coding,
            is_encapsulated: false,
        }
    }

    /// The same where Pixel Data may be in fragments.
    pub(super) fn encapsulated(self) -> Self {
        Self { is_encapsulated: true, ..self }
    }

    /// Where the next header, or the end, is.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// How many sequences, items and runs of fragments are open.
    pub(super) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The value of an element as one number of 16 bits, if it is long enough.
    ///
    /// # Errors
    /// What the source says.
    pub(super) fn first_number(&mut self, head: &Head) -> Result<Option<u16>, ReadError> {
        if head.length.is_none_or(|length| length < 2) {
            return Ok(None);
        }
        let [a, b] = self.window.bytes(head.value)?;
        let is_big = head.coding == Coding::ExplicitBe;
        Ok(Some(if is_big { u16::from_be_bytes([a, b]) } else { u16::from_le_bytes([a, b]) }))
    }

    /// The next token, or none at the end.
    ///
    /// # Errors
    /// [`ReadError`]; the reader is of no use after one.
    pub(super) fn next(&mut self) -> Result<Option<Token>, ReadError> {
        match self.levels.last().copied() {
            Some(level) if level.length.is_some() && self.position >= level.limit => {
                self.levels.pop();
                return Ok(Some(level.ended(self.position)));
            }
            Some(_) => {}
            None if self.position >= self.end || self.only_zeros_follow()? => return Ok(None),
            None => {}
        }
        self.read_header().map(Some)
    }

    /// Leaves out what is left of the sequence or run of fragments that has just begun, its end included. A sequence of
    /// given length is not looked into.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub(super) fn skip_rest(&mut self) -> Result<(), ReadError> {
        let Some(level) = self.levels.last().copied() else { return Ok(()) };
        if level.length.is_some() {
            self.position = level.limit;
            self.levels.pop();
            return Ok(());
        }
        let outside = self.levels.len() - 1;
        while self.levels.len() > outside {
            self.next()?;
        }
        Ok(())
    }

    fn read_header(&mut self) -> Result<Token, ReadError> {
        let at = self.position;
        let level = self.levels.last().copied();
        let coding = level.map_or(self.coding, |level| level.coding);
        if self.limit() - at < 8 {
            return Err(self.missing(at));
        }
        let bytes = self.window.bytes::<8>(at)?;
        let tag = coding.tag(bytes);
        self.position = at + 8;
        match (tag, level) {
            (ITEM, Some(level)) => self.item(level, coding.length(bytes), at),
            (ITEM_END | SEQUENCE_END, Some(level)) if coding.length(bytes) == Some(0) => {
                self.delimiter(tag, level, at)
            }
            (ITEM, None) => Err(odd(Oddity::NotAnItem, at)),
            (ITEM_END | SEQUENCE_END, _) => Err(odd(Oddity::StrayDelimiter, at)),
            (_, Some(Level { kind: Kind::Sequence | Kind::Fragments, .. })) => {
                Err(odd(Oddity::NotAnItem, at))
            }
            _ => self.element(tag, coding, bytes),
        }
    }

    fn item(&mut self, level: Level, length: Option<u32>, at: u64) -> Result<Token, ReadError> {
        match level.kind {
            Kind::Fragments => {
                let length = length.ok_or(odd(Oddity::UndefinedLength, at))?;
                self.skip_value(length, at)?;
                Ok(Token::Fragment)
            }
            Kind::Sequence => {
                let limit = self.end_of(length, at)?;
                self.levels.push(Level { kind: Kind::Item, length, limit, coding: level.coding });
                Ok(Token::Item { length, value: self.position })
            }
            Kind::Item => Err(odd(Oddity::NotAnItem, at)),
        }
    }

    fn delimiter(&mut self, tag: Tag, level: Level, at: u64) -> Result<Token, ReadError> {
        let belongs = match level.kind {
            Kind::Item => tag == ITEM_END,
            Kind::Sequence | Kind::Fragments => tag == SEQUENCE_END,
        };
        match (belongs, level.length) {
            (true, None) => {
                self.levels.pop();
                Ok(level.ended(at))
            }
            (false, None) if level.kind == Kind::Item => Err(odd(Oddity::MissingDelimiter, at)),
            _ => Err(odd(Oddity::StrayDelimiter, at)),
        }
    }

    fn element(&mut self, tag: Tag, coding: Coding, bytes: [u8; 8]) -> Result<Token, ReadError> {
        let start = self.position - 8;
        if matches!(tag.0, 0x0000 | 0x0002) {
            return Err(odd(Oddity::ForbiddenGroup, start));
        }
        let (vr, length) = self.vr_and_length(tag, coding, bytes)?;
        let head = Head { tag, vr, coding, start, value: self.position, length };
        match self.content(&head)? {
            Content::Value(length) => {
                self.skip_value(length, start)?;
                Ok(Token::Value(head))
            }
            Content::Items(coding) => {
                let open = self.levels.iter().filter(|level| level.kind == Kind::Sequence).count();
                if open >= MAX_NESTING {
                    return Err(odd(Oddity::TooDeep, start));
                }
                let limit = self.end_of(length, start)?;
                self.levels.push(Level { kind: Kind::Sequence, length, limit, coding });
                Ok(Token::Sequence(head))
            }
            Content::Fragments => {
                let limit = self.limit();
                self.levels.push(Level { kind: Kind::Fragments, length: None, limit, coding });
                Ok(Token::Fragments(head))
            }
        }
    }

    /// What the rest of the header says; the position is behind it then.
    fn vr_and_length(
        &mut self,
        tag: Tag,
        coding: Coding,
        bytes: [u8; 8],
    ) -> Result<(Option<VR>, Option<u32>), ReadError> {
        if !coding.names_vr(tag) {
            return Ok((None, coding.length(bytes)));
        }
        let at = self.position - 8;
        let [_, _, _, _, a, b, _, _] = bytes;
        let vr = VR::from_binary([a, b]).ok_or(odd(Oddity::UnknownVr, at))?;
        if !is_long(vr) {
            return Ok((Some(vr), Some(coding.short_length(bytes))));
        }
        if self.limit() - self.position < 4 {
            return Err(self.missing(at));
        }
        let length = coding.long_length(self.window.bytes(self.position)?);
        self.position += 4;
        Ok((Some(vr), length))
    }

    fn content(&self, head: &Head) -> Result<Content, ReadError> {
        let wrong = |reason| Err(odd(reason, head.start));
        match (head.vr, head.length) {
            (Some(VR::SQ), _) => Ok(Content::Items(head.coding)),
            (_, Some(length)) if head.vr.is_some() => Ok(Content::Value(length)),
            // PS3.5 6.2.2 Note 2: whatever is around it, what is inside is Implicit VR Little Endian.
            (Some(VR::UN), None) if head.tag != PIXEL_DATA => Ok(Content::Items(Coding::ImplicitLe)),
            (None, length) => match (vr::standard(head.tag), length) {
                (Some(VirtualVr::Exact(VR::SQ)), None | Some(0 | 8..)) => Ok(Content::Items(head.coding)),
                (_, Some(length)) => Ok(Content::Value(length)),
                // Only a sequence can be of undefined length here, whether or not anybody knows it.
                (None, None) => Ok(Content::Items(head.coding)),
                (Some(_), None) if head.tag.0 % 2 == 1 => Ok(Content::Items(head.coding)),
                (Some(_), None) if head.tag == PIXEL_DATA => wrong(Oddity::UnexpectedFragments),
                (Some(_), None) => wrong(Oddity::UndefinedLength),
            },
            // Of an item too: an icon may be compressed as the image is (PS3.5 A.4).
            (Some(VR::OB | VR::OW), None) if head.tag == PIXEL_DATA => {
                if self.is_encapsulated {
                    Ok(Content::Fragments)
                } else {
                    wrong(Oddity::UnexpectedFragments)
                }
            }
            (Some(_), _) => wrong(Oddity::UndefinedLength),
        }
    }

    fn skip_value(&mut self, length: u32, at: u64) -> Result<(), ReadError> {
        if length % 2 == 1 {
            return Err(odd(Oddity::OddLength, at));
        }
        self.position = self.end_of(Some(length), at)?;
        Ok(())
    }

    /// The end of something of this length that begins at the position.
    fn end_of(&self, length: Option<u32>, at: u64) -> Result<u64, ReadError> {
        let limit = self.limit();
        match length {
            None => Ok(limit),
            Some(length) if u64::from(length) <= limit.saturating_sub(self.position) => {
                Ok(self.position + u64::from(length))
            }
            Some(_) if limit < self.end => Err(odd(Oddity::Overrun, at)),
            Some(_) => Err(ReadError::Truncated { at }),
        }
    }

    /// The end of what encloses the position.
    fn limit(&self) -> u64 {
        self.levels.last().map_or(self.end, |level| level.limit)
    }

    /// What it means that there is no room for a header.
    fn missing(&self, at: u64) -> ReadError {
        match self.levels.last() {
            Some(level) if level.length.is_none() => odd(Oddity::MissingDelimiter, at),
            Some(level) if level.limit < self.end => odd(Oddity::Overrun, at),
            _ => ReadError::Truncated { at },
        }
    }

    /// Whether there is nothing any more but zeros that belong to no element: some writers pad a file so.
    fn only_zeros_follow(&mut self) -> Result<bool, ReadError> {
        let mut at = self.position;
        if self.end - at >= 8 && self.window.bytes(at)? != [0; 8] {
            return Ok(false);
        }
        while self.end - at >= 64 && self.window.bytes(at)? == [0; 64] {
            at += 64;
        }
        while at < self.end && self.window.bytes(at)? == [0] {
            at += 1;
        }
        Ok(at == self.end)
    }
}

/// What an element holds.
enum Content {
    Value(u32),
    Items(Coding),
    Fragments,
}

impl Level {
    fn ended(self, content: u64) -> Token {
        match self.kind {
            Kind::Item => Token::ItemEnd { length: self.length, content },
            Kind::Sequence | Kind::Fragments => Token::SequenceEnd,
        }
    }
}

/// How the elements of a data set are encoded, if there are any.
pub(super) fn coding_of(encoding: Encoding) -> Option<Coding> {
    match encoding {
        Encoding::ImplicitLe => Some(Coding::ImplicitLe),
        Encoding::ExplicitLe | Encoding::Encapsulated => Some(Coding::ExplicitLe),
        Encoding::ExplicitBe => Some(Coding::ExplicitBe),
        Encoding::DeflatedLe | Encoding::Unknown => None,
    }
}

fn odd(reason: Oddity, at: u64) -> ReadError {
    ReadError::Odd { reason, at }
}
