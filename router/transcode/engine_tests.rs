//! Copies of generated images and loops.

use std::io::Write;
use std::sync::Arc;

use chrysalis_codecs::{FrameLayout, Limits, Order, jpeg_lossless, rle};
use chrysalis_sizing::{Colour, Scene};

use super::engine::{Engine, Settings};
use super::sample::Sample;
use super::*;
use crate::dicom::TransferSyntax;

const INSTANCE: (u64, u64) = (1, 1);

fn scene(colour: Colour, frames: u32) -> Scene {
    Scene { seed: 3, rows: 61, columns: 83, frames, colour }
}

fn recipe(pixels: Pixels, grey: Grey) -> Recipe {
    let to = match pixels {
        Pixels::AsTheyAre | Pixels::Native => TransferSyntax::EXPLICIT_VR_LE,
        Pixels::JpegLossless => TransferSyntax::JPEG_LOSSLESS,
        Pixels::JpegLossy(_) => TransferSyntax::JPEG_BASELINE,
        Pixels::Rle => TransferSyntax::RLE_LOSSLESS,
    };
    Recipe { to, pixels, grey, lossy_uid: LossyUid::New, why: String::new() }
}

fn engine(workers: usize, folder: Option<&tempfile::TempDir>) -> Engine {
    let cache_dir = folder.map(|folder| folder.path().to_owned());
    let settings = Settings { workers, cache_dir, cache_budget: 64 << 20, ..Settings::default() };
    Engine::new(settings).unwrap()
}

fn make(engine: &Engine, sample: &Sample, recipe: &Recipe) -> Result<Made, TranscodeError> {
    let source = sample.bytes();
    let subject = Sample::subject(&source);
    engine.make(Arc::new(source), [7; 32], &subject, recipe, INSTANCE)
}

fn read(made: &Made) -> Vec<u8> {
    let (mut reader, mut all, mut piece) = (made.reader(), Vec::new(), Vec::new());
    loop {
        reader.next(&mut piece).unwrap();
        assert!(piece.len() <= PIECE);
        if piece.is_empty() {
            assert_eq!(all.len() as u64, made.length);
            return all;
        }
        all.extend_from_slice(&piece);
    }
}

/// The fragments of an encapsulated data set, its offset table first, compared with where they are.
fn fragments(data_set: &[u8]) -> Vec<Vec<u8>> {
    let header = b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF";
    let begin = data_set.windows(header.len()).position(|bytes| bytes == header).unwrap() + header.len();
    let mut rest = &data_set[begin..];
    let (mut all, mut places, mut place) = (Vec::new(), Vec::new(), 0);
    while rest[..4] == *b"\xFE\xFF\x00\xE0" {
        let length = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        assert_eq!(length % 2, 0);
        all.push(rest[8..8 + length].to_vec());
        if all.len() > 1 {
            places.push(place);
            place += 8 + length as u32;
        }
        rest = &rest[8 + length..];
    }
    assert_eq!(rest[..8], *b"\xFE\xFF\xDD\xE0\0\0\0\0");
    let table: Vec<u32> = all[0].as_chunks::<4>().0.iter().map(|place| u32::from_le_bytes(*place)).collect();
    assert_eq!(table, places);
    all.remove(0);
    all
}

#[test]
fn what_is_deflated_as_a_whole_is_inflated_for_its_copy() {
    let plain = Sample::of(&scene(Colour::GreyRgb, 2)).bytes();
    let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    deflated.write_all(&plain).unwrap();
    let deflated = deflated.finish().unwrap();
    let syntax = TransferSyntax(crate::dicom::Uid::new("1.2.840.10008.1.2.1.99"));
    let subject = Subject::read(&deflated, &syntax, Soundness::Sound).unwrap();
    let recipe = recipe(Pixels::JpegLossless, Grey::Within(0));
    let folder = tempfile::tempdir().unwrap();
    for folder in [None, Some(&folder)] {
        let engine = engine(1, folder);
        let expected =
            engine.make(Arc::new(plain.clone()), [7; 32], &Sample::subject(&plain), &recipe, (1, 2)).unwrap();
        let made = engine.make(Arc::new(deflated.clone()), [7; 32], &subject, &recipe, INSTANCE).unwrap();
        assert!(made.grey && !made.is_original());
        assert_eq!(read(&made), read(&expected));
    }
}

#[test]
fn a_loop_becomes_jpeg_lossless_with_the_same_pixels_and_its_offset_table_is_filled() {
    let scene = scene(Colour::MarkedRgb, 7);
    let sample = Sample::of(&scene);
    let folder = tempfile::tempdir().unwrap();
    let made = make(&engine(2, Some(&folder)), &sample, &recipe(Pixels::JpegLossless, Grey::Never)).unwrap();
    assert!(made.is_cached() && !made.is_original() && !made.grey);
    assert_eq!(made.syntax, TransferSyntax::JPEG_LOSSLESS);
    let frames = fragments(&read(&made));
    assert_eq!(frames.len(), 7);
    for (n, frame) in frames.iter().enumerate() {
        let decoded = jpeg_lossless::decode_frame(frame, Limits::default()).unwrap();
        assert!(decoded.pixels == scene.frame(n as u32), "frame {n}");
    }
}

