//! DCMTK, gdcm and dicom3tools on files: what they think of one, and what they decode it to.

use crate::file::{Dicom, Pixels};
use crate::support::instance::Instance;
use crate::support::process::{Finished, list, run};
use crate::support::strangers::require;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(120);

/// The program, if it is installed; says that the test is skipped, or fails, if not.
#[track_caller]
pub fn program(name: &str) -> Option<PathBuf> {
    require(name)
}

/// Runs a program that reads one file and writes another.
///
/// # Errors
/// What it said, if it failed.
pub fn convert(program: &Path, args: &[&str], from: &Path, to: &Path) -> Result<(), String> {
    let files = [from.as_os_str(), to.as_os_str()];
    let args = args.iter().map(std::ffi::OsStr::new).chain(files);
    let ended = run(program, args, PATIENCE);
    match ended.status.success() && to.is_file() {
        true => Ok(()),
        false => Err(format!("{}: {} {}", program.display(), ended.status, in_one_line(&ended.output))),
    }
}

/// Those who say whether a file is one.
pub struct Readers {
    dcmftest: PathBuf,
    dcmdump: PathBuf,
    gdcminfo: PathBuf,
    dciodvfy: PathBuf,
    dcmconv: PathBuf,
}

/// What they say of a file.
pub struct Opinion {
    /// dcmdump's complaint.
    pub dcmdump: Option<String>,
    /// Width, height and frames of the image as gdcminfo has them, or what it says instead.
    pub gdcminfo: Result<[usize; 3], String>,
    /// dciodvfy's Error lines without what differs from one instance to the next, see [`essence`].
    pub errors: BTreeSet<String>,
}

impl Readers {
    #[track_caller]
    pub fn find() -> Option<Self> {
        Some(Self {
            dcmftest: program("dcmftest")?,
            dcmdump: program("dcmdump")?,
            gdcminfo: program("gdcminfo")?,
            dciodvfy: program("dciodvfy")?,
            dcmconv: program("dcmconv")?,
        })
    }

    /// The lines of dcmftest about files in a folder that it does not take for DICOM files.
    pub fn no_files(&self, folder: &Path) -> Vec<String> {
        let files = list(folder);
        let said = run(&self.dcmftest, &files, PATIENCE).output;
        let (yes, mut no): (Vec<_>, Vec<_>) =
            said.lines().map(str::to_owned).partition(|line| line.starts_with("yes: "));
        if yes.len() + no.len() != files.len() {
            no.push(format!("dcmftest spoke of {} files of {}", yes.len() + no.len(), files.len()));
        }
        no
    }

    /// What they say of every file in a folder, by its name. Starting a program takes longer than looking at a file, so they
    /// are given all of them at once where they take more than one.
    pub fn opinions(&self, folder: &Path) -> BTreeMap<String, Opinion> {
        let files = list(folder);
        let nobody_complains = complaint(&run(&self.dcmdump, &files, PATIENCE)).is_none();
        let seen_by_gdcm = run(&self.gdcminfo, [folder], PATIENCE).output;
        let sections: BTreeMap<String, &str> = seen_by_gdcm
            .split("filename: ")
            .filter_map(|section| section.split_once('\n'))
            .map(|(file, said)| (name(Path::new(file)), said))
            .collect();
        let opinion = |file: &PathBuf| {
            let alone = || complaint(&run(&self.dcmdump, [file], PATIENCE));
            let said = sections.get(&name(file)).unwrap_or(&"nothing");
            let opinion = Opinion {
                dcmdump: if nobody_complains { None } else { alone() },
                gdcminfo: dimensions(said).ok_or_else(|| in_one_line(said)),
                errors: self.errors(file),
            };
            (name(file), opinion)
        };
        files.par_iter().map(opinion).collect()
    }

    /// What dciodvfy finds wrong; of what is deflated, into which it does not look, in what is inflated.
    fn errors(&self, file: &Path) -> BTreeSet<String> {
        let folder = tempfile::tempdir().unwrap();
        let inflated = folder.path().join("inflated.dcm");
        let is_deflated = Instance::from_part10(file).unwrap().transfer_syntax == DEFLATED;
        if is_deflated {
            convert(&self.dcmconv, &["+te"], file, &inflated).unwrap();
        }
        let said = run(&self.dciodvfy, [if is_deflated { &inflated } else { file }], PATIENCE).output;
        said.lines().filter(|line| line.starts_with("Error")).map(essence).collect()
    }
}

