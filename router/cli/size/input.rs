//! What is typed and read from files, checked before it is reckoned with.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use chrysalis_sizing::{
    Conversion, Encoding, MOST_OUTAGE_HOURS, MOST_STUDIES_PER_HOUR, Measured, Mix, MixError, REFERENCE, Run,
    RunError, StudyKind, Target, Work,
};
use serde::Deserialize;

use crate::config;

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// The most kinds of studies in a mix.
const MOST_KINDS: usize = 64;
/// The most cores a host has here.
const MOST_CORES: f64 = 4096.0;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It does not have the form that it should.
    #[error("{}: {why}", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Its mix makes no sense.
    #[error("{}: {error}", file.display())]
    Mix {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: MixError,
    },
    /// The run that it reports tells nothing.
    #[error("{}: {error}", file.display())]
    Run {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: RunError,
    },
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    number(text, MOST_STUDIES_PER_HOUR, "studies per hour")
}

pub(super) fn cores(text: &str) -> Result<f64, String> {
    number(text, MOST_CORES, "cores")
}

fn number(text: &str, most: f64, what: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|error| error.to_string())?;
    if number > 0.0 && number <= most {
        Ok(number)
    } else {
        Err(format!("{what} are above 0 and at most {most}"))
    }
}

/// A duration in hours.
pub(super) fn hours(text: &str) -> Result<f64, String> {
    let hours = config::duration(text).map_err(|error| error.to_string())?.as_secs_f64() / 3600.0;
    if hours <= MOST_OUTAGE_HOURS {
        Ok(hours)
    } else {
        Err(format!("at most {} days", MOST_OUTAGE_HOURS / 24.0))
    }
}

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    match config::size(text).map_err(|error| error.to_string())? {
        0 => Err("a host has more than none".to_owned()),
        bytes => Ok(bytes),
    }
}

/// `20Mbit`, `1.5 Gbit/s`: bytes per second.
pub(super) fn bits(text: &str) -> Result<f64, String> {
    let units = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];
    let lower = text.trim().to_ascii_lowercase();
    let rate = lower.strip_suffix("/s").unwrap_or(&lower);
    let read = units.iter().find_map(|(unit, scale)| {
        let number = rate.strip_suffix(unit)?.trim_end().parse::<f64>().ok()?;
        Some(number * scale / 8.0)
    });
    let sensible = read.filter(|bytes| (125.0..=1.25e11).contains(bytes));
    sensible
        .ok_or_else(|| format!("{text:?} is not a rate such as 512kbit, 20Mbit or 1.5Gbit; at most 1000Gbit"))
}

/// A site's own counts: kinds of studies, and what a frame weighs where that is known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MixFile {
    #[serde(default = "usual")]
    encoding: String,
    native_frame: Option<u32>,
    jpeg_frame: Option<u32>,
    lossless_frame: Option<u32>,
    kind: Vec<KindFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KindFile {
    name: String,
    share: u32,
    stills: u32,
    loops: u32,
    #[serde(default)]
    frames_per_loop: u32,
}

fn usual() -> String {
    Encoding::NativeStills.to_string()
}

impl MixFile {
    /// Reads one: JSON where its name ends so, else TOML. What it holds is kept until the program ends, as mixes are.
    pub(super) fn read(file: &Path) -> Result<(Mix, Encoding), InputError> {
        let form = |why: String| InputError::Form { file: file.to_owned(), why };
        let text = text(file)?;
        let read: Self =
            match file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
                true => serde_json::from_str(&text).map_err(|error| form(error.to_string()))?,
                false => toml::from_str(&text).map_err(|error| form(error.to_string()))?,
            };
        let encoding = read.encoding.parse().map_err(|error| form(format!("encoding: {error}")))?;
        if read.kind.len() > MOST_KINDS {
            return Err(form(format!("has more than {MOST_KINDS} kinds of studies")));
        }
        let kinds: Vec<_> = read.kind.into_iter().map(KindFile::kind).collect();
        let mix = Mix {
            kinds: kinds.leak(),
            native_frame: read.native_frame.unwrap_or(REFERENCE.native_frame),
            jpeg_frame: read.jpeg_frame.unwrap_or(REFERENCE.jpeg_frame),
            lossless_frame: read.lossless_frame.unwrap_or(REFERENCE.lossless_frame),
        };
        mix.check().map_err(|error| InputError::Mix { file: file.to_owned(), error })?;
        Ok((mix, encoding))
    }
}

