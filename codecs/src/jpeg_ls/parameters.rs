//! Coding parameters: what the stream presets, and what follows from it (ISO 14495-1 A.2.1, C.2.4.1.1).

use super::JpegLsError;
use super::header::Segment;

/// Preset coding parameters as an LSE segment has them; zero means the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preset {
    maximum: u16,
    thresholds: [u16; 3],
    reset: u16,
}

impl Preset {
    pub(super) fn read(segment: &Segment<'_>) -> Result<Self, JpegLsError> {
        match segment.data {
            [1, m1, m0, a1, a0, b1, b0, c1, c0, r1, r0] => Ok(Self {
                maximum: u16::from_be_bytes([*m1, *m0]),
                thresholds: [[*a1, *a0], [*b1, *b0], [*c1, *c0]].map(u16::from_be_bytes),
                reset: u16::from_be_bytes([*r1, *r0]),
            }),
            [1, ..] => Err(segment.wrong("coding parameters of another length")),
            [2 | 3, ..] => Err(segment.unsupported("a mapping table")),
            _ => Err(segment.unsupported("this extension")),
        }
    }
}

/// All that a scan needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameters {
    /// MAXVAL: the largest sample.
    pub(super) maximum: i32,
    /// NEAR: how far a sample may be off; 0 is lossless.
    pub(super) near: i32,
    /// T1, T2, T3.
    pub(super) thresholds: [i32; 3],
    /// RESET: when counters are halved.
    pub(super) reset: i64,
    /// RANGE: how many values an error can have.
    pub(super) range: i32,
    /// qbpp: bits of an error that is written as it is.
    pub(super) error_bits: u32,
    /// LIMIT: the longest code.
    pub(super) limit: u32,
}

impl Parameters {
    /// Nothing if they contradict one another.
    pub(super) fn new(precision: u8, near: u8, preset: Option<Preset>) -> Option<Self> {
        let most = (1_i32 << precision) - 1;
        let near = i32::from(near);
        let given = |value: u16, default: i32| if value == 0 { default } else { i32::from(value) };
        let preset = preset.unwrap_or(Preset { maximum: 0, thresholds: [0; 3], reset: 0 });
        let maximum = given(preset.maximum, most);
        let [d1, d2, d3] = default_thresholds(maximum, near);
        let [p1, p2, p3] = preset.thresholds;
        let [t1, t2, t3] = [given(p1, d1), given(p2, d2), given(p3, d3)];
        let reset = given(preset.reset, 64);
        let in_order = near < t1 && t1 <= t2 && t2 <= t3 && t3 <= maximum;
        if maximum > most || near > 255.min(maximum / 2) || !in_order || !(3..=most.max(255)).contains(&reset)
        {
            return None;
        }
        let range = if near == 0 { maximum + 1 } else { (maximum + 2 * near) / (2 * near + 1) + 1 };
        let sample_bits = bits_for(maximum + 1).max(2);
        Some(Self {
            maximum,
            near,
            thresholds: [t1, t2, t3],
            reset: i64::from(reset),
            range,
            error_bits: bits_for(range),
            limit: 2 * (sample_bits + sample_bits.max(8)),
        })
    }
}

/// The least number of bits that count `values` values.
fn bits_for(values: i32) -> u32 {
    32 - (values - 1).leading_zeros()
}

/// C.2.4.1.1.1.
fn default_thresholds(maximum: i32, near: i32) -> [i32; 3] {
    let clamp = |value: i32, least: i32| if value > maximum || value < least { least } else { value };
    let [t1, t2, t3] = if maximum >= 128 {
        let factor = (maximum.min(4095) + 128) / 256;
        [factor + 2 + 3 * near, factor * 4 + 3 + 5 * near, factor * 17 + 4 + 7 * near]
    } else {
        let factor = 256 / (maximum + 1);
        [(3 / factor + 3 * near).max(2), (7 / factor + 5 * near).max(3), (21 / factor + 7 * near).max(4)]
    };
    let t1 = clamp(t1, near + 1);
    let t2 = clamp(t2, t1);
    [t1, t2, clamp(t3, t2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_table_c_3() {
        let of = |precision, near| Parameters::new(precision, near, None).unwrap();
        assert_eq!(of(8, 0).thresholds, [3, 7, 21]);
        assert_eq!(of(8, 0).reset, 64);
        assert_eq!((of(8, 0).range, of(8, 0).error_bits, of(8, 0).limit), (256, 8, 32));
        assert_eq!(of(12, 0).thresholds, [18, 67, 276]);
        assert_eq!((of(16, 0).range, of(16, 0).error_bits, of(16, 0).limit), (65_536, 16, 64));
        assert_eq!((of(8, 3).range, of(8, 3).error_bits), (38, 6));
    }

    #[test]
    fn parameters_that_contradict_one_another_are_none() {
        let preset = Preset { maximum: 255, thresholds: [9, 8, 21], reset: 64 };
        assert_eq!(Parameters::new(8, 0, Some(preset)), None);
        assert_eq!(Parameters::new(8, 128, None), None);
        let preset = Preset { maximum: 300, thresholds: [0; 3], reset: 0 };
        assert_eq!(Parameters::new(8, 0, Some(preset)), None);
    }
}
