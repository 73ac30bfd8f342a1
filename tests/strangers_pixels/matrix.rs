//! Every file through every setting: strangers read the copies, and find nothing wrong that was not wrong before.

use crate::file::{Dicom, PHOTOMETRIC};
use crate::program::{Setting, setting};
use crate::samples;
use crate::support::instance::{Digest, real_files};
use crate::support::process::list;
use crate::tools::{JPEG_BASELINE, Opinion, Readers, name, none_of};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// A file that differs from its source.
struct Copy {
    source: PathBuf,
    file: PathBuf,
    setting: Setting,
}

/// What the program made of a folder of files.
#[derive(Default)]
struct Made {
    /// One of each content of each source.
    copies: Vec<Copy>,
    /// How many files were written that are what they were.
    unchanged: usize,
    /// How many files were written that another setting has made as well.
    again: usize,
    /// Sources without a copy, the setting, and what was said.
    none: Vec<(PathBuf, Setting, String)>,
}

/// Puts every file below a folder through some settings. What was made is in folders below `home`.
fn make(folder: &Path, settings: &[Setting], home: &Path) -> Made {
    let sources = list(folder);
    let digest = |file: &Path| Digest::of(&std::fs::read(file).unwrap());
    let originals: Vec<_> = sources.par_iter().map(|source| digest(source)).collect();
    let each = settings.par_iter().map(|setting| {
        let to = home.join(setting.to_string());
        let said = setting.transcode(folder, &to, &[]).output;
        let written = |source: &PathBuf| {
            let file = to.join(source.strip_prefix(folder).unwrap());
            let content = file.is_file().then(|| digest(&file));
            let said = said.lines().find(|line| line.starts_with(&format!("{}: ", source.display())));
            (file, content, said.unwrap_or("nothing was said").to_owned())
        };
        (*setting, sources.iter().map(written).collect::<Vec<_>>())
    });
    let each: Vec<_> = each.collect();
    let mut made = Made::default();
    for (number, source) in sources.iter().enumerate() {
        let mut seen = vec![originals[number]];
        for (setting, written) in &each {
            let (file, content, said) = &written[number];
            match content {
                None => made.none.push((source.clone(), *setting, said.clone())),
                Some(content) if *content == originals[number] => made.unchanged += 1,
                Some(content) if seen.contains(content) => made.again += 1,
                Some(content) => {
                    seen.push(*content);
                    let (source, file) = (source.clone(), file.clone());
                    made.copies.push(Copy { source, file, setting: *setting });
                }
            }
        }
    }
    made
}

/// What is wrong with the copies, and was not with their sources in `folder`.
fn complaints(made: &Made, folder: &Path, home: &Path, readers: &Readers) -> Vec<String> {
    let copies = home.join("copies");
    std::fs::create_dir(&copies).unwrap();
    let alias = |copy: &Copy| format!("{} {}", copy.setting, name(&copy.source));
    for copy in &made.copies {
        std::fs::hard_link(&copy.file, copies.join(alias(copy))).unwrap();
    }
    let (before, after) = (readers.opinions(folder), readers.opinions(&copies));
    let of_copies = made.copies.par_iter().flat_map_iter(|copy| {
        let found = worse(&before[&name(&copy.source)], &after[&alias(copy)], &copy.file);
        found.into_iter().map(move |found| format!("{}, {}: {found}", name(&copy.source), copy.setting))
    });
    let mut all: Vec<String> = of_copies.collect();
    all.extend(readers.no_files(&copies));
    all
}

fn worse(before: &Opinion, after: &Opinion, file: &Path) -> Vec<String> {
    let mut found = Vec::new();
    if let (None, Some(said)) = (&before.dcmdump, &after.dcmdump) {
        found.push(format!("dcmdump: {said}"));
    }
    let copy = Dicom::open(file);
    let errors = after.errors.difference(&before.errors).filter(|error| !cannot_be_otherwise(error, &copy));
    found.extend(errors.map(|error| format!("dciodvfy: {error}")));
    match (&before.gdcminfo, &after.gdcminfo) {
        (Ok(_), Err(said)) => found.push(format!("gdcminfo: {said}")),
        (_, Ok([.., frames])) if *frames != copy.frames() => {
            found.push(format!("gdcminfo: {frames} frames, of which there are {}", copy.frames()));
        }
        _ => {}
    }
    if copy.has_pixels() && copy.native().is_none() {
        match copy.fragments() {
            Err(why) => found.push(why),
            Ok(fragments)
                if fragments.starts != fragments.table || fragments.starts.len() != copy.frames() =>
            {
                let (table, starts) = (fragments.table.len(), fragments.starts.len());
                found.push(format!("{starts} fragments, a table of {table}, {} frames", copy.frames()));
            }
            Ok(_) => {}
        }
    }
    found
}

