//! What is done with a stored data set for one destination: a pure function.

use chrysalis_codecs::Limits;

use super::choose::Choice;
use super::coding::Coding;
use super::subject::{Content, Subject};
use super::want::{Compression, LossyUid, Quality};
use crate::dicom::TransferSyntax;

/// What is done with `subject` for a destination that wants `wish` and takes `accepts`.
///
/// The first rung of the ladder that is possible and accepted: what is wanted, what is stored, another lossless syntax,
/// Explicit VR Little Endian, Implicit VR Little Endian; else it is held.
pub fn plan(subject: &Subject, wish: &Compression, accepts: &Accepts) -> Plan {
    let stored = &subject.syntax;
    match &subject.content {
        Content::Image(image) => {
            Choice { stored, sop_class: &subject.sop_class, image, wish, accepts }.plan()
        }
        Content::NoPixels => without_pixels(stored, accepts, "it has no pixels"),
        Content::OtherPixels(why) if Coding::of(stored) == Coding::Native => {
            without_pixels(stored, accepts, why)
        }
        Content::OtherPixels(why) | Content::Untouchable(why) => as_stored(stored, accepts, why),
    }
}

/// What is done with an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// It goes as it is stored, byte for byte.
    PassThrough {
        /// Why, for administrators.
        why: String,
    },
    /// It goes as this makes it.
    Transcode(Recipe),
    /// It cannot go.
    Hold {
        /// Why, for administrators.
        why: String,
    },
}

/// What a receiver takes of an instance's SOP class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepts {
    /// Whatever it is given, as a folder does.
    Anything,
    /// These transfer syntaxes.
    These(Vec<TransferSyntax>),
}

impl Accepts {
    /// Whether this transfer syntax is taken.
    pub fn takes(&self, syntax: &TransferSyntax) -> bool {
        match self {
            Self::Anything => true,
            Self::These(syntaxes) => syntaxes.contains(syntax),
        }
    }
}

/// How a copy is made: everything its bytes depend on, beside the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The copy's transfer syntax.
    pub to: TransferSyntax,
    /// What becomes of the pixels.
    pub pixels: Pixels,
    /// Whether colour without colour becomes grey.
    pub grey: Grey,
    /// The SOP Instance UID of what was encoded with loss.
    pub lossy_uid: LossyUid,
    /// Why, for administrators. The copy does not depend on it.
    pub why: String,
}

impl Recipe {
    /// What tells this copy of an instance from others that are made of it.
    pub fn key(&self) -> String {
        let pixels = match self.pixels {
            Pixels::AsTheyAre => "as-they-are".to_owned(),
            Pixels::Native => "native".to_owned(),
            Pixels::JpegLossless => "jpeg-lossless".to_owned(),
            Pixels::JpegLossy(quality) => format!("jpeg-{}", quality.get()),
            Pixels::Rle => "rle".to_owned(),
        };
        let grey = match self.grey {
            Grey::Never => "colour".to_owned(),
            Grey::Within(tolerance) => format!("grey-{tolerance}"),
        };
        let uid = match self.lossy_uid {
            LossyUid::New => "new-uid",
            LossyUid::Keep => "same-uid",
        };
        format!("{} {pixels} {grey} {uid}", self.to.0.as_str())
    }

    /// Whether the original is as good when it turns out not to be grey: nothing but greying was wanted.
    pub fn only_greys(&self, stored: &TransferSyntax) -> bool {
        let encodes_anew = matches!(self.pixels, Pixels::JpegLossy(_));
        self.to == *stored && self.grey != Grey::Never && !encodes_anew
    }
}

/// What becomes of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pixels {
    /// They stay as they are; only elements are encoded anew.
    AsTheyAre,
    /// They are decoded.
    Native,
    /// JPEG Lossless, Process 14, Selection Value 1.
    JpegLossless,
    /// JPEG Baseline.
    JpegLossy(Quality),
    /// RLE Lossless.
    Rle,
}

/// Whether colour images without a colour become MONOCHROME2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grey {
    /// They stay in colour.
    Never,
    /// When in every pixel of every frame red, green and blue are within this of each other.
    Within(u8),
}

/// As stored, or with its elements encoded anew.
fn without_pixels(stored: &TransferSyntax, accepts: &Accepts, why: &str) -> Plan {
    // A syntax that keeps its pixels elsewhere, or is not known, may mean more than its elements say.
    if accepts.takes(stored) || Coding::of(stored) == Coding::Other {
        return as_stored(stored, accepts, why);
    }
    let to = [TransferSyntax::EXPLICIT_VR_LE, TransferSyntax::IMPLICIT_VR_LE]
        .into_iter()
        .find(|to| accepts.takes(to));
    match to {
        Some(to) => Plan::Transcode(Recipe {
            why: format!("{why}; {}; becomes {}", not_accepted(stored), called(&to)),
            to,
            pixels: Pixels::AsTheyAre,
            grey: Grey::Never,
            lossy_uid: LossyUid::New,
        }),
        None => hold(stored, accepts, &[why.to_owned()]),
    }
}

fn as_stored(stored: &TransferSyntax, accepts: &Accepts, why: &str) -> Plan {
    if accepts.takes(stored) {
        Plan::PassThrough { why: why.to_owned() }
    } else {
        hold(stored, accepts, &[why.to_owned()])
    }
}

/// Held: what is stored, what is accepted, and why none of that can be made.
pub(super) fn hold(stored: &TransferSyntax, accepts: &Accepts, reasons: &[String]) -> Plan {
    let accepted = match accepts {
        Accepts::Anything => "anything".to_owned(),
        Accepts::These(syntaxes) if syntaxes.is_empty() => "no transfer syntax for it".to_owned(),
        Accepts::These(syntaxes) => {
            let names: Vec<&str> = syntaxes.iter().take(NAMED).map(called).collect();
            let more = if syntaxes.len() > NAMED { " and others" } else { "" };
            format!("{}{more}", names.join(", "))
        }
    };
    let reasons: String = reasons.iter().map(|reason| format!("; {reason}")).collect();
    Plan::Hold { why: format!("stored as {}, but the receiver accepts {accepted}{reasons}", called(stored)) }
}

pub(super) fn not_accepted(syntax: &TransferSyntax) -> String {
    format!("the receiver does not accept {}", called(syntax))
}

/// A transfer syntax by the name that people use.
pub fn called(syntax: &TransferSyntax) -> &str {
    if *syntax == TransferSyntax::JPEG_LOSSLESS { "JPEG Lossless" } else { syntax.name() }
}

/// As many accepted syntaxes are named in a reason.
pub(super) const NAMED: usize = 8;

/// The tolerance for grey after decoding what was compressed with loss.
pub const GREY_AFTER_LOSS: u8 = 10;

/// What frames may need at most.
pub const LIMITS: Limits = Limits { frame_bytes: 256 << 20 };
