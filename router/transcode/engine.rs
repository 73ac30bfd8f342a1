#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Makes copies.
//!
//! A copy is made in one pass into the cache. When the cache does not take it, what is left of the pass only measures, and
//! the copy is made a second time while it is sent: nothing in it depends on anything but its source and its recipe, so both
//! passes make the same bytes.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use dicom_core::VR;

use super::TranscodeError;
use super::assemble::{Frame, PixelData};
use super::attributes::{self, Outcome};
use super::cache::{Cache, Claim, Claimed, Draft, Kept, Key};
use super::dataset;
use super::edits::Edits;
use super::encode::Compare;
use super::foreign::Decoders;
use super::inflated;
use super::job::{CopyFrames, Job, StoredFrames};
use super::made::{Body, Bytes, Facts, FirstColour, Made, Measured, Product};
use super::pipeline::{Pipeline, guarded};
use super::plan::{Grey, Pixels, Recipe};
use super::source::Source;
use super::stream::Streaming;
use super::subject::Subject;
use super::written::{Colour, Written};
use crate::dicom::{Encoding, Uid};

/// How copies are made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads that decode and encode.
    pub workers: usize,
    /// Frames in memory at a time, for all copies that are being made; 0 is two for each worker. Each copy has at least one.
    pub frames_in_flight: usize,
    /// Whether losslessly encoded frames are decoded and compared.
    pub compare: Compare,
    /// The executable that decodes what others wrote decoders for, in a process of its own: this program. Without one, it is
    /// decoded in this process.
    pub decoder: Option<PathBuf>,
    /// The cache's folder, which is emptied. Without one, every copy is streamed.
    pub cache_dir: Option<PathBuf>,
    /// Bytes in that folder at most.
    pub cache_budget: u64,
    /// When they are taken.
    pub cache_claimed: Claimed,
}

impl Default for Settings {
    /// As many workers as there are cores, and no cache.
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            workers,
            frames_in_flight: 0,
            compare: Compare::Yes,
            decoder: None,
            cache_dir: None,
            cache_budget: 0,
            cache_claimed: Claimed::AtStart,
        }
    }
}

/// Makes copies, and shares what it has made. Clones are the same engine. While nothing is wanted of it, it has no threads.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

/// What copies are made with.
pub(super) struct Inner {
    pipeline: Pipeline,
    cache: Arc<Cache<Product>>,
    compare: Compare,
    decoders: Arc<Decoders>,
}

impl Engine {
    /// An engine, and its cache emptied.
    ///
    /// # Errors
    /// The cache's folder cannot be made or emptied.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let Settings { workers, frames_in_flight, compare, decoder, .. } = settings;
        let Settings { cache_dir, cache_budget, cache_claimed, .. } = settings;
        let decoders = Arc::new(Decoders::new(decoder, workers));
        let in_flight = if frames_in_flight == 0 { workers.saturating_mul(2) } else { frames_in_flight };
        let cache = Arc::new(Cache::open(cache_dir, cache_budget, cache_claimed)?);
        Ok(Self(Arc::new(Inner { pipeline: Pipeline::new(workers, in_flight), cache, compare, decoders })))
    }

    /// Makes the copy of an instance that a recipe describes, or finds it made. Blocks, for as long as that takes; the second
    /// caller who wants the same waits for the first.
    ///
    /// `source` is the stored data set, `subject` what [`Subject::read`] found it to be, `digest` its SHA-256, `instance` its
    /// receive sequence. One that is deflated as a whole is inflated first, into the cache's folder where there is one.
    ///
    /// # Errors
    /// [`TranscodeError`]. Nothing is left of what was made until then.
    pub fn make(
        &self,
        source: Arc<dyn Source>,
        digest: [u8; 32],
        subject: &Subject,
        recipe: &Recipe,
        instance: (u64, u64),
    ) -> Result<Made, TranscodeError> {
        let Inner { cache, compare, decoders, .. } = &*self.0;
        let key = Key { instance, digest, recipe: recipe.key() };
        let (subject, recipe) = (subject.clone(), recipe.clone());
        let (compare, decoders) = (*compare, decoders.clone());
        let original = source.clone();
        let source = match subject.syntax.encoding() {
            Encoding::DeflatedLe => guarded(|| inflated::inflate(&*source, cache))?,
            _ => source,
        };
        let stored = Job { source, digest, subject, recipe, compare, decoders };
        match cache.claim(&key) {
            Claim::There(product) => self.hand_out(product, key, stored, original),
            Claim::Failed(error) => Err(error),
            Claim::Mine(ticket) => match guarded(|| self.0.build(&stored)) {
                Ok(product) => {
                    let product = Arc::new(product);
                    ticket.finish(product.clone());
                    self.hand_out(product, key, stored, original)
                }
                Err(error) => {
                    ticket.fail(error.clone());
                    Err(error)
                }
            },
        }
    }

    /// Bytes of copies in the cache, and the most there may be.
    pub fn cache_usage(&self) -> (u64, u64) {
        self.0.cache.usage()
    }

    fn hand_out(
        &self,
        product: Arc<Product>,
        key: Key,
        job: Job,
        original: Arc<dyn Source>,
    ) -> Result<Made, TranscodeError> {
        let facts = match &*product {
            Product::Copy { facts, .. } => facts.clone(),
            Product::Original(first_colour) => Facts {
                syntax: job.subject.syntax.clone(),
                sop_instance: job.subject.sop_instance.clone(),
                length: original.len(),
                grey: false,
                first_colour: Some(*first_colour),
            },
        };
        let bytes = match &*product {
            Product::Original(_) => Bytes::Original(original),
            Product::Copy { body: Body::Kept { .. }, .. } => {
                Bytes::Cached { product, shelf: self.0.cache.clone(), key }
            }
            Product::Copy { body: Body::Measured(_), .. } => {
                let job = Arc::new(job);
                Bytes::Streamed(Streaming { engine: self.0.clone(), job, product })
            }
        };
        let Facts { syntax, sop_instance, length, grey, first_colour } = facts;
        Ok(Made { syntax, sop_instance, length, grey, first_colour, bytes })
    }
}