/// Where the module of an image's SOP class and a lossless copy, or JPEG Baseline, cannot both have their way:
///
/// - the US Image Module wants YBR_FULL by plane and not native (PS3.3 C.8.5.6), and JPEG Lossless has only samples side
///   by side (PS3.5 8.2.1). Only a conversion to RGB, which loses, would get around it;
/// - CT and MR want 16 bits allocated, also where eight are stored, and JPEG Baseline has eight.
fn cannot_be_otherwise(error: &str, copy: &Dicom) -> bool {
    let about = |attribute: &str| error.contains(&format!("of attribute <{attribute}>"));
    let ybr_full = copy.text(PHOTOMETRIC).as_deref() == Some("YBR_FULL");
    (ybr_full && (about("Photometric Interpretation") || about("Planar Configuration")))
        || (copy.syntax == JPEG_BASELINE && about("Bits Allocated"))
}

/// What has no SOP class or instance UID is nothing that could be sent, and no copy is made of it.
fn nameless(said: &str) -> bool {
    said.ends_with(": no SOP class or instance UID")
}

#[track_caller]
fn assert_strangers_read_every_copy(folder: &Path, settings: &[Setting]) {
    let Some(readers) = Readers::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let made = make(folder, settings, home.path());
    let mut complaints = complaints(&made, folder, home.path(), &readers);
    let none = made.none.iter().filter(|(.., said)| !nameless(said));
    complaints.extend(none.map(|(source, setting, said)| format!("{}, {setting}: {said}", name(source))));
    eprintln!(
        "{} files, {} settings: {} copies, {} the same as another setting's, {} unchanged, {} none",
        list(folder).len(),
        settings.len(),
        made.copies.len(),
        made.again,
        made.unchanged,
        made.none.len()
    );
    assert!(!made.copies.is_empty(), "nothing was made");
    none_of(&complaints);
}

/// Larger files go through [`COVERING`] only: it is the whole cross product that takes its time.
const LARGE: u64 = 2_000_000;

/// Every value of every setting, and what each target makes of sources with loss and without.
const COVERING: [Setting; 5] = [
    setting("as-received", "never", "keep"),
    setting("uncompressed", "b-mode-only", "keep"),
    setting("jpeg-lossless", "never", "keep"),
    setting("jpeg-lossless", "b-mode-only", "force"),
    setting("jpeg-lossy", "never", "force"),
];

/// Copies the real files of a kind into a folder of their own.
fn real(folders: &[&str], wanted: impl Fn(u64) -> bool) -> Option<tempfile::TempDir> {
    let home = tempfile::tempdir().unwrap();
    let to = home.path().join("real");
    std::fs::create_dir(&to).unwrap();
    for folder in folders {
        for file in real_files(folder)? {
            if wanted(std::fs::metadata(&file).unwrap().len()) {
                std::fs::write(to.join(name(&file)), std::fs::read(&file).unwrap()).unwrap();
            }
        }
    }
    Some(home)
}

#[test]
fn strangers_read_every_copy_of_generated_files_under_every_setting() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("generated");
    if samples::write_all(&folder) {
        assert_strangers_read_every_copy(&folder, &Setting::all());
    }
}

#[test]
fn strangers_read_every_copy_of_real_files_under_every_setting() {
    let Some(home) = real(&["ultrasound", "other"], |length| length < LARGE) else { return };
    assert_strangers_read_every_copy(&home.path().join("real"), &Setting::all());
}

#[test]
fn strangers_read_the_copies_of_large_real_loops() {
    let Some(home) = real(&["ultrasound", "other"], |length| length >= LARGE) else { return };
    assert_strangers_read_every_copy(&home.path().join("real"), &COVERING);
}
