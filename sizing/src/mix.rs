//! The reference mix: which studies a site produces, as data.
//!
//! It is an assumption, chosen to be replaced by counts from a site. Everything that sizing says follows from the three
//! study kinds and the bytes per frame below.

use std::fmt;
use std::str::FromStr;

/// How the frames of a study are encoded when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Stills and loops as JPEG Baseline: what a cart sends when it is set to compress.
    AllJpeg,
    /// Uncompressed stills, JPEG Baseline loops: the usual cart.
    NativeStills,
    /// Stills and loops as JPEG Lossless.
    AllLossless,
    /// Stills and loops uncompressed.
    AllNative,
}

impl Encoding {
    /// All of them, from the smallest studies to the largest.
    pub const ALL: [Self; 4] = [Self::AllJpeg, Self::NativeStills, Self::AllLossless, Self::AllNative];

    /// What it is called where a person chooses one: `all-jpeg`, `usual`, `all-lossless`, `all-native`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllJpeg => "all-jpeg",
            Self::NativeStills => "usual",
            Self::AllLossless => "all-lossless",
            Self::AllNative => "all-native",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(text: &str) -> Result<Self, UnknownEncoding> {
        let named = Self::ALL.into_iter().find(|encoding| encoding.name() == text);
        named.ok_or_else(|| UnknownEncoding(text.to_owned()))
    }
}

/// A word that names no encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of all-jpeg, usual, all-lossless, all-native")]
pub struct UnknownEncoding(String);

/// One kind of study: what it contains and how often it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StudyKind {
    /// A short name for tables.
    pub name: &'static str,
    /// Part of all studies, in percent.
    pub share: u32,
    /// Single-frame images in a study.
    pub stills: u32,
    /// Loops in a study.
    pub loops: u32,
    /// Frames in each loop.
    pub frames_per_loop: u32,
}

impl StudyKind {
    /// Objects, that is C-STORE operations, in a study of this kind.
    #[must_use]
    pub const fn instances(&self) -> u32 {
        self.stills + self.loops
    }

    /// Frames in the loops of a study of this kind.
    #[must_use]
    pub const fn loop_frames(&self) -> u32 {
        self.loops * self.frames_per_loop
    }
}

/// A mix of study kinds with the weight of a frame in each form.
///
/// The shares of the kinds add up to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    /// The kinds, whose shares add up to 100 percent.
    pub kinds: &'static [StudyKind],
    /// Bytes of an uncompressed RGB frame.
    pub native_frame: u32,
    /// Bytes of a frame as JPEG Baseline.
    pub jpeg_frame: u32,
    /// Bytes of a frame as JPEG Lossless.
    pub lossless_frame: u32,
}

/// The reference mix.
///
/// The frame is 975 x 743 RGB, the middle one of three real loops that were measured. JPEG weighs what the carts sent
/// (44 to 51 kB a frame), JPEG Lossless what an encoder made of the decoded loops (3.4:1 to 4.4:1).
pub const REFERENCE: Mix = Mix {
    kinds: &[
        StudyKind { name: "radiology", share: 40, stills: 45, loops: 3, frames_per_loop: 60 },
        StudyKind { name: "echo", share: 20, stills: 17, loops: 55, frames_per_loop: 60 },
        StudyKind { name: "point of care", share: 40, stills: 2, loops: 5, frames_per_loop: 120 },
    ],
    native_frame: 975 * 743 * 3,
    jpeg_frame: 51_200,
    lossless_frame: 563_000,
};

/// A mix that no site can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MixError {
    /// The shares are not those of a whole.
    #[error("the shares of the kinds add up to {0} percent and not to 100")]
    Shares(u64),
    /// Nothing would ever arrive.
    #[error("no study of the mix has an image")]
    Empty,
    /// A study that nobody makes, and whose sums would not mean anything.
    #[error("a study of kind {kind:?} has {count} {what}; at most {most} make sense")]
    TooLarge {
        /// The kind's name.
        kind: &'static str,
        /// Stills, loops, or frames in a loop.
        what: &'static str,
        /// How many there would be.
        count: u32,
        /// [`Mix::MOST`].
        most: u32,
    },
    /// A frame of no bytes, or one whose compressed form is larger than itself.
    #[error(
        "a frame of {native} bytes does not become one of {jpeg} bytes as JPEG and of {lossless} as JPEG Lossless"
    )]
    Frame {
        /// Bytes uncompressed.
        native: u32,
        /// Bytes as JPEG Baseline.
        jpeg: u32,
        /// Bytes as JPEG Lossless.
        lossless: u32,
    },
}

impl Mix {
    /// The most stills, loops, or frames in a loop, that a study may have here.
    pub const MOST: u32 = 10_000;

