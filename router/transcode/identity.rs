//! The SOP Instance UID of an image that is derived from another.

use sha2::{Digest, Sha256};

use super::plan::Recipe;
use crate::dicom::Uid;

/// The UID of what a recipe makes of an instance: the same whenever and wherever it is made, and another for another
/// source, other stored bytes, another transfer syntax or quality, and another version of the encoders.
///
/// It is 2.25 and a UUID in decimal (PS3.5 B.2). The UUID is the beginning of a SHA-256; its six bits of version and
/// variant say 8 and RFC 4122, which is what RFC 9562 5.8 has for UUIDs made by a rule of one's own.
pub fn derived_uid(source: &Uid, digest: &[u8; 32], recipe: &Recipe) -> Uid {
    let mut hasher = Sha256::new();
    hasher.update(format!("chrysalis derived instance {CODECS}\0{}\0{}\0", source.as_str(), recipe.key()));
    hasher.update(digest);
    let hash: [u8; 32] = hasher.finalize().into();
    let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash;
    let uuid = u128::from_be_bytes(head) & !MARKS | VERSION_8 | VARIANT;
    Uid::new(&format!("2.25.{uuid}"))
}

/// Changes whenever an encoder, or what is done before it, makes other pixels of the same source.
pub const CODECS: u32 = 1;

/// Version 8, in bits 76 to 79 from the lowest.
const VERSION_8: u128 = 8 << 76;
/// Variant 10, in bits 62 and 63.
const VARIANT: u128 = 2 << 62;
/// All bits of both.
const MARKS: u128 = 0xF << 76 | 3 << 62;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::TransferSyntax;
    use crate::dicom::uid::Conformance;
    use crate::transcode::{Grey, LossyUid, Pixels, Quality};

    fn recipe(quality: u8) -> Recipe {
        Recipe {
            to: TransferSyntax::JPEG_BASELINE,
            pixels: Pixels::JpegLossy(Quality::new(quality).unwrap()),
            grey: Grey::Never,
            lossy_uid: LossyUid::New,
            why: format!("tried {quality}"),
        }
    }

    #[test]
    fn it_depends_on_source_bytes_and_recipe_and_on_nothing_else() {
        let uid = derived_uid(&Uid::new("1.2.3"), &[7; 32], &recipe(90));
        assert_eq!(
            uid,
            derived_uid(&Uid::new("1.2.3"), &[7; 32], &Recipe { why: "again".to_owned(), ..recipe(90) })
        );
        assert_ne!(uid, derived_uid(&Uid::new("1.2.4"), &[7; 32], &recipe(90)));
        assert_ne!(uid, derived_uid(&Uid::new("1.2.3"), &[8; 32], &recipe(90)));
        assert_ne!(uid, derived_uid(&Uid::new("1.2.3"), &[7; 32], &recipe(80)));
        let grey = Recipe { grey: Grey::Within(10), ..recipe(90) };
        assert_ne!(uid, derived_uid(&Uid::new("1.2.3"), &[7; 32], &grey));
    }

    #[test]
    fn it_is_a_uuid_of_version_8_and_a_conformant_uid() {
        for quality in 1..=100 {
            let uid = derived_uid(&Uid::new("1.2.3"), &[quality; 32], &recipe(quality));
            assert_eq!(uid.check(), Ok(Conformance::Conformant));
            let uuid: u128 = uid.as_str().strip_prefix("2.25.").unwrap().parse().unwrap();
            assert_eq!(((uuid >> 76) & 0xF, (uuid >> 62) & 3), (8, 2));
        }
    }

    #[test]
    fn it_is_the_same_in_every_release_that_makes_the_same_pixels() {
        let uid = derived_uid(&Uid::new("1.2.3"), &[7; 32], &recipe(90));
        assert_eq!(uid.as_str(), "2.25.18311898704970582437805884088392481323");
    }
}
