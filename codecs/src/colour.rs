#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Colour spaces and the order of samples.
//!
//! YBR_FULL (PS3.3 C.7.6.3.1.2) is the YCbCr of JFIF. The arithmetic is libjpeg's, bit for bit (16 fractional bits, rounded
//! half up), so that pixels decoded here equal those of the decoders that most of the world uses.

use crate::layout::{Depth, FrameLayout, Order, Samples};

/// The bytes of a frame have another length than its layout needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame has {found} bytes, its layout needs {expected}")]
pub struct WrongLength {
    /// Bytes given.
    pub found: u64,
    /// Bytes needed.
    pub expected: u64,
}

/// Turns YBR_FULL into RGB in place: 8 bit, samples by pixel. One or two bytes after the last whole pixel are left alone.
pub fn ybr_full_to_rgb(pixels: &mut [u8]) {
    convert(pixels, |[y, cb, cr]| {
        let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
        // 1.402, 0.34414, 0.71414 and 1.772, each as a whole number and a rest of 16 bits, which multiplies faster.
        let red = y + cr + ((26_345 * cr + HALF) >> BITS);
        let green = y - cr + ((18_734 * cr - 22_554 * cb + HALF) >> BITS);
        let blue = y + 2 * cb + ((-14_942 * cb + HALF) >> BITS);
        [clamped(red), clamped(green), clamped(blue)]
    });
}

/// Turns RGB into YBR_FULL in place: 8 bit, samples by pixel. One or two bytes after the last whole pixel are left alone.
pub fn rgb_to_ybr_full(pixels: &mut [u8]) {
    convert(pixels, |[r, g, b]| {
        let (red, green, blue) = (i32::from(r), i32::from(g), i32::from(b));
        let cb = -11_059 * red - 21_709 * green + 32_768 * blue;
        let cr = 32_768 * red - 27_439 * green - 5_329 * blue;
        // libjpeg rounds chroma a hair down, so that 255.5 does not become 256.
        let chroma = |sum: i32| ((sum + (128 << BITS) + HALF - 1) >> BITS) as u8;
        [luma([r, g, b]), chroma(cb), chroma(cr)]
    });
}

/// Bytes of one native YBR_FULL_422 frame of 8 bits: two per pixel, rows of an odd width end with a whole pair.
#[must_use]
pub const fn ybr_422_bytes(rows: u16, columns: u16) -> u64 {
    rows as u64 * columns.div_ceil(2) as u64 * 4
}

/// Turns native YBR_FULL_422 (8 bit; Y0 Y1 Cb Cr for every two pixels of a row, PS3.3 C.7.6.3.1.2) into YBR_FULL by pixel.
/// Both pixels get the pair's chroma. Of `layout` only rows and columns matter.
///
/// If columns are odd, each row ends with a whole pair whose second pixel is none ([`ybr_422_bytes`]); frames whose pairs
/// run on across the rows instead are told by their length.
///
/// # Errors
/// The length fits neither.
pub fn ybr_422_to_ybr_full(native: &[u8], layout: FrameLayout) -> Result<Vec<u8>, WrongLength> {
    let (found, expected) = (native.len() as u64, ybr_422_bytes(layout.rows, layout.columns));
    let run_on = [layout.pixels() * 2, layout.pixels().div_ceil(2) * 4];
    let row_bytes = match found {
        _ if found == expected => usize::from(layout.columns).div_ceil(2) * 4,
        _ if run_on.contains(&found) => native.len(),
        _ => return Err(WrongLength { found, expected }),
    };
    if native.is_empty() {
        return Ok(Vec::new());
    }
    let row_pixels = if found == expected { usize::from(layout.columns) } else { layout.pixels() as usize };
    let mut out = Vec::with_capacity(layout.pixels() as usize * 3);
    for row in native.chunks_exact(row_bytes) {
        let (pairs, rest) = row.as_chunks::<4>();
        let end = out.len() + row_pixels * 3;
        out.extend(pairs.iter().flat_map(|&[y0, y1, cb, cr]| [y0, cb, cr, y1, cb, cr]));
        if let (&[y, cb], Some(&[_, _, _, cr])) = (rest, pairs.last()) {
            // Pairs that run on and end in half of one: its second chroma is not there, the neighbour's is nearest.
            out.extend([y, cb, cr]);
        }
        out.truncate(end);
    }
    Ok(out)
}

