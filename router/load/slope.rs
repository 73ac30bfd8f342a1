//! How memory grows: a line through samples by least squares.

/// The slope of the line through points `(x, y)` that is nearest to them; nothing for fewer than three points, or for such
/// as stand above one another.
pub(super) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 3 {
        return None;
    }
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let together: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then(|| together / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_own_slope_and_noise_around_it_none() {
        let line: Vec<_> = (0..100).map(f64::from).map(|x| (x, 7.0 + 0.5 * x)).collect();
        assert!((slope(&line).unwrap() - 0.5).abs() < 1e-9);
        let noise: Vec<_> = (0..100).map(|x| (f64::from(x), f64::from(x % 2))).collect();
        assert!(slope(&noise).unwrap().abs() < 1e-3);
    }

    #[test]
    fn too_few_points_have_no_slope() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(slope(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
