//! JPEG from pixels to pixels: quality, shapes, kinds of streams, and damage.

use chrysalis_codecs::jpeg::{Colour, DecodeError, EncodeError, Quality, decode_frame, encode_frame};
use chrysalis_codecs::{Depth, Frame, FrameLayout, Limits, Marking, Order, Samples};
use proptest::prelude::*;

fn layout(columns: u16, rows: u16, samples: Samples) -> FrameLayout {
    FrameLayout { rows, columns, samples, depth: Depth::Eight, order: Order::ByPixel }
}

fn quality(number: u8) -> Quality {
    Quality::new(number).expect("a quality")
}

/// A fan of smooth speckle on black, as ultrasound looks; `tint` makes a third of it coloured.
fn fan(columns: u16, rows: u16, tint: bool) -> Vec<[u8; 3]> {
    let grain = |x: u32, y: u32| {
        let mut hash = x.wrapping_mul(0x9E37_79B9) ^ y.wrapping_mul(0x85EB_CA6B);
        hash = (hash ^ hash >> 15).wrapping_mul(0x2C1B_3C6D);
        f64::from((hash ^ hash >> 12) & 0xFF)
    };
    let smooth = |x: f64, y: f64| {
        let (across, down) = (x.fract(), y.fract());
        let corner = |dx: u32, dy: u32| grain(x as u32 + dx, y as u32 + dy);
        let top = corner(0, 0) * (1.0 - across) + corner(1, 0) * across;
        let bottom = corner(0, 1) * (1.0 - across) + corner(1, 1) * across;
        top * (1.0 - down) + bottom * down
    };
    let (width, height) = (f64::from(columns), f64::from(rows));
    let pixel = |x: u16, y: u16| {
        let (x, y) = (f64::from(x), f64::from(y));
        let (aside, deep) = ((x - width / 2.0) / height, y / height);
        if aside.abs() > deep * 0.7 || aside.hypot(deep) > 0.97 {
            return [0; 3];
        }
        let value = (smooth(x / 5.0, y / 3.0) * (0.9 - 0.5 * deep)) as u8;
        let flow = tint && aside.abs() < 0.2 && (0.4..0.7).contains(&deep);
        if flow { [value, value / 3, 255 - value] } else { [value; 3] }
    };
    (0..rows).flat_map(|y| (0..columns).map(move |x| (x, y))).map(|(x, y)| pixel(x, y)).collect()
}

fn luma([r, g, b]: [u8; 3]) -> f64 {
    0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
}

fn psnr(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, count) = pairs.fold((0.0, 0.0), |(sum, count), (a, b)| (sum + (a - b).powi(2), count + 1.0));
    10.0 * (255.0_f64.powi(2) * count / f64::max(sum, 1e-9)).log10()
}

fn decoded(bytes: &[u8]) -> Frame {
    decode_frame(bytes, Limits::default()).expect("it decodes")
}

/// The parameters of the first segment with this marker.
fn segment(bytes: &[u8], marker: u8) -> Option<&[u8]> {
    let mut at = 2;
    while bytes[at + 1] != 0xDA {
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        if bytes[at + 1] == marker {
            return Some(&bytes[at + 4..at + 2 + length]);
        }
        at += 2 + length;
    }
    None
}

#[test]
fn luma_at_quality_90_is_within_40_decibels() {
    let pixels = fan(640, 480, true);
    let encoded =
        encode_frame(pixels.as_flattened(), layout(640, 480, Samples::Three), Colour::Rgb, quality(90));
    let frame = decoded(&encoded.expect("it encodes"));
    let pairs = frame.pixels.as_chunks::<3>().0.iter().zip(&pixels);
    let found = psnr(pairs.map(|(ybr, rgb)| (f64::from(ybr[0]), luma(*rgb))));
    assert!(found >= 40.0, "colour: {found:.2} dB");

    let grey: Vec<u8> = pixels.iter().map(|pixel| pixel[0]).collect();
    let encoded = encode_frame(&grey, layout(640, 480, Samples::One), Colour::Grey, quality(90));
    let frame = decoded(&encoded.expect("it encodes"));
    let found = psnr(frame.pixels.iter().zip(&grey).map(|(a, b)| (f64::from(*a), f64::from(*b))));
    assert!(found >= 40.0, "grey: {found:.2} dB");
}

