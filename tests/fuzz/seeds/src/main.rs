//! Writes the first corpus of every fuzz target: `chrysalis-fuzz-seeds FOLDER` makes `FOLDER/<target>/<name>`.
//!
//! Nothing in it is anybody's data: it is the list of hostile input that the tests have, synthetic ultrasound in every encoding, the
//! examples of the manual, and scripts that are written here.

mod codecs;
mod config;
mod recovery;
mod scripts;
#[path = "../../src/steps.rs"]
#[allow(dead_code, reason = "only what writes scripts is used here")]
mod steps;
mod support;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The corpus of each target.
#[derive(Default)]
struct Seeds(BTreeMap<&'static str, Vec<Vec<u8>>>);

impl Seeds {
    /// One more for a target, cut at the longest that is of use.
    fn add(&mut self, target: &'static str, mut bytes: Vec<u8>) {
        bytes.truncate(64 << 10);
        self.0.entry(target).or_default().push(bytes);
    }

    fn write(&self, folder: &Path) -> std::io::Result<()> {
        for (target, seeds) in &self.0 {
            let folder = folder.join(target);
            std::fs::create_dir_all(&folder)?;
            for (number, seed) in seeds.iter().enumerate() {
                std::fs::write(folder.join(format!("seed-{number:04}")), seed)?;
            }
            println!("{target}: {} seeds", seeds.len());
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: chrysalis-fuzz-seeds FOLDER");
        return ExitCode::FAILURE;
    };
    let mut seeds = Seeds::default();
    wire::add(&mut seeds);
    scripts::add(&mut seeds);
    recovery::add(&mut seeds);
    config::add(&mut seeds);
    codecs::add(&mut seeds);
    match seeds.write(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
