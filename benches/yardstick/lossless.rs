//! JPEG Lossless beside libjpeg-turbo's, on one core.

use chrysalis_codecs::jpeg_lossless::{Tables, decode_frame, encode_frame, verify_frame};
use chrysalis_codecs::{Depth, FrameLayout, Limits, Order, Samples};
use std::hint::black_box;
use yardstick::rounds::{Party, take_turns};
use yardstick::scenes::{Loop, loops};
use yardstick::turbo::Turbo;

const ROUNDS: usize = 9;

fn main() {
    println!("| loop | what | MB/s | of libjpeg-turbo's | bytes of libjpeg-turbo's |");
    println!("|---|---|---|---|---|");
    for scene in loops() {
        encoding(&scene);
        decoding(&scene);
    }
}

fn layout(scene: &Loop) -> FrameLayout {
    let samples = if scene.samples == 1 { Samples::One } else { Samples::Three };
    let (rows, columns) = (scene.rows, scene.columns);
    FrameLayout { rows, columns, samples, depth: Depth::Eight, order: Order::ByPixel }
}

fn encoding(scene: &Loop) {
    let layout = layout(scene);
    let of_loop = Tables::of_sample(&scene.frames[0], layout, 8).expect("tables");
    let encode = |frame: &[u8], tables: &Tables| encode_frame(frame, layout, 8, tables).expect("a stream");
    let of_frame = |frame: &[u8]| encode(frame, &Tables::of_frame(frame, layout, 8).expect("tables"));
    let mut turbo = Turbo::lossless();
    let mut sizes = [0; 3];
    for frame in &scene.frames {
        sizes[0] += turbo.compress(frame, scene.columns, scene.rows, scene.samples).len();
        sizes[1] += encode(frame, &of_loop).len();
        sizes[2] += of_frame(frame).len();
    }
    let parties: &mut [Party<'_>] = &mut [
        (
            "encode: libjpeg-turbo",
            Box::new(|| {
                for frame in &scene.frames {
                    black_box(turbo.compress(frame, scene.columns, scene.rows, scene.samples));
                }
            }),
        ),
        (
            "encode: ours, a table for the loop",
            Box::new(|| {
                scene.frames.iter().for_each(|frame| drop(black_box(encode(frame, &of_loop))));
            }),
        ),
        (
            "encode: ours, a table for each frame",
            Box::new(|| {
                scene.frames.iter().for_each(|frame| drop(black_box(of_frame(frame))));
            }),
        ),
    ];
    report(scene, parties, &sizes);
}

fn decoding(scene: &Loop) {
    let layout = layout(scene);
    let tables = Tables::of_sample(&scene.frames[0], layout, 8).expect("tables");
    let encode = |frame: &Vec<u8>| encode_frame(frame, layout, 8, &tables).expect("a stream");
    let streams: Vec<Vec<u8>> = scene.frames.iter().map(encode).collect();
    let mut turbo = Turbo::decompressor();
    let mut pixels = vec![0; scene.frames[0].len()];
    for (stream, frame) in streams.iter().zip(&scene.frames) {
        turbo.decompress(stream, scene.samples, &mut pixels);
        assert!(&pixels == frame, "libjpeg-turbo reads what we wrote");
        assert!(&decode_frame(stream, Limits::default()).expect("a frame").pixels == frame);
    }
    let parties: &mut [Party<'_>] = &mut [
        (
            "decode: libjpeg-turbo",
            Box::new(|| {
                for stream in &streams {
                    turbo.decompress(stream, scene.samples, black_box(&mut pixels));
                }
            }),
        ),
        (
            "decode: ours",
            Box::new(|| {
                for stream in &streams {
                    black_box(decode_frame(stream, Limits::default()).expect("a frame"));
                }
            }),
        ),
        (
            "verify: ours",
            Box::new(|| {
                for (stream, frame) in streams.iter().zip(&scene.frames) {
                    verify_frame(stream, frame, layout, 8).expect("the same frame");
                }
            }),
        ),
    ];
    report(scene, parties, &[]);
}

fn report(scene: &Loop, parties: &mut [Party<'_>], sizes: &[usize]) {
    for (n, measured) in take_turns(scene.bytes(), ROUNDS, parties).iter().enumerate() {
        let size = sizes.get(n).map_or(String::new(), |size| {
            format!("{:.4} ({:.2} : 1)", *size as f64 / sizes[0] as f64, scene.bytes() as f64 / *size as f64)
        });
        println!(
            "| {} | {} | {:.0} | {:.2} x | {size} |",
            scene.name, measured.name, measured.rate, measured.ratio
        );
    }
}
