//! The segments around the entropy-coded data (ISO 10918-1 B.2).

use super::encode::Quality;
use super::segments::marker;
use super::tables::{CHROMA_AC, CHROMA_DC, LUMA_AC, LUMA_DC, Specification, natural};
use crate::layout::{FrameLayout, Samples};

/// A quantization table of Annex K at a quality, as libjpeg scales it: 50 is the table itself.
pub(super) fn scaled(table: &[u8; 64], quality: Quality) -> [u8; 64] {
    let quality = u32::from(quality.get());
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    table.map(|step| ((u32::from(step) * percent + 50) / 100).clamp(1, 255) as u8)
}

/// Everything before the entropy-coded data. `steps` are the tables of luma and, for colour, of chroma.
pub(super) fn head(layout: FrameLayout, steps: &[[u8; 64]; 2]) -> Vec<u8> {
    // Room for a stream at a tenth of its pixels, which is more than ultrasound takes at quality 90.
    let mut out = Vec::with_capacity(1024 + usize::try_from(layout.bytes() / 10).unwrap_or(0));
    out.extend([0xFF, marker::SOI]);
    let colour = layout.samples == Samples::Three;
    let components = if colour { 2 } else { 1 };
    if colour {
        // JFIF 1.01 without a thumbnail: it says that the components are Y, Cb and Cr.
        segment(&mut out, marker::APP0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    }
    for (index, steps) in (0..).zip(steps.iter().take(components)) {
        let mut body = vec![index];
        body.extend((0..64).filter_map(|place| steps.get(natural(place))));
        segment(&mut out, marker::DQT, &body);
    }
    let [r1, r0] = layout.rows.to_be_bytes();
    let [c1, c0] = layout.columns.to_be_bytes();
    let frame: &[u8] = if colour { &[3, 1, 0x21, 0, 2, 0x11, 1, 3, 0x11, 1] } else { &[1, 1, 0x11, 0] };
    segment(&mut out, marker::SOF0, &[&[8, r1, r0, c1, c0], frame].concat());
    let tables = [(0x00, &LUMA_DC), (0x10, &LUMA_AC), (0x01, &CHROMA_DC), (0x11, &CHROMA_AC)];
    for (class_and_number, Specification { counts, symbols }) in tables.into_iter().take(components * 2) {
        segment(&mut out, marker::DHT, &[&[class_and_number], counts.as_slice(), symbols].concat());
    }
    let scan: &[u8] =
        if colour { &[3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0] } else { &[1, 1, 0x00, 0, 63, 0] };
    segment(&mut out, marker::SOS, scan);
    out
}

fn segment(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.extend([0xFF, marker]);
    out.extend((body.len() as u16 + 2).to_be_bytes());
    out.extend(body);
}
