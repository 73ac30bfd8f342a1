//! The ladder: in what a copy may leave, the best first.

use super::coding::Coding;
use super::subject::Loss;
use super::want::{Compression, LossySource, Target};
use crate::dicom::TransferSyntax;

/// What to propose to a receiver for an instance stored so, best first, each once. Nothing is known yet of the instance
/// itself: what is wanted of images and what is wanted of loops are both there.
///
/// What is certainly stored with loss is not offered in another compression, unless it may be encoded again; what cannot
/// be decoded in none at all; and of what cannot even be read as elements, only the stored syntax.
pub fn syntaxes(wish: &Compression, stored: &TransferSyntax) -> Vec<TransferSyntax> {
    let coding = Coding::of(stored);
    if coding == Coding::Other {
        return vec![stored.clone()];
    }
    let keeps_loss = coding == Coding::JpegLossy && wish.lossy_source == LossySource::Keep;
    let compresses = coding.is_decodable() && !keeps_loss;
    let mut syntaxes = Vec::with_capacity(6);
    let all = [
        target(wish.image, stored),
        target(wish.cine, stored),
        stored.clone(),
        TransferSyntax::JPEG_LOSSLESS,
        TransferSyntax::EXPLICIT_VR_LE,
        TransferSyntax::IMPLICIT_VR_LE,
    ];
    for syntax in all {
        let possible = compresses || syntax == *stored || Coding::of(&syntax) == Coding::Native;
        if possible && !syntaxes.contains(&syntax) {
            syntaxes.push(syntax);
        }
    }
    syntaxes
}

/// The transfer syntax of a target.
pub(super) fn target(target: Target, stored: &TransferSyntax) -> TransferSyntax {
    match target {
        Target::AsReceived => stored.clone(),
        Target::Uncompressed => TransferSyntax::EXPLICIT_VR_LE,
        Target::JpegLossless => TransferSyntax::JPEG_LOSSLESS,
        Target::JpegLossy(_) => TransferSyntax::JPEG_BASELINE,
    }
}

/// One rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rung {
    /// What the destination wants.
    Target,
    /// As it is stored.
    Stored,
    /// Another lossless compression.
    Lossless,
    /// Native, in Explicit VR Little Endian.
    Explicit,
    /// Native, in Implicit VR Little Endian, which everybody has to accept (PS3.5 10.1).
    Implicit,
}

/// The rungs in their order. To compress losslessly what was stored with loss gains nothing, so it comes last.
pub(super) fn rungs(loss: Loss) -> [Rung; 5] {
    match loss {
        Loss::None | Loss::Earlier => {
            [Rung::Target, Rung::Stored, Rung::Lossless, Rung::Explicit, Rung::Implicit]
        }
        Loss::Stored => [Rung::Target, Rung::Stored, Rung::Explicit, Rung::Implicit, Rung::Lossless],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Uid;
    use crate::transcode::want::Quality;

    const IMPLICIT: &str = "";
    const EXPLICIT: &str = ".1";
    const BASELINE: &str = ".4.50";
    const LOSSLESS: &str = ".4.70";

    fn offered(wish: &Compression, stored: &str) -> Vec<String> {
        let stored = TransferSyntax(Uid::new(&format!("1.2.840.10008.1.2{stored}")));
        let short = |syntax: TransferSyntax| syntax.0.as_str().replacen("1.2.840.10008.1.2", "", 1);
        syntaxes(wish, &stored).into_iter().map(short).collect()
    }

    #[test]
    fn what_is_wanted_of_images_and_of_loops_comes_first_and_nothing_twice() {
        let wish = Compression {
            image: Target::JpegLossless,
            cine: Target::JpegLossy(Quality::DEFAULT),
            ..Compression::default()
        };
        assert_eq!(offered(&wish, EXPLICIT), [LOSSLESS, BASELINE, EXPLICIT, IMPLICIT]);
        assert_eq!(offered(&wish, ".5"), [LOSSLESS, BASELINE, ".5", EXPLICIT, IMPLICIT]);
    }

    #[test]
    fn as_received_is_what_is_stored_and_then_down() {
        assert_eq!(offered(&Compression::default(), ".2"), [".2", LOSSLESS, EXPLICIT, IMPLICIT]);
        assert_eq!(offered(&Compression::default(), LOSSLESS), [LOSSLESS, EXPLICIT, IMPLICIT]);
    }

    #[test]
    fn what_is_stored_with_loss_is_offered_in_another_compression_only_by_force() {
        let keep = Compression { cine: Target::JpegLossless, ..Compression::default() };
        assert_eq!(offered(&keep, BASELINE), [BASELINE, EXPLICIT, IMPLICIT]);
        let force = Compression { lossy_source: LossySource::Force, ..keep };
        assert_eq!(offered(&force, BASELINE), [BASELINE, LOSSLESS, EXPLICIT, IMPLICIT]);
    }

    #[test]
    fn video_and_private_syntaxes_are_offered_as_they_are() {
        let wish = Compression { cine: Target::Uncompressed, ..Compression::default() };
        assert_eq!(offered(&wish, ".4.102"), [".4.102"]);
        assert_eq!(syntaxes(&wish, &TransferSyntax(Uid::new("1.2.840.113619.5.2"))).len(), 1);
    }
}
