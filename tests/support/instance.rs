//! Instances to send: synthetic ultrasound in the common encodings, and real files split byte for byte.

use super::wire::IMPLEMENTATION;
use chrysalis_codecs::{Depth, FrameLayout, Order, Samples, rle};
use chrysalis_sizing::{Colour, Painter, Scene};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

pub const US_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.6.1";
pub const US_MULTIFRAME: &str = "1.2.840.10008.5.1.4.1.1.3.1";

pub const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
pub const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";
pub const RLE_LOSSLESS: &str = "1.2.840.10008.1.2.5";
pub const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";

/// The transfer syntaxes in which synthetic instances can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
    Rle,
}

impl Encoding {
    pub const ALL: [Self; 4] = [Self::ImplicitLittle, Self::ExplicitLittle, Self::ExplicitBig, Self::Rle];

    pub const fn uid(self) -> &'static str {
        match self {
            Self::ImplicitLittle => IMPLICIT_LITTLE,
            Self::ExplicitLittle => EXPLICIT_LITTLE,
            Self::ExplicitBig => EXPLICIT_BIG,
            Self::Rle => RLE_LOSSLESS,
        }
    }
}

/// A SHA-256 that prints as its first bytes in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Makes the pieces of a data set, one after another.
type Generator = dyn Fn() -> Box<dyn Iterator<Item = Vec<u8>>> + Send + Sync;

/// The bytes of a data set, in memory or made while they are sent.
#[derive(Clone)]
pub enum DataSet {
    Bytes(Arc<[u8]>),
    Generated { length: u64, pieces: Arc<Generator> },
}

impl DataSet {
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Generated { length, .. } => *length,
        }
    }

    /// Calls `each` with the pieces in order.
    pub fn for_each_piece(&self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => each(bytes),
            Self::Generated { pieces, .. } => pieces().try_for_each(|piece| each(&piece)),
        }
    }
}

/// One SOP instance, ready to be sent.
#[derive(Clone)]
pub struct Instance {
    pub sop_class: String,
    pub sop_instance: String,
    pub study: String,
    pub transfer_syntax: String,
    pub data_set: DataSet,
    digest: Arc<OnceLock<Digest>>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes, {})", self.sop_instance, self.data_set.len(), self.transfer_syntax)
    }
}

impl Instance {
    pub fn new(sop_class: &str, sop_instance: &str, transfer_syntax: &str, data_set: DataSet) -> Self {
        Self {
            sop_class: sop_class.into(),
            sop_instance: sop_instance.into(),
            study: String::new(),
            transfer_syntax: transfer_syntax.into(),
            data_set,
            digest: Arc::default(),
        }
    }

    /// The same, in RLE and of one frame, with a number of segments that no decoder takes (PS3.5 G.5).
    pub fn undecodable(&self) -> Self {
        self.edited(|data_set| {
            let table = [0xFE, 0xFF, 0x00, 0xE0, 4, 0, 0, 0, 0, 0, 0, 0, 0xFE, 0xFF, 0x00, 0xE0];
            let at = data_set.windows(table.len()).position(|window| window == table).unwrap();
            data_set[at + table.len() + 4] = 77;
        })
    }

