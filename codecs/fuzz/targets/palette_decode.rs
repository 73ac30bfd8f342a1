//! Any tables are a palette that colours every index, or an error.
#![no_main]

use chrysalis_codecs::Depth;
use chrysalis_codecs::palette::{Form, Indices, Palette, Table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u16; 3], bool, bool, &[u8])| {
    let (descriptor, segmented, signed, data) = input;
    let form = if segmented { Form::Segmented } else { Form::Plain };
    let table = Table { descriptor, data, form };
    let indices = if signed { Indices::Signed } else { Indices::Unsigned };
    if let Ok(palette) = Palette::new(table, table, table, indices) {
        assert_eq!(palette.expand(data, Depth::Eight).len(), data.len() * 3);
        assert_eq!(palette.expand(data, Depth::Sixteen).len(), data.len() / 2 * 3);
    }
});
