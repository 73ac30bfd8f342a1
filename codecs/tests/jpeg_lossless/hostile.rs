//! Broken streams: nothing panics, nothing is larger than the limit, and what is decoded is whole.

use crate::frames::frames;
use crate::plain_encoder::Plan;
use chrysalis_codecs::jpeg_lossless::{DecodeError, Tables, decode_frame, encode_frame, verify_frame};
use chrysalis_codecs::{Limits, Samples};
use proptest::prelude::*;

/// One way to break a stream.
#[derive(Debug, Clone)]
enum Damage {
    Flip { at: prop::sample::Index, bit: u8 },
    Put { at: prop::sample::Index, value: u8 },
    Cut { at: prop::sample::Index },
    Marker { at: prop::sample::Index, code: u8 },
    Twice { from: prop::sample::Index, count: usize },
}

impl Damage {
    fn apply(&self, stream: &mut Vec<u8>) {
        let length = stream.len();
        if length == 0 {
            return;
        }
        match self {
            Self::Flip { at, bit } => stream[at.index(length)] ^= 1 << bit,
            Self::Put { at, value } => stream[at.index(length)] = *value,
            Self::Cut { at } => stream.truncate(at.index(length)),
            Self::Marker { at, code } => {
                let at = at.index(length);
                stream.splice(at..at, [0xFF, *code]);
            }
            Self::Twice { from, count } => {
                let from = from.index(length);
                let part = stream[from..length.min(from + count)].to_vec();
                stream.splice(from..from, part);
            }
        }
    }
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let at = any::<prop::sample::Index>;
    let one = prop_oneof![
        4 => (at(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        3 => (at(), prop_oneof![Just(0), Just(0xFF), any::<u8>()]).prop_map(|(at, value)| Damage::Put { at, value }),
        1 => at().prop_map(|at| Damage::Cut { at }),
        2 => (at(), prop_oneof![0xC0_u8..=0xFF, any::<u8>()]).prop_map(|(at, code)| Damage::Marker { at, code }),
        1 => (at(), 1_usize..40).prop_map(|(from, count)| Damage::Twice { from, count }),
    ];
    prop::collection::vec(one, 1..6)
}

/// Decodes whatever it is.
fn survive(stream: &[u8]) {
    let limits = Limits { frame_bytes: 1 << 20 };
    if let Ok(frame) = decode_frame(stream, limits) {
        assert!(frame.pixels.len() as u64 <= limits.frame_bytes);
        assert_eq!(frame.pixels.len() as u64, frame.layout.bytes());
        // Every sample needs a bit.
        assert!(frame.pixels.len() <= stream.len() * 16);
        let verified = verify_frame(stream, &frame.pixels, frame.layout, frame.precision);
        assert_eq!(verified, Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_damaged_stream_of_ours_is_survived(native in frames(), damages in damages()) {
        let tables = Tables::of_frame(&native.pixels, native.layout, native.precision).expect("tables");
        let mut stream = encode_frame(&native.pixels, native.layout, native.precision, &tables).expect("encoded");
        damages.iter().for_each(|damage| damage.apply(&mut stream));
        survive(&stream);
    }

    #[test]
    fn a_damaged_foreign_stream_is_survived(
        native in frames(),
        (predictor, restart_rows, separate, own_tables) in (1_u8..=7, 0_u16..3, any::<bool>(), any::<bool>()),
        damages in damages(),
    ) {
        let plan = Plan {
            rows: native.layout.rows,
            columns: native.layout.columns,
            components: if native.layout.samples == Samples::One { 1 } else { 3 },
            precision: native.precision,
            predictor,
            point_transform: 0,
            restart_rows,
            separate,
            own_tables,
        };
        let mut stream = plan.encode(&native.samples());
        damages.iter().for_each(|damage| damage.apply(&mut stream));
        survive(&stream);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survive(&bytes);
        survive(&[&[0xFF, 0xD8, 0xFF, 0xC3, 0, 11, 8, 0, 9, 0, 9, 1, 1, 0x11, 0][..], &bytes].concat());
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_is_an_error() {
    let native = crate::frames::Native::new(crate::frames::layout(9, 11, Samples::Three, 8), 8, &{
        let mut samples = [0; 297];
        (0..297).for_each(|n| samples[n] = (n * n % 251) as u16);
        samples
    });
    let tables = Tables::of_frame(&native.pixels, native.layout, 8).expect("tables");
    let stream = encode_frame(&native.pixels, native.layout, 8, &tables).expect("encoded");
    // Without EOI, or with half of it, the image is complete.
    for length in 0..stream.len() - 2 {
        let error = decode_frame(&stream[..length], Limits::default()).expect_err("it is cut");
        let fine = matches!(error, DecodeError::NotJpeg | DecodeError::Truncated { .. });
        assert!(fine, "cut at {length}: {error}");
        if let DecodeError::Truncated { offset, .. } = error {
            // An FF at the end may be the beginning of anything.
            let end = if stream[length - 1] == 0xFF { length - 1 } else { length };
            assert!((end..=length).contains(&offset), "cut at {length}: {error}");
        }
    }
    for length in stream.len() - 2..stream.len() {
        assert!(decode_frame(&stream[..length], Limits::default()).is_ok());
    }
}
