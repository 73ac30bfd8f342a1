//! Names for what does not exist: UIDs and test patients, made of a seed and numbers.

use sha2::{Digest, Sha256};

use crate::dicom::Uid;

/// Changes whenever the same seed gives other bytes, so that no UID ever names two contents.
const GENERATION: u32 = 1;

/// Everything that bytes depend on, as a text of which UIDs are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn new(seed: u64, words: &str) -> Self {
        Self(format!("chrysalis test images {GENERATION}\0{seed}\0{words}"))
    }

    /// The key of something inside.
    pub(super) fn inside(&self, words: &str) -> Self {
        Self(format!("{}\0{words}", self.0))
    }

    /// 2.25 and a UUID in decimal (PS3.5 B.2). The UUID is the beginning of a SHA-256; its bits of version and variant say 8
    /// and RFC 4122, as RFC 9562 5.8 has it for UUIDs made by a rule of one's own.
    pub(super) fn uid(&self) -> Uid {
        let uuid = self.hash() & !(0xF << 76 | 3 << 62) | 8 << 76 | 2 << 62;
        Uid::new(&format!("2.25.{uuid}"))
    }

    /// Six hexadecimal digits that tell it from others for people; not unique.
    pub(super) fn short(&self) -> String {
        format!("{:06X}", self.hash() >> 104)
    }

    fn hash(&self) -> u128 {
        let hash: [u8; 32] = Sha256::digest(&self.0).into();
        hash.iter().take(16).fold(0, |value, byte| value << 8 | u128::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::uid::Conformance;
    use std::collections::HashSet;

    #[test]
    fn uids_are_conformant_and_no_two_seeds_or_numbers_share_one() {
        let mut seen = HashSet::new();
        for seed in 0..50 {
            for number in 0..50 {
                let uid = Key::new(seed, "usual").inside(&number.to_string()).uid();
                assert_eq!(uid.check(), Ok(Conformance::Conformant));
                assert!(seen.insert(uid));
            }
        }
    }

    #[test]
    fn words_do_not_run_into_one_another() {
        assert_ne!(Key::new(1, "a").inside("bc").uid(), Key::new(1, "ab").inside("c").uid());
        assert_ne!(Key::new(1, "1").uid(), Key::new(11, "").uid());
    }

    #[test]
    fn a_key_has_the_same_uid_in_every_release_of_one_generation() {
        assert_eq!(Key::new(1, "usual").uid().as_str(), "2.25.266696671475464793236566400167332361201");
    }
}
