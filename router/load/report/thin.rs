//! Fewer points for a line that says as much.

/// Neighbouring points as one: where they stand, and what the lowest, the middle and the highest of them is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part {
    pub(super) at: f64,
    pub(super) low: f64,
    pub(super) middle: f64,
    pub(super) high: f64,
}

/// At most `most` parts of equally many points each, in their order. No extreme is lost: a spike of one sample among a
/// hundred thousand is the `high` of its part. Few points are a part each.
pub(super) fn thin(points: &[(f64, f64)], most: usize) -> Vec<Part> {
    let size = points.len().div_ceil(most.max(1)).max(1);
    points.chunks(size).filter_map(part).collect()
}

fn part(points: &[(f64, f64)]) -> Option<Part> {
    let (first, last) = (points.first()?, points.last()?);
    let mut values: Vec<_> = points.iter().map(|point| point.1).collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (*values.first()?, *values.last()?);
    Some(Part { at: (first.0 + last.0) / 2.0, low, middle: *values.get(values.len() / 2)?, high })
}

#[cfg(test)]
mod tests {
    use super::thin;

    #[test]
    fn a_spike_among_a_hundred_thousand_points_is_kept() {
        let mut points: Vec<_> = (0..100_000).map(|at| (f64::from(at), f64::from(at % 7))).collect();
        points[54_321].1 = 1e6;
        points[77_777].1 = -5.0;
        let parts = thin(&points, 240);
        assert!((200..=240).contains(&parts.len()), "{} parts", parts.len());
        let high = parts.iter().find(|part| part.high == 1e6).expect("the highest is there");
        assert!((high.at - 54_321.0).abs() < 500.0 && high.low == 0.0 && high.middle == 3.0, "{high:?}");
        assert!(parts.iter().any(|part| part.low == -5.0), "the lowest is there");
        assert!(parts.windows(2).all(|pair| pair[0].at < pair[1].at), "parts are out of order");
    }

    #[test]
    fn few_points_are_left_as_they_are() {
        for length in [0, 1, 2, 3, 10] {
            let points: Vec<_> = (0..length).map(|at| (f64::from(at), f64::from(at * 3))).collect();
            let parts = thin(&points, 10);
            let same = |(part, point): (&super::Part, &(f64, f64))| {
                (part.at, part.low, part.middle, part.high) == (point.0, point.1, point.1, point.1)
            };
            assert!(parts.len() == points.len() && parts.iter().zip(&points).all(same), "{parts:?}");
        }
    }

    #[test]
    fn no_length_gives_more_than_was_asked_for() {
        for length in [5, 11, 998, 1001, 1999, 2001] {
            let points: Vec<_> = (0..length).map(|at| (f64::from(at), f64::from(at * 31 % 17))).collect();
            for most in [0, 1, 4, 7, 10, 1000] {
                assert!(thin(&points, most).len() <= most.max(1), "{length} points to {most}");
            }
        }
    }
}
