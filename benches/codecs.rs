//! The codecs by themselves, on one core; beside libjpeg-turbo they are measured in `benches/yardstick`.

use chrysalis_codecs::jpeg_lossless::{Tables, decode_frame, encode_frame, verify_frame};
use chrysalis_codecs::{Depth, FrameLayout, Limits, Order, Samples, jpeg};
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

criterion_group!(benches, jpeg_lossless, jpeg_baseline);
criterion_main!(benches);