#[test]
fn colour_is_sampled_two_to_one_across_and_marked_by_jfif_alone() {
    let pixels = fan(33, 17, true);
    let shape = layout(33, 17, Samples::Three);
    let encoded = encode_frame(pixels.as_flattened(), shape, Colour::Rgb, quality(90)).expect("it encodes");
    assert_eq!(
        segment(&encoded, 0xC0).expect("SOF0"),
        [8, 0, 17, 0, 33, 3, 1, 0x21, 0, 2, 0x11, 1, 3, 0x11, 1]
    );
    assert!(segment(&encoded, 0xE0).expect("APP0").starts_with(b"JFIF\0"));
    assert_eq!(segment(&encoded, 0xEE), None);
    let frame = decoded(&encoded);
    assert_eq!((frame.layout, frame.precision, frame.marking), (shape, 8, Some(Marking::Ybr)));
}

#[test]
fn grey_is_one_component_without_marks() {
    let encoded = encode_frame(&[7; 35], layout(7, 5, Samples::One), Colour::Grey, quality(75));
    let encoded = encoded.expect("it encodes");
    assert_eq!(segment(&encoded, 0xC0).expect("SOF0"), [8, 0, 5, 0, 7, 1, 1, 0x11, 0]);
    assert_eq!(segment(&encoded, 0xE0), None);
    let frame = decoded(&encoded);
    assert_eq!((frame.marking, frame.pixels), (None, vec![7; 35]));
}

#[test]
fn more_quality_is_more_bytes_and_less_error() {
    let pixels = fan(320, 240, true);
    let shape = layout(320, 240, Samples::Three);
    let mut before = (0, 0.0);
    for number in [1, 10, 25, 50, 75, 90, 95, 100] {
        let encoded = encode_frame(pixels.as_flattened(), shape, Colour::Rgb, quality(number));
        let encoded = encoded.expect("it encodes");
        let frame = decoded(&encoded);
        let pairs = frame.pixels.as_chunks::<3>().0.iter().zip(&pixels);
        let found = (encoded.len(), psnr(pairs.map(|(ybr, rgb)| (f64::from(ybr[0]), luma(*rgb)))));
        assert!(found.0 > before.0 && found.1 > before.1, "quality {number}: {found:?} after {before:?}");
        before = found;
    }
    assert!(before.1 > 50.0);
    assert_eq!((Quality::new(0), Quality::new(101)), (None, None));
}

#[test]
fn both_orders_of_the_samples_give_the_same_stream() {
    let pixels = fan(37, 21, true);
    let shape = layout(37, 21, Samples::Three);
    let planes: Vec<u8> = (0..3).flat_map(|plane| pixels.iter().map(move |pixel| pixel[plane])).collect();
    for colour in [Colour::Rgb, Colour::YbrFull] {
        let by_pixel = encode_frame(pixels.as_flattened(), shape, colour, quality(80));
        let by_plane =
            encode_frame(&planes, FrameLayout { order: Order::ByPlane, ..shape }, colour, quality(80));
        assert!(by_pixel.expect("it encodes") == by_plane.expect("it encodes"));
    }
}

#[test]
fn luma_and_chroma_that_are_given_come_back() {
    let pixels = [[200_u8, 90, 160]; 64 * 16];
    let encoded =
        encode_frame(pixels.as_flattened(), layout(64, 16, Samples::Three), Colour::YbrFull, quality(95));
    let frame = decoded(&encoded.expect("it encodes"));
    assert!(
        frame
            .pixels
            .as_chunks::<3>()
            .0
            .iter()
            .flatten()
            .zip([200, 90, 160].iter().cycle())
            .all(|(found, given)| found.abs_diff(*given) <= 1)
    );
}

#[test]
fn what_is_not_baseline_is_not_encoded() {
    let sixteen = FrameLayout { depth: Depth::Sixteen, ..layout(4, 4, Samples::One) };
    let of = |bytes: &[u8], shape, colour| encode_frame(bytes, shape, colour, quality(90));
    assert_eq!(of(&[0; 32], sixteen, Colour::Grey), Err(EncodeError::TooDeep));
    assert_eq!(of(&[0; 16], layout(4, 4, Samples::One), Colour::Rgb), Err(EncodeError::WrongSamples));
    assert_eq!(of(&[], layout(0, 4, Samples::One), Colour::Grey), Err(EncodeError::Empty));
    let wrong = EncodeError::WrongPixelLength { found: 15, expected: 16 };
    assert_eq!(of(&[0; 15], layout(4, 4, Samples::One), Colour::Grey), Err(wrong));
}

/// Streams of another encoder, in all the kinds that it can make.
fn stranger(
    pixels: &[[u8; 3]],
    (columns, rows): (u16, u16),
    sampling: jpeg_encoder::SamplingFactor,
    dress: impl FnOnce(&mut jpeg_encoder::Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, 85);
    encoder.set_sampling_factor(sampling);
    dress(&mut encoder);
    let kind = jpeg_encoder::ColorType::Rgb;
    encoder.encode(pixels.as_flattened(), columns, rows, kind).expect("the other encoder encodes");
    out
}

