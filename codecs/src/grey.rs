#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Is every pixel of this frame grey? At the speed at which memory delivers it.
//!
//! A pixel is grey within a tolerance if the largest of its three samples is not more than that above the smallest.

/// The first pixel whose red, green and blue are further apart than `tolerance`; none if all are grey. 8 bit, samples by
/// pixel; bytes after the last whole pixel are not looked at.
#[must_use]
pub fn find_colour(pixels: &[u8], tolerance: u8) -> Option<usize> {
    let mut first = 0;
    for stretch in pixels.chunks(STRETCH) {
        if exceeds(stretch, tolerance) {
            let coloured = |pixel: &[u8; 3]| spread(*pixel) > tolerance;
            return stretch.as_chunks::<3>().0.iter().position(coloured).map(|index| first + index);
        }
        first += STRETCH / 3;
    }
    None
}

/// The same for samples of two bytes, the low byte first.
#[must_use]
pub fn find_colour_16(pixels: &[u8], tolerance: u16) -> Option<usize> {
    let mut first = 0;
    for stretch in pixels.chunks(2 * STRETCH) {
        let mut excess = 0;
        for pixel in stretch.as_chunks::<6>().0 {
            excess |= spread(samples(*pixel)).saturating_sub(tolerance);
        }
        if excess != 0 {
            let coloured = |pixel: &[u8; 6]| spread(samples(*pixel)) > tolerance;
            return stretch.as_chunks::<6>().0.iter().position(coloured).map(|index| first + index);
        }
        first += STRETCH / 3;
    }
    None
}

/// Bytes that are looked at between two branches: whole blocks, and small enough for the nearest cache.
const STRETCH: usize = 64 * BLOCK;

/// Sixteen pixels: three vectors of sixteen bytes, after which the pattern of the samples starts anew.
const BLOCK: usize = 48;

/// Whether any whole pixel of `stretch`, which starts with one, is not grey.
///
/// Every byte is compared with its neighbour and the one after that; masks drop the comparisons across two pixels. What is
/// left for each pixel is |R-G|, |G-B| and |R-B|, and the largest of them is what counts. Nothing is shuffled, and nothing
/// branches.
fn exceeds(stretch: &[u8], tolerance: u8) -> bool {
    let (whole, _) = stretch.as_chunks::<3>();
    let bytes = whole.as_flattened();
    let (Some(next), Some(after)) = (bytes.get(1..), bytes.get(2..)) else { return false };
    let mut excess = [0_u8; BLOCK];
    let blocks = bytes
        .as_chunks::<BLOCK>()
        .0
        .iter()
        .zip(next.as_chunks::<BLOCK>().0)
        .zip(after.as_chunks::<BLOCK>().0);
    let mut seen = 0;
    for ((one, next), after) in blocks {
        let lanes = excess
            .iter_mut()
            .zip(one)
            .zip(next)
            .zip(after)
            .zip(WITH_NEXT.as_flattened())
            .zip(WITH_AFTER.as_flattened());
        for (((((excess, one), next), after), with_next), with_after) in lanes {
            let apart = (one.abs_diff(*next) & with_next).max(one.abs_diff(*after) & with_after);
            *excess |= apart.saturating_sub(tolerance);
        }
        seen += BLOCK / 3;
    }
    let rest = whole.get(seen..).unwrap_or_default();
    excess.iter().any(|excess| *excess != 0) || rest.iter().any(|pixel| spread(*pixel) > tolerance)
}

/// Red with green, green with blue, but not blue with the next pixel's red.
const WITH_NEXT: [[u8; 3]; BLOCK / 3] = [[0xFF, 0xFF, 0]; BLOCK / 3];
/// Red with blue.
const WITH_AFTER: [[u8; 3]; BLOCK / 3] = [[0xFF, 0, 0]; BLOCK / 3];

#[inline]
fn spread<T: Ord + Copy + std::ops::Sub<Output = T>>([red, green, blue]: [T; 3]) -> T {
    red.max(green).max(blue) - red.min(green).min(blue)
}