#[test]
fn the_bytes_depend_neither_on_threads_nor_on_the_cache() {
    let sample = Sample::of(&scene(Colour::Doppler, 9));
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let quality = Quality::new(80).unwrap();
    for pixels in [Pixels::JpegLossless, Pixels::JpegLossy(quality), Pixels::Rle, Pixels::Native] {
        let recipe = recipe(pixels, Grey::Never);
        let mut seen: Option<Vec<u8>> = None;
        for (workers, folder) in [(1, Some(&folders[0])), (8, Some(&folders[1])), (1, None), (8, None)] {
            let made = make(&engine(workers, folder), &sample, &recipe).unwrap();
            assert_eq!(made.is_cached(), folder.is_some());
            let bytes = read(&made);
            assert!(bytes == read(&made), "twice the same");
            assert!(*seen.get_or_insert_with(|| bytes.clone()) == bytes, "{pixels:?} {workers} {folder:?}");
        }
    }
}

#[test]
fn the_second_who_wants_a_copy_gets_the_first_ones_file() {
    let sample = Sample::of(&scene(Colour::MarkedRgb, 5));
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(2, Some(&folder));
    let recipe = recipe(Pixels::Rle, Grey::Never);
    let first = make(&engine, &sample, &recipe).unwrap();
    let used = engine.cache_usage().0;
    assert!(used >= first.length);
    let second = make(&engine, &sample, &recipe).unwrap();
    assert_eq!(engine.cache_usage().0, used);
    assert!(read(&first) == read(&second));
}

#[test]
fn what_does_not_fit_into_the_cache_is_streamed_with_its_table_filled() {
    let scene = scene(Colour::MarkedRgb, 40);
    let sample = Sample::of(&scene);
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        workers: 2,
        cache_dir: Some(folder.path().to_owned()),
        cache_budget: 100_000,
        ..Settings::default()
    };
    let engine = Engine::new(settings).unwrap();
    let made = make(&engine, &sample, &recipe(Pixels::JpegLossless, Grey::Never)).unwrap();
    assert!(!made.is_cached() && made.length > 100_000);
    assert_eq!(engine.cache_usage().0, 0, "nothing of it is left in the folder");
    assert_eq!(fragments(&read(&made)).len(), 40);
}

#[test]
fn a_stream_that_is_not_read_to_its_end_ends() {
    let sample = Sample::of(&scene(Colour::MarkedRgb, 200));
    let engine = engine(2, None);
    let made = make(&engine, &sample, &recipe(Pixels::Native, Grey::Never)).unwrap();
    let mut piece = Vec::new();
    let mut reader = made.reader();
    reader.next(&mut piece).unwrap();
    assert_eq!(piece.len(), PIECE);
    drop(reader);
    // Others are not kept waiting.
    assert_eq!(read(&made).len() as u64, made.length);
}

#[test]
fn a_copy_that_is_not_what_was_written_is_an_error_and_made_again() {
    let sample = Sample::of(&scene(Colour::MarkedRgb, 5));
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(2, Some(&folder));
    let recipe = recipe(Pixels::JpegLossless, Grey::Never);
    let made = make(&engine, &sample, &recipe).unwrap();
    let good = read(&made);
    let path = folder.path().join(format!("{:016}.copy", 0));
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"damage", 1000).unwrap();
    let (mut reader, mut piece) = (made.reader(), Vec::new());
    let error = loop {
        match reader.next(&mut piece) {
            Ok(()) => assert!(!piece.is_empty(), "the damage was not noticed"),
            Err(error) => break error,
        }
    };
    let said = error.get_ref().and_then(|inner| inner.downcast_ref());
    assert!(matches!(said, Some(TranscodeError::Cache(_))), "{error:?}");
    assert!(read(&make(&engine, &sample, &recipe).unwrap()) == good);
}

#[test]
fn a_grey_loop_in_colour_becomes_monochrome_with_the_same_greys() {
    let scene = scene(Colour::GreyRgb, 6);
    let sample = Sample::of(&scene);
    let engine = engine(2, None);
    let made = make(&engine, &sample, &recipe(Pixels::JpegLossless, Grey::Within(0))).unwrap();
    assert!(made.grey && made.first_colour.is_none());
    for (n, frame) in fragments(&read(&made)).iter().enumerate() {
        let decoded = jpeg_lossless::decode_frame(frame, Limits::default()).unwrap();
        let grey: Vec<u8> = scene.frame(n as u32).iter().step_by(3).copied().collect();
        assert!(decoded.pixels == grey, "frame {n}");
    }
}

