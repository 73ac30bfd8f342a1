//! For the codecs: synthetic frames, encoded where there is an encoder, and the shortest streams of the others.

use crate::Seeds;
use chrysalis_codecs::jpeg::{self, Quality};
use chrysalis_codecs::jpeg_lossless::{self, Tables};
use chrysalis_codecs::{Depth, FrameLayout, Order, Samples, rle};
use chrysalis_sizing::{Colour, Scene};

pub fn add(seeds: &mut Seeds) {
    for (rows, columns) in [(8, 8), (17, 23), (48, 40)] {
        for colour in [Colour::Mono, Colour::MarkedRgb] {
            frame(seeds, rows, columns, colour);
        }
    }
    for (samples, stream) in [(1, jpeg_ls(1)), (3, jpeg_ls(3))] {
        seeds.add("jpeg_ls_decode", stream);
        seeds.add("jpeg2000_decode", jpeg2000(samples));
    }
    seeds.add("jpeg_xl_decode", vec![0xFF, 0x0A, 0x41, 0x06, 0x00, 0x00, 0x00, 0x00, 0x00]);
    seeds.add(
        "jpeg_xl_decode",
        b"\0\0\0\x0CJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl \0\0\0\0jxlc\xFF\x0A".to_vec(),
    );
    palettes(seeds);
}

fn frame(seeds: &mut Seeds, rows: u16, columns: u16, colour: Colour) {
    let scene = Scene { seed: 3, rows, columns, frames: 1, colour };
    let pixels = scene.frame(0);
    let is_grey = matches!(colour, Colour::Mono);
    let samples = if is_grey { Samples::One } else { Samples::Three };
    let layout = FrameLayout { rows, columns, samples, depth: Depth::Eight, order: Order::ByPixel };
    let meaning = if is_grey { jpeg::Colour::Grey } else { jpeg::Colour::Rgb };
    for quality in [10, 75, 100] {
        let quality = Quality::new(quality).expect("1 to 100");
        if let Ok(stream) = jpeg::encode_frame(&pixels, layout, meaning, quality) {
            seeds.add("jpeg_decode", stream);
        }
    }
    if let Ok(tables) = Tables::of_sample(&pixels, layout, 8)
        && let Ok(stream) = jpeg_lossless::encode_frame(&pixels, layout, 8, &tables)
    {
        seeds.add("jpeg_lossless_decode", stream);
    }
    if let Ok(stream) = rle::encode_frame(&pixels, layout) {
        let shape = u8::from(!is_grey);
        seeds.add("rle_decode", [&[rows as u8, columns as u8, shape][..], &stream].concat());
    }
    let shape = if is_grey { 0 } else { 2 };
    seeds.add("jpeg_round_trip", [&[shape, 99, columns as u8][..], &pixels].concat());
    let shape = u8::from(!is_grey);
    seeds.add("jpeg_lossless_round_trip", [&[shape, 6, columns as u8][..], &pixels].concat());
    seeds.add("jpeg_lossless_round_trip", [&[shape, 10, columns as u8][..], &pixels].concat());
}

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    [&[0xFF, marker][..], &(body.len() as u16 + 2).to_be_bytes(), body].concat()
}

/// A frame of 16 by 16 that is cut short (ISO 14495-1, Annex C).
fn jpeg_ls(samples: u8) -> Vec<u8> {
    let components: Vec<u8> = (1..=samples).flat_map(|id| [id, 0x11, 0]).collect();
    let in_scan: Vec<u8> = (1..=samples).flat_map(|id| [id, 0]).collect();
    let frame = segment(0xF7, &[&[8, 0, 16, 0, 16, samples][..], &components].concat());
    let interleave = if samples == 1 { 0 } else { 2 };
    let scan = segment(0xDA, &[&[samples][..], &in_scan, &[0, interleave, 0]].concat());
    [&[0xFF, 0xD8][..], &frame, &scan, &[0x40, 0x55, 0x2A, 0, 0, 0x7F], &[0xFF, 0xD9]].concat()
}

/// A codestream of one tile of 16 by 16, reversible, with one empty packet after the other (ISO 15444-1, Annex A).
fn jpeg2000(samples: u16) -> Vec<u8> {
    let mut size = vec![0, 0];
    for number in [16_u32, 16, 0, 0, 16, 16, 0, 0] {
        size.extend(number.to_be_bytes());
    }
    size.extend(samples.to_be_bytes());
    size.extend([7, 1, 1].repeat(usize::from(samples)));
    let style = [0, 0, 0, 1, u8::from(samples == 3), 1, 4, 4, 0, 1];
    let packets = vec![0; 2 * usize::from(samples)];
    let length = 12 + 2 + packets.len() as u32;
    let tile = [&[0, 0][..], &length.to_be_bytes(), &[0, 1]].concat();
    let parts = [
        vec![0xFF, 0x4F],
        segment(0x51, &size),
        segment(0x52, &style),
        segment(0x5C, &[0x40, 0x40, 0x48, 0x48, 0x50]),
        segment(0x90, &tile),
        vec![0xFF, 0x93],
        packets,
        vec![0xFF, 0xD9],
    ];
    parts.concat()
}

/// A descriptor of 256 entries from 0 on, of 16 bits or 8; then whether it is segmented and signed; then its data.
fn palettes(seeds: &mut Seeds) {
    let plain: Vec<u8> = (0..256_u16).flat_map(|entry| (entry << 8).to_le_bytes()).collect();
    let segments: Vec<u8> =
        [0_u16, 2, 0, 100, 1, 253, 60_000, 2, 2, 0, 0].into_iter().flat_map(u16::to_le_bytes).collect();
    for (bits, is_segmented, data) in [(16, 0, &plain), (8, 0, &plain), (16, 1, &segments), (16, 1, &plain)] {
        seeds.add("palette_decode", [&[0, 1, 0, 0, bits, 0, is_segmented, 0][..], data].concat());
    }
}
