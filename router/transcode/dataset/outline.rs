//! The top-level elements of a data set and where they are: what everything else is looked up in.

use dicom_core::{Tag, VR};

use super::coding::{Coding, PIXEL_DATA};
use super::reader::{Head, ReadError, Reader, Token, coding_of};
use super::vr::{self, Context};
use crate::dicom::Encoding;
use crate::transcode::Source;

/// The most elements of an outline; an outline of so many takes about 3 MiB.
pub(super) const MAX_ELEMENTS: usize = 65_536;

/// The most items that are looked at in one sequence.
pub(super) const MAX_ITEMS: usize = 4_096;

/// The elements of a data set, or of one item, in the order in which they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// How the elements are encoded. An item of a sequence of unknown representation (UN) is in implicit VR, whatever is
    /// around it.
    pub encoding: Encoding,
    /// The elements. Tags ascend in a proper data set, but nothing relies on it.
    pub elements: Vec<Element>,
    /// Where the first element begins: 0, or where the item's content begins.
    pub start: u64,
    /// Length in bytes of the data set, or of the item's content. There can be zeros behind the last element of a data set.
    pub length: u64,
}

/// One element. All offsets are bytes from the beginning of the data set, of an item's elements too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Its tag.
    pub tag: Tag,
    /// Its value representation: as written, or in implicit VR by the dictionary and its context.
    pub vr: VR,
    /// Where its header begins.
    pub start: u64,
    /// Where its value begins.
    pub value: u64,
    /// Where it ends, a delimiter included: the next element begins here.
    pub end: u64,
    /// Whether its length is undefined: a sequence, or Pixel Data in fragments.
    pub undefined: bool,
}

/// An outline cannot be drawn, or something cannot be looked up in it.
#[derive(Debug, thiserror::Error)]
pub enum OutlineError {
    /// The data set cannot be read, or is not sound.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There are too many elements.
    #[error("the data set has more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    /// There are too many items.
    #[error("the sequence {0} has more than {MAX_ITEMS} items")]
    TooManyItems(Tag),
    /// The value is longer than whoever asks for it takes.
    #[error("the value of {tag} is {length} bytes long, more than {max}")]
    TooLong {
        /// Whose value it is.
        tag: Tag,
        /// Its length in bytes.
        length: u64,
        /// What was asked for at most.
        max: usize,
    },
    /// Items or fragments where a value was asked for, or a value where items were.
    #[error("{0} does not hold what is looked for")]
    WrongKind(Tag),
}

impl Outline {
    /// Draws the outline of a data set that the running walk found sound. Sequences of given length are not looked into.
    ///
    /// # Errors
    /// [`OutlineError::Read`] or [`OutlineError::TooManyElements`].
    pub fn read(source: &dyn Source, encoding: Encoding) -> Result<Self, OutlineError> {
        let mut reader = Reader::new(source, encoding)?;
        let mut collector = Collector::default();
        while let Some(token) = reader.next()? {
            collector.take(&mut reader, token)?;
        }
        let elements = collector.elements();
        Ok(Self { encoding, elements, start: 0, length: source.len() })
    }

    /// The first element with this tag.
    pub fn get(&self, tag: Tag) -> Option<&Element> {
        self.elements.iter().find(|element| element.tag == tag)
    }

    /// The value of the first element with this tag as it is stored, padding included, except that the numbers of a big
    /// endian data set are turned into little endian. None if there is no such element.
    ///
    /// # Errors
    /// [`OutlineError::TooLong`] if it is longer than `max` bytes, [`OutlineError::WrongKind`] if it is a sequence or in
    /// fragments, [`OutlineError::Read`] if it cannot be read.
    pub fn value(&self, source: &dyn Source, tag: Tag, max: usize) -> Result<Option<Vec<u8>>, OutlineError> {
        let Some(element) = self.get(tag) else { return Ok(None) };
        if element.undefined || element.vr == VR::SQ {
            return Err(OutlineError::WrongKind(tag));
        }
        let length = element.end - element.value;
        let size = usize::try_from(length).ok().filter(|&size| size <= max);
        let mut value = vec![0; size.ok_or(OutlineError::TooLong { tag, length, max })?];
        source.read_exact_at(&mut value, element.value).map_err(ReadError::Source)?;
        if self.encoding == Encoding::ExplicitBe {
            vr::swap(element.vr, &mut value);
        }
        Ok(Some(value))
    }

