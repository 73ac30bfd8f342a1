//! Transfer syntaxes (PS3.5 chapter 10 and Annex A): how the bytes of a data set are to be read, if at all.

use std::fmt;

use super::uid::Uid;

/// A transfer syntax, known or not, by its UID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferSyntax(pub Uid);

/// How the elements of a data set are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Implicit VR, little endian; native pixels.
    ImplicitLe,
    /// Explicit VR, little endian; native pixels (or none: JPIP, SMPTE).
    ExplicitLe,
    /// Explicit VR, big endian (retired); native pixels.
    ExplicitBe,
    /// Explicit VR, little endian, the whole data set deflated (PS3.5 A.5).
    DeflatedLe,
    /// Explicit VR, little endian, pixels in fragments (PS3.5 A.4).
    Encapsulated,
    /// Private, or not an encoding of data elements at all: bytes are passed on unread.
    Unknown,
}

/// Whether choosing a syntax can cost the sender information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fidelity {
    /// Pixels as they are.
    Native,
    /// Compressed, always reversible.
    Lossless,
    /// Compressed, and possibly not reversible.
    PossiblyLossy,
}

impl TransferSyntax {
    /// Implicit VR Little Endian.
    pub const IMPLICIT_VR_LE: Self = Self(Uid::from_static("1.2.840.10008.1.2"));
    /// Explicit VR Little Endian.
    pub const EXPLICIT_VR_LE: Self = Self(Uid::from_static("1.2.840.10008.1.2.1"));
    /// JPEG Baseline (Process 1).
    pub const JPEG_BASELINE: Self = Self(Uid::from_static("1.2.840.10008.1.2.4.50"));
    /// JPEG Lossless, Process 14, Selection Value 1.
    pub const JPEG_LOSSLESS: Self = Self(Uid::from_static("1.2.840.10008.1.2.4.70"));
    /// RLE Lossless.
    pub const RLE_LOSSLESS: Self = Self(Uid::from_static("1.2.840.10008.1.2.5"));

    /// How its data sets are encoded.
    pub fn encoding(&self) -> Encoding {
        self.row().map_or(Encoding::Unknown, |row| row.1)
    }

    /// Whether DICOM registers it (PS3.6 Annex A), retired ones included.
    pub fn is_registered(&self) -> bool {
        self.row().is_some()
    }

    /// The registered name, or the UID itself.
    pub fn name(&self) -> &str {
        self.row().map_or(self.0.as_str(), |row| row.2)
    }

    /// What choosing it can cost.
    pub fn fidelity(&self) -> Fidelity {
        match self.encoding() {
            Encoding::ImplicitLe | Encoding::ExplicitLe | Encoding::ExplicitBe | Encoding::DeflatedLe => {
                Fidelity::Native
            }
            Encoding::Encapsulated | Encoding::Unknown if LOSSLESS.contains(&self.0.as_str()) => {
                Fidelity::Lossless
            }
            Encoding::Encapsulated | Encoding::Unknown => Fidelity::PossiblyLossy,
        }
    }

    fn row(&self) -> Option<&'static (&'static str, Encoding, &'static str)> {
        REGISTERED.iter().find(|row| row.0 == self.0.as_str())
    }
}

impl fmt::Display for TransferSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row() {
            Some(row) => f.write_str(row.2),
            None => self.0.fmt(f),
        }
    }
}

/// Encapsulated syntaxes that are reversible by definition.
const LOSSLESS: &[&str] = &[
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.58",
    "1.2.840.10008.1.2.4.65",
    "1.2.840.10008.1.2.4.66",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.92",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.8.1",
];

use Encoding::{DeflatedLe, Encapsulated, ExplicitBe, ExplicitLe, ImplicitLe, Unknown};

