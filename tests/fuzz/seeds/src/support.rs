//! The tests' own lists, as they are.
#![allow(dead_code, clippy::unwrap_used, reason = "what writes seeds takes a part of it")]

#[path = "../../../support/hostile/mod.rs"]
pub mod hostile;
#[path = "../../../support/instance.rs"]
pub mod instance;
#[path = "../../../support/wire.rs"]
pub mod wire;
