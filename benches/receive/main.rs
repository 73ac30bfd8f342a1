//! How fast and how small the router is, beside what others do on the same machine in the same run. How each figure is
//! taken stands in `benches/README.md`; `cargo bench --bench receive -- large small` runs two of the parts.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]
#![allow(clippy::unwrap_used, reason = "what cannot go on here ends the bench")]

mod backlog;
mod bare;
mod isolation;
mod load;
mod memory;
mod parts;
mod report;
mod sender;
#[path = "../../tests/support/mod.rs"]
mod support;
mod throughput;

use parts::Part;

/// The parts by name, in the order in which they run.
const PARTS: [(&str, Part); 7] = [
    ("large", throughput::large),
    ("small", throughput::small),
    ("nagle", throughput::nagle),
    ("memory", memory::memory),
    ("backlog", backlog::backlog),
    ("idle", memory::idle),
    ("isolation", isolation::isolation),
];

fn main() {
    parts::run(&PARTS);
}
