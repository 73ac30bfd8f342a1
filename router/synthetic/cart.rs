//! What carts send, as data.

use chrysalis_sizing::Encoding;

use crate::dicom::TransferSyntax;

/// A kind of ultrasound machine, by what it stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cart {
    /// A short name, of which UIDs are made too: a cart that stores something else needs another.
    pub name: &'static str,
    /// What it stores, in words.
    pub about: &'static str,
    /// Its single images.
    pub stills: Form,
    /// Its loops.
    pub loops: Form,
    /// Rows and columns of its screen, which a mix of smaller frames makes smaller; nothing means that the mix says how large
    /// a frame is.
    pub screen: Option<(u16, u16)>,
}

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// What the samples are.
    pub pixels: Pixels,
    /// How they are written.
    pub coding: Coding,
}

/// What the samples of an image are: Photometric Interpretation, Planar Configuration and Bits Allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// MONOCHROME2, 8 bits.
    Mono,
    /// PALETTE COLOR, 8 bits.
    Palette8,
    /// PALETTE COLOR, 16 bits.
    Palette16,
    /// RGB, a pixel's samples side by side.
    Rgb,
    /// YBR_FULL, in planes (Planar Configuration 1).
    YbrPlanes,
    /// YBR_FULL_422: when native, two bytes per pixel (PS3.3 C.7.6.3.1.2).
    Ybr422,
}

/// How samples are written: a transfer syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Native, Implicit VR Little Endian.
    ImplicitVr,
    /// Native, Explicit VR Little Endian.
    ExplicitVr,
    /// RLE Lossless.
    Rle,
    /// JPEG Baseline (Process 1).
    JpegBaseline,
    /// JPEG Lossless, first-order prediction.
    JpegLossless,
}

impl Coding {
    /// The transfer syntax it is.
    pub const fn transfer_syntax(self) -> TransferSyntax {
        match self {
            Self::ImplicitVr => TransferSyntax::IMPLICIT_VR_LE,
            Self::ExplicitVr => TransferSyntax::EXPLICIT_VR_LE,
            Self::Rle => TransferSyntax::RLE_LOSSLESS,
            Self::JpegBaseline => TransferSyntax::JPEG_BASELINE,
            Self::JpegLossless => TransferSyntax::JPEG_LOSSLESS,
        }
    }

    /// Whether Pixel Data is plain bytes rather than a sequence of fragments.
    pub const fn is_native(self) -> bool {
        matches!(self, Self::ImplicitVr | Self::ExplicitVr)
    }
}

impl Cart {
    /// A cart whose stills and loops are encoded as sizing's mixes have them.
    pub const fn of(encoding: Encoding) -> &'static Self {
        match encoding {
            Encoding::AllJpeg => &ALL_JPEG,
            Encoding::NativeStills => &USUAL,
            Encoding::AllLossless => &ALL_LOSSLESS,
            Encoding::AllNative => &ALL_NATIVE,
        }
    }

    /// All there are: those of the mixes, then [`CARTS`].
    pub fn all() -> impl Iterator<Item = &'static Self> {
        [&USUAL, &ALL_JPEG, &ALL_LOSSLESS, &ALL_NATIVE].into_iter().chain(&CARTS)
    }

    /// The cart of this name, among all.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().find(|cart| cart.name == name)
    }
}

const fn form(pixels: Pixels, coding: Coding) -> Form {
    Form { pixels, coding }
}

const JPEG: Form = form(Pixels::Ybr422, Coding::JpegBaseline);
const NATIVE: Form = form(Pixels::Rgb, Coding::ExplicitVr);
const LOSSLESS: Form = form(Pixels::Rgb, Coding::JpegLossless);

static USUAL: Cart = Cart {
    name: "usual",
    about: "stills as native RGB, loops as JPEG Baseline",
    stills: NATIVE,
    loops: JPEG,
    screen: None,
};
static ALL_JPEG: Cart =
    Cart { name: "all-jpeg", about: "everything as JPEG Baseline", stills: JPEG, ..USUAL_BUT };
