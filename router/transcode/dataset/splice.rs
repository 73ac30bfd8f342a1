//! Explicit VR Little Endian that stays what it is: whatever is not changed is copied byte for byte, odd private things
//! and what stands behind the last element too.

use std::collections::BTreeSet;

use dicom_core::Tag;

use super::coding::Coding;
use super::outline::{Element, FramedItem, Outline};
use super::sink::Sink;
use super::steps::Step;
use super::write::WriteError;

/// Writes the steps, neighbouring elements in one go.
pub(super) fn splice(sink: &mut Sink<'_>, outline: &Outline, steps: &[Step<'_>]) -> Result<(), WriteError> {
    let mut run = 0..0;
    for step in steps {
        if let Step::Keep(element) = step {
            if element.start != run.end {
                sink.copy(run.start, run.end)?;
                run.start = element.start;
            }
            run.end = element.end;
            continue;
        }
        sink.copy(run.start, run.end)?;
        run = 0..0;
        match step {
            Step::Set { tag, vr, value } => {
                let length = u32::try_from(value.len()).map_err(|_| WriteError::TooLong(*tag))?;
                sink.header(Coding::ExplicitLe, *tag, *vr, Some(length))?;
                sink.bytes(value)?;
            }
            Step::RemoveWithin(element, tags) => remove_within(sink, outline, element, tags)?,
            Step::Keep(_) => {}
        }
    }
    sink.copy(run.start, run.end)
}

/// Writes a sequence without these elements of its items. What says its length says the new one.
fn remove_within(
    sink: &mut Sink<'_>,
    outline: &Outline,
    sequence: &Element,
    tags: &[Tag],
) -> Result<(), WriteError> {
    let items = outline.framed_items(sink.source(), sequence)?;
    let stays: Vec<Vec<&Element>> = items.iter().map(|item| remaining(&item.outline, tags)).collect();
    let left_out = |(item, stays): (&FramedItem, &Vec<&Element>)| item.outline.length - size(stays);
    let gone: u64 = items.iter().zip(&stays).map(left_out).sum();
    // Everything of an explicit header of the long form but its length.
    sink.copy(sequence.start, sequence.value - 4)?;
    let length = u32::try_from(sequence.end - sequence.value - gone).ok().filter(|_| !sequence.undefined);
    sink.bytes(&length.unwrap_or(u32::MAX).to_le_bytes())?;
    for (item, stays) in items.iter().zip(&stays) {
        sink.item(u32::try_from(size(stays)).ok().filter(|_| !item.undefined))?;
        for element in stays {
            sink.copy(element.start, element.end)?;
        }
        if item.undefined {
            sink.item_end()?;
        }
    }
    if sequence.undefined {
        sink.sequence_end()?;
    }
    Ok(())
}

/// The elements of an item that are not to go, nor are lengths of groups in which something goes.
fn remaining<'a>(item: &'a Outline, tags: &[Tag]) -> Vec<&'a Element> {
    let goes = |element: &Element| tags.contains(&element.tag);
    let gone = item.elements.iter().filter(|element| goes(element));
    let groups: BTreeSet<u16> = gone.map(|element| element.tag.0).collect();
    let is_stale = |tag: Tag| tag.1 == 0 && groups.contains(&tag.0);
    let stays = |element: &&Element| !goes(element) && !is_stale(element.tag);
    item.elements.iter().filter(stays).collect()
}

fn size(elements: &[&Element]) -> u64 {
    elements.iter().map(|element| element.end - element.start).sum()
}
