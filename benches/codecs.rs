//! The codecs by themselves, on one core; beside libjpeg-turbo they are measured in `benches/yardstick`.

use chrysalis_codecs::jpeg_lossless::{Tables, decode_frame, encode_frame, verify_frame};
use chrysalis_codecs::{Depth, FrameLayout, Limits, Order, Samples, grey, jpeg};
use chrysalis_sizing::{Colour, Scene};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// Frames of 800 by 600: grey, and RGB with coloured marks or a Doppler box.
const FRAMES: [(&str, Colour); 3] =
    [("grey", Colour::Mono), ("rgb", Colour::MarkedRgb), ("doppler", Colour::Doppler)];

/// A frame in the middle of a loop, and its layout.
fn frame(colour: Colour) -> (Vec<u8>, FrameLayout) {
    let scene = Scene { seed: 7, rows: 600, columns: 800, frames: 60, colour };
    let samples = if scene.samples_per_pixel() == 1 { Samples::One } else { Samples::Three };
    let layout = FrameLayout { rows: 600, columns: 800, samples, depth: Depth::Eight, order: Order::ByPixel };
    (scene.frame(30), layout)
}

fn jpeg_lossless(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("jpeg_lossless");
    for (name, colour) in FRAMES {
        let (pixels, layout) = frame(colour);
        let tables = Tables::of_sample(&pixels, layout, 8).expect("tables");
        let stream = encode_frame(&pixels, layout, 8, &tables).expect("a stream");
        group.throughput(Throughput::Bytes(layout.bytes()));
        group.bench_function(format!("tables/{name}"), |bencher| {
            bencher.iter(|| Tables::of_frame(black_box(&pixels), layout, 8));
        });
        group.bench_function(format!("encode/{name}"), |bencher| {
            bencher.iter(|| encode_frame(black_box(&pixels), layout, 8, &tables));
        });
        group.bench_function(format!("decode/{name}"), |bencher| {
            bencher.iter(|| decode_frame(black_box(&stream), Limits::default()));
        });
        group.bench_function(format!("verify/{name}"), |bencher| {
            bencher.iter(|| verify_frame(black_box(&stream), &pixels, layout, 8));
        });
    }
    group.finish();
}

fn jpeg_baseline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("jpeg_baseline");
    let quality = jpeg::Quality::new(90).expect("a quality");
    for (name, colour) in FRAMES {
        let (pixels, layout) = frame(colour);
        let colour = if layout.samples == Samples::One { jpeg::Colour::Grey } else { jpeg::Colour::Rgb };
        let stream = jpeg::encode_frame(&pixels, layout, colour, quality).expect("a stream");
        group.throughput(Throughput::Bytes(layout.bytes()));
        group.bench_function(format!("encode/{name}"), |bencher| {
            bencher.iter(|| jpeg::encode_frame(black_box(&pixels), layout, colour, quality));
        });
        group.bench_function(format!("decode/{name}"), |bencher| {
            bencher.iter(|| jpeg::decode_frame(black_box(&stream), Limits::default()));
        });
    }
    group.finish();
}

/// A grey loop in RGB that no cache holds, beside what any look at all of its bytes costs.
fn grey_analysis(criterion: &mut Criterion) {
    const FRAMES: u32 = 60;
    let scene = Scene { seed: 7, rows: 600, columns: 800, frames: FRAMES, colour: Colour::GreyRgb };
    let pixels: Vec<u8> = (0..FRAMES).flat_map(|n| scene.frame(n)).collect();
    let mut group = criterion.benchmark_group("grey_analysis");
    group.throughput(Throughput::Bytes(pixels.len() as u64));
    group.bench_function("exclusive or of all bytes", |bencher| {
        let all = |bytes: &[u8]| {
            bytes.as_chunks::<8>().0.iter().fold(0, |all, eight| all ^ u64::from_ne_bytes(*eight))
        };
        bencher.iter(|| all(black_box(&pixels)));
    });
    for tolerance in [0, 10] {
        group.bench_function(format!("find_colour/within {tolerance}"), |bencher| {
            bencher.iter(|| assert_eq!(grey::find_colour(black_box(&pixels), tolerance), None));
        });
    }
    let words: Vec<u8> = pixels.iter().flat_map(|&sample| [sample, 1]).collect();
    group.throughput(Throughput::Bytes(words.len() as u64));
    group.bench_function("find_colour_16/within 0", |bencher| {
        bencher.iter(|| assert_eq!(grey::find_colour_16(black_box(&words), 0), None));
    });
    group.finish();
}

criterion_group!(benches, jpeg_lossless, jpeg_baseline, grey_analysis);
criterion_main!(benches);
