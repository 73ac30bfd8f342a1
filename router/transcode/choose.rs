//! The rung of the ladder on which an image leaves.

use super::coding::Coding;
use super::grey;
use super::ladder::{self, Rung};
use super::plan::{Accepts, Grey, LIMITS, NAMED, Pixels, Plan, Recipe, called, hold, not_accepted};
use super::subject::{Image, Loss, Photometric, Sign};
use super::want::{Compression, LossySource, Target};
use super::written::{Colour, Written};
use crate::dicom::{TransferSyntax, Uid};

/// An image, what is wanted of it, and what is accepted.
pub(super) struct Choice<'a> {
    pub(super) stored: &'a TransferSyntax,
    pub(super) sop_class: &'a Uid,
    pub(super) image: &'a Image,
    pub(super) wish: &'a Compression,
    pub(super) accepts: &'a Accepts,
}

/// How a rung would be reached.
struct Step {
    to: TransferSyntax,
    how: How,
}

enum How {
    /// Byte for byte, because of this.
    PassThrough(String),
    /// By making a copy.
    Make(Pixels, Grey),
}

impl Choice<'_> {
    /// The first rung that is possible and accepted.
    pub(super) fn plan(&self) -> Plan {
        let mut reasons = Vec::new();
        // What is accepted is named in a hold anyway; of it, only what could not be made needs a word.
        let mut impossible = Vec::new();
        for rung in ladder::rungs(self.image.loss) {
            match self.step(rung) {
                Ok(step) if self.accepts.takes(&step.to) => return self.settle(step, reasons),
                Ok(step) => add(&mut reasons, not_accepted(&step.to)),
                Err(why) => {
                    add(&mut reasons, why.clone());
                    add(&mut impossible, why);
                }
            }
        }
        impossible.extend(self.off_the_ladder());
        hold(self.stored, self.accepts, &impossible)
    }

    /// Why nothing is made of the syntaxes that are accepted and on no rung.
    fn off_the_ladder(&self) -> Vec<String> {
        let Accepts::These(accepted) = self.accepts else { return Vec::new() };
        let rungs = [
            ladder::target(self.target(), self.stored),
            self.stored.clone(),
            TransferSyntax::JPEG_LOSSLESS,
            TransferSyntax::EXPLICIT_VR_LE,
            TransferSyntax::IMPLICIT_VR_LE,
        ];
        // What cannot be decoded says so on the rungs.
        let others = accepted.iter().filter(|syntax| !rungs.contains(syntax) && self.can_decode().is_ok());
        let why = |syntax: &TransferSyntax| {
            let is_made = *syntax == TransferSyntax::JPEG_BASELINE;
            let why = if is_made { "is not wanted for it" } else { "is not encoded here" };
            format!("{} {why}", called(syntax))
        };
        others.take(NAMED).map(why).collect()
    }

    fn settle(&self, step: Step, mut reasons: Vec<String>) -> Plan {
        match step.how {
            How::PassThrough(why) => {
                // The reason for not doing what is wanted says more than that it is as stored.
                if reasons.is_empty() {
                    reasons.push(why);
                }
                reasons.extend(self.why_in_colour());
                Plan::PassThrough { why: reasons.join("; ") }
            }
            How::Make(pixels, grey) => {
                reasons.push(format!("becomes {}", describe(&step.to, pixels)));
                match grey {
                    Grey::Within(0) => reasons.push("grey if no pixel of it has a colour".to_owned()),
                    Grey::Within(_) => reasons.push("grey if no pixel of it has much of a colour".to_owned()),
                    Grey::Never => reasons.extend(self.why_in_colour()),
                }
                let (lossy_uid, why) = (self.wish.lossy_uid, reasons.join("; "));
                Plan::Transcode(Recipe { to: step.to, pixels, grey, lossy_uid, why })
            }
        }
    }

    /// What a rung takes, or why it cannot be reached.
    fn step(&self, rung: Rung) -> Result<Step, String> {
        match rung {
            Rung::Target => match self.target() {
                Target::AsReceived => self.as_received(),
                Target::Uncompressed => self.native(&TransferSyntax::EXPLICIT_VR_LE),
                Target::JpegLossless => {
                    self.jpeg_lossless("stored with loss: lossless would make it larger and gain nothing")
                }
                Target::JpegLossy(quality) => self.jpeg_lossy(Pixels::JpegLossy(quality)),
            },
            Rung::Stored => self.as_received(),
            Rung::Lossless => self.jpeg_lossless("stored with loss, and not to be compressed again"),
            Rung::Explicit => self.native(&TransferSyntax::EXPLICIT_VR_LE),
            Rung::Implicit => self.native(&TransferSyntax::IMPLICIT_VR_LE),
        }
    }

    /// As it came; grey, where that is possible without changing anything else.
    fn as_received(&self) -> Result<Step, String> {
        let pixels = match Coding::of(self.stored) {
            Coding::Native if is_written(self.stored) => Some(Pixels::Native),
            Coding::Rle => Some(Pixels::Rle),
            Coding::JpegLossless if *self.stored == TransferSyntax::JPEG_LOSSLESS => {
                Some(Pixels::JpegLossless)
            }
            Coding::Native
            | Coding::JpegLossless
            | Coding::JpegLossy
            | Coding::JpegLs
            | Coding::Jpeg2000
            | Coding::JpegXl
            | Coding::Other => None,
        };
        match (self.grey(), pixels) {
            (Grey::Within(_), Some(pixels)) if self.fits_in_memory().is_ok() => {
                Ok(Step { to: self.stored.clone(), how: How::Make(pixels, self.grey()) })
            }
            (Grey::Within(_), Some(_) | None) | (Grey::Never, _) => {
                Ok(self.pass_through("wanted as received"))
            }
        }
    }

    fn native(&self, to: &TransferSyntax) -> Result<Step, String> {
        if Coding::of(self.stored) != Coding::Native {
            self.can_decode()?;
            let written = self.written(to, Pixels::Native);
            let frame = written.frame_bytes(self.image.rows, self.image.columns);
            let length = frame.saturating_mul(u64::from(self.image.frames));
            if length > MOST_NATIVE {
                return Err(format!(
                    "decoded it would have {length} bytes, more than native Pixel Data can hold"
                ));
            }
            return Ok(Step { to: to.clone(), how: How::Make(Pixels::Native, self.grey()) });
        }
        let greys = self.grey() != Grey::Never && self.fits_in_memory().is_ok();
        let how = match (greys, to == self.stored) {
            (true, _) => How::Make(Pixels::Native, self.grey()),
            (false, true) => return Ok(self.pass_through("stored so already")),
            (false, false) => How::Make(Pixels::AsTheyAre, Grey::Never),
        };
        Ok(Step { to: to.clone(), how })
    }

    fn jpeg_lossless(&self, why_not_after_loss: &str) -> Result<Step, String> {
        if self.image.loss == Loss::Stored && self.wish.lossy_source == LossySource::Keep {
            return Err(why_not_after_loss.to_owned());
        }
        let to = TransferSyntax::JPEG_LOSSLESS;
        let greys = self.grey() != Grey::Never;
        if *self.stored == to && (!greys || self.fits_in_memory().is_err()) {
            return Ok(self.pass_through("stored so already"));
        }
        self.can_decode()?;
        Ok(Step { to, how: How::Make(Pixels::JpegLossless, self.grey()) })
    }

    fn jpeg_lossy(&self, pixels: Pixels) -> Result<Step, String> {
        let to = TransferSyntax::JPEG_BASELINE;
        if self.wish.lossy_source == LossySource::Keep {
            match self.image.loss {
                Loss::Stored if *self.stored == to => return Ok(self.pass_through("stored so already")),
                Loss::Stored => return Err("stored with loss, and not to be compressed again".to_owned()),
                Loss::Earlier => {
                    return Err(
                        "compressed with loss before it came, and not to be compressed so again".to_owned()
                    );
                }
                Loss::None => {}
            }
        }
        self.can_decode()?;
        self.is_eight_bit()?;
        Ok(Step { to, how: How::Make(pixels, self.grey()) })
    }

    fn is_eight_bit(&self) -> Result<(), String> {
        let (bits, palette) = (self.image.bits_stored, self.image.photometric == Photometric::PaletteColor);
        if self.image.sign == Sign::Signed {
            return Err("its samples are signed, which JPEG Baseline has no place for".to_owned());
        }
        match bits {
            // The colours of a palette are made 8 bit, whatever its indices are.
            _ if palette => Ok(()),
            8 => Ok(()),
            9.. => Err(format!("{bits} bits are stored, and JPEG Baseline holds no more than 8")),
            _ => Err(format!("{bits} bits are stored, and JPEG Baseline has exactly 8")),
        }
    }

    /// Whether frames can be decoded at all.
    fn can_decode(&self) -> Result<(), String> {
        if !Coding::of(self.stored).is_decodable() {
            return Err(format!("{} cannot be decoded here", called(self.stored)));
        }
        if matches!(self.image.photometric, Photometric::YbrPartial420 | Photometric::YbrPartial422) {
            return Err("its colours have a partial range, which is not converted here".to_owned());
        }
        self.fits_in_memory()
    }

    fn fits_in_memory(&self) -> Result<(), String> {
        // Palettes are expanded to three bytes, grey and colour never grow.
        let samples: u64 = if self.image.photometric.is_monochrome() { 1 } else { 3 };
        let pixels = u64::from(self.image.rows) * u64::from(self.image.columns);
        let bytes = pixels * samples * u64::from(self.image.bits_allocated.div_ceil(8));
        if bytes > LIMITS.frame_bytes {
            return Err(format!(
                "its frames have {bytes} bytes, more than are decoded here ({})",
                LIMITS.frame_bytes
            ));
        }
        Ok(())
    }

    fn grey(&self) -> Grey {
        grey::wanted(self.stored, self.sop_class, self.image, self.wish).unwrap_or(Grey::Never)
    }

    /// Why it stays in colour though grey was wished for, where that needs a word.
    fn why_in_colour(&self) -> Option<String> {
        let why = match grey::wanted(self.stored, self.sop_class, self.image, self.wish) {
            Ok(Grey::Never) | Err(grey::InColour::NotAsked) => return None,
            Err(grey::InColour::Because(why)) => why.to_owned(),
            Ok(Grey::Within(_)) => match self.image.loss {
                Loss::Stored => "stored with loss, it goes as it is".to_owned(),
                Loss::None | Loss::Earlier => format!("{} is not encoded here", called(self.stored)),
            },
        };
        Some(format!("stays in colour: {why}"))
    }

    fn written(&self, to: &TransferSyntax, pixels: Pixels) -> Written {
        let (lossy_uid, why) = (self.wish.lossy_uid, String::new());
        let recipe = Recipe { to: to.clone(), pixels, grey: Grey::Never, lossy_uid, why };
        Written::of(self.image, self.stored, &recipe, Colour::Kept)
    }

    fn target(&self) -> Target {
        self.wish.of(self.image)
    }

    fn pass_through(&self, why: &str) -> Step {
        Step { to: self.stored.clone(), how: How::PassThrough(why.to_owned()) }
    }
}

fn add(reasons: &mut Vec<String>, why: String) {
    if !reasons.contains(&why) {
        reasons.push(why);
    }
}

/// The two native syntaxes that are written here.
fn is_written(syntax: &TransferSyntax) -> bool {
    *syntax == TransferSyntax::EXPLICIT_VR_LE || *syntax == TransferSyntax::IMPLICIT_VR_LE
}

fn describe(to: &TransferSyntax, pixels: Pixels) -> String {
    match pixels {
        Pixels::JpegLossy(quality) => format!("{}, quality {}", called(to), quality.get()),
        Pixels::AsTheyAre | Pixels::Native | Pixels::JpegLossless | Pixels::Rle => called(to).to_owned(),
    }
}

/// The longest value of even length that a 32-bit length holds; FFFFFFFFH means undefined (PS3.5 7.1.1).
const MOST_NATIVE: u64 = 0xFFFF_FFFE;