static ALL_NATIVE: Cart =
    Cart { name: "all-native", about: "everything as native RGB", loops: NATIVE, ..USUAL_BUT };
static ALL_LOSSLESS: Cart = Cart {
    name: "all-lossless",
    about: "everything as JPEG Lossless",
    stills: LOSSLESS,
    loops: LOSSLESS,
    ..USUAL_BUT
};
const USUAL_BUT: Cart = Cart { name: "", about: "", stills: NATIVE, loops: JPEG, screen: None };

/// The kinds of carts that are in use, by what their makers' machines were seen to store.
///
/// Few machines store loops natively, but all can; and each row has a photometric interpretation or a transfer syntax that
/// some archive or viewer stumbled over.
pub static CARTS: [Cart; 8] = [
    Cart {
        name: "rgb",
        about: "stills as native RGB, loops as JPEG Baseline",
        stills: NATIVE,
        loops: JPEG,
        screen: Some((743, 975)),
    },
    Cart {
        name: "palette",
        about: "stills with an 8-bit palette, native in Implicit VR; loops with it in RLE",
        stills: form(Pixels::Palette8, Coding::ImplicitVr),
        loops: form(Pixels::Palette8, Coding::Rle),
        screen: Some((600, 800)),
    },
    Cart {
        name: "lossless-grey",
        about: "everything grey, as JPEG Lossless",
        stills: form(Pixels::Mono, Coding::JpegLossless),
        loops: form(Pixels::Mono, Coding::JpegLossless),
        screen: Some((720, 960)),
    },
    Cart {
        name: "rle-planes",
        about: "everything as YBR_FULL in planes, in RLE",
        stills: form(Pixels::YbrPlanes, Coding::Rle),
        loops: form(Pixels::YbrPlanes, Coding::Rle),
        screen: Some((480, 640)),
    },
    Cart {
        name: "native-422",
        about: "stills as native YBR_FULL_422, two bytes a pixel; loops as JPEG Baseline",
        stills: form(Pixels::Ybr422, Coding::ExplicitVr),
        loops: JPEG,
        screen: Some((608, 800)),
    },
    Cart {
        name: "palette-16",
        about: "stills with a 16-bit palette, native; loops as JPEG Baseline",
        stills: form(Pixels::Palette16, Coding::ExplicitVr),
        loops: JPEG,
        screen: Some((480, 640)),
    },
    Cart {
        name: "palette-explicit",
        about: "stills with an 8-bit palette, native in Explicit VR; loops as JPEG Baseline",
        stills: form(Pixels::Palette8, Coding::ExplicitVr),
        loops: JPEG,
        screen: Some((600, 800)),
    },
    Cart {
        name: "implicit",
        about: "everything native in Implicit VR: stills as RGB, loops grey",
        stills: form(Pixels::Rgb, Coding::ImplicitVr),
        loops: form(Pixels::Mono, Coding::ImplicitVr),
        screen: Some((480, 640)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_carts_share_a_name_of_which_uids_are_made() {
        let all: Vec<_> = Cart::all().map(|cart| cart.name).collect();
        let names: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|name| Cart::named(name).is_some_and(|cart| cart.name == *name)));
    }

    #[test]
    fn every_photometric_interpretation_and_transfer_syntax_is_sent_by_some_cart() {
        let forms: Vec<_> = CARTS.iter().flat_map(|cart| [cart.stills, cart.loops]).collect();
        for pixels in [
            Pixels::Mono,
            Pixels::Palette8,
            Pixels::Palette16,
            Pixels::Rgb,
            Pixels::YbrPlanes,
            Pixels::Ybr422,
        ] {
            assert!(forms.iter().any(|form| form.pixels == pixels), "{pixels:?}");
        }
        for coding in
            [Coding::ImplicitVr, Coding::ExplicitVr, Coding::Rle, Coding::JpegBaseline, Coding::JpegLossless]
        {
            assert!(forms.iter().any(|form| form.coding == coding), "{coding:?}");
        }
    }
}
