#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Prediction, H.1.2.1: samples to differences and back, a row at a time. All arithmetic is modulo 65,536.

/// What is predicted before there is any sample: the middle of the range.
pub(super) const fn initial(precision: u8, point_transform: u8) -> u16 {
    1 << (precision - point_transform - 1)
}

/// The differences of a row to the samples on their left (Selection Value 1). `before` predicts the first pixel: the pixel above
/// it, or the middle of the range. `row` holds pixels of `before.len()` samples.
pub(super) fn differences<T: Copy + Into<u16>>(before: &[T], row: &[T], differences: &mut [u16]) {
    let (first, others) = differences.split_at_mut(before.len().min(differences.len()));
    let subtract = |((difference, sample), left): ((&mut u16, &T), &T)| {
        *difference = (*sample).into().wrapping_sub((*left).into());
    };
    first.iter_mut().zip(row).zip(before).for_each(subtract);
    others.iter_mut().zip(row.get(before.len()..).unwrap_or_default()).zip(row).for_each(subtract);
}

/// A predictor for what has neighbours on the left and above (Table H.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Selection(u8);

impl Selection {
    /// The sample on the left, which is also used in a first row.
    pub(super) const LEFT: Self = Self(1);

    /// Selection Value 1 to 7.
    pub(super) const fn new(value: u8) -> Option<Self> {
        if matches!(value, 1..=7) { Some(Self(value)) } else { None }
    }
}

/// Turns the differences in `row` into samples, in place. `above` is the row before, and nothing in the first row of a scan or
/// of a restart interval: then everything is predicted from the left, and the first pixel from `initial`.
pub(super) fn undo<const N: usize>(
    row: &mut [u16],
    above: Option<&[u16]>,
    selection: Selection,
    initial: u16,
) {
    let Some(above) = above else { return from_left(row, [initial; N]) };
    match selection.0 {
        2 => undo_with::<N>(row, above, |_, b, _| b),
        3 => undo_with::<N>(row, above, |_, _, c| c),
        4 => undo_with::<N>(row, above, |a, b, c| a + b - c),
        5 => undo_with::<N>(row, above, |a, b, c| a + ((b - c) >> 1)),
        6 => undo_with::<N>(row, above, |a, b, c| b + ((a - c) >> 1)),
        7 => undo_with::<N>(row, above, |a, b, _| (a + b) >> 1),
        _ => from_left(row, above.first_chunk::<N>().copied().unwrap_or([initial; N])),
    }
}

fn from_left<const N: usize>(row: &mut [u16], mut left: [u16; N]) {
    for pixel in row.as_chunks_mut::<N>().0 {
        for (sample, left) in pixel.iter_mut().zip(&mut left) {
            *sample = sample.wrapping_add(*left);
            *left = *sample;
        }
    }
}

/// `predict` gets the samples on the left (Ra), above (Rb), and above on the left (Rc).
#[inline(always)]
fn undo_with<const N: usize>(row: &mut [u16], above: &[u16], predict: impl Fn(i32, i32, i32) -> i32) {
    let mut pixels = row.as_chunks_mut::<N>().0.iter_mut().zip(above.as_chunks::<N>().0);
    let Some((first, &above)) = pixels.next() else { return };
    // The first pixel of a row is predicted from the one above it, whatever the selection.
    first.iter_mut().zip(above).for_each(|(sample, above)| *sample = sample.wrapping_add(above));
    let (mut left, mut corner) = (*first, above);
    for (pixel, above) in pixels {
        let neighbours = left.iter_mut().zip(above).zip(&mut corner);
        for (sample, ((left, above), corner)) in pixel.iter_mut().zip(neighbours) {
            let prediction = predict(i32::from(*left), i32::from(*above), i32::from(*corner));
            *sample = sample.wrapping_add(prediction as u16);
            (*left, *corner) = (*sample, *above);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_predictor_uses_its_neighbours() {
        // Ra = 10, Rb = 7, Rc = 2; the difference is 100.
        for (selection, sample) in [(1, 110), (2, 107), (3, 102), (4, 115), (5, 112), (6, 111), (7, 108)] {
            let mut row = [8, 100];
            let selection = Selection::new(selection).expect("a selection");
            undo::<1>(&mut row, Some(&[2, 7]), selection, 128);
            assert_eq!(row, [10, sample], "{selection:?}");
        }
    }

    #[test]
    fn halves_of_negative_differences_are_rounded_down() {
        let mut row = [0, 0];
        undo::<1>(&mut row, Some(&[10, 7]), Selection(5), 128);
        assert_eq!(row, [10, 8]);
    }

    #[test]
    fn a_first_row_is_predicted_from_the_left_whatever_the_selection() {
        for selection in 1..=7 {
            let mut row = [1, 2, 3, 1, 1, 1];
            undo::<3>(&mut row, None, Selection(selection), 128);
            assert_eq!(row, [129, 130, 131, 130, 131, 132]);
        }
    }

    #[test]
    fn differences_wrap_around() {
        let mut out = [0; 3];
        differences::<u16>(&[0x8000], &[0, 0xFFFF, 0], &mut out);
        assert_eq!(out, [0x8000, 0xFFFF, 1]);
        undo::<1>(&mut out, None, Selection::LEFT, 0x8000);
        assert_eq!(out, [0, 0xFFFF, 0]);
    }
}