impl KindFile {
    fn kind(self) -> StudyKind {
        let name: String = self.name.chars().take(64).collect();
        let (share, stills, loops) = (self.share, self.stills, self.loops);
        StudyKind { name: name.leak(), share, stills, loops, frames_per_loop: self.frames_per_loop }
    }
}

fn text(file: &Path) -> Result<String, InputError> {
    let unreadable = |error| InputError::Unreadable { file: file.to_owned(), error };
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let length = opened.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if length as u64 > MAX_FILE_BYTES {
        return Err(InputError::Form { file: file.to_owned(), why: "is larger than 64 MiB".to_owned() });
    }
    Ok(text)
}

/// What of a load report tells what work costs.
#[derive(Debug, Deserialize)]
struct LoadReport {
    began: String,
    machine: Machine,
    plan: Plan,
    samples: Vec<Sample>,
    node: Option<NodeUse>,
}

#[derive(Debug, Deserialize)]
struct Machine {
    cpu: String,
    cores: f64,
}

#[derive(Debug, Deserialize)]
struct Plan {
    mix: String,
    carts: u32,
    route: String,
}

#[derive(Debug, Deserialize)]
struct Sample {
    studies_delivered: u64,
    #[serde(default)]
    backlog_instances: u64,
}

#[derive(Debug, Deserialize)]
struct NodeUse {
    cpu_seconds: f64,
    peak_memory_bytes: u64,
}

/// What work costs by the report of a load run on a machine.
pub(super) fn measured(file: &Path) -> Result<Measured, InputError> {
    let form = |why: String| InputError::Form { file: file.to_owned(), why };
    let report: LoadReport = serde_json::from_str(&text(file)?).map_err(|error| form(error.to_string()))?;
    let node = report.node.ok_or_else(|| form("says nothing of what the node used".to_owned()))?;
    let encoding = report.plan.mix.parse().map_err(|error| form(format!("plan.mix: {error}")))?;
    let conversion = conversion(&report.plan.route)
        .ok_or_else(|| form(format!("plan.route {:?} is none that costs are known of", report.plan.route)))?;
    let run = Run {
        work: Work { mix: &REFERENCE, encoding, conversion },
        studies: report.samples.last().map_or(0, |sample| sample.studies_delivered) as f64,
        associations: report.plan.carts,
        most_waiting: report.samples.iter().map(|sample| sample.backlog_instances).max().unwrap_or(0) as f64,
        cpu_seconds: node.cpu_seconds,
        peak_memory: node.peak_memory_bytes as f64,
    };
    let day = report.began.chars().take(10).collect::<String>();
    let machine = format!("{} cores {}, {day}", report.machine.cores, report.machine.cpu);
    let costs = Measured::BENCHES.as_in(&run, file.display().to_string(), machine);
    costs.map_err(|error| InputError::Run { file: file.to_owned(), error })
}

