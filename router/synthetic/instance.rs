//! One instance: a header of its own before frames that all share.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::element::SEQUENCE_END;
use super::film::{Film, Frame};
use super::header::sop_class;
use crate::dicom::part10::{HeadFields, head};
use crate::dicom::{AeTitle, TransferSyntax, Uid};

/// A still or a loop, ready to be sent. Clones share their bytes.
#[derive(Clone)]
pub struct TestInstance {
    /// SOP Class UID (0008,0016).
    pub sop_class: Uid,
    /// SOP Instance UID (0008,0018).
    pub sop_instance: Uid,
    /// How the data set is encoded.
    pub transfer_syntax: TransferSyntax,
    /// Frames; 1 for a still.
    pub frames: u32,
    /// Whether it is an image rather than a loop.
    pub is_still: bool,
    header: Bytes,
    film: Arc<Film>,
}

impl TestInstance {
    pub(super) fn new(
        sop_instance: Uid,
        header: Vec<u8>,
        film: Arc<Film>,
        frames: u32,
        is_still: bool,
    ) -> Self {
        Self {
            sop_class: sop_class(is_still),
            sop_instance,
            transfer_syntax: film.form.coding.transfer_syntax(),
            frames,
            is_still,
            header: header.into(),
            film,
        }
    }

    /// Bytes of the data set.
    pub fn length(&self) -> u64 {
        self.pieces().map(|piece| piece.len() as u64).sum()
    }

    /// The data set in pieces, none of them copied: its header, its frames, and what ends them.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> {
        let native = self.film.form.coding.is_native();
        let film = Arc::clone(&self.film);
        let pixels: u64 = self.each_frame().map(|frame| frame.stored.len() as u64).sum();
        let end: &'static [u8] = match (native, pixels % 2) {
            (true, 0) => &[],
            (true, _) => &[0],
            (false, _) => &SEQUENCE_END,
        };
        let frames = (0..self.frames).filter_map(move |n| Some(film.frame(n)?.stored.clone()));
        let end = Some(Bytes::from_static(end)).filter(|end| !end.is_empty());
        std::iter::once(self.header.clone()).chain(frames).chain(end)
    }

    /// SHA-256 of the data set. It is worked out each time, at the speed of SHA-256.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        self.pieces().for_each(|piece| hasher.update(&piece));
        hasher.finalize().into()
    }

    /// For each frame, SHA-256 of its samples as a lossless copy decodes to: a pixel's samples side by side, chroma for every
    /// pixel. Frames that carts store with loss have those of this project's decoder.
    pub fn pixel_digests(&self) -> Vec<[u8; 32]> {
        self.each_frame().map(|frame| frame.samples).collect()
    }

    /// Writes it as a Part 10 file, and returns how many bytes that has.
    ///
    /// # Errors
    /// `out` has.
    pub fn write_file(&self, out: &mut impl io::Write) -> io::Result<u64> {
        let nobody = AeTitle::default();
        let head = head(&HeadFields {
            sop_class: &self.sop_class,
            sop_instance: &self.sop_instance,
            transfer_syntax: &self.transfer_syntax,
            calling: &nobody,
            called: &nobody,
        });
        out.write_all(&head)?;
        let mut written = head.len() as u64;
        for piece in self.pieces() {
            out.write_all(&piece)?;
            written += piece.len() as u64;
        }
        Ok(written)
    }

    fn each_frame(&self) -> impl Iterator<Item = &Frame> {
        (0..self.frames).filter_map(|n| self.film.frame(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::part10::FileHead;
    use crate::dicom::scan::Structure;
    use crate::dicom::stored::walk_whole;
    use crate::synthetic::{Cart, Factory};
    use chrysalis_sizing::{Encoding, Mix, StudyKind};
    use std::io::Cursor;

    static MIX: Mix = Mix {
        kinds: &[StudyKind { name: "short", share: 1, stills: 2, loops: 2, frames_per_loop: 7 }],
        native_frame: 65 * 85 * 3,
        jpeg_frame: 3_000,
        lossless_frame: 6_000,
    };

    /// Instances of every kind of cart and encoding.
    fn all() -> impl Iterator<Item = TestInstance> {
        Cart::all().flat_map(|cart| {
            let study = Factory::of_cart(5, &MIX, cart).unwrap().study(1);
            study.instances().collect::<Vec<_>>()
        })
    }

    #[test]
    fn a_file_says_what_it_is_and_holds_the_data_set_that_was_hashed() {
        for instance in all() {
            let mut file = Vec::new();
            let written = instance.write_file(&mut file).unwrap();
            assert_eq!(written, file.len() as u64);
            let head = FileHead::read(&mut Cursor::new(&file)).unwrap();
            assert_eq!(head.sop_class, instance.sop_class);
            assert_eq!(head.sop_instance, instance.sop_instance);
            assert_eq!(head.transfer_syntax, instance.transfer_syntax);
            assert_eq!(head.data_set_length, instance.length());
            let data_set = &file[head.data_set_offset as usize..];
            assert_eq!(<[u8; 32]>::from(Sha256::digest(data_set)), instance.digest());
        }
    }

    #[test]
    fn every_data_set_is_sound_and_of_even_length() {
        for instance in all() {
            let data_set: Vec<u8> = instance.pieces().flatten().collect();
            let read = |buffer: &mut [u8], offset: u64| {
                io::Read::read(&mut &data_set[(offset as usize).min(data_set.len())..], buffer)
            };
            let walked = walk_whole(read, &instance.transfer_syntax, &[]).unwrap();
            assert_eq!(walked.structure, Structure::Sound, "{:?}", instance.transfer_syntax);
            assert_eq!(data_set.len() % 2, 0);
        }
    }

    #[test]
    fn frames_are_shared_and_not_copied() {
        let cart = Cart::of(Encoding::AllNative);
        let factory = Factory::of_cart(5, &MIX, cart).unwrap();
        let frame = |number| factory.study(number).instances().last().unwrap().pieces().nth(1).unwrap();
        // Two pictures take turns, so every second study has the same.
        assert_eq!(frame(0).as_ptr(), frame(2).as_ptr());
    }

    #[test]
    fn every_frame_has_the_digest_of_its_samples() {
        for instance in all() {
            assert_eq!(instance.pixel_digests().len(), instance.frames as usize);
        }
    }
}
