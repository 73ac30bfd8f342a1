//! A study on its way through: how fast the router passes it on, beside what others do on the same machine in the same
//! run. How each figure is taken stands in `benches/README.md`; `cargo bench --bench study -- shipped ingest` runs two of
//! the parts.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]
#![allow(clippy::unwrap_used, reason = "what cannot go on here ends the bench")]

#[allow(dead_code, reason = "shared with another bench")]
#[path = "../receive/bare.rs"]
mod bare;
mod bulk;
mod carts;
mod encrypted;
mod forward;
mod hoard;
mod ingest;
#[allow(dead_code, reason = "shared with another bench")]
#[path = "../receive/load.rs"]
mod load;
mod pacs;
#[path = "../receive/parts.rs"]
mod parts;
mod peers;
#[allow(dead_code, reason = "shared with another bench")]
#[path = "../receive/report.rs"]
mod report;
mod search;
#[allow(dead_code, reason = "shared with another bench")]
#[path = "../receive/sender.rs"]
mod sender;
mod shaped;
mod stow;
#[path = "../../tests/support/mod.rs"]
mod support;
mod tunnel;

use parts::Part;

/// The parts by name, in the order in which they run.
const PARTS: [(&str, Part); 10] = [
    ("shipped", forward::shipped),
    ("tuned", forward::tuned),
    ("ingest", ingest::ingest),
    ("tls", encrypted::tls),
    ("tunnel", tunnel::tunnel),
    ("shaped", shaped::shaped),
    ("stow", stow::stow),
    ("carts", carts::carts),
    ("search", search::search),
    ("bulk", bulk::bulk),
];

fn main() {
    parts::run(&PARTS);
}

/// Rounds in which everybody has a turn; `CHRYSALIS_BENCH_ROUNDS` for more or fewer.
fn rounds() -> u64 {
    std::env::var("CHRYSALIS_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(7)
}