#[inline]
fn samples([r0, r1, g0, g1, b0, b1]: [u8; 6]) -> [u16; 3] {
    [u16::from_le_bytes([r0, r1]), u16::from_le_bytes([g0, g1]), u16::from_le_bytes([b0, b1])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Greys of every value, `count` of them.
    fn greys(count: usize) -> Vec<u8> {
        (0..count).flat_map(|index| [(index * 7) as u8; 3]).collect()
    }

    fn wide(pixels: &[u8]) -> Vec<u8> {
        pixels.iter().flat_map(|sample| (u16::from(*sample) * 257).to_le_bytes()).collect()
    }

    #[test]
    fn a_grey_frame_has_no_colour_whatever_its_length() {
        for count in [0, 1, 2, 15, 16, 17, 18, 1023, 1024, 1025, 1040, 1041, 3000] {
            assert_eq!(find_colour(&greys(count), 0), None, "{count} pixels");
            assert_eq!(find_colour_16(&wide(&greys(count)), 0), None, "{count} pixels");
        }
    }

    #[test]
    fn a_single_coloured_pixel_is_found_wherever_it_is() {
        for count in [1, 2, 16, 17, 18, 33, 1024, 1025, 1041, 2100] {
            let mut pixels = greys(count);
            for at in 0..count * 3 {
                let was = pixels[at];
                pixels[at] ^= 1;
                assert_eq!(find_colour(&pixels, 0), Some(at / 3), "byte {at} of {count} pixels");
                pixels[at] = was;
            }
            for at in (0..count * 3).step_by(7) {
                let mut wide = wide(&greys(count));
                wide[at * 2] ^= 1;
                assert_eq!(find_colour_16(&wide, 0), Some(at / 3), "sample {at} of {count} pixels");
            }
        }
    }

    #[test]
    fn the_tolerance_itself_is_still_grey_and_one_more_is_not() {
        for samples in [
            [100, 110, 105],
            [110, 100, 105],
            [105, 100, 110],
            [105, 110, 100],
            [100, 100, 110],
            [100, 110, 110],
        ] {
            for position in [0, 15, 16, 40] {
                let mut pixels = greys(41);
                pixels[position * 3..position * 3 + 3].copy_from_slice(&samples);
                assert_eq!(find_colour(&pixels, 10), None);
                assert_eq!(find_colour(&pixels, 9), Some(position));
                assert_eq!(find_colour_16(&wide(&pixels), 2570), None);
                assert_eq!(find_colour_16(&wide(&pixels), 2569), Some(position));
            }
        }
        assert_eq!(find_colour(&[0, 255, 128], 255), None);
        assert_eq!(find_colour(&[0, 255, 128], 254), Some(0));
    }

    #[test]
    fn the_first_of_several_is_reported() {
        let mut pixels = greys(5000);
        pixels[4000 * 3] ^= 0x80;
        pixels[1999 * 3 + 2] ^= 0x80;
        assert_eq!(find_colour(&pixels, 20), Some(1999));
    }

    #[test]
    fn bytes_after_the_last_whole_pixel_are_not_looked_at() {
        assert_eq!(find_colour(&[5, 5, 5, 9, 200], 0), None);
        assert_eq!(find_colour_16(&[5, 5, 5, 5, 5, 5, 9, 200], 0), None);
    }

    proptest! {
        #[test]
        fn the_fast_way_finds_what_the_plain_way_finds(pixels in prop::collection::vec(60_u8..70, 0..400), tolerance in 0_u8..10) {
            let plain = pixels.as_chunks::<3>().0.iter().position(|pixel| spread(*pixel) > tolerance);
            prop_assert_eq!(find_colour(&pixels, tolerance), plain);
            prop_assert_eq!(find_colour_16(&wide(&pixels), u16::from(tolerance) * 257), plain);
        }
    }
}
