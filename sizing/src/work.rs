//! What a study is to a node: bytes that come, bytes that go, and time.

use std::fmt;
use std::str::FromStr;

use crate::measured::Measured;
use crate::mix::{Encoding, Mix};

/// How a destination wants images or loops, by the names that its configuration has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Byte for byte.
    AsReceived,
    /// Decoded.
    Uncompressed,
    /// Without loss; what came with loss is kept as it is.
    JpegLossless,
    /// With loss; what came with loss is kept as it is.
    JpegLossy,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AsReceived, Self::Uncompressed, Self::JpegLossless, Self::JpegLossy];

    /// What a configuration calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsReceived => "as-received",
            Self::Uncompressed => "uncompressed",
            Self::JpegLossless => "jpeg-lossless",
            Self::JpegLossy => "jpeg-lossy",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let named = Self::ALL.into_iter().find(|target| target.name() == text);
        named.ok_or_else(|| UnknownTarget(text.to_owned()))
    }
}

/// A word that names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of as-received, uncompressed, jpeg-lossless, jpeg-lossy")]
pub struct UnknownTarget(String);

/// How a destination wants images of one frame, and loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    /// Images of one frame.
    pub image: Target,
    /// Loops.
    pub cine: Target,
}

impl Conversion {
    /// Everything byte for byte.
    pub const NONE: Self = Self { image: Target::AsReceived, cine: Target::AsReceived };
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.image == self.cine {
            true => self.image.fmt(f),
            false => write!(f, "{} stills, {} loops", self.image, self.cine),
        }
    }
}

/// What a node does with the studies of a site: they come in an encoding, and one destination wants them in some way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work<'a> {
    /// Which studies.
    pub mix: &'a Mix,
    /// How they come.
    pub encoding: Encoding,
    /// How they go.
    pub conversion: Conversion,
}

impl Work<'_> {
    /// Objects in an average study.
    #[must_use]
    pub fn instances(&self) -> f64 {
        self.mix.mean_instances()
    }

    /// Bytes of an average study as it comes.
    #[must_use]
    pub fn bytes_in(&self) -> f64 {
        self.mix.mean_bytes(self.encoding)
    }

    /// Bytes of an average study as it goes.
    #[must_use]
    pub fn bytes_out(&self) -> f64 {
        let (still, frame) = self.forms();
        let weight = |from, to| f64::from(self.bytes(becomes(from, to)));
        self.mix.mean_stills() * weight(still, self.conversion.image)
            + self.mix.mean_loop_frames() * weight(frame, self.conversion.cine)
    }

    /// Whether frames are decoded or encoded.
    #[must_use]
    pub fn converts(&self) -> bool {
        let (still, frame) = self.forms();
        becomes(still, self.conversion.image) != still || becomes(frame, self.conversion.cine) != frame
    }

    /// Seconds of one core for an average study:
    /// `bytes * pass_byte + instances * pass_instance + native bytes of converted frames * what decoding and encoding one costs`,
    /// where bytes are the larger of those that come and those that go.
    #[must_use]
    pub fn cpu_seconds(&self, costs: &Measured) -> f64 {
        let (still, frame) = self.forms();
        let native = f64::from(self.mix.native_frame);
        let convert = |from, to, lossless| {
            let decode = match from {
                Form::Native => 0.0,
                Form::Lossy => costs.unlossy_byte,
                Form::Lossless => costs.unlossless_byte,
            };
            match becomes(from, to) {
                same if same == from => 0.0,
                Form::Native => decode,
                Form::Lossless => decode + lossless,
                Form::Lossy => decode + costs.lossy_byte,
            }
        };
        let stills = convert(still, self.conversion.image, costs.lossless_still_byte);
        let frames = convert(frame, self.conversion.cine, costs.lossless_loop_byte);
        self.bytes_in().max(self.bytes_out()) * costs.pass_byte
            + self.instances() * costs.pass_instance
            + native * (self.mix.mean_stills() * stills + self.mix.mean_loop_frames() * frames)
    }

    /// How stills and the frames of loops come.
    const fn forms(&self) -> (Form, Form) {
        match self.encoding {
            Encoding::AllJpeg => (Form::Lossy, Form::Lossy),
            Encoding::NativeStills => (Form::Native, Form::Lossy),
            Encoding::AllLossless => (Form::Lossless, Form::Lossless),
            Encoding::AllNative => (Form::Native, Form::Native),
        }
    }

    const fn bytes(&self, form: Form) -> u32 {
        match form {
            Form::Native => self.mix.native_frame,
            Form::Lossy => self.mix.jpeg_frame,
            Form::Lossless => self.mix.lossless_frame,
        }
    }
}

/// How a frame is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Native,
    Lossy,
    Lossless,
}

/// What came with loss is not compressed again, as by default (`lossy_source = "keep"`).
const fn becomes(form: Form, target: Target) -> Form {
    match (target, form) {
        (Target::AsReceived, form) => form,
        (Target::Uncompressed, _) => Form::Native,
        (_, Form::Lossy) => Form::Lossy,
        (Target::JpegLossless, _) => Form::Lossless,
        (Target::JpegLossy, _) => Form::Lossy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::REFERENCE;

    fn work(encoding: Encoding, target: Target) -> Work<'static> {
        Work { mix: &REFERENCE, encoding, conversion: Conversion { image: target, cine: target } }
    }

    #[test]
    fn a_target_is_read_by_the_name_it_prints() {
        for target in Target::ALL {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        assert!("jpeg".parse::<Target>().is_err());
    }

    #[test]
    fn what_came_with_loss_is_kept_and_costs_nothing_more() {
        let costs = &Measured::BENCHES;
        let (kept, plain) =
            (work(Encoding::AllJpeg, Target::JpegLossless), work(Encoding::AllJpeg, Target::AsReceived));
        assert!(!kept.converts());
        assert!((kept.bytes_out() - kept.bytes_in()).abs() < 1.0);
        assert!((kept.cpu_seconds(costs) - plain.cpu_seconds(costs)).abs() < 1e-12);
    }

    #[test]
    fn native_stills_go_as_jpeg_lossless_beside_loops_that_stay_as_they_came() {
        let usual = work(Encoding::NativeStills, Target::JpegLossless);
        assert!(usual.converts());
        let expected = 22.2 * 563_000.0 + 972.0 * 51_200.0;
        assert!((usual.bytes_out() - expected).abs() < 1.0, "{}", usual.bytes_out());
    }

    #[test]
    fn decoding_makes_studies_larger_and_compressing_makes_them_smaller() {
        for encoding in Encoding::ALL {
            let out = |target| work(encoding, target).bytes_out();
            assert!((out(Target::AsReceived) - REFERENCE.mean_bytes(encoding)).abs() < 1.0);
            assert!(out(Target::Uncompressed) >= out(Target::AsReceived));
            assert!(out(Target::JpegLossy) <= out(Target::JpegLossless));
        }
    }

    #[test]
    fn every_conversion_costs_more_than_passing_on() {
        for encoding in Encoding::ALL {
            let seconds = |target| work(encoding, target).cpu_seconds(&Measured::BENCHES);
            for target in Target::ALL {
                let more = seconds(target) > seconds(Target::AsReceived);
                assert_eq!(more, work(encoding, target).converts(), "{encoding} to {target}");
            }
        }
    }
}