impl Inner {
    /// The first pass.
    fn build(&self, job: &Job) -> Result<Product, TranscodeError> {
        let draft = self.cache.draft().unwrap_or_else(|error| {
            tracing::warn!(%error, "Cannot write into the transcode cache, the copy is streamed.");
            None
        });
        let mut out = Output { draft, length: 0 };
        if job.recipe.pixels == Pixels::AsTheyAre {
            let edits = Edits::default();
            self.elements(job, &edits, &mut out)?;
            let sop_instance = job.subject.sop_instance.clone();
            let findings = Findings { sop_instance, edits, pixels: None, grey: false, first_colour: None };
            return Ok(out.product(job, 0, findings));
        }
        let stored = StoredFrames::find(job)?;
        let first_colour = self.look(&stored)?;
        if let Some(first) = first_colour
            && job.recipe.only_greys(&job.subject.syntax)
        {
            return Ok(Product::Original(first));
        }
        let colour = match (job.recipe.grey, first_colour) {
            (Grey::Within(_), None) => Colour::Grey,
            (Grey::Within(_), Some(_)) | (Grey::Never, _) => Colour::Kept,
        };
        let frames = CopyFrames::new(&stored, colour)?;
        let mut pixels = empty(job, &frames.written);
        self.frames(&stored, &frames, None, &mut pixels, &mut out)?;
        let outcome = outcome(&stored, &frames.written, colour, &pixels);
        let mut edits = attributes::edits(&*job.source, &job.subject, &job.recipe, &outcome)?;
        pixels.edit_offset_table(&mut edits);
        let frame = around(job, &edits);
        frame.tail(&mut out)?;
        let head_at = out.length;
        frame.head(&pixels, &mut out)?;
        let sop_instance = attributes::sop_instance(&job.subject, &job.recipe, &outcome);
        let grey = colour == Colour::Grey;
        let findings = Findings { sop_instance, edits, pixels: Some(pixels), grey, first_colour };
        Ok(out.product(job, head_at, findings))
    }

    /// The second pass, in the order in which the bytes are sent.
    ///
    /// # Errors
    /// As the first, and what `out` says.
    pub(super) fn again(
        &self,
        job: &Job,
        measured: &Measured,
        product: &Product,
        out: &mut dyn Write,
    ) -> Result<(), TranscodeError> {
        let Measured { edits, pixels } = measured;
        let Some(expected) = pixels else { return self.elements(job, edits, out) };
        let grey = matches!(product, Product::Copy { facts: Facts { grey: true, .. }, .. });
        let colour = if grey { Colour::Grey } else { Colour::Kept };
        let frame = around(job, edits);
        frame.head(expected, out)?;
        let stored = StoredFrames::find(job)?;
        let frames = CopyFrames::new(&stored, colour)?;
        let mut pixels = empty(job, &frames.written);
        self.frames(&stored, &frames, Some(expected), &mut pixels, out)?;
        frame.tail(out)
    }