    /// Pixel Data (7FE0,0010), native or in fragments. Elements can stand behind it.
    pub fn pixel_data(&self) -> Option<&Element> {
        self.get(PIXEL_DATA)
    }

    /// The items of the first sequence with this tag; none if it is not there or empty. They can be looked up in with the
    /// same source.
    ///
    /// # Errors
    /// [`OutlineError::WrongKind`] if it is no sequence, [`OutlineError::TooManyItems`], [`OutlineError::TooManyElements`]
    /// if its items have so many together, [`OutlineError::Read`] if it is not sound.
    pub fn items(&self, source: &dyn Source, tag: Tag) -> Result<Vec<Self>, OutlineError> {
        let Some(element) = self.get(tag) else { return Ok(Vec::new()) };
        Ok(self.framed_items(source, element)?.into_iter().map(|item| item.outline).collect())
    }

    /// Whether anything in a sequence has Pixel Data in fragments, at whatever depth, as an icon may (PS3.5 A.4).
    ///
    /// # Errors
    /// [`OutlineError::Read`] if the sequence is not sound.
    pub fn has_fragments_within(&self, source: &dyn Source, element: &Element) -> Result<bool, OutlineError> {
        if self.encoding != Encoding::Encapsulated || element.vr != VR::SQ {
            return Ok(false);
        }
        let mut reader = self.item_reader(source, element)?;
        while let Some(token) = reader.next()? {
            if matches!(token, Token::Fragments(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The items of a sequence, and how each of them is delimited.
    pub(super) fn framed_items(
        &self,
        source: &dyn Source,
        element: &Element,
    ) -> Result<Vec<FramedItem>, OutlineError> {
        let mut reader = self.item_reader(source, element)?;
        let coding = self.coding_inside(element)?;
        let encoding = match (self.encoding, coding) {
            (Encoding::Encapsulated, Coding::ExplicitLe) => Encoding::Encapsulated,
            _ => encoding_of(coding),
        };
        let mut items: Vec<FramedItem> = Vec::new();
        let mut collector = Collector::default();
        let mut left = MAX_ELEMENTS;
        let mut start = 0;
        while let Some(token) = reader.next()? {
            match token {
                Token::Item { value, .. } if items.len() < MAX_ITEMS => {
                    start = value;
                    collector = Collector { room: left, ..Collector::default() };
                }
                Token::Item { .. } => return Err(OutlineError::TooManyItems(element.tag)),
                Token::ItemEnd { length, content } => {
                    let elements = std::mem::take(&mut collector).elements();
                    left -= elements.len();
                    let outline = Self { encoding, elements, start, length: content - start };
                    items.push(FramedItem { outline, undefined: length.is_none() });
                }
                Token::SequenceEnd => break,
                Token::Value(_) | Token::Sequence(_) | Token::Fragments(_) | Token::Fragment => {
                    collector.take(&mut reader, token)?;
                }
            }
        }
        Ok(items)
    }

    /// A reader of a sequence's items.
    ///
    /// # Errors
    /// [`OutlineError::WrongKind`] if it is no sequence.
    pub(super) fn item_reader<'a>(
        &self,
        source: &'a dyn Source,
        element: &Element,
    ) -> Result<Reader<'a>, OutlineError> {
        let coding = self.coding_inside(element)?;
        let length = u32::try_from(element.end - element.value).ok().filter(|_| !element.undefined);
        let reader = Reader::of_items(source, coding, element.value, length, element.end);
        Ok(if self.encoding == Encoding::Encapsulated { reader.encapsulated() } else { reader })
    }

    /// How the items of a sequence are encoded.
    fn coding_inside(&self, element: &Element) -> Result<Coding, OutlineError> {
        match (element.vr, coding_of(self.encoding)) {
            (VR::SQ, Some(coding)) => Ok(coding),
            // PS3.5 6.2.2: what somebody did not know the representation of came from implicit VR.
            (VR::UN, _) if element.undefined || vr::is_sequence(element.tag) => Ok(Coding::ImplicitLe),
            _ => Err(OutlineError::WrongKind(element.tag)),
        }
    }
}

/// An item as it stands in its sequence.
#[derive(Debug)]
pub(super) struct FramedItem {
    pub(super) outline: Outline,
    /// Whether a delimiter ends it.
    pub(super) undefined: bool,
}

/// Elements as a reader gives them, and what their representations depend on.
struct Collector {
    found: Vec<(Element, Option<VR>)>,
    context: Context,
    room: usize,
}

impl Default for Collector {
    fn default() -> Self {
        Self { found: Vec::new(), context: Context::default(), room: MAX_ELEMENTS }
    }
}

impl Collector {
    /// Takes one element; what it holds is left out.
    fn take(&mut self, reader: &mut Reader<'_>, token: Token) -> Result<(), OutlineError> {
        let (head, known) = match token {
            Token::Value(head) => {
                if Context::depends_on(head.tag)
                    && let Some(number) = reader.first_number(&head)?
                {
                    self.context.note(head.tag, number);
                }
                (head, head.vr)
            }
            Token::Sequence(head) => {
                reader.skip_rest()?;
                (head, head.vr.or(Some(VR::SQ)))
            }
            Token::Fragments(head) => {
                reader.skip_rest()?;
                (head, head.vr)
            }
            Token::Item { .. } | Token::ItemEnd { .. } | Token::Fragment | Token::SequenceEnd => {
                return Ok(());
            }
        };
        if self.found.len() >= self.room {
            return Err(OutlineError::TooManyElements);
        }
        self.found.push((element(&head, reader.position()), known));
        Ok(())
    }

    /// All of them, with their representations.
    fn elements(self) -> Vec<Element> {
        let context = self.context;
        let resolve = |(element, known): (Element, Option<VR>)| Element {
            vr: known.unwrap_or_else(|| context.vr(element.tag)),
            ..element
        };
        self.found.into_iter().map(resolve).collect()
    }
}

fn element(head: &Head, end: u64) -> Element {
    Element {
        tag: head.tag,
        vr: VR::UN,
        start: head.start,
        value: head.value,
        end,
        undefined: head.length.is_none(),
    }
}

fn encoding_of(coding: Coding) -> Encoding {
    match coding {
        Coding::ImplicitLe => Encoding::ImplicitLe,
        Coding::ExplicitLe => Encoding::ExplicitLe,
        Coding::ExplicitBe => Encoding::ExplicitBe,
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_ELEMENTS, MAX_ITEMS, Outline, OutlineError};
    use crate::dicom::scan::{Oddity, Structure};
    use crate::dicom::{Encoding, Tag};
    use crate::transcode::dataset::ReadError;
    use crate::transcode::dataset::sample::{Lengths, Node, encode, real_files, sequence, value};
    use dicom_core::VR;

    const REGIONS: Tag = Tag(0x0018, 0x6011);
    const REGION_TYPE: Tag = Tag(0x0018, 0x6014);
    const PRIVATE: Tag = Tag(0x0029, 0x1010);

    fn nodes() -> Vec<Node> {
        vec![
            value(Tag(0x0008, 0x0060), VR::CS, b"US"),
            sequence(REGIONS, vec![vec![value(REGION_TYPE, VR::US, &[2, 0])], vec![]]),
            value(Tag(0x0018, 0x602C), VR::FD, &0.25_f64.to_le_bytes()),
            value(Tag(0x0028, 0x0010), VR::US, &480_u16.to_le_bytes()),
            value(Tag(0x0028, 0x0103), VR::US, &[1, 0]),
            value(Tag(0x0028, 0x0106), VR::SS, &(-3_i16).to_le_bytes()),
            sequence(PRIVATE, vec![vec![value(Tag(0x0008, 0x0060), VR::CS, b"US")]]),
            value(Tag(0x7FE0, 0x0010), VR::OW, &[7; 40]),
            value(Tag(0xFFFC, 0xFFFC), VR::OB, &[0; 6]),
        ]
    }

    const ENCODINGS: [Encoding; 3] = [Encoding::ImplicitLe, Encoding::ExplicitLe, Encoding::ExplicitBe];

    #[test]
    fn every_top_level_element_is_found_where_it_is_in_every_encoding() {
        for encoding in ENCODINGS {
            for lengths in [Lengths::Undefined, Lengths::Given] {
                let bytes = encode(&nodes(), encoding, lengths);
                let outline = Outline::read(&bytes, encoding).unwrap();
                assert_eq!(outline.length, bytes.len() as u64);
                let ends = outline.elements.iter().map(|element| element.end);
                let starts = outline.elements.iter().map(|element| element.start);
                assert!(starts.clone().skip(1).eq(ends.take(outline.elements.len() - 1)));
                for (node, element) in nodes().iter().zip(&outline.elements) {
                    let Node::Value { tag, vr, value } = node else { continue };
                    assert_eq!((element.tag, element.vr, element.undefined), (*tag, *vr, false));
                    assert_eq!(outline.value(&bytes, *tag, 100).unwrap().as_ref(), Some(value));
                }
                assert_eq!(outline.pixel_data().map(|pixels| pixels.end - pixels.value), Some(40));
            }
        }
    }

    #[test]
    fn items_are_looked_up_in_like_data_sets() {
        for encoding in ENCODINGS {
            for lengths in [Lengths::Undefined, Lengths::Given] {
                let bytes = encode(&nodes(), encoding, lengths);
                let outline = Outline::read(&bytes, encoding).unwrap();
                let items = outline.items(&bytes, REGIONS).unwrap();
                assert_eq!(items.len(), 2);
                assert_eq!(items[0].value(&bytes, REGION_TYPE, 2).unwrap(), Some(vec![2, 0]));
                assert_eq!((items[1].elements.len(), items[1].length), (0, 0));
                assert!(outline.items(&bytes, Tag(0x0040, 0x0275)).unwrap().is_empty());
                let error = outline.items(&bytes, Tag(0x0028, 0x0010)).unwrap_err();
                assert!(matches!(error, OutlineError::WrongKind(_)), "{error}");
            }
        }
    }

    #[test]
    fn an_unknown_sequence_is_in_implicit_vr_little_endian_whatever_is_around_it() {
        let inside = encode(&[value(REGION_TYPE, VR::US, &[3, 0])], Encoding::ImplicitLe, Lengths::Given);
        for encoding in [Encoding::ExplicitLe, Encoding::ExplicitBe] {
            let nodes = [Node::Unknown { tag: REGIONS, items: vec![inside.clone()] }];
            let bytes = encode(&nodes, encoding, Lengths::Undefined);
            let outline = Outline::read(&bytes, encoding).unwrap();
            let items = outline.items(&bytes, REGIONS).unwrap();
            assert_eq!(items[0].encoding, Encoding::ImplicitLe);
            assert_eq!(items[0].value(&bytes, REGION_TYPE, 2).unwrap(), Some(vec![3, 0]));
        }
    }

    #[test]
    fn a_value_longer_than_asked_for_is_refused() {
        let bytes = encode(&nodes(), Encoding::ExplicitLe, Lengths::Given);
        let outline = Outline::read(&bytes, Encoding::ExplicitLe).unwrap();
        let error = outline.value(&bytes, Tag(0x7FE0, 0x0010), 39).unwrap_err();
        assert!(matches!(error, OutlineError::TooLong { length: 40, max: 39, .. }), "{error}");
        let error = outline.value(&bytes, REGIONS, 1000).unwrap_err();
        assert!(matches!(error, OutlineError::WrongKind(_)), "{error}");
        assert!(outline.value(&bytes, Tag(0x0010, 0x0010), 0).unwrap().is_none());
    }

    #[test]
    fn too_many_items_are_refused() {
        let many = sequence(REGIONS, vec![Vec::new(); MAX_ITEMS + 1]);
        let bytes = encode(&[many], Encoding::ExplicitLe, Lengths::Undefined);
        let outline = Outline::read(&bytes, Encoding::ExplicitLe).unwrap();
        let error = outline.items(&bytes, REGIONS).unwrap_err();
        assert!(matches!(error, OutlineError::TooManyItems(REGIONS)), "{error}");
    }

    #[test]
    fn too_many_elements_are_refused_at_top_level_and_over_all_items_together() {
        let one = value(Tag(0x0018, 0x1000), VR::LO, b"");
        let bytes = encode(&vec![one.clone(); MAX_ELEMENTS], Encoding::ExplicitLe, Lengths::Given);
        assert_eq!(Outline::read(&bytes, Encoding::ExplicitLe).unwrap().elements.len(), MAX_ELEMENTS);
        let bytes = encode(&vec![one.clone(); MAX_ELEMENTS + 1], Encoding::ExplicitLe, Lengths::Given);
        let error = Outline::read(&bytes, Encoding::ExplicitLe).unwrap_err();
        assert!(matches!(error, OutlineError::TooManyElements), "{error}");
        let items = vec![vec![one; MAX_ELEMENTS / 2 + 1]; 2];
        let bytes = encode(&[sequence(REGIONS, items)], Encoding::ExplicitLe, Lengths::Undefined);
        let error = Outline::read(&bytes, Encoding::ExplicitLe).unwrap().items(&bytes, REGIONS).unwrap_err();
        assert!(matches!(error, OutlineError::TooManyElements), "{error}");
    }

    #[test]
    fn a_data_set_cut_anywhere_is_an_error_or_an_outline_of_what_is_whole() {
        for encoding in ENCODINGS {
            let bytes = encode(&nodes(), encoding, Lengths::Undefined);
            let whole = Outline::read(&bytes, encoding).unwrap();
            for cut in 0..bytes.len() {
                let piece = bytes[..cut].to_vec();
                match Outline::read(&piece, encoding) {
                    Ok(outline) => {
                        let end = outline.elements.last().map_or(0, |element| element.end);
                        assert!(whole.elements.starts_with(&outline.elements));
                        assert!(bytes[end as usize..cut].iter().all(|&byte| byte == 0));
                    }
                    Err(OutlineError::Read(
                        ReadError::Truncated { .. } | ReadError::Odd { reason: Oddity::MissingDelimiter, .. },
                    )) => {}
                    Err(error) => panic!("{cut}: {error}"),
                }
            }
        }
    }

    #[test]
    fn sequences_nested_too_deep_are_refused() {
        let mut node = sequence(REGIONS, vec![]);
        for _ in 0..64 {
            node = sequence(REGIONS, vec![vec![node]]);
        }
        let bytes = encode(&[node], Encoding::ExplicitLe, Lengths::Undefined);
        let error = Outline::read(&bytes, Encoding::ExplicitLe).unwrap_err();
        let reason = Oddity::TooDeep;
        assert!(
            matches!(error, OutlineError::Read(ReadError::Odd { reason: r, .. }) if r == reason),
            "{error}"
        );
    }

    #[test]
    fn zeros_behind_the_last_element_are_no_elements_and_anything_behind_them_is_odd() {
        for encoding in ENCODINGS {
            for zeros in [1, 7, 8, 9, 63, 64, 65, 20_000] {
                let mut bytes = encode(&nodes(), encoding, Lengths::Given);
                let length = bytes.len();
                bytes.resize(length + zeros, 0);
                let outline = Outline::read(&bytes, encoding).unwrap();
                assert_eq!(outline.elements.len(), nodes().len());
                assert_eq!(outline.elements.last().map(|element| element.end), Some(length as u64));
                *bytes.last_mut().unwrap() = 1;
                assert!(Outline::read(&bytes, encoding).is_err(), "{zeros}");
            }
        }
    }

    #[test]
    fn a_deflated_data_set_has_no_outline() {
        let error = Outline::read(&vec![0; 20], Encoding::DeflatedLe).unwrap_err();
        assert!(matches!(error, OutlineError::Read(ReadError::Encoding)), "{error}");
    }

    #[test]
    fn every_real_file_that_the_walk_finds_sound_has_an_outline_and_no_other_file_does_harm() {
        for (path, encoding, bytes) in real_files("") {
            let outline = Outline::read(&bytes, encoding);
            let mut walk = crate::dicom::walk::Walk::new(encoding);
            walk.feed(&bytes);
            if walk.finish().structure == Structure::Sound && encoding != Encoding::DeflatedLe {
                let outline = outline.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert_eq!(outline.length, bytes.len() as u64);
                for element in &outline.elements {
                    if element.vr == VR::SQ {
                        outline.items(&bytes, element.tag).unwrap();
                    }
                }
            }
        }
    }
}
