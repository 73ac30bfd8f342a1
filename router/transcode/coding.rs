//! How the pixels of a transfer syntax are coded, as far as that matters here.

use crate::dicom::TransferSyntax;

/// How pixels are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// As they are, in one of the four ways to encode elements.
    Native,
    /// RLE Lossless (PS3.5 Annex G).
    Rle,
    /// JPEG with loss, sequential: baseline, or extended with up to 12 bits.
    JpegLossy,
    /// JPEG Lossless, Process 14, of any Selection Value.
    JpegLossless,
    /// JPEG-LS, lossless or near-lossless.
    JpegLs,
    /// JPEG 2000, Part 1.
    Jpeg2000,
    /// JPEG XL, what was recompressed from JPEG included.
    JpegXl,
    /// Video, arithmetic coding, High-Throughput JPEG 2000, pixels kept elsewhere, private and unknown syntaxes.
    Other,
}

impl Coding {
    /// How a transfer syntax codes pixels.
    pub fn of(syntax: &TransferSyntax) -> Self {
        let suffix = syntax.0.as_str().strip_prefix("1.2.840.10008.1.2");
        match suffix {
            Some("" | ".1" | ".2" | ".1.99") => Self::Native,
            Some(".5") => Self::Rle,
            Some(".4.50" | ".4.51") => Self::JpegLossy,
            Some(".4.57" | ".4.70") => Self::JpegLossless,
            Some(".4.80" | ".4.81") => Self::JpegLs,
            Some(".4.90" | ".4.91") => Self::Jpeg2000,
            Some(".4.110" | ".4.111" | ".4.112") => Self::JpegXl,
            Some(_) | None => Self::Other,
        }
    }

    /// Whether this program was built to decode it.
    pub fn is_decodable(self) -> bool {
        match self {
            Self::Native | Self::Rle | Self::JpegLossy | Self::JpegLossless => true,
            Self::JpegLs => cfg!(feature = "jpeg-ls"),
            Self::Jpeg2000 => cfg!(feature = "jpeg2000"),
            Self::JpegXl => cfg!(feature = "jpeg-xl"),
            Self::Other => false,
        }
    }
}

/// Whether this program was built to decode pixels of a transfer syntax.
pub fn decodable(syntax: &TransferSyntax) -> bool {
    Coding::of(syntax).is_decodable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Uid;

    #[test]
    fn only_syntaxes_that_hold_pixels_in_a_known_way_have_a_coding() {
        for (suffix, coding) in [
            ("", Coding::Native),
            (".1.99", Coding::Native),
            (".4.51", Coding::JpegLossy),
            (".4.57", Coding::JpegLossless),
            (".4.58", Coding::Other),
            (".4.94", Coding::Other),
            (".4.102", Coding::Other),
            (".4.91", Coding::Jpeg2000),
            (".4.202", Coding::Other),
            (".7.1", Coding::Other),
        ] {
            let syntax = TransferSyntax(Uid::new(&format!("1.2.840.10008.1.2{suffix}")));
            assert_eq!(Coding::of(&syntax), coding, "{suffix}");
        }
        assert_eq!(Coding::of(&TransferSyntax(Uid::new("1.2.840.113619.5.2"))), Coding::Other);
    }
}
