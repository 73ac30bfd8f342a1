//! What is proposed: the SOP classes that ultrasound carts send, each in the transfer syntaxes they are sent in.

use crate::dicom::{Uid, uid};

/// SOP classes that ultrasound carts send, with the names people use.
pub static CLASSES: [(&str, Uid); 14] = [
    ("Ultrasound Image", uid::US_IMAGE),
    ("Ultrasound Multi-frame", uid::US_MULTIFRAME),
    ("Ultrasound Image (retired)", Uid::from_static("1.2.840.10008.5.1.4.1.1.6")),
    ("Ultrasound Multi-frame (retired)", Uid::from_static("1.2.840.10008.5.1.4.1.1.3")),
    ("Secondary Capture", Uid::from_static("1.2.840.10008.5.1.4.1.1.7")),
    ("Multi-frame True Color SC", Uid::from_static("1.2.840.10008.5.1.4.1.1.7.4")),
    ("Comprehensive SR", Uid::from_static("1.2.840.10008.5.1.4.1.1.88.33")),
    ("Enhanced SR", Uid::from_static("1.2.840.10008.5.1.4.1.1.88.22")),
    ("Basic Text SR", Uid::from_static("1.2.840.10008.5.1.4.1.1.88.11")),
    ("Encapsulated PDF", Uid::from_static("1.2.840.10008.5.1.4.1.1.104.1")),
    ("Raw Data", Uid::from_static("1.2.840.10008.5.1.4.1.1.66")),
    ("Grayscale Presentation State", Uid::from_static("1.2.840.10008.5.1.4.1.1.11.1")),
    ("Enhanced US Volume", Uid::from_static("1.2.840.10008.5.1.4.1.1.6.2")),
    ("Key Object Selection", Uid::from_static("1.2.840.10008.5.1.4.1.1.88.59")),
];

/// Transfer syntaxes that ultrasound carts use, with short names.
pub static SYNTAXES: [(&str, Uid); 5] = [
    ("Explicit LE", uid::EXPLICIT_VR_LE),
    ("Implicit LE", uid::IMPLICIT_VR_LE),
    ("JPEG Baseline", Uid::from_static("1.2.840.10008.1.2.4.50")),
    ("JPEG Lossless", Uid::from_static("1.2.840.10008.1.2.4.70")),
    ("RLE", Uid::from_static("1.2.840.10008.1.2.5")),
];

/// One context for each class and syntax, because a peer picks one syntax of those in a context; 72 in all, of 128 possible.
pub(super) fn proposal() -> Vec<(Uid, Vec<Uid>)> {
    let storage = CLASSES
        .iter()
        .flat_map(|(_, class)| SYNTAXES.iter().map(|(_, syntax)| (class.clone(), vec![syntax.clone()])));
    verification().into_iter().chain(storage).collect()
}

/// Verification alone.
pub(super) fn verification() -> Vec<(Uid, Vec<Uid>)> {
    [uid::EXPLICIT_VR_LE, uid::IMPLICIT_VR_LE].map(|syntax| (uid::VERIFICATION, vec![syntax])).into()
}

#[cfg(test)]
mod tests {
    use super::proposal;

    #[test]
    fn what_is_proposed_fits_one_association_and_is_conformant() {
        let contexts = proposal();
        assert_eq!(contexts.len(), 72);
        assert!(contexts.iter().all(|(class, syntaxes)| class.is_conformant() && syntaxes.len() == 1));
    }
}
