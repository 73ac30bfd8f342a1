//! Draws and encodes the pictures, and makes studies of them.

use std::sync::Arc;

use chrysalis_sizing::{Encoding, Mix, Picture, StudyKind, View};

use super::cart::{Cart, Coding, Form, Pixels};
use super::film::Film;
use super::identity::Key;
use super::study::TestStudy;

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// Selects patients, UIDs and speckle.
    pub seed: u64,
    /// The kinds of studies with their shares, and how large frames are.
    pub mix: &'static Mix,
    /// How stills and loops are encoded.
    pub encoding: Encoding,
}

/// Makes test studies.
///
/// All pictures are drawn and encoded when it is made, on all cores; frames of 975 x 743 take at most 60 MB then, whatever the
/// encoding. After that a study costs its headers. It can be cloned, and shared between threads.
#[derive(Clone)]
pub struct Factory(Arc<Films>);

/// What all studies share.
pub(super) struct Films {
    pub(super) seed: u64,
    pub(super) mix: &'static Mix,
    pub(super) key: Key,
    pub(super) cart: &'static Cart,
    pub(super) stills: Vec<Arc<Film>>,
    pub(super) clips: Vec<Arc<Film>>,
}

/// Why no studies can be made of a recipe.
#[derive(Debug, thiserror::Error)]
pub enum FactoryError {
    /// The shares of the kinds add up to nothing.
    #[error("the mix has no kinds of studies")]
    EmptyMix,
    /// Nothing to draw on, or more than Rows and Columns can say.
    #[error("frames of {rows} x {columns} cannot be drawn: 64 to 8192 are possible")]
    Screen {
        /// Rows (0028,0010).
        rows: u64,
        /// Columns (0028,0011).
        columns: u64,
    },
    /// Native Pixel Data, or an offset table, has only 32 bits to say how long it is (PS3.5 7.1, A.4).
    #[error("a loop of {frames} frames would have {bytes} bytes: 4 GiB and more cannot be written")]
    TooLong {
        /// Frames of the loop.
        frames: u32,
        /// Bytes of its Pixel Data.
        bytes: u64,
    },
    /// An encoder refused a picture.
    #[error("a picture cannot be encoded: {0}")]
    Encoding(String),
    /// No quality of JPEG suits.
    #[error("no quality of JPEG suits the size of a frame")]
    Quality,
}

impl FactoryError {
    pub(super) fn encoding(error: impl std::fmt::Display) -> Self {
        Self::Encoding(error.to_string())
    }
}

impl Factory {
    /// Draws and encodes what a recipe needs: a second or two for large frames.
    ///
    /// # Errors
    /// [`FactoryError`] when the mix makes no sense.
    pub fn new(recipe: Recipe) -> Result<Self, FactoryError> {
        Self::of_cart(recipe.seed, recipe.mix, Cart::of(recipe.encoding))
    }

    /// The same for a cart of any kind. The mix says which studies it makes, and how large a frame is if the cart does not.
    ///
    /// # Errors
    /// [`FactoryError`] when the mix makes no sense.
    pub fn of_cart(seed: u64, mix: &'static Mix, cart: &'static Cart) -> Result<Self, FactoryError> {
        if mix.kinds.iter().map(|kind| kind.share).sum::<u32>() == 0 {
            return Err(FactoryError::EmptyMix);
        }
        let screen = screen(mix, cart)?;
        let (rows, columns) = screen;
        let key = Key::new(seed, &format!("{}\0{rows}x{columns}", cart.name));
        let jpeg_frame = jpeg_frame(mix, rows, columns);
        let draw = |views: &[View], frames: u32, form| -> Result<Vec<_>, FactoryError> {
            let film = |(view, number): (&View, u64)| {
                let seed = seed.wrapping_mul(1_000).wrapping_add(number);
                let period = frames.max(STILL_PERIOD);
                let picture = Picture { seed, rows, columns, period, view: *view };
                Film::draw(picture, frames, form, jpeg_frame).map(Arc::new)
            };
            views.iter().zip(1..).map(film).collect()
        };
        let frame = cart.loops.pixels.native_bytes(rows, columns);
        let longest = mix.kinds.iter().map(|kind| kind.frames_per_loop).max().unwrap_or(1).clamp(1, RING);
        let ring = if cart.loops.coding.is_native() { native_ring(frame).min(longest) } else { longest };
        let stills = draw(&STILLS, 1, cart.stills)?;
        let clips = draw(&CLIPS, ring, cart.loops)?;
        mix.kinds.iter().try_for_each(|kind| fits(kind, &clips))?;
        Ok(Self(Arc::new(Films { seed, mix, key, cart, stills, clips })))
    }

