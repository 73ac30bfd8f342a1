//! What is to be written of a data set, in order: a pure function of its outline and the changes.

use std::collections::{BTreeMap, BTreeSet};

use dicom_core::{Tag, VR};

use super::coding::PIXEL_DATA;
use super::outline::{Element, Outline};
use crate::transcode::{Change, Edits};

/// Which elements are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Those before Pixel Data; all, if there is none.
    Head,
    /// Those behind Pixel Data.
    Tail,
    /// All, Pixel Data too.
    Whole,
}

/// Which group lengths (gggg,0000) go. They are retired and mean nothing to anybody (PS3.5 7.2); a wrong one may.
/// Around Pixel Data that somebody else writes, the length of its group and all that is as long as the data set go too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupLengths {
    /// Those of groups in which something is changed.
    OfChanged,
    /// All.
    All,
}

/// One thing to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Keep(&'a Element),
    Set { tag: Tag, vr: VR, value: &'a Vec<u8> },
    RemoveWithin(&'a Element, &'a [Tag]),
}

/// Length to End (retired): a length that is wrong as soon as anything is changed.
const LENGTH_TO_END: Tag = Tag(0x0008, 0x0001);

/// The steps of writing a part. Elements stay in their order; a new one is put before the first whose tag is greater. Of an
/// element that stands there twice and is set, only one is left.
pub(super) fn steps<'a>(
    outline: &'a Outline,
    edits: &'a Edits,
    part: Part,
    group_lengths: GroupLengths,
) -> Vec<Step<'a>> {
    let firsts = first_positions(outline, edits);
    let mut changed = changed_groups(edits, &firsts);
    if part != Part::Whole && outline.pixel_data().is_some() {
        changed.insert(PIXEL_DATA.0);
    }
    if !changed.is_empty() && outline.get(LENGTH_TO_END).is_some() {
        changed.insert(LENGTH_TO_END.0);
    }
    let stale = |tag: Tag| match group_lengths {
        GroupLengths::All => tag.1 == 0 || tag == LENGTH_TO_END,
        GroupLengths::OfChanged if tag == LENGTH_TO_END => !changed.is_empty(),
        GroupLengths::OfChanged => tag.1 == 0 && changed.contains(&tag.0),
    };
    let range = positions(outline, part);
    let mut new = new_elements(outline, edits, &firsts, part).into_iter().peekable();
    let mut steps = Vec::with_capacity(range.len());
    for (position, element) in outline.elements.iter().enumerate().skip(range.start).take(range.len()) {
        while let Some((_, step)) = new.next_if(|(tag, _)| *tag < element.tag) {
            steps.push(step);
        }
        match edits.get(element.tag) {
            _ if stale(element.tag) => {}
            None => steps.push(Step::Keep(element)),
            Some(Change::Remove) => {}
            Some(Change::RemoveWithin(tags)) => steps.push(Step::RemoveWithin(element, tags)),
            Some(Change::Set { vr, value }) if firsts.get(&element.tag) == Some(&position) => {
                steps.push(Step::Set { tag: element.tag, vr: *vr, value });
            }
            Some(Change::Set { .. }) => {}
        }
    }
    steps.extend(new.map(|(_, step)| step));
    steps
}

/// Where the part's elements stand in the outline.
fn positions(outline: &Outline, part: Part) -> std::ops::Range<usize> {
    let count = outline.elements.len();
    let pixels = outline.elements.iter().position(|element| element.tag == PIXEL_DATA);
    match part {
        Part::Whole => 0..count,
        Part::Head => 0..pixels.unwrap_or(count),
        Part::Tail => pixels.map_or(count, |pixels| pixels + 1)..count,
    }
}

/// Where the first element stands of each tag that is edited.
fn first_positions(outline: &Outline, edits: &Edits) -> BTreeMap<Tag, usize> {
    let mut firsts = BTreeMap::new();
    for (position, element) in outline.elements.iter().enumerate() {
        if edits.get(element.tag).is_some() {
            firsts.entry(element.tag).or_insert(position);
        }
    }
    firsts
}

fn changed_groups(edits: &Edits, firsts: &BTreeMap<Tag, usize>) -> BTreeSet<u16> {
    let counts = |tag, change: &Change| matches!(change, Change::Set { .. }) || firsts.contains_key(&tag);
    edits.iter().filter(|(tag, change)| counts(*tag, change)).map(|(tag, _)| tag.0).collect()
}

/// What is set and not there yet, as far as it belongs to the part.
fn new_elements<'a>(
    outline: &Outline,
    edits: &'a Edits,
    firsts: &BTreeMap<Tag, usize>,
    part: Part,
) -> Vec<(Tag, Step<'a>)> {
    let has_pixels = outline.pixel_data().is_some();
    let belongs = |tag: Tag| match part {
        Part::Whole => true,
        Part::Head if has_pixels => tag < PIXEL_DATA,
        Part::Head => tag != PIXEL_DATA,
        Part::Tail => has_pixels && tag > PIXEL_DATA,
    };
    let new = |(tag, change): (Tag, &'a Change)| match change {
        Change::Set { vr, value } if !firsts.contains_key(&tag) && belongs(tag) => {
            Some((tag, Step::Set { tag, vr: *vr, value }))
        }
        Change::Set { .. } | Change::Remove | Change::RemoveWithin(_) => None,
    };
    edits.iter().filter_map(new).collect()
}