/// A route as a report names it: a target for both, or for one of them as in `jpeg-lossless stills`.
fn conversion(route: &str) -> Option<Conversion> {
    let parts = route.split(',').map(str::trim);
    parts.clone().try_fold(Conversion::NONE, |wanted, part| {
        let (target, of) = part.split_once(' ').unwrap_or((part, ""));
        let target: Target = target.parse().ok()?;
        match of {
            "" if route == part => Some(Conversion { image: target, cine: target }),
            "stills" => Some(Conversion { image: target, ..wanted }),
            "loops" => Some(Conversion { cine: target, ..wanted }),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{MixFile, bits, bytes, conversion, cores, hours, measured, rate};
    use chrysalis_sizing::{Conversion, Encoding, Measured, Target};

    #[test]
    fn rates_that_make_no_sense_are_refused() {
        assert_eq!((rate("40"), rate("0.5"), cores("1.5")), (Ok(40.0), Ok(0.5), Ok(1.5)));
        for text in ["0", "-1", "NaN", "inf", "-inf", "1e9", "many", ""] {
            assert!(rate(text).is_err() && cores(text).is_err(), "{text}");
        }
        assert_eq!((hours("24h"), hours("90m"), bytes("4GB")), (Ok(24.0), Ok(1.5), Ok(4_000_000_000)));
        for text in ["-1h", "24", "9999d", "soon"] {
            assert!(hours(text).is_err(), "{text}");
        }
        assert!(bytes("0").is_err() && bytes("-1GB").is_err());
    }

    #[test]
    fn lines_are_read_as_they_are_sold() {
        for (text, expected) in
            [("20Mbit", 2.5e6), ("1.5 Gbit/s", 187.5e6), ("512kbit", 64e3), ("20mbit", 2.5e6)]
        {
            assert_eq!(bits(text), Ok(expected), "{text}");
        }
        for text in ["20", "20MB", "0Mbit", "-1Mbit", "NaNMbit", "infGbit", "1e30Gbit", "Mbit"] {
            assert!(bits(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_route_of_a_report_is_read_as_it_is_named() {
        let both = |target| Some(Conversion { image: target, cine: target });
        assert_eq!(conversion("as-received"), Some(Conversion::NONE));
        assert_eq!(conversion("jpeg-lossless"), both(Target::JpegLossless));
        let stills = Conversion { image: Target::JpegLossless, ..Conversion::NONE };
        assert_eq!(conversion("jpeg-lossless stills"), Some(stills));
        assert_eq!(conversion("jpeg-lossless stills, as-received loops"), Some(stills));
        assert_eq!(
            (conversion("fast"), conversion("jpeg-lossless images"), conversion("")),
            (None, None, None)
        );
    }

    #[test]
    fn a_sites_own_counts_are_read_from_toml_and_json_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("a file");
            MixFile::read(&file)
        };
        let kind = "[[kind]]\nname = \"liver\"\nshare = 100\nstills = 30\nloops = 2\nframes_per_loop = 50\n";
        let (mix, encoding) = read("a.toml", &format!("encoding = \"all-native\"\n{kind}")).expect("a mix");
        assert_eq!(
            (mix.kinds[0].name, mix.mean_loop_frames(), encoding),
            ("liver", 100.0, Encoding::AllNative)
        );
        let json = "{\"kind\": [{\"name\": \"x\", \"share\": 100, \"stills\": 1, \"loops\": 0}], \"native_frame\": 5000000}";
        let (mix, encoding) = read("a.json", json).expect("a mix");
        assert_eq!((mix.native_frame, encoding), (5_000_000, Encoding::NativeStills));
        for wrong in [
            "",
            "kind = []",
            &kind.replace("100", "99"),
            &kind.replace("30", "-1"),
            &format!("colour = 1\n{kind}"),
            &format!("encoding = \"png\"\n{kind}"),
            &format!("jpeg_frame = 0\n{kind}"),
        ] {
            assert!(read("b.toml", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn costs_are_taken_from_the_report_of_a_load_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("run.json");
        let report = |studies: u64| {
            serde_json::json!({
                "version": 1, "began": "2026-11-22T10:00:00Z", "machine": {"cpu": "Some CPU", "cores": 4.0},
                "plan": {"mix": "usual", "carts": 4, "route": "as-received"},
                "samples": [{"studies_delivered": 3, "backlog_instances": 10}, {"studies_delivered": studies}],
                "node": {"cpu_seconds": 100.0, "peak_memory_bytes": 60_000_000},
            })
        };
        std::fs::write(&file, report(100).to_string()).expect("a file");
        let costs = measured(&file).expect("costs");
        assert_eq!(costs.machine, "4 cores Some CPU, 2026-11-22");
        assert!(
            costs.pass_byte > Measured::BENCHES.pass_byte,
            "a second for a study is more than the benches took"
        );
        std::fs::write(&file, report(0).to_string()).expect("a file");
        assert!(measured(&file).expect_err("nothing").to_string().contains("0 studies delivered"));
        std::fs::write(&file, "{}").expect("a file");
        assert!(measured(&file).is_err());
    }
}