    /// Whether a site can have this mix.
    ///
    /// # Errors
    /// [`MixError`]
    pub fn check(&self) -> Result<(), MixError> {
        let shares = self.kinds.iter().map(|kind| u64::from(kind.share)).sum();
        if shares != 100 {
            return Err(MixError::Shares(shares));
        }
        for kind in self.kinds {
            let parts =
                [("stills", kind.stills), ("loops", kind.loops), ("frames in a loop", kind.frames_per_loop)];
            if let Some((what, count)) = parts.into_iter().find(|(_, count)| *count > Self::MOST) {
                return Err(MixError::TooLarge { kind: kind.name, what, count, most: Self::MOST });
            }
        }
        let Self { native_frame: native, jpeg_frame: jpeg, lossless_frame: lossless, .. } = *self;
        if jpeg == 0 || lossless == 0 || jpeg > native || lossless > native {
            return Err(MixError::Frame { native, jpeg, lossless });
        }
        if self.mean_stills() + self.mean_loop_frames() <= 0.0 { Err(MixError::Empty) } else { Ok(()) }
    }

    /// Objects in an average study.
    #[must_use]
    pub fn mean_instances(&self) -> f64 {
        self.mean(StudyKind::instances)
    }

    /// Stills in an average study.
    #[must_use]
    pub fn mean_stills(&self) -> f64 {
        self.mean(|kind| kind.stills)
    }

    /// Loop frames in an average study.
    #[must_use]
    pub fn mean_loop_frames(&self) -> f64 {
        self.mean(StudyKind::loop_frames)
    }

    /// Bytes of an average study whose frames are encoded this way; headers are not counted.
    #[must_use]
    pub fn mean_bytes(&self, encoding: Encoding) -> f64 {
        let (still, frame) = match encoding {
            Encoding::AllJpeg => (self.jpeg_frame, self.jpeg_frame),
            Encoding::NativeStills => (self.native_frame, self.jpeg_frame),
            Encoding::AllLossless => (self.lossless_frame, self.lossless_frame),
            Encoding::AllNative => (self.native_frame, self.native_frame),
        };
        self.mean_stills() * f64::from(still) + self.mean_loop_frames() * f64::from(frame)
    }

    /// Bytes per second of so many studies an hour.
    #[must_use]
    pub fn bytes_per_second(&self, encoding: Encoding, studies_per_hour: f64) -> f64 {
        self.mean_bytes(encoding) * studies_per_hour / 3600.0
    }

    fn mean(&self, count: impl Fn(&StudyKind) -> u32) -> f64 {
        self.kinds.iter().map(|kind| f64::from(kind.share) * f64::from(count(kind)) / 100.0).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: f64, wanted: f64, tolerance: f64) {
        assert!((found - wanted).abs() <= wanted * tolerance, "{found} is not near {wanted}");
    }

    #[test]
    fn an_encoding_is_read_by_the_name_it_prints() {
        for encoding in Encoding::ALL {
            assert_eq!(encoding.to_string().parse(), Ok(encoding));
        }
        assert!("jpeg".parse::<Encoding>().is_err());
    }

    #[test]
    fn a_mix_that_no_site_can_have_is_refused() {
        const NOTHING: StudyKind =
            StudyKind { name: "none", share: 100, stills: 0, loops: 3, frames_per_loop: 0 };
        assert_eq!(REFERENCE.check(), Ok(()));
        assert_eq!(Mix { kinds: &[], ..REFERENCE }.check(), Err(MixError::Shares(0)));
        assert_eq!(Mix { kinds: &[NOTHING], ..REFERENCE }.check(), Err(MixError::Empty));
        let (half, endless) =
            (&[StudyKind { share: 50, ..NOTHING }], &[StudyKind { stills: 10_001, ..NOTHING }]);
        assert_eq!(Mix { kinds: half, ..REFERENCE }.check(), Err(MixError::Shares(50)));
        assert!(matches!(Mix { kinds: endless, ..REFERENCE }.check(), Err(MixError::TooLarge { .. })));
        assert!(matches!(Mix { jpeg_frame: 0, ..REFERENCE }.check(), Err(MixError::Frame { .. })));
    }

    #[test]
    fn the_shares_add_up_to_a_hundred_percent() {
        assert_eq!(REFERENCE.kinds.iter().map(|kind| kind.share).sum::<u32>(), 100);
    }

    #[test]
    fn an_average_study_has_22_stills_and_972_loop_frames() {
        assert_near(REFERENCE.mean_stills(), 22.2, 1e-9);
        assert_near(REFERENCE.mean_loop_frames(), 972.0, 1e-9);
        assert_near(REFERENCE.mean_instances(), 36.4, 1e-9);
    }

    #[test]
    fn the_bytes_of_a_study_agree_with_the_published_figures() {
        assert_near(REFERENCE.mean_bytes(Encoding::AllJpeg), 51e6, 0.03);
        assert_near(REFERENCE.mean_bytes(Encoding::NativeStills), 99e6, 0.03);
        assert_near(REFERENCE.mean_bytes(Encoding::AllLossless), 560e6, 0.03);
        assert_near(REFERENCE.mean_bytes(Encoding::AllNative), 2.1e9, 0.03);
    }

    #[test]
    fn forty_native_studies_an_hour_are_about_23_megabytes_a_second() {
        assert_near(REFERENCE.bytes_per_second(Encoding::AllNative, 40.0), 23e6, 0.05);
    }
}
