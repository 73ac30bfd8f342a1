//! The standard's keywords (PS3.6): an attribute by its keyword, a SOP class by its own, and the nearest one to what somebody
//! misspelt.

use std::sync::OnceLock;

use dicom_core::dictionary::{
    DataDictionary, DataDictionaryEntry, TagRange, UidDictionary, UidDictionaryEntry,
};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, StandardSopClassDictionary};

use super::uid::Uid;

/// The longest keyword of the standard has 64 characters; a longer text is not compared.
const MAX_KEYWORD: usize = 64;

/// The value representation of an attribute, where one is right for it in every context that matters here.
pub fn vr_of(tag: Tag) -> Option<VR> {
    StandardDataDictionary.by_tag(tag).map(|entry| entry.vr().relaxed())
}

/// The attribute with this keyword, and the keyword. Of those that repeat, overlays for one, it is the first.
pub fn tag_of(keyword: &str) -> Option<(Tag, &'static str)> {
    let entry = StandardDataDictionary.by_name(keyword)?;
    match entry.tag_range() {
        TagRange::Single(tag) | TagRange::Group100(tag) | TagRange::Element100(tag) => {
            Some((tag, entry.alias))
        }
        TagRange::GroupLength | TagRange::PrivateCreator => None,
    }
}

/// A SOP class by the standard's keyword, such as `UltrasoundImageStorage`.
pub fn sop_class(keyword: &str) -> Option<Uid> {
    StandardSopClassDictionary.by_keyword(keyword).map(|entry| Uid::new(entry.uid()))
}

/// The name of a SOP class, as the standard has it.
pub fn sop_class_name(class: &Uid) -> Option<&'static str> {
    StandardSopClassDictionary.by_uid(class.as_str()).map(|entry| entry.name())
}

/// The attribute keyword most like what was written, if one is near enough to be meant.
pub fn nearest(written: &str) -> Option<&'static str> {
    nearest_of(written, all().iter().copied())
}

/// The candidate most like what was written, case aside, if one is near enough to be meant: at most a third of it differs.
pub fn nearest_of<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = written.chars().count();
    if length > MAX_KEYWORD {
        return None;
    }
    let limit = (length / 3).clamp(1, 6);
    let close = candidates.filter(|candidate| candidate.len().abs_diff(length) <= limit);
    let measured = close.map(|candidate| (distance(written, candidate), candidate));
    measured.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// Groups in which the attributes of images and reports are.
const GROUPS: [u16; 14] = [
    0x0008, 0x0010, 0x0012, 0x0014, 0x0018, 0x0020, 0x0022, 0x0028, 0x0032, 0x0038, 0x003A, 0x0040, 0x0054,
    0x0088,
];

/// Every keyword in these groups. The dictionary cannot be listed, so it is asked for each tag, once and only after a mistake.
fn all() -> &'static [&'static str] {
    static ALL: OnceLock<Vec<&'static str>> = OnceLock::new();
    ALL.get_or_init(|| {
        let tags =
            GROUPS.into_iter().flat_map(|group| (1..=u16::MAX).map(move |element| Tag(group, element)));
        let entries = tags.filter_map(|tag| StandardDataDictionary.by_tag(tag));
        entries.map(|entry| entry.alias).filter(|alias| !alias.is_empty()).collect()
    })
}

/// How many characters have to be put in, taken out or exchanged (Levenshtein), case aside.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (to, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(from != *to)).min(*cell + 1).min(left + 1);
            (diagonal, left, *cell) = (*cell, best, best);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest, sop_class, tag_of};
    use crate::dicom::Tag;

    #[test]
    fn the_nearest_keyword_is_the_one_that_was_meant() {
        for (written, meant) in [
            ("StudyDesciption", Some("StudyDescription")),
            ("studydescription", Some("StudyDescription")),
            ("BodyPartExamind", Some("BodyPartExamined")),
            ("PatientNam", Some("PatientName")),
            ("Zzzzzzzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(written), meant, "{written}");
        }
        assert_eq!(nearest(&"x".repeat(10_000)), None);
    }

    #[test]
    fn distances_are_counted_in_changes() {
        for (a, b, changes) in [("", "abc", 3), ("kitten", "sitting", 3), ("Same", "sAME", 0), ("abc", "", 3)]
        {
            assert_eq!(distance(a, b), changes, "{a} {b}");
        }
    }

    #[test]
    fn keywords_are_found() {
        assert_eq!(tag_of("StudyDescription"), Some((Tag(0x0008, 0x1030), "StudyDescription")));
        assert_eq!(tag_of("StudyDesc"), None);
        assert_eq!(tag_of("PrivateCreator"), None);
        let class = sop_class("UltrasoundImageStorage").map(|uid| uid.to_string());
        assert_eq!(class.as_deref(), Some("1.2.840.10008.5.1.4.1.1.6.1"));
    }
}
