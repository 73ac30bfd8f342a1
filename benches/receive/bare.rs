//! The yardstick: SHA-256, writes and one `fdatasync` for each object, from memory, without network or protocol.

use super::report::median;
use super::support::instance::{DataSet, Instance};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes hashed and written at a time.
const CHUNK: usize = 256 << 10;
/// Files made at a time, for one directory sync.
const AHEAD: usize = 64;

/// Makes every instance durable, one after another.
pub(crate) fn store(instances: &[Instance]) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let mut number = 0;
    for group in instances.chunks(AHEAD) {
        let files: Vec<File> = group.iter().map(|_| create(folder.path(), &mut number)).collect();
        File::open(folder.path()).unwrap().sync_all().unwrap();
        for (instance, mut file) in group.iter().zip(files) {
            let DataSet::Bytes(bytes) = &instance.data_set else { panic!("not in memory") };
            let mut hash = Sha256::new();
            for chunk in bytes.chunks(CHUNK) {
                hash.update(chunk);
                file.write_all(chunk).unwrap();
            }
            file.write_all(&hash.finalize()).unwrap();
            file.sync_data().unwrap();
        }
    }
    started.elapsed()
}

fn create(folder: &Path, number: &mut u32) -> File {
    *number += 1;
    OpenOptions::new().write(true).create_new(true).open(folder.join(number.to_string())).unwrap()
}

/// The median time of a 4 KiB append with `fdatasync`.
pub(crate) fn flush() -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let mut number = 0;
    let mut file = create(folder.path(), &mut number);
    let times = (0..500).map(|n| {
        file.write_all(&[n as u8; 4096]).unwrap();
        let started = Instant::now();
        file.sync_data().unwrap();
        started.elapsed().as_secs_f64()
    });
    Duration::from_secs_f64(median(&times.collect::<Vec<_>>()))
}
