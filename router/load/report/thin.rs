//! Fewer points for a line that looks the same.

/// At most `most` of the points, in their order: the first and the last, and of each part between them its lowest and its
/// highest, so that a spike of one sample is still seen among a hundred thousand. Fewer than four cannot be asked for.
pub(super) fn thin(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let most = most.max(4);
    let [first, inner @ .., last] = points else { return points.to_vec() };
    if points.len() <= most {
        return points.to_vec();
    }
    let mut kept = vec![*first];
    for part in inner.chunks(inner.len().div_ceil((most - 2) / 2)) {
        let low = extreme(part, |(_, value), (_, lowest)| value < lowest);
        let high = extreme(part, |(_, value), (_, highest)| value > highest);
        let (Some(low), Some(high)) = (low, high) else { continue };
        kept.extend([low.min(high), low.max(high)].iter().filter_map(|at| part.get(*at)));
    }
    kept.push(*last);
    // Where a part is flat, both of its extremes are its first point.
    kept.dedup();
    kept
}

/// Where the first point stands that no other one `beats`.
fn extreme(part: &[(f64, f64)], beats: impl Fn(&(f64, f64), &(f64, f64)) -> bool) -> Option<usize> {
    let better = |best: usize, (at, point)| if beats(point, part.get(best)?) { Some(at) } else { Some(best) };
    part.iter().enumerate().try_fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::thin;

    #[test]
    fn a_spike_among_a_hundred_thousand_points_is_kept() {
        let mut points: Vec<_> = (0..100_000).map(|at| (f64::from(at), f64::from(at % 7))).collect();
        points[54_321].1 = 1e6;
        points[77_777].1 = -5.0;
        let thin = thin(&points, 1000);
        assert!(thin.len() <= 1000 && thin.len() > 900, "{} points", thin.len());
        for wanted in [0, 54_321, 77_777, 99_999] {
            assert!(thin.contains(&points[wanted]), "point {wanted} is missing");
        }
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0), "points are out of order");
    }

    #[test]
    fn few_points_are_left_as_they_are() {
        for length in [0, 1, 2, 3, 10] {
            let points: Vec<_> = (0..length).map(|at| (f64::from(at), 1.0)).collect();
            assert_eq!(thin(&points, 10), points);
        }
    }

    #[test]
    fn no_length_gives_more_than_was_asked_for() {
        for length in [5, 11, 998, 1001, 1002, 1999, 2001] {
            let points: Vec<_> = (0..length).map(|at| (f64::from(at), f64::from(at * 31 % 17))).collect();
            for most in [4, 7, 10, 1000] {
                assert!(thin(&points, most).len() <= most.max(4), "{length} points to {most}");
            }
        }
    }
}
