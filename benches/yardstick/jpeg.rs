//! Baseline JPEG at quality 90, 2x1 sampling, beside libjpeg-turbo's, on one core.

use chrysalis_codecs::jpeg::{Colour, Quality, decode_frame, encode_frame};
use chrysalis_codecs::{Depth, FrameLayout, Limits, Order, Samples};
use std::hint::black_box;
use yardstick::rounds::{Party, take_turns};
use yardstick::scenes::{Loop, loops};
use yardstick::turbo::Turbo;

const ROUNDS: usize = 15;
const QUALITY: u8 = 90;

fn main() {
    println!("| loop | what | MB/s | of libjpeg-turbo's | bytes of libjpeg-turbo's |");
    println!("|---|---|---|---|---|");
    loops().iter().for_each(measure);
}

fn measure(scene: &Loop) {
    let (samples, colour) =
        if scene.samples == 1 { (Samples::One, Colour::Grey) } else { (Samples::Three, Colour::Rgb) };
    let (rows, columns) = (scene.rows, scene.columns);
    let layout = FrameLayout { rows, columns, samples, depth: Depth::Eight, order: Order::ByPixel };
    let quality = Quality::new(QUALITY).expect("a quality");
    let encode = |frame: &Vec<u8>| encode_frame(frame, layout, colour, quality).expect("a stream");
    let mut turbo = Turbo::baseline(QUALITY, scene.samples);
    let theirs: Vec<Vec<u8>> = scene
        .frames
        .iter()
        .map(|frame| turbo.compress(frame, columns, rows, scene.samples).to_vec())
        .collect();
    let ours: Vec<Vec<u8>> = scene.frames.iter().map(encode).collect();
    let size = |streams: &[Vec<u8>]| streams.iter().map(Vec::len).sum::<usize>();
    let encoding: &mut [Party<'_>] = &mut [
        (
            "encode: libjpeg-turbo",
            Box::new(|| {
                for frame in &scene.frames {
                    black_box(turbo.compress(frame, columns, rows, scene.samples));
                }
            }),
        ),
        ("encode: ours", Box::new(|| scene.frames.iter().for_each(|frame| drop(black_box(encode(frame)))))),
    ];
    report(scene, encoding, &[size(&theirs), size(&ours)]);

    // libjpeg-turbo also converts to RGB, ours leaves the stream's colours.
    let mut turbo = Turbo::decompressor();
    let mut pixels = vec![0; scene.frames[0].len()];
    let decoding: &mut [Party<'_>] = &mut [
        (
            "decode: libjpeg-turbo",
            Box::new(|| {
                for stream in &theirs {
                    turbo.decompress(stream, scene.samples, black_box(&mut pixels));
                }
            }),
        ),
        (
            "decode: ours",
            Box::new(|| {
                for stream in &theirs {
                    black_box(decode_frame(stream, Limits::default()).expect("a frame"));
                }
            }),
        ),
    ];
    report(scene, decoding, &[]);
}

fn report(scene: &Loop, parties: &mut [Party<'_>], sizes: &[usize]) {
    for (n, measured) in take_turns(scene.bytes(), ROUNDS, parties).iter().enumerate() {
        let size =
            sizes.get(n).map_or(String::new(), |size| format!("{:.4}", *size as f64 / sizes[0] as f64));
        let (name, rate, ratio) = (measured.name, measured.rate, measured.ratio);
        println!("| {} | {name} | {rate:.0} | {ratio:.2} x | {size} |", scene.name);
    }
}