    /// The same in Explicit VR Little Endian, deflated as a whole (PS3.5 A.5).
    pub fn deflated(&self) -> Self {
        assert_eq!(self.transfer_syntax, EXPLICIT_LITTLE);
        let mut deflated = self.edited(|data_set| {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data_set).unwrap();
            *data_set = encoder.finish().unwrap();
            data_set.resize(data_set.len().next_multiple_of(2), 0);
        });
        deflated.transfer_syntax = DEFLATED.into();
        deflated
    }

    /// The same SOP Instance UID with a data set that differs as `edit` says.
    pub fn edited(&self, edit: impl FnOnce(&mut Vec<u8>)) -> Self {
        let DataSet::Bytes(bytes) = &self.data_set else { panic!("only what is in memory can be edited") };
        let mut bytes = bytes.to_vec();
        edit(&mut bytes);
        let (class, name, syntax) = (&self.sop_class, &self.sop_instance, &self.transfer_syntax);
        Self::new(class, name, syntax, DataSet::Bytes(bytes.into()))
    }

    /// SHA-256 of the data set.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let mut hash = Sha256::new();
            let hashed = self.data_set.for_each_piece(|piece| {
                hash.update(piece);
                Ok(())
            });
            hashed.unwrap();
            Digest(hash.finalize().into())
        })
    }

    /// Splits a Part 10 file into what is sent of it. Leniently: without a preamble or without file meta information the
    /// whole file is taken as a data set, explicit VR if it looks so.
    pub fn from_part10(path: &Path) -> io::Result<Self> {
        Ok(Self::from_part10_bytes(&std::fs::read(path)?))
    }

    /// The same, from memory.
    pub fn from_part10_bytes(file: &[u8]) -> Self {
        let meta_at = match file.get(128..132) {
            Some(b"DICM") => 132,
            _ if file.starts_with(b"DICM") => 4,
            _ => 0,
        };
        let (meta, data_at) = file_meta(file, meta_at);
        let value = |element: u16| meta.iter().find(|(e, _)| *e == element).map(|(_, v)| v.clone());
        let guessed = || match file.get(data_at + 4..data_at + 6) {
            Some([b'A'..=b'Z', b'A'..=b'Z']) => EXPLICIT_LITTLE.into(),
            _ => IMPLICIT_LITTLE.into(),
        };
        let bytes: Arc<[u8]> = file[data_at..].into();
        Self {
            sop_class: value(2).filter(|v| !v.is_empty()).unwrap_or_else(|| US_IMAGE.into()),
            sop_instance: value(3).filter(|v| !v.is_empty()).unwrap_or_else(|| uid_of(&Digest::of(&bytes))),
            study: String::new(),
            transfer_syntax: value(0x10).filter(|v| !v.is_empty()).unwrap_or_else(guessed),
            data_set: DataSet::Bytes(bytes),
            digest: Arc::default(),
        }
    }

    /// Takes SOP class and instance from the data set itself, where it has them in its first 4 KiB: some real files say
    /// something else in their file meta information.
    pub fn named_by_data_set(mut self) -> Self {
        let DataSet::Bytes(bytes) = &self.data_set else { return self };
        let start = &bytes[..bytes.len().min(4096)];
        let uid = |element: u8| {
            let here = |window: &[u8]| window == [8, 0, element, 0] || window == [0, 8, 0, element];
            let read = |at: usize| {
                let length = match start.get(at + 4..at + 8)? {
                    [b'U', b'I', 0, length] | [b'U', b'I', length, 0] | [length, 0, 0, 0] => {
                        usize::from(*length)
                    }
                    _ => return None,
                };
                Some(super::wire::text(start.get(at + 8..at + 8 + length)?)).filter(|value| !value.is_empty())
            };
            let places = start.windows(4).enumerate().filter(|(_, window)| here(window));
            places.map(|(at, _)| at).find_map(read)
        };
        let (class, instance) = (uid(0x16), uid(0x18));
        self.sop_class = class.unwrap_or(self.sop_class);
        self.sop_instance = instance.unwrap_or(self.sop_instance);
        self
    }

    /// The instance as a Part 10 file, for senders that read files.
    pub fn write_part10(&self, path: &Path) -> io::Result<()> {
        let mut meta = Writer::new(Encoding::ExplicitLittle);
        meta.element((2, 0x0001), b"OB", &[0, 1]);
        meta.text((2, 0x0002), b"UI", &self.sop_class);
        meta.text((2, 0x0003), b"UI", &self.sop_instance);
        meta.text((2, 0x0010), b"UI", &self.transfer_syntax);
        meta.text((2, 0x0012), b"UI", IMPLEMENTATION);
        let mut head = Writer::new(Encoding::ExplicitLittle);
        head.out = [&[0; 128], b"DICM".as_slice()].concat();
        head.element((2, 0x0000), b"UL", &(meta.out.len() as u32).to_le_bytes());
        let mut file = io::BufWriter::new(std::fs::File::create(path)?);
        file.write_all(&head.out)?;
        file.write_all(&meta.out)?;
        self.data_set.for_each_piece(|piece| file.write_all(piece))?;
        file.flush()
    }
}