#[cfg(test)]
mod tests {
    use super::{GroupLengths, Part, Step, steps};
    use crate::dicom::{Encoding, Tag};
    use crate::transcode::dataset::sample::{Lengths, encode, value};
    use crate::transcode::{Edits, Outline};
    use dicom_core::VR;

    /// The tags that are written of elements with these tags; those that are set are marked.
    fn written(tags: &[u32], edits: &Edits, part: Part, group_lengths: GroupLengths) -> Vec<(u32, bool)> {
        let tag = |tag: u32| Tag((tag >> 16) as u16, (tag & 0xFFFF) as u16);
        let nodes: Vec<_> = tags.iter().map(|number| value(tag(*number), VR::UN, b"12")).collect();
        let bytes = encode(&nodes, Encoding::ExplicitLe, Lengths::Given);
        let outline = Outline::read(&bytes, Encoding::ExplicitLe).unwrap();
        let number = |tag: Tag| u32::from(tag.0) << 16 | u32::from(tag.1);
        let written = |step: &Step<'_>| match step {
            Step::Keep(element) | Step::RemoveWithin(element, _) => (number(element.tag), false),
            Step::Set { tag, .. } => (number(*tag), true),
        };
        steps(&outline, edits, part, group_lengths).iter().map(written).collect()
    }

    const PIXELS: u32 = 0x7FE0_0010;

    #[test]
    fn new_elements_are_put_where_they_belong_and_old_ones_replaced_where_they_are() {
        let mut edits = Edits::default();
        edits.set(Tag(0x0028, 0x0004), VR::CS, b"RGB".to_vec());
        edits.set(Tag(0x0028, 0x0006), VR::US, vec![0, 0]);
        edits.set(Tag(0xFFFA, 0xFFFA), VR::UN, vec![]);
        edits.remove(Tag(0x0028, 0x0103));
        let tags = [0x0008_0060, 0x0028_0004, 0x0028_0010, 0x0028_0103, PIXELS, 0xFFFC_FFFC];
        let head = [(0x0008_0060, false), (0x0028_0004, true), (0x0028_0006, true), (0x0028_0010, false)];
        let tail = [(0xFFFA_FFFA, true), (0xFFFC_FFFC, false)];
        let of_changed = GroupLengths::OfChanged;
        assert_eq!(written(&tags, &edits, Part::Head, of_changed), head);
        assert_eq!(written(&tags, &edits, Part::Tail, of_changed), tail);
        let whole = [&head[..], &[(PIXELS, false)], &tail].concat();
        assert_eq!(written(&tags, &edits, Part::Whole, of_changed), whole);
    }

    #[test]
    fn without_pixels_everything_is_in_the_head() {
        let mut edits = Edits::default();
        edits.set(Tag(0xFFFA, 0xFFFA), VR::UN, vec![]);
        let tags = [0x0008_0060, 0xFFFC_FFFC];
        let all = [(0x0008_0060, false), (0xFFFA_FFFA, true), (0xFFFC_FFFC, false)];
        assert_eq!(written(&tags, &edits, Part::Head, GroupLengths::All), all);
        assert_eq!(written(&tags, &edits, Part::Tail, GroupLengths::All), []);
    }

    #[test]
    fn an_element_that_is_there_twice_is_set_once_and_removed_twice() {
        let mut edits = Edits::default();
        edits.set(Tag(0x0028, 0x0004), VR::CS, b"RGB".to_vec());
        edits.remove(Tag(0x0008, 0x0060));
        let tags = [0x0008_0060, 0x0028_0004, 0x0008_0060, PIXELS, 0x0028_0004];
        assert_eq!(
            written(&tags, &edits, Part::Whole, GroupLengths::OfChanged),
            [(0x0028_0004, true), (PIXELS, false)]
        );
        assert_eq!(written(&tags, &edits, Part::Tail, GroupLengths::OfChanged), []);
    }

    #[test]
    fn group_lengths_go_where_something_is_changed() {
        let tags = [0x0008_0000, 0x0008_0001, 0x0008_0060, 0x0028_0000, 0x0028_0004];
        let mut edits = Edits::default();
        edits.remove(Tag(0x0028, 0x9999));
        let kept = written(&tags, &edits, Part::Whole, GroupLengths::OfChanged);
        assert_eq!(kept, tags.map(|tag| (tag, false)));
        edits.remove(Tag(0x0028, 0x0004));
        let kept = written(&tags, &edits, Part::Whole, GroupLengths::OfChanged);
        assert_eq!(kept, [(0x0008_0060, false)]);
        let kept =
            written(&[0x0008_0000, 0x0028_0000, 0x0028_0004], &edits, Part::Whole, GroupLengths::OfChanged);
        assert_eq!(kept, [(0x0008_0000, false)]);
        let kept = written(&tags, &Edits::default(), Part::Whole, GroupLengths::All);
        assert_eq!(kept, [(0x0008_0060, false), (0x0028_0004, false)]);
    }

    #[test]
    fn lengths_that_count_the_pixels_go_where_the_pixels_are_written_by_others() {
        let tags = [0x0008_0000, 0x0008_0001, 0x0008_0060, 0x0028_0000, 0x7FE0_0000, PIXELS, 0xFFFC_FFFC];
        let none = Edits::default();
        let whole = written(&tags, &none, Part::Whole, GroupLengths::OfChanged);
        assert_eq!(whole, tags.map(|tag| (tag, false)));
        let head = written(&tags, &none, Part::Head, GroupLengths::OfChanged);
        assert_eq!(head, [0x0008_0060, 0x0028_0000].map(|tag| (tag, false)));
    }
}
