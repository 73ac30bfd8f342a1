//! Generated images of every kind that DICOM has for ultrasound, and what DCMTK makes of them in other encodings.

use crate::support::instance::{Encoding, Instance, Study};
use crate::tools::{convert, program};
use chrysalis_sizing::{Colour, Scene};
use std::path::Path;

const US_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.6.1";
const US_MULTIFRAME: &str = "1.2.840.10008.5.1.4.1.1.3.1";
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// An image of a scene whose samples are taken for something else than grey or RGB of 8 bits.
#[derive(Clone, Copy)]
pub struct Sample {
    pub name: &'static str,
    photometric: &'static str,
    samples: u16,
    allocated: u16,
    stored: u16,
    signed: bool,
    planar: bool,
    scene: Scene,
}

const fn scene(colour: Colour, rows: u16, columns: u16, frames: u32) -> Scene {
    Scene { seed: 4, rows, columns, frames, colour }
}

const fn grey(name: &'static str, stored: u16, rows: u16, columns: u16, frames: u32) -> Sample {
    Sample {
        name,
        photometric: "MONOCHROME2",
        samples: 1,
        allocated: if stored > 8 { 16 } else { 8 },
        stored,
        signed: false,
        planar: false,
        scene: scene(Colour::Mono, rows, columns, frames),
    }
}

const fn rgb(name: &'static str, colour: Colour, rows: u16, columns: u16, frames: u32) -> Sample {
    Sample {
        photometric: "RGB",
        samples: 3,
        scene: scene(colour, rows, columns, frames),
        ..grey(name, 8, rows, columns, frames)
    }
}

/// All kinds, in Explicit VR Little Endian.
pub const KINDS: [Sample; 24] = [
    grey("grey-8", 8, 96, 128, 1),
    grey("grey-8-odd-loop", 8, 65, 63, 3),
    grey("grey-9", 9, 64, 80, 1),
    grey("grey-10", 10, 96, 128, 1),
    grey("grey-12", 12, 96, 128, 1),
    grey("grey-12-loop", 12, 64, 80, 4),
    grey("grey-14", 14, 64, 80, 1),
    grey("grey-15", 15, 64, 80, 1),
    grey("grey-16", 16, 96, 128, 1),
    Sample { signed: true, ..grey("grey-12-signed", 12, 64, 80, 1) },
    Sample { signed: true, ..grey("grey-16-signed", 16, 64, 80, 1) },
    Sample { photometric: "MONOCHROME1", ..grey("monochrome1", 8, 64, 80, 1) },
    rgb("rgb-marked", Colour::MarkedRgb, 96, 128, 1),
    rgb("rgb-grey", Colour::GreyRgb, 96, 128, 1),
    rgb("rgb-grey-loop", Colour::GreyRgb, 64, 80, 3),
    rgb("rgb-doppler-loop", Colour::Doppler, 64, 80, 5),
    rgb("rgb-odd", Colour::Doppler, 61, 67, 1),
    Sample { planar: true, ..rgb("rgb-planes-loop", Colour::Doppler, 64, 80, 2) },
    Sample { planar: true, ..rgb("rgb-planes-grey", Colour::GreyRgb, 64, 80, 1) },
    Sample { allocated: 16, stored: 10, ..rgb("rgb-10", Colour::Doppler, 64, 80, 1) },
    Sample { allocated: 16, stored: 12, ..rgb("rgb-12", Colour::Doppler, 64, 80, 1) },
    Sample { allocated: 16, stored: 16, ..rgb("rgb-16-loop", Colour::Doppler, 64, 80, 2) },
    Sample { photometric: "YBR_FULL", ..rgb("ybr-full", Colour::Doppler, 64, 80, 1) },
    Sample { photometric: "PALETTE COLOR", ..grey("palette-8", 8, 64, 80, 2) },
];

impl Sample {
    pub fn kind(name: &str) -> Self {
        *KINDS.iter().find(|sample| sample.name == name).unwrap_or_else(|| panic!("{name} is no sample"))
    }

    /// As a Part 10 file in a folder, named after the sample.
    pub fn write(&self, folder: &Path) {
        let number = KINDS.iter().position(|sample| sample.name == self.name).unwrap() as u32;
        self.write_as(number, &folder.join(format!("{}.dcm", self.name)));
    }

