//! A scan, line by line (ISO 14495-1 Annex A).

use super::JpegLsError;
use super::bits::Bits;
use super::context::{Interrupted, Neighbours, Regular};
use super::header::Interleave;
use super::parameters::Parameters;

/// The shape of a scan's lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    pub(super) columns: u16,
    pub(super) interleave: Interleave,
}

/// The state of a scan.
pub(super) struct Scan<'a> {
    bits: Bits<'a>,
    parameters: Parameters,
    columns: usize,
    interleave: Interleave,
    regular: Vec<Regular>,
    /// By whether the neighbours differ or are equal.
    interrupted: [Interrupted; 2],
    components: Vec<Component>,
}

/// What belongs to one component. Lines have one more sample on either side (A.2.1).
struct Component {
    above: Vec<i32>,
    line: Vec<i32>,
    /// RUNindex; of the first component only if they take turns by sample.
    run_index: usize,
}

/// J (A.2.1): the bits of a run's length, by how well runs went.
const RUN_BITS: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Contexts of regular mode, of which the first is the run.
const CONTEXTS: usize = 365;

/// The samples around the next one (A.2): a is to the left, b above, c above a, d after b.
#[derive(Clone, Copy)]
struct Around {
    a: i32,
    b: i32,
    c: i32,
    d: i32,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        bytes: &'a [u8],
        start: usize,
        parameters: Parameters,
        lines: Lines,
        components: usize,
    ) -> Self {
        let columns = usize::from(lines.columns);
        let component =
            || Component { above: vec![0; columns + 2], line: vec![0; columns + 2], run_index: 0 };
        Self {
            bits: Bits::new(bytes, start),
            parameters,
            columns,
            interleave: lines.interleave,
            regular: vec![Regular::new(&parameters); CONTEXTS],
            interrupted: [Interrupted::new(&parameters); 2],
            components: (0..components).map(|_| component()).collect(),
        }
    }

    /// Decodes the next line of every component.
    pub(super) fn next_line(&mut self) -> Result<(), JpegLsError> {
        for component in &mut self.components {
            std::mem::swap(&mut component.above, &mut component.line);
            component.extend_edges();
        }
        let mut components = std::mem::take(&mut self.components);
        let result = match self.interleave {
            Interleave::Sample => self.line(&mut components),
            Interleave::None | Interleave::Line => {
                components.chunks_mut(1).try_for_each(|component| self.line(component))
            }
        };
        self.components = components;
        result
    }

    /// The line of every component that was decoded last.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[i32]> {
        self.components.iter().map(|component| component.line.get(1..=self.columns).unwrap_or_default())
    }

    /// Where the next marker is to be looked for.
    pub(super) fn end(&self) -> usize {
        self.bits.position()
    }

    /// One line of components that take turns by sample, or of one.
    fn line(&mut self, components: &mut [Component]) -> Result<(), JpegLsError> {
        let mut x = 0;
        while x < self.columns {
            let near = self.parameters.near;
            let flat = components.iter().all(|component| component.around(x).is_flat(near));
            if flat {
                x = self.run(components, x)?;
            } else {
                for component in &mut *components {
                    let value = self.sample(component.around(x))?;
                    component.set(x, value);
                }
                x += 1;
            }
        }
        Ok(())
    }

    /// Regular mode (A.4 to A.6).
    #[inline]
    fn sample(&mut self, around: Around) -> Result<i32, JpegLsError> {
        let parameters = &self.parameters;
        let gradients = [around.d - around.b, around.b - around.c, around.c - around.a];
        let [q1, q2, q3] = gradients.map(|gradient| quantized(gradient, parameters));
        let context = 81 * q1 + 9 * q2 + q3;
        let sign = if context < 0 { -1 } else { 1 };
        let Some(regular) = self.regular.get_mut(context.unsigned_abs() as usize) else {
            return Err(JpegLsError::Entropy {
                offset: self.bits.position(),
                why: "there is no such context",
            });
        };
        let predicted = (around.predicted() + sign * regular.c).clamp(0, parameters.maximum);
        let error = regular.error(&mut self.bits, parameters)?;
        Ok(reconstructed(predicted, sign * error, parameters))
    }

    /// Run mode (A.7): the run, and the sample that ends it unless the line does. Returns where the next sample is.
    fn run(&mut self, components: &mut [Component], start: usize) -> Result<usize, JpegLsError> {
        let mut index = components.first().map_or(0, |first| first.run_index);
        let mut end = start;
        let spent = loop {
            let length_bits = RUN_BITS.get(index).copied().unwrap_or(15);
            if self.bits.take(1)? == 0 {
                end += self.bits.take(length_bits)? as usize;
                break Some(length_bits + 1);
            }
            let whole = 1 << length_bits;
            if end + whole <= self.columns {
                index = (index + 1).min(RUN_BITS.len() - 1);
            }
            end = (end + whole).min(self.columns);
            if end == self.columns {
                break None;
            }
        };
        if spent.is_some() && end >= self.columns {
            return Err(JpegLsError::Entropy {
                offset: self.bits.position(),
                why: "a run goes beyond its line",
            });
        }
        let by_sample = components.len() > 1;
        for component in &mut *components {
            component.repeat(start, end);
            if let Some(spent) = spent {
                let value = self.interruption(component.around(end), by_sample, spent)?;
                component.set(end, value);
            }
            component.run_index = if spent.is_some() { index.saturating_sub(1) } else { index };
        }
        Ok(if spent.is_some() { end + 1 } else { end })
    }

    /// The sample that ends a run (A.7.2). Components that take turns by sample all use the context of different neighbours.
    fn interruption(&mut self, around: Around, by_sample: bool, spent: u32) -> Result<i32, JpegLsError> {
        let parameters = &self.parameters;
        let equal = !by_sample && (around.a - around.b).abs() <= parameters.near;
        let neighbours = if equal { Neighbours::Equal } else { Neighbours::Differ };
        let [differ, same] = &mut self.interrupted;
        let context = if equal { same } else { differ };
        let error = context.error(&mut self.bits, parameters, neighbours, spent)?;
        let (predicted, sign) = match neighbours {
            Neighbours::Equal => (around.a, 1),
            Neighbours::Differ => (around.b, if around.a > around.b { -1 } else { 1 }),
        };
        Ok(reconstructed(predicted, sign * error, parameters))
    }
}