    /// Study `number`: the same for the same recipe. In any hundred consecutive numbers the kinds of studies have their shares.
    pub fn study(&self, number: u64) -> TestStudy {
        TestStudy::new(Arc::clone(&self.0), number, self.0.kind(number))
    }

    /// The same, of a kind of the caller's choice: one of the mix, or another.
    ///
    /// # Errors
    /// [`FactoryError::TooLong`] when its loops cannot be written.
    pub fn study_of(&self, number: u64, kind: &'static StudyKind) -> Result<TestStudy, FactoryError> {
        fits(kind, &self.0.clips)?;
        Ok(TestStudy::new(Arc::clone(&self.0), number, kind))
    }

    /// About how many bytes a study of this kind has, from a cart of this kind: too many rather than too few.
    ///
    /// # Errors
    /// [`FactoryError::Screen`] when the mix's frames cannot be drawn.
    pub fn estimate(mix: &Mix, cart: &Cart, kind: &StudyKind) -> Result<u64, FactoryError> {
        let (rows, columns) = screen(mix, cart)?;
        let frame = |form: Form| {
            let native = form.pixels.native_bytes(rows, columns);
            match form.coding {
                Coding::JpegBaseline => jpeg_frame(mix, rows, columns),
                Coding::JpegLossless => native / 2,
                Coding::ImplicitVr | Coding::ExplicitVr | Coding::Rle => native,
            }
        };
        let headers = u64::from(kind.instances()) * 8192;
        Ok(headers
            + u64::from(kind.stills) * frame(cart.stills)
            + u64::from(kind.loop_frames()) * frame(cart.loops))
    }
}

impl Films {
    /// Steps through the shares so that few consecutive studies are nearly a mix already.
    fn kind(&self, number: u64) -> &'static StudyKind {
        let total = u64::from(self.mix.kinds.iter().map(|kind| kind.share).sum::<u32>()).max(1);
        let mut at = u128::from(number) * u128::from(step(total)) + u128::from(self.seed % total);
        at %= u128::from(total);
        let mut kinds = self.mix.kinds.iter();
        let found = kinds.find(|kind| match at.checked_sub(u128::from(kind.share)) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        found.unwrap_or(&self.mix.kinds[0])
    }
}

/// A number without a common divisor with `total`, near its golden section.
fn step(total: u64) -> u64 {
    let common = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    (1..=(total * 618 / 1000).max(1)).rev().find(|&step| common(step, total) == 1).unwrap_or(1)
}

/// The rows and columns of a cart's frames: in the proportion of the cart's screen, or else of the reference mix's frame, as
/// many as weigh what the mix says; but no more than the screen has.
fn screen(mix: &Mix, cart: &Cart) -> Result<(u16, u16), FactoryError> {
    let pixels = f64::from(mix.native_frame) / 3.0;
    let proportion = cart.screen.unwrap_or((743, 975));
    if let Some(screen) = cart.screen.filter(|(r, c)| f64::from(*r) * f64::from(*c) <= pixels) {
        return Ok(screen);
    }
    let rows = (pixels * f64::from(proportion.0) / f64::from(proportion.1)).sqrt().round();
    let columns = (pixels / rows.max(1.0)).round();
    let (rows, mut columns) = (rows as u64, columns as u64);
    if [cart.stills, cart.loops].iter().any(|form| form.pixels == Pixels::Ybr422 && form.coding.is_native()) {
        // Two pixels share their chroma.
        columns -= columns % 2;
    }
    match (u16::try_from(rows), u16::try_from(columns)) {
        (Ok(r @ 64..=8192), Ok(c @ 64..=8192)) => Ok((r, c)),
        _ => Err(FactoryError::Screen { rows, columns }),
    }
}

