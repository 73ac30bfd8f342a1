//! What work costs: constants that were measured, each with the row of benches/README.md that it comes from.

use std::borrow::Cow;

use crate::work::Work;

/// Costs of work on one machine. Times are of one core.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Where these figures come from: a file and its rows.
    pub source: Cow<'static, str>,
    /// The machine they were taken on.
    pub machine: Cow<'static, str>,
    /// Seconds for receiving a byte, making it durable, and forwarding it once.
    pub pass_byte: f64,
    /// Seconds for receiving and forwarding an instance, beside those for its bytes.
    pub pass_instance: f64,
    /// Seconds for making JPEG Lossless of a native byte of a loop, decoding and comparing it, with reading and writing.
    pub lossless_loop_byte: f64,
    /// The same for a still, which has a table of its own.
    pub lossless_still_byte: f64,
    /// Seconds for decoding JPEG Lossless to a native byte.
    pub unlossless_byte: f64,
    /// Seconds for making JPEG Baseline of a native byte.
    pub lossy_byte: f64,
    /// Seconds for decoding JPEG Baseline to a native byte.
    pub unlossy_byte: f64,
    /// Bytes of memory of a node that does nothing.
    pub idle_memory: f64,
    /// Bytes of memory for an association that sends, and what is forwarded meanwhile.
    pub association_memory: f64,
    /// Bytes of memory for an instance in the spool: its rows in the index.
    pub instance_memory: f64,
    /// Bytes of memory for each native byte of a frame in flight.
    pub frame_memory: f64,
    /// The part of a link that carries data sets; the rest are headers and pauses.
    pub uplink_share: f64,
    /// Bytes a second that go to one destination where the network is no limit.
    pub forward_rate: f64,
}

impl Measured {
    /// The figures of benches/README.md of 2026-11-22: 2 cores AMD EPYC, 24 GB, Linux 6.18.
    ///
    /// | field | row |
    /// |---|---|
    /// | `pass_byte` | *What bounds forwarding*: a study of 393 MB costs the node 0.9 to 1.0 s; 1.0 s is taken |
    /// | `pass_instance` | *Small objects*: an object takes 0.44 ms, waiting included; taken twice, because it is also sent on |
    /// | `lossless_loop_byte` | *A loop on its way through the engine*, 1 worker, compared: 416 MB/s |
    /// | `lossless_still_byte` | that, and what a table for each frame costs more, RGB with Doppler: 723 against 1299 MB/s |
    /// | `unlossless_byte`, `lossy_byte`, `unlossy_byte` | *The codecs*, RGB with Doppler: 553, 782 and 454 MB/s |
    /// | `idle_memory` | *memory when idle*: 10.0 MB |
    /// | `association_memory` | 45 MB with 8 carts and two destinations, less the idle 10.0, through 8 |
    /// | `instance_memory` | *100,000 queued*: 282 to 293 B; 300 is the goal it is kept under |
    /// | `frame_memory` | *memory above idle* of the engine: 9.9 MB with four frames of 1.44 MB in flight |
    /// | `uplink_share` | *20 Mbit/s with 50 ms of queue*: used by data sets 0.953 |
    /// | `forward_rate` | *a study forwarded, peers as shipped*: 343 MB/s |
    pub const BENCHES: Self = Self {
        source: Cow::Borrowed("benches/README.md"),
        machine: Cow::Borrowed("2 cores AMD EPYC, 24 GB, Linux 6.18, 2026-11-22"),
        pass_byte: 1.0 / 393e6,
        pass_instance: 2.0 * 0.44e-3,
        lossless_loop_byte: 1.0 / 416e6,
        lossless_still_byte: 1.0 / 416e6 + 1.0 / 723e6 - 1.0 / 1299e6,
        unlossless_byte: 1.0 / 553e6,
        lossy_byte: 1.0 / 782e6,
        unlossy_byte: 1.0 / 454e6,
        idle_memory: 10.0e6,
        association_memory: 35e6 / 8.0,
        instance_memory: 300.0,
        frame_memory: 9.9 / (4.0 * 1.44),
        uplink_share: 0.953,
        forward_rate: 343e6,
    };

