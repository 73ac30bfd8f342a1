//! Every real file there is, through every setting. Without the collection there is nothing to do.

use std::path::Path;
use std::sync::Arc;

use super::coding::Coding;
use super::engine::{Engine, Settings};
use super::foreign::Decoders;
use super::picture::Picture;
use super::*;
use crate::dicom::TransferSyntax;
use crate::dicom::part10::FileHead;
use crate::dicom::scan::Structure;
use crate::dicom::walk::Walk;

/// The data sets of real files in a folder of the collection, and how they are stored.
fn real_files(folder: &str) -> Vec<(String, TransferSyntax, Vec<u8>)> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");
    let root = std::env::var("CHRYSALIS_TEST_DATA").unwrap_or_else(|_| beside.to_owned());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(Path::new(&root).join(folder)).into_iter().flatten().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap();
        let Ok(head) = FileHead::read(&mut std::io::Cursor::new(&bytes)) else { continue };
        let data_set = bytes[head.data_set_offset as usize..].to_vec();
        found.push((entry.file_name().to_string_lossy().into_owned(), head.transfer_syntax, data_set));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn settings() -> Vec<(Compression, Accepts)> {
    let targets =
        [Target::AsReceived, Target::Uncompressed, Target::JpegLossless, Target::JpegLossy(Quality::DEFAULT)];
    let mut all = Vec::new();
    for target in targets {
        for monochrome in [Monochrome::Never, Monochrome::BModeOnly] {
            for lossy_source in [LossySource::Keep, LossySource::Force] {
                let lossy_uid = LossyUid::New;
                let wish = Compression { image: target, cine: target, monochrome, lossy_source, lossy_uid };
                all.push((wish, Accepts::Anything));
            }
        }
    }
    all.push((Compression::default(), Accepts::These(vec![TransferSyntax::IMPLICIT_VR_LE])));
    all
}

fn read(made: &Made) -> Vec<u8> {
    let (mut reader, mut all, mut piece) = (made.reader(), Vec::new(), Vec::new());
    loop {
        reader.next(&mut piece).unwrap();
        if piece.is_empty() {
            return all;
        }
        all.extend_from_slice(&piece);
    }
}

/// A few frames of a data set in RGB or grey, as whoever looks at them sees them.
fn look(bytes: &Vec<u8>, syntax: &TransferSyntax) -> Vec<Vec<u8>> {
    let subject = Subject::read(bytes, syntax, Soundness::Sound).unwrap();
    let Content::Image(image) = &subject.content else { panic!("{:?}", subject.content) };
    let map = FrameMap::read(bytes, &subject).unwrap();
    let palette = palette::read(bytes, &subject.outline, image.sign).ok();
    let frames = if map.len() > 3 { vec![0, map.len() / 2, map.len() - 1] } else { (0..map.len()).collect() };
    let see = |n| {
        let mut stored = Vec::new();
        map.get(n, bytes, &mut stored).unwrap();
        let picture = Picture::decode(stored, image, Coding::of(syntax), &Decoders::new(None, 1), n).unwrap();
        convert::to_be_seen(picture, palette.as_ref()).unwrap().pixels
    };
    frames.into_iter().map(see).collect()
}

/// Larger data sets are not streamed as well: it takes as long again, twice.
const STREAMED_TOO: u64 = 500_000;

/// Returns what could not be made, and why.
fn every_setting(folder: &str) -> Vec<String> {
    let own = tempfile::tempdir().unwrap();
    let cached = Settings {
        workers: 2,
        cache_dir: Some(own.path().to_owned()),
        cache_budget: 512 << 20,
        ..Settings::default()
    };
    let (cached, streamed) =
        (Engine::new(cached).unwrap(), Engine::new(Settings { workers: 2, ..Settings::default() }).unwrap());
    let (mut made_count, mut failures) = (0, Vec::new());
    for (number, (name, syntax, data_set)) in real_files(folder).into_iter().enumerate() {
        let mut walk = Walk::new(syntax.encoding());
        walk.feed(&data_set);
        // Of anything else nobody would make a copy, so it need not be one that can be read.
        let is_sound = walk.finish().structure == Structure::Sound;
        let source: Arc<dyn Source> = Arc::new(data_set.clone());
        let subject = Subject::read(&*source, &syntax, Soundness::Sound).unwrap();
        let mut done = Vec::new();
        for (wish, accepts) in settings() {
            let Plan::Transcode(recipe) = plan(&subject, &wish, &accepts) else { continue };
            if done.contains(&recipe.key()) {
                continue;
            }
            done.push(recipe.key());
            let instance = (1, number as u64);
            let made = match cached.make(source.clone(), [1; 32], &subject, &recipe, instance) {
                Ok(made) => made,
                Err(error) => {
                    failures.push(format!("{name}: {}: {error}", recipe.key()));
                    continue;
                }
            };
            made_count += 1;
            let bytes = read(&made);
            assert_eq!(bytes.len() as u64, made.length, "{name}");
            if source.len() < STREAMED_TOO {
                let again = streamed.make(source.clone(), [1; 32], &subject, &recipe, instance).unwrap();
                assert!(read(&again) == bytes, "{name}: {}: streamed otherwise than cached", recipe.key());
            }
            let lossless = !matches!(recipe.pixels, Pixels::JpegLossy(_)) && recipe.grey != Grey::Within(10);
            if is_sound && subject.image().is_some() && lossless && !made.is_original() {
                let (mut stored, mut from) = (data_set.clone(), syntax.clone());
                if syntax.encoding() == crate::dicom::Encoding::DeflatedLe {
                    from = TransferSyntax::EXPLICIT_VR_LE;
                    stored.clear();
                    dataset::inflate(&data_set, &mut stored, u64::MAX).unwrap();
                }
                let before = look(&stored, &from);
                let after = look(&bytes, &made.syntax);
                for (before, after) in before.iter().zip(&after) {
                    let grey = made
                        .grey
                        .then(|| before.as_chunks::<3>().0.iter().map(|p| p[0]).collect::<Vec<u8>>());
                    assert!(
                        grey.as_ref().unwrap_or(before) == after,
                        "{name}: {}: other pixels",
                        recipe.key()
                    );
                }
            }
        }
    }
    println!("{folder}: {made_count} copies");
    failures
}

#[test]
fn every_ultrasound_file_through_every_setting() {
    assert_eq!(every_setting("ultrasound"), Vec::<String>::new());
}

#[test]
fn every_other_file_through_every_setting() {
    assert_eq!(every_setting("other"), Vec::<String>::new());
}

#[test]
fn every_malformed_file_ends_in_a_plan_and_a_copy_or_an_error() {
    for failure in every_setting("malformed") {
        assert!(failure.is_ascii() && failure.len() < 300, "it can be told: {failure}");
    }
}