/// Puts the samples of each pixel side by side (Planar Configuration 1 to 0).
///
/// # Errors
/// `planes` has another length than `layout` asks for.
pub fn planes_to_pixels(planes: &[u8], layout: FrameLayout) -> Result<Vec<u8>, WrongLength> {
    check_length(planes, layout)?;
    let mut out = planes.to_vec();
    if layout.samples == Samples::Three {
        match layout.depth {
            Depth::Eight => interleave(planes, out.as_mut_slice()),
            Depth::Sixteen => interleave(planes.as_chunks::<2>().0, out.as_chunks_mut::<2>().0),
        }
    }
    Ok(out)
}

/// Puts all first samples first, then all second, then all third (Planar Configuration 0 to 1).
///
/// # Errors
/// `pixels` has another length than `layout` asks for.
pub fn pixels_to_planes(pixels: &[u8], layout: FrameLayout) -> Result<Vec<u8>, WrongLength> {
    check_length(pixels, layout)?;
    let mut out = pixels.to_vec();
    if layout.samples == Samples::Three {
        match layout.depth {
            Depth::Eight => separate(pixels, out.as_mut_slice()),
            Depth::Sixteen => separate(pixels.as_chunks::<2>().0, out.as_chunks_mut::<2>().0),
        }
    }
    Ok(out)
}

/// The same pixels with their samples ordered as asked; `layout` says how they are ordered now.
///
/// # Errors
/// `pixels` has another length than `layout` asks for.
pub fn reorder(pixels: Vec<u8>, layout: FrameLayout, order: Order) -> Result<Vec<u8>, WrongLength> {
    check_length(&pixels, layout)?;
    match (layout.samples, layout.order, order) {
        (Samples::Three, Order::ByPlane, Order::ByPixel) => planes_to_pixels(&pixels, layout),
        (Samples::Three, Order::ByPixel, Order::ByPlane) => pixels_to_planes(&pixels, layout),
        _ => Ok(pixels),
    }
}

/// The red samples: what is left of an image in which every pixel is exactly grey. 8 bit, samples by pixel.
#[must_use]
pub fn rgb_to_grey_exact(pixels: &[u8]) -> Vec<u8> {
    pixels.as_chunks::<3>().0.iter().map(|&[red, _, _]| red).collect()
}

/// The same for samples of two bytes.
#[must_use]
pub fn rgb_to_grey_exact_16(pixels: &[u8]) -> Vec<u8> {
    pixels.as_chunks::<6>().0.iter().flat_map(|&[low, high, ..]| [low, high]).collect()
}

/// Luma with the weights of JFIF (0.299, 0.587, 0.114): for images that are grey but for the rounding of a lossy codec. 8 bit,
/// samples by pixel. Of an exactly grey pixel it is the grey.
#[must_use]
pub fn rgb_to_luma(pixels: &[u8]) -> Vec<u8> {
    pixels.as_chunks::<3>().0.iter().map(|&pixel| luma(pixel)).collect()
}

/// Fractional bits of the weights.
const BITS: u32 = 16;
const HALF: i32 = 1 << (BITS - 1);

#[inline]
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((19_595 * i32::from(red) + 38_470 * i32::from(green) + 7_471 * i32::from(blue) + HALF) >> BITS) as u8
}

