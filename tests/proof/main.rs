//! The proof: the promise, attacked from outside, as often as is asked for, with a tally of what came of it.
//!
//! ```text
//! cargo test --release --test proof -- everyday               every part, minutes
//! cargo test --release --test proof -- release                every part, hours; goes on where it was interrupted
//! cargo test --release --test proof -- everyday kill power    these parts only
//!     --count N                                               another number of attacks
//!     --seed S                                                the one round of this seed
//! cargo test --release --test proof -- tally                  what `release` has done until now, as a table
//! ```
//!
//! A part is a file here and a line of [`PARTS`]. It attacks in rounds; each has a seed, starts from nothing and ends
//! with a comparison of what was acknowledged with what arrived. What each part does, and what came out, is told in
//! `docs/RELIABILITY.md`.
#![allow(clippy::print_stdout, reason = "it reports on standard output")]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the round")]
#![allow(unreachable_pub, reason = "modules of a test binary, with no public interface to narrow")]

mod capacity;
mod chance;
mod damage;
mod disk;
mod failure;
mod hostile;
mod kill;
mod load;
mod part;
mod power;
mod rest;
mod run;
mod simulated;
mod small;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod tally;
mod weather;
mod wish;

use part::Part;
use run::{Ended, Place};
use std::process::ExitCode;
use wish::{Scale, Wish};

/// Every part, in the order in which they run.
const PARTS: [Part; 11] = [
    simulated::PART,
    power::EXT4,
    power::XFS,
    kill::PART,
    failure::PART,
    damage::PART,
    hostile::PART,
    capacity::PART,
    capacity::SMALL,
    soak::PART,
    soak::SMALL,
];

fn main() -> ExitCode {
    let wish = match Wish::read(std::env::args().skip(1), &PARTS) {
        Ok(wish) => wish,
        Err(wrong) => {
            println!("{wrong}");
            return ExitCode::from(2);
        }
    };
    let place = match Place::take() {
        Ok(place) => place,
        Err(wrong) => {
            println!("{wrong}");
            return ExitCode::FAILURE;
        }
    };
    let named = || PARTS.iter().filter(|part| wish.names(part));
    if wish.scale == Scale::Tally {
        tally::print(named().map(|part| (part, place.kept(part))));
        return ExitCode::SUCCESS;
    }
    let ended: Vec<_> = named().map(|part| (part, run::run(part, &wish, &place))).collect();
    println!();
    tally::print(ended.iter().filter_map(|(part, ended)| Some((*part, ended.tally()?.clone()))));
    let count = |fits: fn(&Ended) -> bool| ended.iter().filter(|(_, ended)| fits(ended)).count();
    let failed = count(|ended| matches!(ended, Ended::Failed(_)));
    let (passed, skipped) =
        (count(|ended| matches!(ended, Ended::Passed(_))), count(|ended| matches!(ended, Ended::Skipped)));
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