    /// As a Part 10 file. The number decides the SOP Instance UID.
    fn write_as(&self, number: u32, file: &Path) {
        let class = match (self.stored, self.scene.frames) {
            (..=8, 1) => US_IMAGE,
            (..=8, _) => US_MULTIFRAME,
            _ => SECONDARY_CAPTURE,
        };
        self.instance(class, number).write_part10(file).unwrap();
    }

    fn instance(&self, class: &str, number: u32) -> Instance {
        let study = Study::new(4);
        let uid = study.sop_instance(100 + number);
        let mut out = DataSet::default();
        out.text(0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\ABDOMINAL\\0001");
        out.text(0x0008, 0x0016, b"UI", class);
        out.text(0x0008, 0x0018, b"UI", &uid);
        out.text(0x0008, 0x0020, b"DA", "20260102");
        out.text(0x0008, 0x0060, b"CS", "US");
        out.text(0x0010, 0x0010, b"PN", &study.patient_name);
        out.text(0x0010, 0x0020, b"LO", &study.patient_id);
        if self.scene.frames > 1 {
            out.text(0x0018, 0x1063, b"DS", "33.3");
        }
        out.text(0x0020, 0x000D, b"UI", &study.study);
        out.text(0x0020, 0x000E, b"UI", &study.series);
        out.text(0x0020, 0x0013, b"IS", &number.to_string());
        out.short(0x0028, 0x0002, self.samples);
        out.text(0x0028, 0x0004, b"CS", self.photometric);
        if self.samples == 3 {
            out.short(0x0028, 0x0006, self.planar.into());
        }
        if self.scene.frames > 1 {
            out.text(0x0028, 0x0008, b"IS", &self.scene.frames.to_string());
            out.element(0x0028, 0x0009, b"AT", &[0x18, 0, 0x63, 0x10]);
        }
        out.short(0x0028, 0x0010, self.scene.rows);
        out.short(0x0028, 0x0011, self.scene.columns);
        if self.stored == 8 {
            out.short(0x0028, 0x0014, (self.samples == 3).into());
        }
        out.short(0x0028, 0x0100, self.allocated);
        out.short(0x0028, 0x0101, self.stored);
        out.short(0x0028, 0x0102, self.stored - 1);
        out.short(0x0028, 0x0103, self.signed.into());
        if self.photometric == "PALETTE COLOR" {
            out.palette();
        }
        out.text(0x0028, 0x2110, b"CS", "00");
        let vr = if self.allocated == 8 { b"OB" } else { b"OW" };
        out.element(0x7FE0, 0x0010, vr, &self.pixels());
        let data_set = crate::support::instance::DataSet::Bytes(out.0.into());
        Instance::new(class, &uid, Encoding::ExplicitLittle.uid(), data_set)
    }

    fn pixels(&self) -> Vec<u8> {
        let painter = self.scene.painter();
        painter.frames().flat_map(|frame| self.deepened(&self.ordered(frame))).collect()
    }

    fn ordered(&self, frame: Vec<u8>) -> Vec<u8> {
        if !self.planar {
            return frame;
        }
        (0..3).flat_map(|sample| frame.iter().skip(sample).step_by(3).copied()).collect()
    }

    /// With as many bits as are stored: below the scene's eight is noise.
    fn deepened(&self, frame: &[u8]) -> Vec<u8> {
        if self.allocated == 8 {
            return frame.to_vec();
        }
        let more = self.stored - 8;
        let mut noise = 1_u32;
        let deep = |&byte: &u8| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = (u16::from(byte) << more) | ((noise >> 16) as u16 & ((1 << more) - 1));
            if self.signed { value.wrapping_sub(1 << (self.stored - 1)) } else { value }
        };
        frame.iter().map(deep).flat_map(u16::to_le_bytes).collect()
    }
}

/// Writes all kinds, and them in other encodings: as DCMTK writes them, and in RLE with offset tables. Returns whether DCMTK
/// is there.
pub fn write_all(folder: &Path) -> bool {
    std::fs::create_dir_all(folder).unwrap();
    KINDS.iter().for_each(|sample| sample.write(folder));
    let study = Study::new(5);
    for (number, encoding) in (1..).zip(Encoding::ALL) {
        let instance = study.instance(number, study.scene(64, 80, 3), encoding);
        instance.write_part10(&folder.join(format!("marked-loop-{encoding:?}.dcm"))).unwrap();
    }
    let native = tempfile::NamedTempFile::new().unwrap();
    (100..).zip(&ENCODED).all(|(number, (source, name, tool, args))| {
        let Some(tool) = program(tool) else { return false };
        Sample::kind(source).write_as(number, native.path());
        let to = folder.join(format!("{source}-{name}.dcm"));
        convert(&tool, args, native.path(), &to).unwrap();
        true
    })
}