impl Component {
    /// The sample after the last of the line above is that last; the one before the first of this line is the first above.
    fn extend_edges(&mut self) {
        if let [.., last, after] = self.above.as_mut_slice() {
            *after = *last;
        }
        let first_above = self.above.get(1).copied().unwrap_or(0);
        if let Some(before) = self.line.first_mut() {
            *before = first_above;
        }
    }

    #[inline]
    fn around(&self, x: usize) -> Around {
        let above = self.above.get(x..).and_then(<[i32]>::first_chunk).unwrap_or(&[0; 3]);
        let [c, b, d] = *above;
        Around { a: self.line.get(x).copied().unwrap_or(0), b, c, d }
    }

    #[inline]
    fn set(&mut self, x: usize, value: i32) {
        if let Some(sample) = self.line.get_mut(x + 1) {
            *sample = value;
        }
    }

    /// Repeats the sample before `start` up to before `end`.
    fn repeat(&mut self, start: usize, end: usize) {
        let value = self.line.get(start).copied().unwrap_or(0);
        self.line.get_mut(start + 1..=end).unwrap_or_default().fill(value);
    }
}

impl Around {
    #[inline]
    fn is_flat(self, near: i32) -> bool {
        [self.d - self.b, self.b - self.c, self.c - self.a].iter().all(|gradient| gradient.abs() <= near)
    }

    /// The median edge detector (A.4.1).
    #[inline]
    fn predicted(self) -> i32 {
        let (least, most) = (self.a.min(self.b), self.a.max(self.b));
        (self.a + self.b - self.c).clamp(least, most)
    }
}

/// A gradient as -4 to 4 (A.3.3).
#[inline]
fn quantized(gradient: i32, parameters: &Parameters) -> i32 {
    let [t1, t2, t3] = parameters.thresholds;
    let magnitude = gradient.abs();
    let steps = [parameters.near + 1, t1, t2, t3].iter().filter(|step| magnitude >= **step).count() as i32;
    steps * gradient.signum()
}

/// A.4.4 and A.4.5: the prediction and its error, modulo the range.
#[inline]
fn reconstructed(predicted: i32, error: i32, parameters: &Parameters) -> i32 {
    let step = 2 * parameters.near + 1;
    let value = predicted + error * step;
    let wrapped = if value < -parameters.near {
        value + parameters.range * step
    } else if value > parameters.maximum + parameters.near {
        value - parameters.range * step
    } else {
        value
    };
    wrapped.clamp(0, parameters.maximum)
}
