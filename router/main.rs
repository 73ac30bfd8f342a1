//! The `chrysalis` program.
fn main() {}