#[test]
fn progressive_scans_and_restarts_change_no_pixel() {
    use jpeg_encoder::SamplingFactor as F;
    for (columns, rows) in [(64, 48), (61, 43), (17, 9), (3, 3)] {
        let pixels = fan(columns, rows, true);
        for sampling in [F::R_4_4_4, F::R_4_2_2, F::R_4_2_0, F::R_4_4_0, F::R_4_1_1, F::R_4_1_0] {
            let size = (columns, rows);
            let plain = decoded(&stranger(&pixels, size, sampling, |_| {}));
            let found = psnr(
                plain.pixels.as_chunks::<3>().0.iter().zip(&pixels).map(|(a, b)| (f64::from(a[0]), luma(*b))),
            );
            assert!(found > 30.0, "{sampling:?} of {size:?}: {found:.1} dB");
            let restarts = stranger(&pixels, size, sampling, |it| it.set_restart_interval(3));
            assert!(decoded(&restarts) == plain, "restarts, {sampling:?} of {size:?}");
            for scans in [2, 4, 20, 32] {
                let progressive = stranger(&pixels, size, sampling, |it| it.set_progressive_scans(scans));
                assert!(decoded(&progressive) == plain, "{scans} scans, {sampling:?} of {size:?}");
            }
            let optimal = stranger(&pixels, size, sampling, |it| it.set_optimized_huffman_tables(true));
            assert!(decoded(&optimal) == plain, "optimal tables, {sampling:?} of {size:?}");
        }
    }
}

/// A small stream of each kind: baseline, with restarts, and progressive.
fn small_streams() -> [Vec<u8>; 3] {
    use jpeg_encoder::SamplingFactor as F;
    let pixels = fan(48, 40, true);
    [
        encode_frame(pixels.as_flattened(), layout(48, 40, Samples::Three), Colour::Rgb, quality(90))
            .expect("it encodes"),
        stranger(&pixels, (48, 40), F::R_4_2_0, |it| it.set_restart_interval(2)),
        stranger(&pixels, (48, 40), F::R_4_2_2, |it| it.set_progressive_scans(12)),
    ]
}

#[test]
fn a_stream_that_ends_early_is_an_error_wherever_it_ends() {
    for stream in small_streams() {
        // Without EOI a sequential stream is complete, so the last two bytes are no loss, nor padding bits.
        for length in 0..stream.len() - 3 {
            assert!(decode_frame(&stream[..length], Limits::default()).is_err(), "{length} bytes");
        }
    }
}

#[test]
fn a_missing_end_and_padding_are_no_harm() {
    let [baseline, restarts, progressive] = small_streams();
    for stream in [&baseline, &restarts] {
        let whole = decoded(stream);
        assert!(decoded(&stream[..stream.len() - 2]) == whole);
        assert!(decoded(&stream[..stream.len() - 1]) == whole);
        assert!(decoded(&[stream, [0; 3].as_slice()].concat()) == whole);
        let (body, end) = stream.split_at(stream.len() - 2);
        assert!(decoded(&[body, &[0xFF, 0xFF, 0xFF], end].concat()) == whole, "fill bytes before EOI");
        assert!(decoded(&[body, &[0x00], end].concat()) == whole, "a byte too many before EOI");
    }
    let cut = &progressive[..progressive.len() - 2];
    assert_eq!(decode_frame(cut, Limits::default()), Err(DecodeError::Ended { offset: cut.len() }));
}

#[test]
fn a_frame_above_the_limit_is_refused_before_it_is_allocated() {
    let [stream, ..] = small_streams();
    let limits = Limits { frame_bytes: 48 * 40 * 3 - 1 };
    let error = DecodeError::FrameTooLarge { needed: 48 * 40 * 3, limit: 48 * 40 * 3 - 1 };
    assert_eq!(decode_frame(&stream, limits), Err(error));
    let mut huge = stream;
    let at = huge.windows(2).position(|two| two == [0xFF, 0xC0]).expect("SOF0");
    huge[at + 5..at + 9].fill(0xFF);
    let error = DecodeError::FrameTooLarge { needed: 65_535 * 65_535 * 3, limit: 256 << 20 };
    assert_eq!(decode_frame(&huge, Limits::default()), Err(error));
}