/// The text elements of the file meta information that starts at `at`, and where the data set starts.
fn file_meta(file: &[u8], at: usize) -> (Vec<(u16, String)>, usize) {
    let mut meta = Vec::new();
    let mut at = at;
    while let Some(&[2, 0, e0, e1, v0, v1, l0, l1]) = file.get(at..at + 8) {
        let (start, length) = match &[v0, v1] {
            b"OB" | b"UN" | b"OW" => {
                let Some(long) = file.get(at + 8..at + 12) else { break };
                (at + 12, u32::from_le_bytes(long.try_into().unwrap()) as usize)
            }
            _ => (at + 8, usize::from(u16::from_le_bytes([l0, l1]))),
        };
        let Some(value) = file.get(start..start.saturating_add(length)) else { break };
        meta.push((u16::from_le_bytes([e0, e1]), super::wire::text(value)));
        at = start + length;
    }
    (meta, at)
}

/// A UID made of a hash (PS3.5 B.2).
fn uid_of(digest: &Digest) -> String {
    format!("2.25.{}", u128::from_be_bytes(digest.0[..16].try_into().unwrap()))
}

/// A patient's study, of which instances are made. The same seed gives the same study.
#[derive(Debug, Clone)]
pub struct Study {
    pub seed: u64,
    pub patient_id: String,
    pub patient_name: String,
    pub study: String,
    pub series: String,
}

impl Study {
    pub fn new(seed: u64) -> Self {
        let uid = |what: &str| uid_of(&Digest::of(format!("{what} {seed}").as_bytes()));
        Self {
            seed,
            patient_id: format!("TEST{seed:06}"),
            patient_name: format!("Test^Patient {seed}"),
            study: uid("study"),
            series: uid("series"),
        }
    }

    /// The SOP Instance UID of instance `number`.
    pub fn sop_instance(&self, number: u32) -> String {
        uid_of(&Digest::of(format!("{} {number}", self.series).as_bytes()))
    }

    /// A colour still of 480 x 640, 0.9 MB, in Explicit VR Little Endian.
    pub fn still(&self, number: u32) -> Instance {
        self.instance(number, self.scene(480, 640, 1), Encoding::ExplicitLittle)
    }

    /// A colour loop of 480 x 640, 0.9 MB a frame, in Explicit VR Little Endian.
    pub fn cine(&self, number: u32, frames: u32) -> Instance {
        self.instance(number, self.scene(480, 640, frames), Encoding::ExplicitLittle)
    }

    /// A grey still of about 5 kB.
    pub fn small(&self, number: u32) -> Instance {
        let scene = Scene { seed: u64::from(number), rows: 64, columns: 64, frames: 1, colour: Colour::Mono };
        self.instance(number, scene, Encoding::ExplicitLittle)
    }

    /// A native loop of at least so many bytes, made while it is sent, so that it needs no memory.
    pub fn huge(&self, number: u32, bytes: u64) -> Instance {
        let mut scene = self.scene(768, 1024, 1);
        scene.frames = u32::try_from(bytes.div_ceil(scene.frame_len() as u64)).unwrap();
        let head = self.head(number, &scene, Encoding::ExplicitLittle).out;
        let pixel_bytes = u64::from(scene.frames) * scene.frame_len() as u64;
        let mut header = Writer::new(Encoding::ExplicitLittle);
        header.header((0x7FE0, 0x0010), b"OB", u32::try_from(pixel_bytes).unwrap());
        let head = [head, header.out].concat();
        let length = head.len() as u64 + pixel_bytes;
        let painter = Arc::new(scene.painter());
        let pieces = move || -> Box<dyn Iterator<Item = Vec<u8>>> {
            let painter = Arc::clone(&painter);
            let frames = (0..painter.scene().frames).map(move |n| painter.frame(n));
            Box::new(std::iter::once(head.clone()).chain(frames))
        };
        self.wrap(
            number,
            &scene,
            Encoding::ExplicitLittle,
            DataSet::Generated { length, pieces: Arc::new(pieces) },
        )
    }

