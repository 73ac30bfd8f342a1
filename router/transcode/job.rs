#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! What one copy is made of, and each of its frames.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrysalis_codecs::palette::Palette as Colours;

use super::TranscodeError;
use super::coding::Coding;
use super::convert::{convert, first_colour};
use super::encode::{Compare, Encoder};
use super::foreign::Decoders;
use super::frames::FrameMap;
use super::palette;
use super::picture::Picture;
use super::plan::{Pixels, Recipe};
use super::source::Source;
use super::subject::{Content, Image, Photometric, Subject};
use super::written::{Colour, Written};

/// A copy to be made.
pub(crate) struct Job {
    pub(crate) source: Arc<dyn Source>,
    /// SHA-256 of the stored data set.
    pub(crate) digest: [u8; 32],
    pub(crate) subject: Subject,
    pub(crate) recipe: Recipe,
    pub(crate) compare: Compare,
    pub(crate) decoders: Arc<Decoders>,
}

/// The stored frames of a copy's image.
pub(crate) struct StoredFrames<'a> {
    pub(crate) job: &'a Job,
    pub(crate) image: &'a Image,
    coding: Coding,
    map: FrameMap,
    palette: Option<Colours>,
    /// Memory of frames that were made, for those to come: new memory has to be cleared by the kernel, page by page.
    spare: Mutex<Vec<Vec<u8>>>,
}

impl<'a> StoredFrames<'a> {
    /// Finds the frames.
    ///
    /// # Errors
    /// There is no image, or its frames are not there.
    pub(crate) fn find(job: &'a Job) -> Result<Self, TranscodeError> {
        let Content::Image(image) = &job.subject.content else {
            return Err(TranscodeError::Pixels("there are no pixels that could be transcoded".into()));
        };
        let map = FrameMap::read(&*job.source, &job.subject)?;
        let palette = match image.photometric {
            Photometric::PaletteColor => {
                // Indices may stay what they are, with tables that nobody here understands.
                match palette::read(&*job.source, &job.subject.outline, image.sign) {
                    Err(TranscodeError::Pixels(_)) => None,
                    read => Some(read?),
                }
            }
            _ => None,
        };
        let coding = Coding::of(&job.subject.syntax);
        Ok(Self { job, image, coding, map, palette, spare: Mutex::default() })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.image.frames
    }

    /// The first pixel of a frame with a colour, counted from 0.
    pub(crate) fn first_colour(&self, n: u32, tolerance: u8) -> Result<Option<u64>, TranscodeError> {
        first_colour(self.picture(n)?, self.palette.as_ref(), tolerance)
    }

    fn picture(&self, n: u32) -> Result<Picture, TranscodeError> {
        Picture::decode(self.bytes(n)?, self.image, self.coding, &self.job.decoders, n)
    }

    fn bytes(&self, n: u32) -> Result<Vec<u8>, TranscodeError> {
        let mut bytes = self.spare().pop().unwrap_or_default();
        self.map.get(n, &*self.job.source, &mut bytes)?;
        Ok(bytes)
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frames of a copy.
pub(crate) struct CopyFrames<'a> {
    stored: &'a StoredFrames<'a>,
    pub(crate) written: Written,
    /// Nothing is decoded: native pixels stay native.
    encoder: Option<Encoder>,
}

impl<'a> CopyFrames<'a> {
    /// Decides how frames are made, which may take a look at the first.
    pub(crate) fn new(stored: &'a StoredFrames<'a>, colour: Colour) -> Result<Self, TranscodeError> {
        let Job { subject, recipe, compare, .. } = stored.job;
        let written = Written::of(stored.image, &subject.syntax, recipe, colour);
        let as_it_is =
            recipe.pixels == Pixels::Native && stored.coding == Coding::Native && colour == Colour::Kept;
        let mut made = Self { stored, written, encoder: None };
        if !as_it_is {
            let first = || made.converted(0);
            made.encoder =
                Some(Encoder::new(recipe.pixels, first, stored.count(), written.bits_stored, *compare)?);
        }
        Ok(made)
    }

    /// Frame `n` as the copy has it, without padding.
    pub(crate) fn frame(&self, n: u32) -> Result<Vec<u8>, TranscodeError> {
        match &self.encoder {
            Some(encoder) => {
                let mut picture = self.converted(n)?;
                let encoded = encoder.encode(&mut picture)?;
                self.stored.spare().push(picture.pixels);
                Ok(encoded)
            }
            None => self.stored.bytes(n),
        }
    }

    fn converted(&self, n: u32) -> Result<Picture, TranscodeError> {
        convert(self.stored.picture(n)?, &self.written, self.stored.palette.as_ref())
    }
}
