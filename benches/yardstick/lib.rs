//! What the benches of this package share: the C library, loops to work on, and rounds in which both sides take turns.

pub mod rounds;
pub mod scenes;
pub mod turbo;
