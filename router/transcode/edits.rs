//! What is changed in a data set, at its top level.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The element goes, if it is there.
    Remove,
    /// The element is there with this value, in the place of any other.
    Set {
        /// Its value representation.
        vr: VR,
        /// Its value in little endian, of even length; of a sequence, its items in Explicit VR Little Endian.
        value: Vec<u8>,
    },
    /// In each item of this sequence these elements go.
    RemoveWithin(Vec<Tag>),
}

/// Changes by tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits(BTreeMap<Tag, Change>);

impl Edits {
    /// Takes an element away.
    pub fn remove(&mut self, tag: Tag) {
        self.0.insert(tag, Change::Remove);
    }

    /// Sets an element. A value of odd length is padded as its value representation wants (PS3.5 6.2).
    pub fn set(&mut self, tag: Tag, vr: VR, mut value: Vec<u8>) {
        if value.len() % 2 == 1 {
            let is_bytes = matches!(vr, VR::UI | VR::OB | VR::UN);
            value.push(if is_bytes { 0 } else { b' ' });
        }
        self.0.insert(tag, Change::Set { vr, value });
    }

    /// Takes elements away from each item of a sequence.
    pub fn remove_within(&mut self, sequence: Tag, tags: Vec<Tag>) {
        self.0.insert(sequence, Change::RemoveWithin(tags));
    }

    /// What is changed about a tag.
    pub fn get(&self, tag: Tag) -> Option<&Change> {
        self.0.get(&tag)
    }

    /// All changes, in the order of tags.
    pub fn iter(&self) -> impl Iterator<Item = (Tag, &Change)> {
        self.0.iter().map(|(tag, change)| (*tag, change))
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