    /// Only elements are encoded anew.
    fn elements(&self, job: &Job, edits: &Edits, out: &mut dyn Write) -> Result<(), TranscodeError> {
        let (outline, to) = (&job.subject.outline, job.recipe.to.encoding());
        Ok(dataset::write_whole(&*job.source, outline, edits, to, out)?)
    }

    /// The first pixel with a colour, where grey is wanted.
    fn look(&self, stored: &StoredFrames<'_>) -> Result<Option<FirstColour>, TranscodeError> {
        let Grey::Within(tolerance) = stored.job.recipe.grey else { return Ok(None) };
        let mut first = None;
        let look = |n| stored.first_colour(n, tolerance);
        self.pipeline.run_until(stored.count(), look, |frame, pixel| {
            first = pixel.map(|pixel| FirstColour { frame, pixel });
            Ok(if first.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(first)
    }

    /// All frames and what ends them. They are as long as `expected`, if that is known.
    fn frames(
        &self,
        stored: &StoredFrames<'_>,
        frames: &CopyFrames<'_>,
        expected: Option<&PixelData>,
        pixels: &mut PixelData,
        out: &mut dyn Write,
    ) -> Result<(), TranscodeError> {
        self.pipeline.run(
            stored.count(),
            |n| frames.frame(n),
            |_, bytes| {
                pixels.frame(&bytes, out)?;
                match expected {
                    Some(expected) if !pixels.agrees(expected) => {
                        Err(TranscodeError::Pixels("a frame was encoded otherwise than before".into()))
                    }
                    _ => Ok(()),
                }
            },
        )?;
        pixels.end(out)
    }
}

fn empty(job: &Job, written: &Written) -> PixelData {
    match job.recipe.to.encoding() {
        Encoding::Encapsulated => PixelData::fragments(),
        _ => PixelData::native(native_vr(job, written)),
    }
}

/// OB or OW (PS3.5 8.2, A.1, A.2): what the source has, where both are possible.
fn native_vr(job: &Job, written: &Written) -> VR {
    let stored = job.subject.outline.pixel_data().map(|element| element.vr);
    if written.bits_allocated <= 8 && stored == Some(VR::OB) { VR::OB } else { VR::OW }
}

fn around<'a>(job: &'a Job, edits: &'a Edits) -> Frame<'a> {
    let to = job.recipe.to.encoding();
    Frame { source: &*job.source, outline: &job.subject.outline, edits, to }
}

fn outcome(stored: &StoredFrames<'_>, written: &Written, colour: Colour, pixels: &PixelData) -> Outcome {
    let frame = written.frame_bytes(stored.image.rows, stored.image.columns);
    Outcome {
        colour,
        encoded_bytes: pixels.bytes(),
        native_bytes: frame.saturating_mul(u64::from(stored.count())),
        digest: stored.job.digest,
    }
}

/// What the first pass found out beside bytes.
struct Findings {
    sop_instance: Uid,
    edits: Edits,
    pixels: Option<PixelData>,
    grey: bool,
    first_colour: Option<FirstColour>,
}

/// Where the first pass writes: into the cache, as long as it takes it. What it does not take is only counted.
struct Output {
    draft: Option<Draft>,
    length: u64,
}

impl Output {
    fn product(self, job: &Job, head_at: u64, findings: Findings) -> Product {
        let Findings { sop_instance, edits, pixels, grey, first_colour } = findings;
        let facts =
            Facts { syntax: job.recipe.to.clone(), sop_instance, length: self.length, grey, first_colour };
        let body = match self.finish() {
            Some(file) => Body::Kept { file, head_at },
            None => Body::Measured(Measured { edits, pixels }),
        };
        Product::Copy { facts, body }
    }

    fn finish(self) -> Option<Kept> {
        let finished = self.draft?.finish();
        finished.inspect_err(not_kept).ok()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(draft) = &mut self.draft
            && let Err(error) = draft.write_all(bytes)
        {
            not_kept(&error);
            self.draft = None;
        }
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn not_kept(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => {
            tracing::debug!("A copy does not fit into the transcode cache and is streamed.");
        }
        _ => tracing::warn!(%error, "Cannot write into the transcode cache, the copy is streamed."),
    }
}