/// A sample, what it is called then, who writes it, and how.
const ENCODED: [(&str, &str, &str, &[&str]); 25] = [
    ("grey-16-signed", "implicit", "dcmconv", &["+ti"]),
    ("rgb-planes-loop", "implicit", "dcmconv", &["+ti"]),
    ("palette-8", "implicit", "dcmconv", &["+ti"]),
    ("grey-12-loop", "big-endian", "dcmconv", &["+tb"]),
    ("grey-8-odd-loop", "big-endian", "dcmconv", &["+tb"]),
    ("rgb-16-loop", "big-endian", "dcmconv", &["+tb"]),
    ("rgb-grey-loop", "deflated", "dcmconv", &["+td"]),
    ("grey-16", "deflated", "dcmconv", &["+td"]),
    ("grey-8-odd-loop", "rle", "dcmcrle", &[]),
    ("grey-16-signed", "rle", "dcmcrle", &[]),
    ("rgb-doppler-loop", "rle", "dcmcrle", &[]),
    ("rgb-grey", "rle", "dcmcrle", &[]),
    ("rgb-16-loop", "rle", "dcmcrle", &[]),
    ("palette-8", "rle", "dcmcrle", &[]),
    ("ybr-full", "rle", "dcmcrle", &[]),
    ("grey-12-signed", "lossless", "dcmcjpeg", &["+e1"]),
    ("rgb-grey-loop", "lossless", "dcmcjpeg", &["+e1"]),
    ("palette-8", "lossless", "dcmcjpeg", &["+e1"]),
    ("rgb-doppler-loop", "lossless-4", "dcmcjpeg", &["+el", "+sv", "4"]),
    ("grey-8", "baseline", "dcmcjpeg", &["+eb"]),
    ("rgb-grey-loop", "baseline", "dcmcjpeg", &["+eb"]),
    ("rgb-doppler-loop", "baseline", "dcmcjpeg", &["+eb"]),
    ("rgb-marked", "baseline-444", "dcmcjpeg", &["+eb", "+s4"]),
    ("rgb-odd", "baseline", "dcmcjpeg", &["+eb"]),
    ("grey-12-loop", "extended", "dcmcjpeg", &["+ee"]),
];

/// Elements in Explicit VR Little Endian.
#[derive(Default)]
struct DataSet(Vec<u8>);

impl DataSet {
    fn element(&mut self, group: u16, number: u16, vr: &[u8; 2], value: &[u8]) {
        let length = (value.len() + value.len() % 2) as u32;
        self.0.extend([group.to_le_bytes(), number.to_le_bytes(), *vr].concat());
        if matches!(vr, b"OB" | b"OW") {
            self.0.extend([0, 0]);
            self.0.extend(length.to_le_bytes());
        } else {
            self.0.extend((length as u16).to_le_bytes());
        }
        self.0.extend(value);
        if value.len() % 2 == 1 {
            self.0.push(if matches!(vr, b"UI" | b"OB") { 0 } else { b' ' });
        }
    }

    fn text(&mut self, group: u16, number: u16, vr: &[u8; 2], value: &str) {
        self.element(group, number, vr, value.as_bytes());
    }

    fn short(&mut self, group: u16, number: u16, value: u16) {
        self.element(group, number, b"US", &value.to_le_bytes());
    }

    /// 256 entries of 16 bits each: grey for the lower half, a colour map for the upper.
    fn palette(&mut self) {
        for number in 0x1101..=0x1103 {
            self.element(0x0028, number, b"US", &[0, 1, 0, 0, 16, 0]);
        }
        for number in 0x1201..=0x1203_u16 {
            let entry = |index: u16| match (index, number) {
                (..128, _) | (_, 0x1201) => index * 257,
                (_, 0x1202) => index * 64,
                (_, _) => 65_535 - index * 257,
            };
            let entries: Vec<u8> = (0..256).flat_map(|index| entry(index).to_le_bytes()).collect();
            self.element(0x0028, number, b"OW", &entries);
        }
    }
}
