//! What is sent, and the nodes that it is sent to.

use super::support::instance::{Encoding, Instance, Study};
use super::support::node::{Node, NodeBuilder};
use super::support::ports::free_address;

/// Rows and columns of a frame: 2.4 MB in RGB.
const FRAME: (u16, u16) = (900, 900);
/// Frames of a loop: 85 MB.
const FRAMES: u32 = 35;

/// 20 stills of 2.4 MB and 4 loops of 85 MB, in native RGB. Each seed gives data that nobody has seen.
pub(crate) fn study(seed: u64) -> Vec<Instance> {
    parts(seed, 20, 4)
}

/// So many stills of 2.4 MB and loops of 85 MB of one study.
pub(crate) fn parts(seed: u64, stills: u32, loops: u32) -> Vec<Instance> {
    let study = Study::new(seed);
    let still = |n| study.instance(n, study.scene(FRAME.0, FRAME.1, 1), Encoding::ExplicitLittle);
    (1..=stills).map(still).chain((1..=loops).map(|n| one_loop(seed, stills + n))).collect()
}

/// One loop of 85 MB.
pub(crate) fn one_loop(seed: u64, number: u32) -> Instance {
    let study = Study::new(seed);
    study.instance(number, study.scene(FRAME.0, FRAME.1, FRAMES), Encoding::ExplicitLittle)
}

/// So many grey stills of about 5 kB, of one study.
pub(crate) fn small(seed: u64, count: u32) -> Vec<Instance> {
    let study = Study::new(seed);
    (1..=count).map(|n| study.small(n)).collect()
}

/// Bytes of data set.
pub(crate) fn bytes(instances: &[Instance]) -> u64 {
    instances.iter().map(|instance| instance.data_set.len()).sum()
}

/// A node as configured by default, whose one destination does not answer and is not asked again in this run.
pub(crate) fn paused() -> NodeBuilder {
    Node::builder().queue("reserve = \"256MiB\"").dicom_with(
        "pacs",
        free_address(),
        "backoff = { first = \"12h\", max = \"24h\" }",
    )
}