/// Bytes of a frame as JPEG Baseline, if it is as rich as one of the mix.
fn jpeg_frame(mix: &Mix, rows: u16, columns: u16) -> u64 {
    let native = u64::from(rows) * u64::from(columns) * 3;
    u64::from(mix.jpeg_frame) * native / u64::from(mix.native_frame).max(1)
}

/// Refuses a loop that is too long to be written.
fn fits(kind: &StudyKind, clips: &[Arc<Film>]) -> Result<(), FactoryError> {
    let largest = clips.iter().flat_map(|film| &film.ring).map(|frame| frame.stored.len() as u64).max();
    let bytes = largest.unwrap_or(0).saturating_mul(u64::from(kind.frames_per_loop));
    let table = u64::from(kind.frames_per_loop) * 4;
    if bytes + table + 64 < u64::from(u32::MAX) {
        return Ok(());
    }
    Err(FactoryError::TooLong { frames: kind.frames_per_loop, bytes })
}

/// The pictures of stills, and of loops.
const STILLS: [View; 6] =
    [View::Liver, View::VesselFlow, View::Kidney, View::Spectral, View::MMode, View::Vessel];
const CLIPS: [View; 2] = [View::Heart, View::HeartFlow];

/// Frames of the heartbeat of which a still is the first.
const STILL_PERIOD: u32 = 4;

/// Frames of a film, if loops are as long: a heartbeat.
const RING: u32 = 24;

/// Bytes of native frames that all films of loops may have together.
const NATIVE_BUDGET: u64 = 40 << 20;

fn native_ring(frame: u64) -> u32 {
    let fitting = NATIVE_BUDGET / CLIPS.len() as u64 / frame.max(1);
    u32::try_from(fitting.clamp(4, u64::from(RING))).unwrap_or(RING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(mix: Mix) -> String {
        let mix: &'static Mix = Box::leak(Box::new(mix));
        let made = Factory::new(Recipe { seed: 1, mix, encoding: Encoding::AllNative });
        made.err().unwrap().to_string()
    }

    const KIND: StudyKind = StudyKind { name: "a", share: 1, stills: 1, loops: 1, frames_per_loop: 2 };
    const MIX: Mix =
        Mix { kinds: &[KIND], native_frame: 64 * 85 * 3, jpeg_frame: 2_000, lossless_frame: 6_000 };

    #[test]
    fn a_mix_that_makes_no_sense_is_refused_with_the_reason() {
        let none = Mix { kinds: &[], ..MIX };
        assert_eq!(refused(none), "the mix has no kinds of studies");
        let tiny = Mix { native_frame: 30, ..MIX };
        assert_eq!(refused(tiny), "frames of 3 x 3 cannot be drawn: 64 to 8192 are possible");
        let long = Mix { kinds: &[StudyKind { frames_per_loop: 300_000, ..KIND }], ..MIX };
        assert!(refused(long).starts_with("a loop of 300000 frames would have 48"), "4 GiB is the limit");
    }

    #[test]
    fn a_frame_weighs_what_the_mix_says_and_the_reference_is_975_by_743() {
        let usual = Cart::of(Encoding::NativeStills);
        assert_eq!(screen(&chrysalis_sizing::REFERENCE, usual).unwrap(), (743, 975));
        let (rows, columns) = screen(&Mix { native_frame: 1_000_000, ..MIX }, usual).unwrap();
        assert!((u32::from(rows) * u32::from(columns) * 3).abs_diff(1_000_000) < 3 * u32::from(rows));
    }
}
