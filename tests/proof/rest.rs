//! What a node has when nothing is under way: what is compared to tell whether it grows.

use crate::support::node::{Node, sum};
use crate::support::wait::{let_pass, poll};
use std::time::Duration;

/// Descriptors of journals that are open at one moment and not at another.
pub const DESCRIPTORS: usize = 4;

/// What the node has open and resident when nothing is under way.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    /// In bytes.
    pub memory: u64,
    pub descriptors: usize,
}

/// Waits until nothing is queued and no association is open, and a moment more for what goes on afterwards.
pub fn at_rest(node: &Node) -> Result<Rest, String> {
    let is_quiet = || {
        let metrics = node.metrics();
        let left = |name: &str| sum(&metrics, name, &[]);
        (left("chrysalis_queued_instances") == 0.0 && left("chrysalis_associations") == 0.0).then_some(())
    };
    poll(Duration::from_secs(60), is_quiet).ok_or("the node does not come to rest")?;
    Ok(after_a_moment(node))
}

/// The same without waiting for the end of anything.
pub fn after_a_moment(node: &Node) -> Rest {
    let_pass(Duration::from_secs(2));
    Rest { memory: node.resident(), descriptors: node.descriptors() }
}
