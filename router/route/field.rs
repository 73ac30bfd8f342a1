//! What a condition may ask about: how the instance came, and any attribute at the top level of its data set.

use std::fmt;

use dicom_core::VR;

use crate::dicom::{Attribute, Tag, keyword};

/// Something known of an instance that a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The listener it came in by.
    Listener,
    /// The calling AE title of its association.
    CallingAe,
    /// The called AE title of its association.
    CalledAe,
    /// Where its sender was connected from.
    Source,
    /// The site whose link sent it through the tunnel.
    Site,
    /// The SOP class of the C-STORE command.
    SopClass,
    /// An attribute of its data set.
    Attribute {
        /// Which.
        tag: Tag,
        /// As conditions write it: the standard's keyword, or our own name for it.
        name: &'static str,
    },
}

/// A name that no condition can ask about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Not a name of ours, and no keyword of the standard.
    #[error("{name:?} is no attribute{}", did_you_mean(*nearest))]
    Unknown {
        /// As it was written.
        name: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// Group 0000 is the command, group 0002 the head of a file: neither is in what is received.
    #[error("{0} is not part of a data set")]
    NotInDataSet(&'static str),
    /// A sequence or something binary.
    #[error("{0} cannot be compared: it is {1}")]
    NotComparable(&'static str, &'static str),
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(
        || "; write its keyword, such as StudyDescription".to_owned(),
        |name| format!("; did you mean {name}?"),
    )
}

/// Our own names.
const NAMES: [(&str, Field); 9] = [
    ("listener", Field::Listener),
    ("calling_ae", Field::CallingAe),
    ("called_ae", Field::CalledAe),
    ("source", Field::Source),
    ("site", Field::Site),
    ("sop_class", Field::SopClass),
    ("modality", Field::Attribute { tag: Attribute::Modality.tag(), name: "modality" }),
    ("station_name", Field::Attribute { tag: Attribute::StationName.tag(), name: "station_name" }),
    ("institution", Field::Attribute { tag: Attribute::InstitutionName.tag(), name: "institution" }),
];

impl Field {
    /// The field of that name: one of ours, or the keyword of an attribute.
    ///
    /// # Errors
    /// [`FieldError`] when there is no such thing, or when it has no value to compare.
    pub fn named(name: &str) -> Result<Self, FieldError> {
        if let Some((_, field)) = NAMES.iter().find(|(own, _)| *own == name) {
            return Ok(*field);
        }
        let Some((tag, keyword)) = keyword::tag_of(name) else {
            let own = keyword::nearest_of(name, NAMES.iter().map(|(own, _)| *own));
            let nearest = own.or_else(|| keyword::nearest(name));
            let name = name.chars().take(64).collect();
            return Err(FieldError::Unknown { name, nearest });
        };
        if matches!(tag.0, 0x0000 | 0x0002) {
            return Err(FieldError::NotInDataSet(keyword));
        }
        let not = |what| Err(FieldError::NotComparable(keyword, what));
        match keyword::vr_of(tag) {
            _ if tag == PIXEL_DATA => not("the pixels"),
            Some(VR::SQ) => not("a sequence"),
            None | Some(VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN) => not("binary"),
            Some(VR::AT) => not("a tag"),
            Some(_) => Ok(Self::Attribute { tag, name: keyword }),
        }
    }

    /// As conditions write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::CallingAe => "calling_ae",
            Self::CalledAe => "called_ae",
            Self::Source => "source",
            Self::Site => "site",
            Self::SopClass => "sop_class",
            Self::Attribute { name, .. } => name,
        }
    }

    /// The tag, if it is an attribute.
    pub fn tag(self) -> Option<Tag> {
        match self {
            Self::Attribute { tag, .. } => Some(tag),
            Self::Listener
            | Self::CallingAe
            | Self::CalledAe
            | Self::Source
            | Self::Site
            | Self::SopClass => None,
        }
    }

    /// How many characters one value of it can have (PS3.5 Table 6.2-1), where that is limited.
    pub fn longest(self) -> Option<usize> {
        let tag = match self {
            Self::CallingAe | Self::CalledAe => return Some(16),
            Self::SopClass => return Some(64),
            Self::Listener | Self::Source | Self::Site => return None,
            Self::Attribute { tag, .. } => tag,
        };
        match keyword::vr_of(tag)? {
            VR::AE | VR::CS | VR::SH | VR::DS => Some(16),
            VR::AS => Some(4),
            // With the dots of ACR-NEMA, which are still met.
            VR::DA => Some(10),
            VR::IS => Some(12),
            VR::TM => Some(16),
            VR::DT => Some(26),
            VR::LO | VR::UI => Some(64),
            // Three component groups and the signs between them.
            VR::PN => Some(3 * 64 + 2),
            VR::ST => Some(1024),
            _ => None,
        }
    }

    /// Whether it has one value and never several. Of most attributes that is not known here.
    pub fn is_single(self) -> bool {
        self.tag().is_none_or(|tag| tag == Attribute::Modality.tag())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

#[cfg(test)]
mod tests {
    use super::Field;

    #[test]
    fn names_and_keywords_are_fields() {
        for name in ["source", "modality", "StudyDescription", "Rows", "PatientName", "SOPClassUID"] {
            assert_eq!(Field::named(name).map(Field::name), Ok(name));
        }
    }

    #[test]
    fn what_cannot_be_compared_is_said_so() {
        for (name, why) in [
            ("StudyDesciption", "\"StudyDesciption\" is no attribute; did you mean StudyDescription?"),
            ("callingae", "\"callingae\" is no attribute; did you mean calling_ae?"),
            ("qqqqqqqq", "\"qqqqqqqq\" is no attribute; write its keyword, such as StudyDescription"),
            ("TransferSyntaxUID", "TransferSyntaxUID is not part of a data set"),
            ("AffectedSOPClassUID", "AffectedSOPClassUID is not part of a data set"),
            ("PixelData", "PixelData cannot be compared: it is the pixels"),
            ("ReferencedImageSequence", "ReferencedImageSequence cannot be compared: it is a sequence"),
            ("EncapsulatedDocument", "EncapsulatedDocument cannot be compared: it is binary"),
        ] {
            assert_eq!(Field::named(name).map_err(|error| error.to_string()), Err(why.to_owned()));
        }
    }
}
