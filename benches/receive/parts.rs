//! Running the parts of a bench that were named, or all of them.

use super::bare;
use super::report::{self, Row};

/// Measures, and says what came out.
pub(crate) type Part = fn() -> Vec<Row>;

/// Runs those of `parts` that the command line names, or all of them, in this order, and prints their rows.
pub(crate) fn run(parts: &[(&str, Part)]) {
    // Cargo adds flags of its own, such as `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let unknown = wanted.iter().find(|name| !parts.iter().any(|(part, _)| part == name));
    if let Some(unknown) = unknown {
        let names: Vec<_> = parts.iter().map(|(part, _)| *part).collect();
        println!("there is no part {unknown}, but {}", names.join(", "));
        std::process::exit(2);
    }
    let rows = parts
        .iter()
        .filter(|(part, _)| wanted.is_empty() || wanted.iter().any(|name| name == part))
        .flat_map(|(_, run)| run())
        .collect::<Vec<_>>();
    println!("\nFlush: {:.3} ms for 4 KiB appended, median.\n", bare::flush().as_secs_f64() * 1e3);
    report::print(&rows);
}