#[inline]
fn clamped(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

/// Applies `one` to every pixel. Blocks of 16 pixels, planes within, are what the compiler turns into vectors.
#[inline]
fn convert(pixels: &mut [u8], one: impl Fn([u8; 3]) -> [u8; 3]) {
    const BLOCK: usize = 16;
    let (blocks, rest) = pixels.as_chunks_mut::<{ 3 * BLOCK }>();
    for block in blocks {
        let mut planes = [[0_u8; BLOCK]; 3];
        let [first, second, third] = &mut planes;
        for (((pixel, a), b), c) in
            block.as_chunks::<3>().0.iter().zip(&mut *first).zip(&mut *second).zip(&mut *third)
        {
            [*a, *b, *c] = *pixel;
        }
        for ((a, b), c) in first.iter_mut().zip(&mut *second).zip(&mut *third) {
            [*a, *b, *c] = one([*a, *b, *c]);
        }
        for (((pixel, a), b), c) in
            block.as_chunks_mut::<3>().0.iter_mut().zip(&*first).zip(&*second).zip(&*third)
        {
            *pixel = [*a, *b, *c];
        }
    }
    for pixel in rest.as_chunks_mut::<3>().0 {
        *pixel = one(*pixel);
    }
}

fn check_length(pixels: &[u8], layout: FrameLayout) -> Result<(), WrongLength> {
    let (found, expected) = (pixels.len() as u64, layout.bytes());
    if found == expected { Ok(()) } else { Err(WrongLength { found, expected }) }
}

/// Thirds of `planes` side by side in `out`.
fn interleave<T: Copy>(planes: &[T], out: &mut [T]) {
    let (first, rest) = planes.split_at(planes.len() / 3);
    let (second, third) = rest.split_at(first.len());
    for (pixel, ((a, b), c)) in out.as_chunks_mut::<3>().0.iter_mut().zip(first.iter().zip(second).zip(third))
    {
        *pixel = [*a, *b, *c];
    }
}

/// The reverse of `interleave`.
fn separate<T: Copy>(pixels: &[T], out: &mut [T]) {
    let (first, rest) = out.split_at_mut(pixels.len() / 3);
    let (second, third) = rest.split_at_mut(first.len());
    for (pixel, ((a, b), c)) in pixels.as_chunks::<3>().0.iter().zip(first.iter_mut().zip(second).zip(third))
    {
        [*a, *b, *c] = *pixel;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(rows: u16, columns: u16, depth: Depth) -> FrameLayout {
        FrameLayout { rows, columns, samples: Samples::Three, depth, order: Order::ByPixel }
    }

    fn every_colour() -> Vec<u8> {
        (0..=255_u8)
            .flat_map(|a| (0..=255_u8).flat_map(move |b| (0..=255_u8).flat_map(move |c| [a, b, c])))
            .collect()
    }

    /// The tables of jdcolor.c, as its comments describe them: FIX(x) = x * 65536 + 0.5.
    #[test]
    fn every_ybr_colour_becomes_the_rgb_that_libjpeg_makes_of_it() {
        let fix = |x: f64| (x * 65_536.0 + 0.5) as i32;
        let source = every_colour();
        let mut pixels = source.clone();
        ybr_full_to_rgb(&mut pixels);
        for (is, of) in pixels.as_chunks::<3>().0.iter().zip(source.as_chunks::<3>().0) {
            let [y, cb, cr] = of.map(i32::from);
            let (cb, cr) = (cb - 128, cr - 128);
            let red = y + ((fix(1.402) * cr + 32_768) >> 16);
            let green = y + ((-fix(0.344_14) * cb + 32_768 - fix(0.714_14) * cr) >> 16);
            let blue = y + ((fix(1.772) * cb + 32_768) >> 16);
            assert_eq!(*is, [red, green, blue].map(|v| v.clamp(0, 255) as u8), "of {of:?}");
        }
    }

    /// The tables of jccolor.c.
    #[test]
    fn every_rgb_colour_becomes_the_ybr_that_libjpeg_makes_of_it() {
        let fix = |x: f64| (x * 65_536.0 + 0.5) as i32;
        let source = every_colour();
        let mut pixels = source.clone();
        rgb_to_ybr_full(&mut pixels);
        for (is, of) in pixels.as_chunks::<3>().0.iter().zip(source.as_chunks::<3>().0) {
            let [r, g, b] = of.map(i32::from);
            let y = (fix(0.299) * r + fix(0.587) * g + fix(0.114) * b + 32_768) >> 16;
            let offset = (128 << 16) + 32_767;
            let cb = (-fix(0.168_74) * r - fix(0.331_26) * g + fix(0.5) * b + offset) >> 16;
            let cr = (fix(0.5) * r - fix(0.418_69) * g - fix(0.081_31) * b + offset) >> 16;
            assert_eq!(*is, [y, cb, cr].map(|v| u8::try_from(v).unwrap()), "of {of:?}");
        }
    }

    #[test]
    fn grey_stays_the_same_grey_in_either_direction() {
        let source: Vec<u8> = (0..=255).flat_map(|grey| [grey; 3]).collect();
        let mut pixels = source.clone();
        rgb_to_ybr_full(&mut pixels);
        assert!(
            pixels.as_chunks::<3>().0.iter().zip(0..=255).all(|(pixel, grey)| *pixel == [grey, 128, 128])
        );
        ybr_full_to_rgb(&mut pixels);
        assert_eq!(pixels, source);
        assert_eq!(rgb_to_luma(&source), (0..=255).collect::<Vec<u8>>());
        assert_eq!(rgb_to_grey_exact(&source), (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn a_number_of_pixels_that_fills_no_block_is_converted_to_the_last() {
        for count in 0..40 {
            let mut pixels = [76, 85, 255].repeat(count);
            pixels.push(9);
            ybr_full_to_rgb(&mut pixels);
            assert_eq!(pixels, [[254, 0, 0].repeat(count), vec![9]].concat());
        }
    }

    #[test]
    fn both_pixels_of_a_422_pair_get_its_chroma() {
        let native = [1, 2, 50, 60, 3, 4, 70, 80];
        let full = ybr_422_to_ybr_full(&native, layout(1, 4, Depth::Eight)).unwrap();
        assert_eq!(full, [1, 50, 60, 2, 50, 60, 3, 70, 80, 4, 70, 80]);
    }

    #[test]
    fn rows_of_an_odd_width_end_with_half_of_a_whole_pair() {
        let native = [1, 2, 50, 60, 3, 0, 70, 80, 4, 5, 51, 61, 6, 0, 71, 81];
        let full = ybr_422_to_ybr_full(&native, layout(2, 3, Depth::Eight)).unwrap();
        assert_eq!(full, [1, 50, 60, 2, 50, 60, 3, 70, 80, 4, 51, 61, 5, 51, 61, 6, 71, 81]);
    }

    #[test]
    fn pairs_that_run_on_across_odd_rows_are_told_by_their_length() {
        let native = [1, 2, 50, 60, 3, 4, 70, 80, 5, 6, 90, 91];
        let full = ybr_422_to_ybr_full(&native, layout(2, 3, Depth::Eight)).unwrap();
        assert_eq!(full, [1, 50, 60, 2, 50, 60, 3, 70, 80, 4, 70, 80, 5, 90, 91, 6, 90, 91]);
        let nine = [1, 2, 50, 60, 3, 4, 70, 80, 5, 6, 90, 91, 7, 8, 20, 21, 9, 30];
        let full = ybr_422_to_ybr_full(&nine, layout(3, 3, Depth::Eight)).unwrap();
        assert_eq!(full.len(), 27);
        assert_eq!(full.last_chunk(), Some(&[9, 30, 21]));
    }

    #[test]
    fn a_422_frame_of_another_length_is_an_error_that_names_both() {
        let error = ybr_422_to_ybr_full(&[0; 7], layout(1, 4, Depth::Eight)).unwrap_err();
        assert_eq!(error.to_string(), "the frame has 7 bytes, its layout needs 8");
        assert_eq!(ybr_422_to_ybr_full(&[], layout(0, 5, Depth::Eight)), Ok(Vec::new()));
    }

    #[test]
    fn planes_become_pixels_and_pixels_planes_again() {
        let eight = layout(1, 2, Depth::Eight);
        let pixels = planes_to_pixels(&[1, 2, 10, 20, 100, 200], eight).unwrap();
        assert_eq!(pixels, [1, 10, 100, 2, 20, 200]);
        assert_eq!(pixels_to_planes(&pixels, eight).unwrap(), [1, 2, 10, 20, 100, 200]);

        let sixteen = layout(1, 2, Depth::Sixteen);
        let planes = [1, 0, 2, 0, 10, 1, 20, 2, 100, 3, 200, 4];
        let pixels = planes_to_pixels(&planes, sixteen).unwrap();
        assert_eq!(pixels, [1, 0, 10, 1, 100, 3, 2, 0, 20, 2, 200, 4]);
        assert_eq!(pixels_to_planes(&pixels, sixteen).unwrap(), planes);
        assert_eq!(rgb_to_grey_exact_16(&pixels), [1, 0, 2, 0]);
    }

    #[test]
    fn pixels_that_are_in_the_wanted_order_stay_as_they_are() {
        let eight = layout(1, 2, Depth::Eight);
        assert_eq!(reorder(vec![1, 2, 3, 4, 5, 6], eight, Order::ByPixel).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(reorder(vec![1, 2, 3, 4, 5, 6], eight, Order::ByPlane).unwrap(), [1, 4, 2, 5, 3, 6]);
        assert_eq!(planes_to_pixels(&[0; 5], eight), Err(WrongLength { found: 5, expected: 6 }));
    }
}
