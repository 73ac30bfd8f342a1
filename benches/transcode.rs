//! A loop of 60 frames, native RGB, becomes JPEG Lossless as the router does it, beside the encoder alone on one core.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]
#![allow(clippy::unwrap_used, reason = "what cannot go on here ends the bench")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use chrysalis::dicom::TransferSyntax;
use chrysalis::transcode::source::FileRange;
use chrysalis::transcode::{
    Accepts, Compare, Compression, Engine, Plan, Recipe, Settings, Soundness, Source, Subject, Target, plan,
};
use chrysalis_codecs::{Depth, FrameLayout, Order, Samples, jpeg_lossless};
use chrysalis_sizing::{Colour, Scene};

#[allow(dead_code, reason = "shared with another bench")]
#[path = "receive/report.rs"]
mod report;

use report::{Row, median, spread};

const SCENE: Scene = Scene { seed: 5, rows: 600, columns: 800, frames: 60, colour: Colour::MarkedRgb };
const LAYOUT: FrameLayout = FrameLayout {
    rows: SCENE.rows,
    columns: SCENE.columns,
    samples: Samples::Three,
    depth: Depth::Eight,
    order: Order::ByPixel,
};

/// How the router is set up, and what its row is called.
const SETUPS: [(&str, usize, Compare); 4] = [
    ("1 worker, not compared", 1, Compare::No),
    ("1 worker, compared", 1, Compare::Yes),
    ("2 workers, not compared", 2, Compare::No),
    ("2 workers, compared", 2, Compare::Yes),
];

/// What 2 workers should be to one core's encoder, and the memory above idle that a loop may take, in MB.
const GOAL: f64 = 1.6;
const MEMORY: f64 = 64.0;

fn main() {
    let idle = memory("VmRSS:");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loop");
    write_loop(&path);
    let length = std::fs::metadata(&path).unwrap().len();
    let source: Arc<dyn Source> = Arc::new(FileRange::new(File::open(&path).unwrap(), 0, length));
    let subject = Subject::read(&*source, &TransferSyntax::EXPLICIT_VR_LE, Soundness::Sound).unwrap();
    let wish = Compression { cine: Target::JpegLossless, ..Compression::default() };
    let Plan::Transcode(recipe) = plan(&subject, &wish, &Accepts::Anything) else { panic!("nothing to do") };
    let job = Job { source, subject, recipe, cache: folder.path().join("cache") };

    let megabytes = SCENE.frame_len() as f64 * f64::from(SCENE.frames) / 1e6;
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    // This warms up, too.
    for (_, workers, compare) in SETUPS {
        job.make(workers, compare);
    }
    let peak = report::megabytes(memory("VmHWM:").saturating_sub(idle));
    encoder_alone();
    let (mut alone, mut rates) = (Vec::new(), [const { Vec::new() }; 4]);
    for _ in 0..rounds() {
        alone.push(megabytes / encoder_alone());
        for ((_, workers, compare), rates) in SETUPS.iter().zip(&mut rates) {
            rates.push(megabytes / job.make(*workers, *compare));
        }
    }
    let mut rows = vec![Row::only("the encoder alone, 1 core", format!("{} MB/s", spread(&alone)))];
    for ((what, workers, _), rates) in SETUPS.iter().zip(&rates) {
        let ratios: Vec<f64> = rates.iter().zip(&alone).map(|(rate, alone)| rate / alone).collect();
        let (measured, ratio) = (format!("{} MB/s", spread(rates)), median(&ratios));
        rows.push(match workers {
            2 => Row::times(what, GOAL, measured, ratio),
            _ => Row { ratio: format!("{ratio:.2} x"), ..Row::only(what, measured) },
        });
    }
    rows.push(Row::below("memory above idle", MEMORY, "MB", peak, format!("{peak:.1} MB")));
    report::print(&rows);
}

/// One copy to be made, again and again.
struct Job {
    source: Arc<dyn Source>,
    subject: Subject,
    recipe: Recipe,
    cache: std::path::PathBuf,
}

impl Job {
    /// Makes the copy with an engine of its own, and returns how many seconds that took.
    fn make(&self, workers: usize, compare: Compare) -> f64 {
        let cache_dir = Some(self.cache.clone());
        let settings =
            Settings { workers, compare, cache_dir, cache_budget: 256 << 20, ..Settings::default() };
        let engine = Engine::new(settings).unwrap();
        let begun = Instant::now();
        let made = engine.make(self.source.clone(), [0; 32], &self.subject, &self.recipe, (1, 1)).unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        assert!(made.is_cached());
        seconds
    }
}

/// Seconds to encode all frames, painted before, on one core and with nothing around it.
fn encoder_alone() -> f64 {
    let painter = SCENE.painter();
    let first = painter.frame(0);
    let tables = jpeg_lossless::Tables::of_sample(&first, LAYOUT, 8).unwrap();
    let mut seconds = 0.0;
    for frame in painter.frames() {
        let begun = Instant::now();
        let encoded = jpeg_lossless::encode_frame(&frame, LAYOUT, 8, &tables).unwrap();
        seconds += begun.elapsed().as_secs_f64();
        assert!(encoded.len() < frame.len());
    }
    seconds
}

/// A loop as a cart sends it, with the attributes that matter here.
fn write_loop(path: &Path) {
    let mut head = Vec::new();
    let mut put = |group: u16, element: u16, vr: &str, value: &[u8]| {
        head.extend(group.to_le_bytes());
        head.extend(element.to_le_bytes());
        head.extend(vr.as_bytes());
        head.extend((value.len() as u16).to_le_bytes());
        head.extend(value);
    };
    put(0x0008, 0x0016, "UI", b"1.2.840.10008.5.1.4.1.1.3.1\0");
    put(0x0008, 0x0018, "UI", b"1.2.3.4.5\0");
    put(0x0028, 0x0002, "US", &3_u16.to_le_bytes());
    put(0x0028, 0x0004, "CS", b"RGB ");
    put(0x0028, 0x0006, "US", &0_u16.to_le_bytes());
    put(0x0028, 0x0008, "IS", b"60");
    put(0x0028, 0x0010, "US", &SCENE.rows.to_le_bytes());
    put(0x0028, 0x0011, "US", &SCENE.columns.to_le_bytes());
    for (element, value) in [(0x0100, 8_u16), (0x0101, 8), (0x0102, 7), (0x0103, 0)] {
        put(0x0028, element, "US", &value.to_le_bytes());
    }
    head.extend(b"\xE0\x7F\x10\x00OB\0\0");
    head.extend((SCENE.frame_len() as u32 * SCENE.frames).to_le_bytes());
    let mut file = File::create(path).unwrap();
    file.write_all(&head).unwrap();
    SCENE.painter().frames().for_each(|frame| file.write_all(&frame).unwrap());
}

/// A field of this process's status, in bytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Rounds in which everybody has a turn; `CHRYSALIS_BENCH_ROUNDS` for more or fewer.
fn rounds() -> u64 {
    std::env::var("CHRYSALIS_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(7)
}