    /// These costs as a run of the load generator showed them: every time is multiplied by the processor time that the run took,
    /// over what it should have taken by these, and the memory of an idle node is what is left of the run's peak when what comes by these with
    /// its associations and the instances that waited at most is taken away. How costs stand to each other, and what does not show in a run, stays.
    ///
    /// # Errors
    /// [`RunError`]: the run tells nothing.
    pub fn as_in(&self, run: &Run<'_>, source: String, machine: String) -> Result<Self, RunError> {
        let positive = |value: f64, what| match value > 0.0 && value.is_finite() {
            true => Ok(value),
            false => Err(RunError { what, value }),
        };
        let studies = positive(run.studies, "studies delivered")?;
        let seconds = positive(run.cpu_seconds, "seconds of processor time")?;
        let peak = positive(run.peak_memory, "bytes of memory")?;
        let factor = seconds / (studies * run.work.cpu_seconds(self));
        let carts = f64::from(run.associations) * self.association_memory;
        let waiting = run.most_waiting.max(0.0) * self.instance_memory;
        let costs = Self { source: source.into(), machine: machine.into(), ..self.clone() };
        Ok(Self {
            pass_byte: self.pass_byte * factor,
            pass_instance: self.pass_instance * factor,
            lossless_loop_byte: self.lossless_loop_byte * factor,
            lossless_still_byte: self.lossless_still_byte * factor,
            unlossless_byte: self.unlossless_byte * factor,
            lossy_byte: self.lossy_byte * factor,
            unlossy_byte: self.unlossy_byte * factor,
            // Code and stacks are never nothing.
            idle_memory: (peak - carts - waiting).max(LEAST_IDLE),
            ..costs
        })
    }
}

/// No node was ever seen with less, in bytes.
const LEAST_IDLE: f64 = 8e6;

/// What a run of the load generator showed.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// What was sent and how it was wanted.
    pub work: Work<'a>,
    /// Studies that arrived.
    pub studies: f64,
    /// Carts that sent at once.
    pub associations: u32,
    /// Instances that waited, at most.
    pub most_waiting: f64,
    /// Processor time of the node in seconds.
    pub cpu_seconds: f64,
    /// The most memory that the node had, in bytes.
    pub peak_memory: f64,
}

/// A run that tells nothing of costs.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the run has {value} {what}, which says nothing of what work costs")]
pub struct RunError {
    what: &'static str,
    value: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conversion, Encoding, REFERENCE, Target};

    fn run(studies: f64) -> Run<'static> {
        let conversion = Conversion { image: Target::JpegLossless, cine: Target::JpegLossless };
        let work = Work { mix: &REFERENCE, encoding: Encoding::NativeStills, conversion };
        let cpu_seconds = 2.0 * studies * work.cpu_seconds(&Measured::BENCHES);
        Run { work, studies, associations: 4, most_waiting: 1e5, cpu_seconds, peak_memory: 90e6 }
    }

    #[test]
    fn a_run_that_took_twice_the_time_doubles_every_time_and_explains_itself() {
        let run = run(100.0);
        let as_in = Measured::BENCHES.as_in(&run, "run.json".into(), "here".into()).expect("costs");
        assert!((as_in.pass_byte / Measured::BENCHES.pass_byte - 2.0).abs() < 1e-9);
        assert!((run.work.cpu_seconds(&as_in) * 100.0 / run.cpu_seconds - 1.0).abs() < 1e-9);
        let memory = as_in.idle_memory + 4.0 * as_in.association_memory + 1e5 * as_in.instance_memory;
        assert!((memory / 90e6 - 1.0).abs() < 1e-9);
        assert_eq!((as_in.source.as_ref(), as_in.uplink_share), ("run.json", Measured::BENCHES.uplink_share));
    }

    #[test]
    fn a_run_of_nothing_says_so() {
        for run in [run(0.0), run(f64::NAN), Run { peak_memory: -1.0, ..run(1.0) }] {
            assert!(Measured::BENCHES.as_in(&run, String::new(), String::new()).is_err());
        }
    }
}