    /// An instance with the pixels of `scene`.
    pub fn instance(&self, number: u32, scene: Scene, encoding: Encoding) -> Instance {
        let mut writer = self.head(number, &scene, encoding);
        writer.pixels(&scene.painter());
        self.wrap(number, &scene, encoding, DataSet::Bytes(writer.out.into()))
    }

    /// A scene of this study with coloured marks.
    pub fn scene(&self, rows: u16, columns: u16, frames: u32) -> Scene {
        Scene { seed: self.seed, rows, columns, frames, colour: Colour::MarkedRgb }
    }

    fn wrap(&self, number: u32, scene: &Scene, encoding: Encoding, data_set: DataSet) -> Instance {
        let mut out = Instance::new(sop_class(scene), &self.sop_instance(number), encoding.uid(), data_set);
        out.study.clone_from(&self.study);
        out
    }

    /// Everything before Pixel Data.
    fn head(&self, number: u32, scene: &Scene, encoding: Encoding) -> Writer {
        let colour = scene.samples_per_pixel() == 3;
        let mut w = Writer::new(encoding);
        w.text((0x0008, 0x0005), b"CS", "ISO_IR 100");
        w.text((0x0008, 0x0008), b"CS", "ORIGINAL\\PRIMARY");
        w.text((0x0008, 0x0016), b"UI", sop_class(scene));
        w.text((0x0008, 0x0018), b"UI", &self.sop_instance(number));
        w.text((0x0008, 0x0020), b"DA", "20260102");
        w.text((0x0008, 0x0030), b"TM", "030405");
        w.text((0x0008, 0x0050), b"SH", &format!("A{}", self.seed));
        w.text((0x0008, 0x0060), b"CS", "US");
        w.text((0x0008, 0x0070), b"LO", "Synthetic");
        w.text((0x0008, 0x0090), b"PN", "");
        w.text((0x0010, 0x0010), b"PN", &self.patient_name);
        w.text((0x0010, 0x0020), b"LO", &self.patient_id);
        w.text((0x0010, 0x0030), b"DA", "");
        w.text((0x0010, 0x0040), b"CS", "O");
        if scene.frames > 1 {
            w.text((0x0018, 0x1063), b"DS", "33.3");
        }
        w.text((0x0020, 0x000D), b"UI", &self.study);
        w.text((0x0020, 0x000E), b"UI", &self.series);
        w.text((0x0020, 0x0010), b"SH", "1");
        w.text((0x0020, 0x0011), b"IS", "1");
        w.text((0x0020, 0x0013), b"IS", &number.to_string());
        w.short((0x0028, 0x0002), scene.samples_per_pixel());
        w.text((0x0028, 0x0004), b"CS", if colour { "RGB" } else { "MONOCHROME2" });
        if colour {
            w.short((0x0028, 0x0006), 0);
        }
        if scene.frames > 1 {
            w.text((0x0028, 0x0008), b"IS", &scene.frames.to_string());
            w.tag_value((0x0028, 0x0009), (0x0018, 0x1063));
        }
        w.short((0x0028, 0x0010), scene.rows);
        w.short((0x0028, 0x0011), scene.columns);
        w.short((0x0028, 0x0100), 8);
        w.short((0x0028, 0x0101), 8);
        w.short((0x0028, 0x0102), 7);
        w.short((0x0028, 0x0103), 0);
        w
    }
}

const fn sop_class(scene: &Scene) -> &'static str {
    if scene.frames > 1 { US_MULTIFRAME } else { US_IMAGE }
}

type Tag = (u16, u16);

/// Writes elements in one of the encodings.
struct Writer {
    encoding: Encoding,
    out: Vec<u8>,
}

impl Writer {
    const fn new(encoding: Encoding) -> Self {
        Self { encoding, out: Vec::new() }
    }

