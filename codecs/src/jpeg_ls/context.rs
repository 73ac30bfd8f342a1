//! The statistics by which codes adapt: contexts of regular mode (ISO 14495-1 A.3 to A.6) and of interrupted runs (A.7.2).

use super::JpegLsError;
use super::bits::Bits;
use super::parameters::Parameters;

/// A context of regular mode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Regular {
    /// Sum of the magnitudes of errors. As wide as it is because streams can put off the halving of counters.
    a: i64,
    /// Sum of errors, for the bias.
    b: i64,
    /// What predictions are corrected by.
    pub(super) c: i32,
    /// Occurrences.
    n: i64,
}

impl Regular {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self { a: initial(parameters), b: 0, c: 0, n: 1 }
    }

    /// Decodes the next error, without its sign by context, and learns from it.
    #[inline]
    pub(super) fn error(&mut self, bits: &mut Bits<'_>, parameters: &Parameters) -> Result<i32, JpegLsError> {
        let k = golomb(self.n, self.a, bits)?;
        let mapped = limited(bits, k, parameters.limit, parameters.error_bits)?;
        // A.5.2: with k = 0 and a bias, the mapping is mirrored.
        let mirrored = parameters.near == 0 && k == 0 && 2 * self.b <= -self.n;
        let error = if mapped % 2 == 0 { mapped / 2 } else { -(mapped / 2) - 1 };
        let error = if mirrored { -error - 1 } else { error };
        self.learn(error, parameters);
        Ok(error)
    }

    #[inline]
    fn learn(&mut self, error: i32, parameters: &Parameters) {
        self.b += i64::from(error * (2 * parameters.near + 1));
        self.a += i64::from(error.abs());
        if self.n == parameters.reset {
            self.a >>= 1;
            self.b >>= 1;
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

/// A context of the sample that ends a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interrupted {
    a: i64,
    n: i64,
    /// Negative errors.
    negative: i64,
}

/// RItype: how the samples left of and above the interruption compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// 0.
    Differ = 0,
    /// 1: equal within NEAR.
    Equal = 1,
}

impl Interrupted {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self { a: initial(parameters), n: 1, negative: 0 }
    }

    /// Decodes the error of the sample that ends a run. `spent` are the bits by which its code is shorter.
    pub(super) fn error(
        &mut self,
        bits: &mut Bits<'_>,
        parameters: &Parameters,
        neighbours: Neighbours,
        spent: u32,
    ) -> Result<i32, JpegLsError> {
        let kind = neighbours as i32;
        let k = golomb(self.n, self.a + i64::from(kind) * (self.n >> 1), bits)?;
        let mapped = limited(bits, k, parameters.limit - spent, parameters.error_bits)?;
        let odd = (mapped + kind) % 2 == 1;
        let magnitude = (mapped + kind + 1) / 2;
        let negative = odd == (k != 0 || 2 * self.negative >= self.n);
        self.a += i64::from((mapped + 1 - kind) >> 1);
        self.negative += i64::from(negative && magnitude != 0);
        if self.n == parameters.reset {
            self.a >>= 1;
            self.n >>= 1;
            self.negative >>= 1;
        }
        self.n += 1;
        Ok(if negative { -magnitude } else { magnitude })
    }
}

fn initial(parameters: &Parameters) -> i64 {
    i64::from(((parameters.range + 32) / 64).max(2))
}

/// k: the smallest with n * 2^k >= a (A.5.1).
#[inline]
fn golomb(n: i64, a: i64, bits: &Bits<'_>) -> Result<u32, JpegLsError> {
    let mut k = 0;
    while n << k < a {
        k += 1;
        if k > 16 {
            return Err(JpegLsError::Entropy {
                offset: bits.position(),
                why: "errors grow beyond their range",
            });
        }
    }
    Ok(k)
}

/// A Golomb code of limited length (A.5.3), as the mapped error that it stands for.
#[inline]
fn limited(bits: &mut Bits<'_>, k: u32, limit: u32, error_bits: u32) -> Result<i32, JpegLsError> {
    // The longest codes give the value itself, in `error_bits`.
    let escape = limit.saturating_sub(error_bits + 1);
    let zeros = bits.zeros(escape)?;
    let mapped = if zeros < escape { zeros << k | bits.take(k)? } else { bits.take(error_bits)? + 1 };
    // Twice the range is more than any error is mapped to.
    if mapped > 2 << error_bits {
        return Err(JpegLsError::Entropy { offset: bits.position(), why: "an error is beyond its range" });
    }
    Ok(mapped as i32)
}