/// PS3.6 Table A-1, the rows of type Transfer Syntax. The JPIP ones carry a reference instead of pixels.
#[rustfmt::skip]
const REGISTERED: &[(&str, Encoding, &str)] = &[
    ("1.2.840.10008.1.2", ImplicitLe, "Implicit VR Little Endian"),
    ("1.2.840.10008.1.2.1", ExplicitLe, "Explicit VR Little Endian"),
    ("1.2.840.10008.1.2.1.98", Encapsulated, "Encapsulated Uncompressed Explicit VR Little Endian"),
    ("1.2.840.10008.1.2.1.99", DeflatedLe, "Deflated Explicit VR Little Endian"),
    ("1.2.840.10008.1.2.2", ExplicitBe, "Explicit VR Big Endian"),
    ("1.2.840.10008.1.2.4.50", Encapsulated, "JPEG Baseline (Process 1)"),
    ("1.2.840.10008.1.2.4.51", Encapsulated, "JPEG Extended (Process 2 & 4)"),
    ("1.2.840.10008.1.2.4.52", Encapsulated, "JPEG Extended (Process 3 & 5)"),
    ("1.2.840.10008.1.2.4.53", Encapsulated, "JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8)"),
    ("1.2.840.10008.1.2.4.54", Encapsulated, "JPEG Spectral Selection, Non-Hierarchical (Process 7 & 9)"),
    ("1.2.840.10008.1.2.4.55", Encapsulated, "JPEG Full Progression, Non-Hierarchical (Process 10 & 12)"),
    ("1.2.840.10008.1.2.4.56", Encapsulated, "JPEG Full Progression, Non-Hierarchical (Process 11 & 13)"),
    ("1.2.840.10008.1.2.4.57", Encapsulated, "JPEG Lossless, Non-Hierarchical (Process 14)"),
    ("1.2.840.10008.1.2.4.58", Encapsulated, "JPEG Lossless, Non-Hierarchical (Process 15)"),
    ("1.2.840.10008.1.2.4.59", Encapsulated, "JPEG Extended, Hierarchical (Process 16 & 18)"),
    ("1.2.840.10008.1.2.4.60", Encapsulated, "JPEG Extended, Hierarchical (Process 17 & 19)"),
    ("1.2.840.10008.1.2.4.61", Encapsulated, "JPEG Spectral Selection, Hierarchical (Process 20 & 22)"),
    ("1.2.840.10008.1.2.4.62", Encapsulated, "JPEG Spectral Selection, Hierarchical (Process 21 & 23)"),
    ("1.2.840.10008.1.2.4.63", Encapsulated, "JPEG Full Progression, Hierarchical (Process 24 & 26)"),
    ("1.2.840.10008.1.2.4.64", Encapsulated, "JPEG Full Progression, Hierarchical (Process 25 & 27)"),
    ("1.2.840.10008.1.2.4.65", Encapsulated, "JPEG Lossless, Hierarchical (Process 28)"),
    ("1.2.840.10008.1.2.4.66", Encapsulated, "JPEG Lossless, Hierarchical (Process 29)"),
    ("1.2.840.10008.1.2.4.70", Encapsulated, "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])"),
    ("1.2.840.10008.1.2.4.80", Encapsulated, "JPEG-LS Lossless Image Compression"),
    ("1.2.840.10008.1.2.4.81", Encapsulated, "JPEG-LS Lossy (Near-Lossless) Image Compression"),
    ("1.2.840.10008.1.2.4.90", Encapsulated, "JPEG 2000 Image Compression (Lossless Only)"),
    ("1.2.840.10008.1.2.4.91", Encapsulated, "JPEG 2000 Image Compression"),
    ("1.2.840.10008.1.2.4.92", Encapsulated, "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)"),
    ("1.2.840.10008.1.2.4.93", Encapsulated, "JPEG 2000 Part 2 Multi-component Image Compression"),
    ("1.2.840.10008.1.2.4.94", ExplicitLe, "JPIP Referenced"),
    ("1.2.840.10008.1.2.4.95", DeflatedLe, "JPIP Referenced Deflate"),
    ("1.2.840.10008.1.2.4.100", Encapsulated, "MPEG2 Main Profile / Main Level"),
    ("1.2.840.10008.1.2.4.100.1", Encapsulated, "Fragmentable MPEG2 Main Profile / Main Level"),
    ("1.2.840.10008.1.2.4.101", Encapsulated, "MPEG2 Main Profile / High Level"),
    ("1.2.840.10008.1.2.4.101.1", Encapsulated, "Fragmentable MPEG2 Main Profile / High Level"),
    ("1.2.840.10008.1.2.4.102", Encapsulated, "MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    ("1.2.840.10008.1.2.4.102.1", Encapsulated, "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    ("1.2.840.10008.1.2.4.103", Encapsulated, "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"),
    ("1.2.840.10008.1.2.4.103.1", Encapsulated, "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"),
    ("1.2.840.10008.1.2.4.104", Encapsulated, "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video"),
    ("1.2.840.10008.1.2.4.104.1", Encapsulated, "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video"),
    ("1.2.840.10008.1.2.4.105", Encapsulated, "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video"),
    ("1.2.840.10008.1.2.4.105.1", Encapsulated, "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video"),
    ("1.2.840.10008.1.2.4.106", Encapsulated, "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
    ("1.2.840.10008.1.2.4.106.1", Encapsulated, "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
    ("1.2.840.10008.1.2.4.107", Encapsulated, "HEVC/H.265 Main Profile / Level 5.1"),
    ("1.2.840.10008.1.2.4.108", Encapsulated, "HEVC/H.265 Main 10 Profile / Level 5.1"),
    ("1.2.840.10008.1.2.4.110", Encapsulated, "JPEG XL Lossless"),
    ("1.2.840.10008.1.2.4.111", Encapsulated, "JPEG XL JPEG Recompression"),
    ("1.2.840.10008.1.2.4.112", Encapsulated, "JPEG XL"),
    ("1.2.840.10008.1.2.4.201", Encapsulated, "High-Throughput JPEG 2000 Image Compression (Lossless Only)"),
    ("1.2.840.10008.1.2.4.202", Encapsulated, "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)"),
    ("1.2.840.10008.1.2.4.203", Encapsulated, "High-Throughput JPEG 2000 Image Compression"),
    ("1.2.840.10008.1.2.4.204", ExplicitLe, "JPIP HTJ2K Referenced"),
    ("1.2.840.10008.1.2.4.205", DeflatedLe, "JPIP HTJ2K Referenced Deflate"),
    ("1.2.840.10008.1.2.5", Encapsulated, "RLE Lossless"),
    ("1.2.840.10008.1.2.6.1", Unknown, "RFC 2557 MIME encapsulation"),
    ("1.2.840.10008.1.2.6.2", Unknown, "XML Encoding"),
    ("1.2.840.10008.1.2.7.1", ExplicitLe, "SMPTE ST 2110-20 Uncompressed Progressive Active Video"),
    ("1.2.840.10008.1.2.7.2", ExplicitLe, "SMPTE ST 2110-20 Uncompressed Interlaced Active Video"),
    ("1.2.840.10008.1.2.7.3", ExplicitLe, "SMPTE ST 2110-30 PCM Digital Audio"),
    ("1.2.840.10008.1.2.8.1", Encapsulated, "Deflated Image Frame Compression"),
    ("1.2.840.10008.1.20", ImplicitLe, "Papyrus 3 Implicit VR Little Endian"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn syntax(suffix: &str) -> TransferSyntax {
        TransferSyntax(Uid::new(&format!("1.2.840.10008.1.2{suffix}")))
    }

    #[test]
    fn every_family_is_registered_and_encoded_as_annex_a_says() {
        for (suffix, encoding) in [
            ("", ImplicitLe),
            (".1", ExplicitLe),
            (".2", ExplicitBe),
            (".1.99", DeflatedLe),
            (".4.50", Encapsulated),
            (".4.110", Encapsulated),
            (".4.112", Encapsulated),
            (".4.201", Encapsulated),
            (".4.203", Encapsulated),
            (".4.100", Encapsulated),
            (".4.108", Encapsulated),
            (".5", Encapsulated),
        ] {
            assert!(syntax(suffix).is_registered(), "{suffix}");
            assert_eq!(syntax(suffix).encoding(), encoding, "{suffix}");
        }
    }

    #[test]
    fn a_private_syntax_is_neither_registered_nor_read() {
        let ge = TransferSyntax(Uid::from_static("1.2.840.113619.5.2"));
        assert!(!ge.is_registered());
        assert_eq!(ge.encoding(), Unknown);
        assert_eq!(ge.name(), "1.2.840.113619.5.2");
    }

    #[test]
    fn only_reversible_syntaxes_count_as_lossless() {
        assert_eq!(syntax(".4.70").fidelity(), Fidelity::Lossless);
        assert_eq!(syntax(".4.91").fidelity(), Fidelity::PossiblyLossy);
        assert_eq!(syntax(".1").fidelity(), Fidelity::Native);
    }
}