    fn half(&mut self, value: u16) {
        self.out.extend(match self.encoding {
            Encoding::ExplicitBig => value.to_be_bytes(),
            _ => value.to_le_bytes(),
        });
    }

    fn word(&mut self, value: u32) {
        self.out.extend(match self.encoding {
            Encoding::ExplicitBig => value.to_be_bytes(),
            _ => value.to_le_bytes(),
        });
    }

    fn header(&mut self, tag: Tag, vr: &[u8; 2], length: u32) {
        self.half(tag.0);
        self.half(tag.1);
        match (self.encoding, vr) {
            (Encoding::ImplicitLittle, _) => self.word(length),
            (_, b"OB" | b"OW" | b"SQ" | b"UN") => {
                self.out.extend_from_slice(vr);
                self.out.extend([0, 0]);
                self.word(length);
            }
            _ => {
                self.out.extend_from_slice(vr);
                self.half(u16::try_from(length).unwrap());
            }
        }
    }

    fn element(&mut self, tag: Tag, vr: &[u8; 2], value: &[u8]) {
        self.header(tag, vr, u32::try_from(value.len()).unwrap());
        self.out.extend_from_slice(value);
    }

    fn text(&mut self, tag: Tag, vr: &[u8; 2], value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == b"UI" { 0 } else { b' ' });
        }
        self.element(tag, vr, &bytes);
    }

    fn short(&mut self, tag: Tag, value: u16) {
        self.header(tag, b"US", 2);
        self.half(value);
    }

    fn tag_value(&mut self, tag: Tag, value: Tag) {
        self.header(tag, b"AT", 4);
        self.half(value.0);
        self.half(value.1);
    }

    fn pixels(&mut self, painter: &Painter) {
        if self.encoding == Encoding::Rle {
            return self.encapsulated(painter);
        }
        let scene = painter.scene();
        let length = scene.frames as usize * scene.frame_len();
        let padded = length + length % 2;
        // In implicit VR, Pixel Data is OW by definition (PS3.5 A.1), which for 8 bits in little endian is the same bytes.
        self.header((0x7FE0, 0x0010), b"OB", u32::try_from(padded).unwrap());
        self.out.reserve_exact(padded);
        (0..scene.frames).for_each(|n| painter.paint_onto(n, &mut self.out));
        self.out.resize(self.out.len() + length % 2, 0);
    }

    /// One fragment per frame after a filled Basic Offset Table (PS3.5 A.4).
    fn encapsulated(&mut self, painter: &Painter) {
        let frames: Vec<Vec<u8>> = painter
            .frames()
            .map(|frame| rle::encode_frame(&frame, layout(painter.scene())).unwrap())
            .collect();
        self.header((0x7FE0, 0x0010), b"OB", u32::MAX);
        let mut offset = 0;
        let mut table = Vec::new();
        for frame in &frames {
            table.extend(u32::to_le_bytes(offset));
            offset += 8 + frame.len() as u32;
        }
        self.item(&table);
        frames.iter().for_each(|frame| self.item(frame));
        self.out.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    }

    fn item(&mut self, value: &[u8]) {
        self.out.extend([0xFE, 0xFF, 0x00, 0xE0]);
        self.out.extend((value.len() as u32).to_le_bytes());
        self.out.extend_from_slice(value);
    }
}

fn layout(scene: &Scene) -> FrameLayout {
    FrameLayout {
        rows: scene.rows,
        columns: scene.columns,
        samples: if scene.samples_per_pixel() == 1 { Samples::One } else { Samples::Three },
        depth: Depth::Eight,
        order: Order::ByPixel,
    }
}

/// The folder of real DICOM files, if this machine has it; says that it was skipped if not.
pub fn real_files(folder: &str) -> Option<Vec<PathBuf>> {
    let named = std::env::var_os("CHRYSALIS_TEST_DATA").map(PathBuf::from);
    let data = named.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")));
    let Ok(listing) = std::fs::read_dir(data.join(folder)) else {
        eprintln!("skipped: there are no real files in {}", data.join(folder).display());
        return None;
    };
    let mut files: Vec<_> = listing.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "dcm"));
    files.sort();
    Some(files)
}