/// What dcmdump complains of.
fn complaint(dump: &Finished) -> Option<String> {
    let complaint = dump.output.lines().find(|line| line.starts_with("E: ") || line.starts_with("W: "));
    match (dump.status.success(), complaint) {
        (true, None) => None,
        (_, complaint) => Some(complaint.unwrap_or("it failed without a word").to_owned()),
    }
}

fn dimensions(gdcminfo: &str) -> Option<[usize; 3]> {
    let line = gdcminfo.lines().find_map(|line| line.strip_prefix("Dimensions: ("))?;
    let numbers = line.trim_end_matches(')').split(',').map(|number| number.parse().ok());
    numbers.collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// Those who decode pixels.
pub struct Decoders {
    dcmconv: PathBuf,
    dcmdjpeg: PathBuf,
    dcmdjpls: PathBuf,
    dcmdrle: PathBuf,
    gdcmconv: PathBuf,
}

impl Decoders {
    #[track_caller]
    pub fn find() -> Option<Self> {
        Some(Self {
            dcmconv: program("dcmconv")?,
            dcmdjpeg: program("dcmdjpeg")?,
            dcmdjpls: program("dcmdjpls")?,
            dcmdrle: program("dcmdrle")?,
            gdcmconv: program("gdcmconv")?,
        })
    }

    /// The pixels of a losslessly stored file, decoded by whoever of DCMTK's programs takes its transfer syntax, else by
    /// gdcm; samples are as stored.
    pub fn samples(&self, file: &Path, syntax: &str) -> Result<Pixels, String> {
        match syntax {
            JPEG_LOSSLESS | JPEG_LOSSLESS_ANY => self.dcmdjpeg(file),
            RLE => self.decoded(&self.dcmdrle, &[], file),
            JPEG_LS => self.decoded(&self.dcmdjpls, &[], file),
            JPEG_2000 => self.gdcm(file),
            _ => self.decoded(&self.dcmconv, &["+te"], file),
        }
    }

    /// What dcmdjpeg makes of JPEG, without a conversion of colours.
    pub fn dcmdjpeg(&self, file: &Path) -> Result<Pixels, String> {
        self.decoded(&self.dcmdjpeg, &["+cn"], file)
    }

    /// What dcmdjpeg makes of JPEG, with its own conversion of colours.
    pub fn dcmdjpeg_in_colour(&self, file: &Path) -> Result<Pixels, String> {
        self.decoded(&self.dcmdjpeg, &["+cp"], file)
    }

    /// What gdcm makes of compressed pixels.
    pub fn gdcm(&self, file: &Path) -> Result<Pixels, String> {
        self.decoded(&self.gdcmconv, &["--raw"], file)
    }

    /// Writes what was in JPEG as native.
    pub fn native_of_jpeg(&self, file: &Path, to: &Path) -> Result<(), String> {
        convert(&self.dcmdjpeg, &["+cn"], file, to)
    }

    fn decoded(&self, program: &Path, args: &[&str], file: &Path) -> Result<Pixels, String> {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("decoded.dcm");
        convert(program, args, file, &to)?;
        Ok(Dicom::open(&to).pixels())
    }
}

pub const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub const RLE: &str = "1.2.840.10008.1.2.5";
pub const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
pub const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
pub const JPEG_LOSSLESS_ANY: &str = "1.2.840.10008.1.2.4.57";
pub const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
pub const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

/// A file's name without its folder.
pub fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Fails with everything there is to say, if there is anything.
#[track_caller]
pub fn none_of(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

fn in_one_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" | ").chars().take(300).collect()
}

/// An Error line without numbers. Of one about a UID only the kind of mistake is left: a copy names its source, and is named
/// in its file meta information, so that a mistake in a UID of the source is seen in more places.
fn essence(line: &str) -> String {
    if let Some((mistake, _)) = line.split_once(" for UID") {
        return mistake.to_owned();
    }
    if line.contains(" UI ") {
        let last = line.rsplit(" - ").next().unwrap_or_default();
        return format!("a UID: {last}");
    }
    let mut out = String::new();
    for character in line.chars() {
        match character {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            other => out.push(other),
        }
    }
    out
}
