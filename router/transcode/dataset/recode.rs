//! One encoding into another, element by element, with the dictionary (PS3.5 Annex A).
//!
//! Values stay what they are, but for the byte order of numbers. Sequences and items are written with undefined length,
//! since theirs is not known before they end; besides, in implicit VR nothing else tells that a private element is a
//! sequence. A sequence of unknown representation becomes a proper one.
//! What names a representation that implicit VR has no way to say, and that its readers would take for another, is refused.
//! Group lengths are left out at every level: they are retired, and each of them would be wrong.

use dicom_core::{Tag, VR};

use super::coding::Coding;
use super::outline::{Element, Outline};
use super::reader::{Head, ReadError, Reader, Token, coding_of};
use super::sink::Sink;
use super::steps::Step;
use super::vr::{self, Context};
use super::write::WriteError;
use crate::transcode::Source;

/// Writes the steps in another encoding.
pub(super) fn recode(
    sink: Sink<'_>,
    outline: &Outline,
    steps: &[Step<'_>],
    to: Coding,
) -> Result<(), WriteError> {
    let from = coding_of(outline.encoding).ok_or(ReadError::Encoding)?;
    let context = context(sink.source(), outline)?;
    let mut recoder = Recoder { sink, from, to, context };
    for step in steps {
        match step {
            Step::Keep(element) => recoder.keep(outline, element)?,
            Step::RemoveWithin(element, tags) => recoder.keep_items(outline, element, tags)?,
            Step::Set { tag, vr, value } => recoder.set(*tag, *vr, value)?,
        }
    }
    Ok(())
}

struct Recoder<'a> {
    sink: Sink<'a>,
    from: Coding,
    to: Coding,
    /// What representations within items depend on outside of them.
    context: Context,
}

impl Recoder<'_> {
    fn keep(&mut self, outline: &Outline, element: &Element) -> Result<(), WriteError> {
        match (element.vr, element.undefined) {
            (VR::SQ, _) | (VR::UN, true) => self.keep_items(outline, element, &[]),
            (_, true) => Err(WriteError::Fragments),
            (vr, false) => {
                self.check_value(element.tag, vr, element.end - element.value)?;
                self.value(element.tag, vr, self.from, element.value, element.end)
            }
        }
    }

    /// Whether a value that is not empty will be taken for what it is.
    fn check_value(&self, tag: Tag, vr: VR, length: u64) -> Result<(), WriteError> {
        if self.to != Coding::ImplicitLe || length == 0 || vr::is_read_alike(tag, vr) {
            return Ok(());
        }
        Err(WriteError::Misread { tag, vr })
    }

    fn check_sequence(&self, tag: Tag) -> Result<(), WriteError> {
        if self.to != Coding::ImplicitLe || vr::is_sequence_read(tag) {
            return Ok(());
        }
        Err(WriteError::Misread { tag, vr: VR::SQ })
    }

    fn value(&mut self, tag: Tag, vr: VR, from: Coding, start: u64, end: u64) -> Result<(), WriteError> {
        let length = u32::try_from(end - start).map_err(|_| WriteError::TooLong(tag))?;
        self.sink.header(self.to, tag, vr, Some(length))?;
        self.sink.copy_value(from, vr, start, end)
    }

    /// A sequence, without these elements of its items.
    fn keep_items(&mut self, outline: &Outline, element: &Element, gone: &[Tag]) -> Result<(), WriteError> {
        let reader = outline.item_reader(self.sink.source(), element)?;
        if self.from != Coding::ImplicitLe {
            self.check_sequence(element.tag)?;
        }
        self.sequence(element.tag, reader, gone)
    }

    fn set(&mut self, tag: Tag, vr: VR, value: &Vec<u8>) -> Result<(), WriteError> {
        let length = u32::try_from(value.len()).map_err(|_| WriteError::TooLong(tag))?;
        if vr != VR::SQ || self.to == Coding::ExplicitLe {
            self.sink.header(self.to, tag, vr, Some(length))?;
            return self.sink.bytes(value);
        }
        let reader = Reader::of_items(value, Coding::ExplicitLe, 0, Some(length), value.len() as u64);
        let (to, from, context) = (self.to, self.from, self.context);
        let mut inner = Recoder { sink: self.sink.from(value), from, to, context };
        inner.sequence(tag, reader, &[])
    }

    /// A sequence whose items are read by `reader`.
    fn sequence(&mut self, tag: Tag, mut reader: Reader<'_>, gone: &[Tag]) -> Result<(), WriteError> {
        self.sink.header(self.to, tag, VR::SQ, None)?;
        let mut contexts = vec![self.context];
        while let Some(token) = reader.next()? {
            let goes = |tag: Tag, depth| tag.1 == 0 || (depth == ITEM_DEPTH && gone.contains(&tag));
            let mut context = contexts.last().copied().unwrap_or_default();
            match token {
                Token::Item { .. } => {
                    self.sink.item(None)?;
                    contexts.push(context.inside());
                }
                Token::ItemEnd { .. } => {
                    contexts.pop();
                    self.sink.item_end()?;
                }
                Token::SequenceEnd => self.sink.sequence_end()?,
                Token::Sequence(head) if goes(head.tag, reader.depth() - 1) => reader.skip_rest()?,
                Token::Sequence(head) => {
                    if head.vr.is_some() {
                        self.check_sequence(head.tag)?;
                    }
                    self.sink.header(self.to, head.tag, VR::SQ, None)?;
                }
                Token::Value(head) if goes(head.tag, reader.depth()) => {}
                Token::Value(head) => {
                    note(&mut context, &mut reader, &head)?;
                    let vr = head.vr.unwrap_or_else(|| context.vr(head.tag));
                    self.check_value(head.tag, vr, reader.position() - head.value)?;
                    self.value(head.tag, vr, head.coding, head.value, reader.position())?;
                    contexts.pop();
                    contexts.push(context);
                }
                Token::Fragments(_) | Token::Fragment => return Err(WriteError::Fragments),
            }
        }
        Ok(())
    }
}

/// How deep an item of the sequence itself is: within the sequence and the item.
const ITEM_DEPTH: usize = 2;

fn note(context: &mut Context, reader: &mut Reader<'_>, head: &Head) -> Result<(), ReadError> {
    if Context::depends_on(head.tag)
        && let Some(number) = reader.first_number(head)?
    {
        context.note(head.tag, number);
    }
    Ok(())
}

/// What is to be known from the top level.
fn context(source: &dyn Source, outline: &Outline) -> Result<Context, WriteError> {
    let mut context = Context::default();
    for element in outline.elements.iter().filter(|element| Context::depends_on(element.tag)) {
        if !element.undefined && element.end - element.value == 2 {
            let value = outline.value(source, element.tag, 2)?.unwrap_or_default();
            if let Some(bytes) = value.first_chunk() {
                context.note(element.tag, u16::from_le_bytes(*bytes));
            }
        }
    }
    Ok(context)
}
