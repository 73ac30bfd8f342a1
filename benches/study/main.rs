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
mod forward;
mod hoard;
mod ingest;
#[allow(dead_code, reason = "shared with another bench")]
#[path = "../receive/load.rs"]
mod load;
mod pacs;
mod peers;
#[allow(dead_code, reason = "shared with another bench")]
#[path = "../receive/report.rs"]
mod report;
mod search;
#[allow(dead_code, reason = "shared with another bench")]
#[path = "../receive/sender.rs"]
mod sender;
#[path = "../../tests/support/mod.rs"]
mod support;

use report::Row;

/// Measures, and says what came out.
type Part = fn() -> Vec<Row>;

/// The parts by name, in the order in which they run.
const PARTS: [(&str, Part); 6] = [
    ("shipped", forward::shipped),
    ("tuned", forward::tuned),
    ("ingest", ingest::ingest),
    ("carts", carts::carts),
    ("search", search::search),
    ("bulk", bulk::bulk),
];

fn main() {
    // Cargo adds flags of its own, such as `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let unknown = wanted.iter().find(|name| !PARTS.iter().any(|(part, _)| part == name));
    if let Some(unknown) = unknown {
        let names: Vec<_> = PARTS.iter().map(|(part, _)| *part).collect();
        println!("there is no part {unknown}, but {}", names.join(", "));
        std::process::exit(2);
    }
    let rows = PARTS
        .iter()
        .filter(|(part, _)| wanted.is_empty() || wanted.iter().any(|name| name == part))
        .flat_map(|(_, run)| run())
        .collect::<Vec<_>>();
    println!("\nFlush: {:.3} ms for 4 KiB appended, median.\n", bare::flush().as_secs_f64() * 1e3);
    report::print(&rows);
}

/// Rounds in which everybody has a turn; `CHRYSALIS_BENCH_ROUNDS` for more or fewer.
fn rounds() -> u64 {
    std::env::var("CHRYSALIS_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(7)
}
