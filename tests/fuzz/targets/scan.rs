//! Any bytes are a data set: walked to the same verdict however they are cut, and by whoever reads it again from the spool, on a
//! small stack and with memory that does not depend on them. The first byte chooses the encoding, the second the cuts.
#![no_main]

use chrysalis::dicom::stored::walk_whole;
use chrysalis::dicom::walk::Walk;
use chrysalis::dicom::{Encoding, ExtraTags, Scan, Structure, Tag, TransferSyntax, Uid};
use chrysalis_fuzz::{heap, pieces};
use libfuzzer_sys::fuzz_target;

/// The stack that the walk has to do with, in bytes.
const STACK: usize = 512 << 10;
/// Attributes, buffers and the inflater of a few walks, in bytes.
const MEMORY: usize = 4 << 20;

const SYNTAXES: [&str; 6] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.50",
    "1.2.3.4.5",
];

/// Beside what is captured anyway: a private one, one behind the pixels and one that a rule might ask for.
const TAGS: [Tag; 3] = [Tag(0x0029, 0x1010), Tag(0x7FE1, 0x1001), Tag(0x0008, 0x103E)];

fuzz_target!(|input: &[u8]| {
    let Some((&[syntax, seed], bytes)) = input.split_first_chunk::<2>() else { return };
    let syntax = TransferSyntax(Uid::new(SYNTAXES[usize::from(syntax) % SYNTAXES.len()]));
    std::thread::scope(|scope| {
        let walk = || heap::within(MEMORY, || walked_alike(&syntax, bytes, seed));
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, walk);
        thread.expect("a thread").join().expect("no panic");
    });
});

fn walked_alike(syntax: &TransferSyntax, bytes: &[u8], seed: u8) {
    let encoding = syntax.encoding();
    let whole = walked(encoding, bytes, 0);
    assert_eq!(whole.length, bytes.len() as u64);
    assert_eq!(walked(encoding, bytes, seed), whole);
    if encoding == Encoding::Unknown {
        assert_eq!(whole.structure, Structure::NotWalked);
    }
    let again = walk_whole(read_at(bytes), syntax, &TAGS).expect("memory can be read");
    assert_eq!(again.attributes, whole.attributes);
    match (again.structure, whole.structure) {
        // Who leaves out what a value says that it has does not know how much of it there was.
        (Structure::Truncated { .. }, Structure::Truncated { .. }) => {}
        (again, whole) => assert_eq!(again, whole),
    }
}

fn walked(encoding: Encoding, bytes: &[u8], seed: u8) -> Scan {
    let tags = ExtraTags::new(TAGS).expect("three are not too many");
    let mut walk = Walk::capturing(encoding, tags);
    for piece in pieces::cut(bytes, seed) {
        walk.feed(piece);
    }
    walk.finish()
}

fn read_at(bytes: &[u8]) -> impl FnMut(&mut [u8], u64) -> std::io::Result<usize> {
    |buffer, offset| {
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