#[test]
fn errors_name_the_segment_and_its_place() {
    let [stream, ..] = small_streams();
    let at = |marker: u8| stream.windows(2).position(|two| two == [0xFF, marker]).expect("the marker");
    let changed = |offset: usize, byte: u8| {
        let mut changed = stream.clone();
        changed[offset] = byte;
        decode_frame(&changed, Limits::default()).expect_err("it is damaged").to_string()
    };
    let frame = at(0xC0);
    assert_eq!(changed(0, 0), "the bytes do not start a JPEG stream (FFD8H)");
    assert_eq!(
        changed(frame + 4, 9),
        format!("JPEG segment FFC0H at {frame}: its samples have neither 8 nor 12 bits")
    );
    assert_eq!(
        changed(frame + 1, 0xC9),
        format!("JPEG segment FFC9H at {frame}: another frame, or one of another process is not supported")
    );
    let scan = at(0xDA);
    assert_eq!(
        changed(scan + 5, 77),
        format!("JPEG segment FFDAH at {scan}: a component is not in the frame, or twice in the scan")
    );
}

#[test]
fn marks_are_read_as_libjpeg_reads_them() {
    let pixels = fan(16, 16, true);
    let plain = stranger(&pixels, (16, 16), jpeg_encoder::SamplingFactor::R_4_4_4, |_| {});
    let jfif = plain.windows(2).position(|two| two == [0xFF, 0xE0]).expect("APP0");
    let after = jfif + 2 + usize::from(u16::from_be_bytes([plain[jfif + 2], plain[jfif + 3]]));
    let bare = [&plain[..jfif], &plain[after..]].concat();
    let adobe = |transform: u8| {
        let segment = [b"\xFF\xEE\0\x0EAdobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat();
        [&bare[..2], &segment, &bare[2..]].concat()
    };
    let mut rgb = bare.clone();
    for (start, step) in [(b"\xFF\xC0", 3), (b"\xFF\xDA", 2)] {
        let at = rgb.windows(2).position(|two| two == start).expect("the marker");
        let first = if step == 3 { at + 10 } else { at + 5 };
        (0..3).for_each(|index| rgb[first + index * step] = b"RGB"[index]);
    }
    let marking = |bytes: &[u8]| decoded(bytes).marking;
    assert_eq!(marking(&plain), Some(Marking::Ybr));
    assert_eq!(marking(&bare), Some(Marking::Unmarked));
    assert_eq!(marking(&adobe(0)), Some(Marking::Rgb));
    assert_eq!(marking(&adobe(1)), Some(Marking::Ybr));
    assert_eq!(marking(&rgb), Some(Marking::Rgb));
    assert_eq!(decoded(&rgb).pixels, decoded(&plain).pixels);
}

proptest! {
    #[test]
    fn every_shape_comes_back_in_its_shape(
        (columns, rows) in (1_u16..70, 1_u16..40),
        seed in any::<u8>(),
        number in 1_u8..=100,
        by_plane in any::<bool>(),
    ) {
        for (samples, colour) in [
            (Samples::One, Colour::Grey),
            (Samples::Three, Colour::Rgb),
            (Samples::Three, Colour::YbrFull),
        ] {
            let order = if by_plane { Order::ByPlane } else { Order::ByPixel };
            let shape = FrameLayout { order, ..layout(columns, rows, samples) };
            let pixels: Vec<u8> =
                (0..shape.bytes()).map(|index| (index * index + u64::from(seed) * index) as u8).collect();
            let encoded = encode_frame(&pixels, shape, colour, quality(number)).expect("it encodes");
            let frame = decode_frame(&encoded, Limits::default()).expect("it decodes");
            prop_assert_eq!(frame.layout, layout(columns, rows, samples));
            prop_assert_eq!(frame.pixels.len() as u64, shape.bytes());
        }
    }

    #[test]
    fn grey_of_one_shade_is_exact_at_full_quality(value in any::<u8>(), columns in 1_u16..40, rows in 1_u16..20) {
        let shape = layout(columns, rows, Samples::One);
        let pixels = vec![value; shape.bytes() as usize];
        let encoded = encode_frame(&pixels, shape, Colour::Grey, quality(100)).expect("it encodes");
        prop_assert_eq!(decode_frame(&encoded, Limits::default()).expect("it decodes").pixels, pixels);
    }

    #[test]
    fn damaged_streams_end_in_pixels_or_an_error(
        which in 0_usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut stream = small_streams()[which].clone();
        for (index, byte) in changes {
            let at = index.index(stream.len());
            stream[at] = byte;
        }
        if let Some(cut) = cut {
            stream.truncate(cut.index(stream.len()));
        }
        let limits = Limits { frame_bytes: 4 << 20 };
        if let Ok(frame) = decode_frame(&stream, limits) {
            prop_assert_eq!(frame.pixels.len() as u64, frame.layout.bytes());
            prop_assert!(frame.layout.bytes() <= limits.frame_bytes);
        }
    }

    #[test]
    fn any_bytes_behind_a_start_end_in_pixels_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_frame(&[&[0xFF, 0xD8], bytes.as_slice()].concat(), Limits { frame_bytes: 1 << 20 });
    }
}
