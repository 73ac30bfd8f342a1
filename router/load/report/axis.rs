//! Axes: where a value stands between the two ends, and which values are written beside it.

/// One axis of a plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
    /// The values that are written beside it, ascending, all within the ends.
    pub(super) ticks: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    Log,
}

impl Axis {
    /// From nought to `highest` or a little more, at least to `least`, in steps of 1, 2 or 5 times a power of ten.
    pub(super) fn linear(highest: f64, least: f64) -> Self {
        let highest = if highest.is_finite() { highest.max(least) } else { least };
        let step = nice(highest / 5.0);
        let steps = (highest / step - 1e-9).ceil().max(1.0);
        Self { low: 0.0, high: step * steps, scale: Scale::Linear, ticks: multiples(step, steps) }
    }

    /// Whole powers of ten that hold all of the values, which are above nought; others are left out of account.
    pub(super) fn log(values: impl Iterator<Item = f64>) -> Self {
        let usable = values.filter(|value| value.is_finite() && *value > 0.0);
        let (least, most) =
            usable.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        if most == 0.0 {
            return Self::log([1e-3, 1.0].into_iter());
        }
        // A value that is a power of ten, give or take what the logarithm loses, needs no decade more.
        let first = (least.log10() + 1e-9).floor() as i32;
        let last = ((most.log10() - 1e-9).ceil() as i32).max(first + 1);
        let between: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = (last - first + 7) / 8;
        let high = 10_f64.powi(last);
        let decades = (first..last).step_by(every.max(1) as usize);
        let mut ticks: Vec<_> =
            decades.flat_map(|power| between.iter().map(move |digit| digit * 10_f64.powi(power))).collect();
        ticks.push(high);
        Self { low: 10_f64.powi(first), high, scale: Scale::Log, ticks }
    }

    /// From nought to exactly `end` seconds, in steps that a clock has.
    pub(super) fn time(end: f64) -> Self {
        let end = if end.is_finite() && end > 0.0 { end } else { 1.0 };
        let step = match STEPS.iter().find(|step| end / **step <= MOST_STEPS) {
            Some(_) if end < MOST_STEPS => nice(end / MOST_STEPS),
            Some(step) => *step,
            None => nice(end / MOST_STEPS / DAY) * DAY,
        };
        let steps = (end / step + 1e-9).floor();
        Self { low: 0.0, high: end, scale: Scale::Linear, ticks: multiples(step, steps) }
    }

    /// Where a value stands: 0 at the lower end, 1 at the upper one; what is outside stands at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log if value <= self.low => 0.0,
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }
}

const DAY: f64 = 86_400.0;
/// More labels than this do not fit beneath a plot on a telephone.
const MOST_STEPS: f64 = 6.0;
const STEPS: [f64; 19] = [
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
    7200.0,
    10_800.0,
    21_600.0,
    43_200.0,
    DAY,
    2.0 * DAY,
];

/// The smallest of 1, 2 or 5 times a power of ten that is not below `step`.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    // A step that is nice already stays, although its logarithm is only nearly right.
    let found = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= step * (1.0 - 1e-9));
    found.unwrap_or(10.0) * power
}

fn multiples(step: f64, steps: f64) -> Vec<f64> {
    (0..=steps as u32).map(|number| step * f64::from(number)).collect()
}

#[cfg(test)]
mod tests {
    use super::Axis;

    #[test]
    fn ticks_are_1_2_or_5_times_a_power_of_ten() {
        let table = [
            (5.0, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
            (7.3, vec![0.0, 2.0, 4.0, 6.0, 8.0]),
            (100.0, vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (101.0, vec![0.0, 50.0, 100.0, 150.0]),
            (2.4e6, vec![0.0, 5e5, 1e6, 1.5e6, 2e6, 2.5e6]),
        ];
        for (highest, ticks) in table {
            assert_eq!(Axis::linear(highest, 1.0).ticks, ticks, "up to {highest}");
        }
    }

    #[test]
    fn there_are_two_to_seven_ticks_for_any_highest_value() {
        for exponent in -60..120 {
            let highest = 10_f64.powf(f64::from(exponent) / 7.0);
            let axis = Axis::linear(highest, 1e-12);
            assert!((2..=7).contains(&axis.ticks.len()), "{highest}: {:?}", axis.ticks);
            assert!(axis.place(highest) > 0.6, "{highest} uses little of its axis");
            let axis = Axis::time(highest);
            assert!((2..=7).contains(&axis.ticks.len()), "{highest} s: {:?}", axis.ticks);
        }
    }

    #[test]
    fn a_logarithmic_axis_has_whole_decades() {
        let axis = Axis::log([0.004, 30.0].into_iter());
        assert_eq!((axis.low, axis.high), (0.001, 100.0));
        assert_eq!(axis.ticks.len(), 6);
        assert!((axis.place(0.1) - 0.4).abs() < 1e-9);
        assert_eq!(axis.place(0.0), 0.0);
        let narrow = Axis::log([0.02, 0.04].into_iter());
        assert_eq!(narrow.ticks.len(), 4, "{:?}", narrow.ticks);
        let exact = Axis::log([0.01, 0.1].into_iter());
        assert!((exact.low - 0.01).abs() < 1e-12 && (exact.high - 0.1).abs() < 1e-12);
    }

    #[test]
    fn time_is_divided_as_clocks_are() {
        assert_eq!(Axis::time(3600.0).ticks, [0.0, 600.0, 1200.0, 1800.0, 2400.0, 3000.0, 3600.0]);
        assert_eq!(Axis::time(100.0).ticks, [0.0, 30.0, 60.0, 90.0]);
    }

    #[test]
    fn what_is_no_number_has_a_place() {
        let axes = [Axis::linear(f64::NAN, 1.0), Axis::log(std::iter::empty()), Axis::time(f64::NAN)];
        for axis in axes {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
                assert!((0.0..=1.0).contains(&axis.place(value)));
            }
        }
    }
}