#[test]
fn one_coloured_pixel_in_the_last_frame_keeps_the_colour_and_is_named() {
    let mut sample = Sample::of(&scene(Colour::GreyRgb, 6));
    let place = sample.pixels.len() - 61 * 83 * 3 + 1234 * 3;
    sample.pixels[place] ^= 1;
    let engine = engine(3, None);
    let made = make(&engine, &sample, &recipe(Pixels::JpegLossless, Grey::Within(0))).unwrap();
    assert!(!made.grey && !made.is_original());
    assert_eq!(made.first_colour, Some(FirstColour { frame: 5, pixel: 1234 }));
    let last = jpeg_lossless::decode_frame(&fragments(&read(&made))[5], Limits::default()).unwrap();
    assert!(last.pixels == sample.pixels[5 * 61 * 83 * 3..]);
}

#[test]
fn when_only_grey_was_wanted_and_there_is_colour_the_original_is_handed_out() {
    let sample = Sample::of(&scene(Colour::MarkedRgb, 6));
    let engine = engine(2, None);
    let recipe = recipe(Pixels::Native, Grey::Within(0));
    for _ in 0..2 {
        let made = make(&engine, &sample, &recipe).unwrap();
        assert!(made.is_original());
        assert_eq!(made.syntax, TransferSyntax::EXPLICIT_VR_LE);
        assert_eq!(made.first_colour.unwrap().frame, 0);
        assert!(read(&made) == sample.bytes());
    }
}

#[test]
fn planes_become_pixels_and_odd_native_lengths_are_padded() {
    let scene = Scene { seed: 1, rows: 7, columns: 9, frames: 3, colour: Colour::Doppler };
    let mut sample = Sample::of(&scene);
    sample.by_plane();
    let engine = engine(2, None);
    let made = make(&engine, &sample, &recipe(Pixels::Rle, Grey::Never)).unwrap();
    let layout = FrameLayout { order: Order::ByPixel, ..sample.layout() };
    for (n, frame) in fragments(&read(&made)).iter().enumerate() {
        assert_eq!(rle::decode_frame(frame, layout, Limits::default()).unwrap(), scene.frame(n as u32));
    }
    let sample = Sample::of(&Scene { colour: Colour::GreyRgb, ..scene });
    let made = make(&engine, &sample, &recipe(Pixels::Native, Grey::Within(0))).unwrap();
    assert!(made.grey);
    let bytes = read(&made);
    let length = 7 * 9 * 3 + 1;
    let header = [&b"\xE0\x7F\x10\x00OB\0\0"[..], &(length as u32).to_le_bytes()].concat();
    assert_eq!(bytes.len() % 2, 0);
    assert_eq!(bytes[bytes.len() - length - 12..][..12], header);
    assert_eq!(bytes.last(), Some(&0));
}

#[test]
fn pixels_that_are_not_there_are_an_error_and_the_next_copy_is_made() {
    let mut sample = Sample::of(&scene(Colour::MarkedRgb, 4));
    let engine = engine(2, None);
    sample.pixels.truncate(sample.pixels.len() / 2);
    assert!(make(&engine, &sample, &recipe(Pixels::JpegLossless, Grey::Never)).is_err());
    let sample = Sample::of(&scene(Colour::MarkedRgb, 4));
    assert!(make(&engine, &sample, &recipe(Pixels::JpegLossless, Grey::Never)).is_ok());
}

#[test]
fn a_loop_needs_the_memory_of_its_frames_in_flight_only() {
    // Reads of the source that were begun and whose frames were not taken yet tell how many are in memory.
    struct Counted(Vec<u8>, std::sync::atomic::AtomicU64);
    impl Source for Counted {
        fn len(&self) -> u64 {
            Source::len(&self.0)
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
            self.1.fetch_max(offset + buffer.len() as u64, std::sync::atomic::Ordering::SeqCst);
            self.0.read_at(buffer, offset)
        }
    }
    let sample = Sample::of(&scene(Colour::MarkedRgb, 200));
    let bytes = sample.bytes();
    let subject = Sample::subject(&bytes);
    let source = Arc::new(Counted(bytes, Default::default()));
    let made = engine(1, None);
    let native = recipe(Pixels::Native, Grey::Never);
    let made = made.make(source.clone(), [0; 32], &subject, &native, INSTANCE).unwrap();
    source.1.store(0, std::sync::atomic::Ordering::SeqCst);
    let (mut reader, mut piece) = (made.reader(), Vec::new());
    reader.next(&mut piece).unwrap();
    drop(reader);
    // A piece that was read, those that wait, the one that is filled, and two frames in flight for one worker.
    let most = 4 * PIECE as u64 + 3 * sample.scene.frame_len() as u64 + 4096;
    let read = source.1.load(std::sync::atomic::Ordering::SeqCst);
    assert!(read <= most, "{read} of {}", Source::len(&*source));
}
