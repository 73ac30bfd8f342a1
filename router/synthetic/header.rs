//! Everything before the frames: patient, study, series, equipment and image (PS3.3 A.6, A.7).

use chrysalis_codecs::{Depth, Samples};
use chrysalis_sizing::{Region, RegionKind, View};

use super::cart::{Cart, Coding, Pixels};
use super::element::{Vr, Writer};
use super::film::Film;
use super::identity::Key;
use super::study::TestStudy;
use crate::dicom::{Tag, Uid, uid};

/// Where an instance stands in its study, and what it shows.
pub(super) struct Place<'a> {
    pub(super) study: &'a TestStudy,
    pub(super) cart: &'static Cart,
    /// Counted from 0.
    pub(super) number: u32,
    pub(super) is_still: bool,
    pub(super) film: &'a Film,
}

/// US Image Storage or US Multi-frame Image Storage.
pub(super) const fn sop_class(is_still: bool) -> Uid {
    if is_still { uid::US_IMAGE } else { uid::US_MULTIFRAME }
}

impl Place<'_> {
    pub(super) fn sop_instance(&self) -> Uid {
        self.key(&format!("instance {}", self.number))
    }

    fn key(&self, what: &str) -> Uid {
        let key: &Key = &self.study.key;
        key.inside(what).uid()
    }

    /// The data set up to its first frame.
    pub(super) fn header(&self, frames: u32) -> Vec<u8> {
        let explicit = self.film.form.coding != Coding::ImplicitVr;
        let mut w = Writer::new(if explicit { Vr::Explicit } else { Vr::Implicit });
        self.general(&mut w);
        self.patient(&mut w);
        self.acquisition(&mut w);
        self.relationship(&mut w);
        self.image(&mut w, frames);
        self.pixel_data(&mut w, frames);
        w.into_bytes()
    }

    fn general(&self, w: &mut Writer) {
        let study_time = clock(self.study.number * 600);
        let time = clock(self.study.number * 600 + u64::from(self.number) * 5 + 5);
        w.text(Tag(0x0008, 0x0005), b"CS", "ISO_IR 100");
        w.text(Tag(0x0008, 0x0008), b"CS", &self.image_type());
        w.text(Tag(0x0008, 0x0016), b"UI", sop_class(self.is_still).as_str());
        w.text(Tag(0x0008, 0x0018), b"UI", self.sop_instance().as_str());
        for date in [0x0020, 0x0021, 0x0023] {
            w.text(Tag(0x0008, date), b"DA", DATE);
        }
        w.text(Tag(0x0008, 0x0030), b"TM", &study_time);
        w.text(Tag(0x0008, 0x0031), b"TM", &study_time);
        w.text(Tag(0x0008, 0x0033), b"TM", &time);
        w.text(Tag(0x0008, 0x0050), b"SH", &format!("T{}", self.study.number));
        w.text(Tag(0x0008, 0x0060), b"CS", "US");
        w.text(Tag(0x0008, 0x0070), b"LO", MAKER);
        w.text(Tag(0x0008, 0x0080), b"LO", MAKER);
        w.text(Tag(0x0008, 0x0090), b"PN", "");
        w.text(Tag(0x0008, 0x1030), b"LO", &format!("Test {}", self.study.kind.name));
        w.text(Tag(0x0008, 0x103E), b"LO", NOT_FOR_DIAGNOSIS);
        w.text(Tag(0x0008, 0x1090), b"LO", self.cart.name);
    }

    fn patient(&self, w: &mut Writer) {
        w.text(Tag(0x0010, 0x0010), b"PN", &format!("TEST^Patient {}", self.study.number));
        w.text(Tag(0x0010, 0x0020), b"LO", &self.study.patient_id);
        w.text(Tag(0x0010, 0x0030), b"DA", "20000101");
        w.text(Tag(0x0010, 0x0040), b"CS", "O");
        // Quality Control Subject: not a patient (PS3.3 C.7.1.1).
        w.text(Tag(0x0010, 0x0200), b"CS", "YES");
        w.text(Tag(0x0010, 0x4000), b"LT", "This patient does not exist. The images are synthetic.");
    }

    fn acquisition(&self, w: &mut Writer) {
        w.text(Tag(0x0018, 0x1000), b"LO", "0");
        w.text(Tag(0x0018, 0x1020), b"LO", uid::IMPLEMENTATION_VERSION);
        if !self.is_still {
            w.text(FRAME_TIME, b"DS", &self.frame_time());
        }
        w.sequence(Tag(0x0018, 0x6011), &self.film.picture.regions(), region);
    }

    fn relationship(&self, w: &mut Writer) {
        w.text(Tag(0x0020, 0x000D), b"UI", self.study.study_instance_uid.as_str());
        w.text(Tag(0x0020, 0x000E), b"UI", self.key("series").as_str());
        w.text(Tag(0x0020, 0x0010), b"SH", &format!("T{}", self.study.number));
        w.text(Tag(0x0020, 0x0011), b"IS", "1");
        w.text(Tag(0x0020, 0x0013), b"IS", &(self.number + 1).to_string());
        w.text(Tag(0x0020, 0x0020), b"CS", "");
        // Laterality, which nobody knows here.
        w.text(Tag(0x0020, 0x0060), b"CS", "");
    }

    fn image(&self, w: &mut Writer, frames: u32) {
        let (picture, form) = (&self.film.picture, self.film.form);
        let layout = form.pixels.layout(picture.rows, picture.columns);
        let colour = layout.samples == Samples::Three;
        w.shorts(Tag(0x0028, 0x0002), &[if colour { 3 } else { 1 }]);
        w.text(Tag(0x0028, 0x0004), b"CS", photometric(form.pixels));
        if colour {
            w.shorts(Tag(0x0028, 0x0006), &[u16::from(form.pixels == Pixels::YbrPlanes)]);
        }
        if !self.is_still {
            w.text(Tag(0x0028, 0x0008), b"IS", &frames.to_string());
            w.pointer(Tag(0x0028, 0x0009), FRAME_TIME);
        }
        w.shorts(Tag(0x0028, 0x0010), &[picture.rows]);
        w.shorts(Tag(0x0028, 0x0011), &[picture.columns]);
        w.shorts(Tag(0x0028, 0x0014), &[u16::from(picture.view.shows_flow())]);
        let bits = if layout.depth == Depth::Sixteen { 16 } else { 8 };
        for (element, value) in [(0x0100, bits), (0x0101, bits), (0x0102, bits - 1), (0x0103, 0)] {
            w.shorts(Tag(0x0028, element), &[value]);
        }
        // Quality Control Image, and text that is part of the picture (PS3.3 C.7.6.1).
        w.text(Tag(0x0028, 0x0300), b"CS", "YES");
        w.text(Tag(0x0028, 0x0301), b"CS", "YES");
        if let Some(palette) = form.pixels.palette() {
            for element in 0x1101..=0x1103 {
                w.shorts(Tag(0x0028, element), &[palette.entries(), 0, 16]);
            }
            for (element, table) in (0x1201..).zip(palette.tables()) {
                let bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
                w.element(Tag(0x0028, element), b"OW", &bytes);
            }
        }
        if form.coding == Coding::JpegBaseline {
            w.text(Tag(0x0028, 0x2110), b"CS", "01");
            w.text(Tag(0x0028, 0x2112), b"DS", &format!("{:.1}", self.film.ratio()));
            w.text(Tag(0x0028, 0x2114), b"CS", "ISO_10918_1");
        } else {
            w.text(Tag(0x0028, 0x2110), b"CS", "00");
        }
    }

    /// The header of Pixel Data, and of what is in fragments the offset table too.
    fn pixel_data(&self, w: &mut Writer, frames: u32) {
        let lengths = (0..frames).filter_map(|n| Some(self.film.frame(n)?.stored.len() as u32));
        if self.film.form.coding.is_native() {
            let length: u32 = lengths.sum();
            let vr = if self.film.form.pixels == Pixels::Palette16 { b"OW" } else { b"OB" };
            w.header(PIXEL_DATA, vr, length + length % 2);
        } else {
            let mut offset = 0_u32;
            let table = lengths.flat_map(|length| {
                let at = offset;
                offset += length;
                at.to_le_bytes()
            });
            let table: Vec<u8> = table.collect();
            w.header(PIXEL_DATA, b"OB", u32::MAX);
            w.fragment(&table);
        }
    }

    /// Image Type (0008,0008): what was examined, and how (PS3.3 C.8.5.6.1.1).
    fn image_type(&self) -> String {
        let (what, how) = match self.film.picture.view {
            View::Liver | View::Kidney => ("ABDOMINAL", "0001"),
            View::Vessel => ("VASCULAR", "0001"),
            View::VesselFlow => ("VASCULAR", "0011"),
            View::Spectral => ("VASCULAR", "0019"),
            View::Heart => ("TTE", "0001"),
            View::HeartFlow => ("TTE", "0011"),
            View::MMode => ("TTE", "0003"),
        };
        format!("ORIGINAL\\PRIMARY\\{what}\\{how}")
    }

    /// Milliseconds between frames, such that a film is a heartbeat at 75 a minute.
    fn frame_time(&self) -> String {
        format!("{:.2}", 800.0 / self.film.ring.len().max(1) as f64)
    }
}

/// An item of the Sequence of Ultrasound Regions (PS3.3 C.8.5.5).
fn region(item: &mut Writer, region: &Region) {
    const CENTIMETRES: u16 = 3;
    const SECONDS: u16 = 4;
    const CENTIMETRES_PER_SECOND: u16 = 7;
    // Spatial format, data type, and units across and down.
    let (format, data, across, down) = match region.kind {
        RegionKind::BMode => (1, 1, CENTIMETRES, CENTIMETRES),
        RegionKind::ColourFlow => (1, 2, CENTIMETRES, CENTIMETRES),
        RegionKind::MMode => (2, 1, SECONDS, CENTIMETRES),
        RegionKind::Spectral => (3, 3, SECONDS, CENTIMETRES_PER_SECOND),
    };
    item.shorts(Tag(0x0018, 0x6012), &[format]);
    item.shorts(Tag(0x0018, 0x6014), &[data]);
    item.long(Tag(0x0018, 0x6016), 0);
    let corners = [region.columns.0, region.rows.0, region.columns.1, region.rows.1];
    for (element, value) in (0x6018..).step_by(2).zip(corners) {
        item.long(Tag(0x0018, element), u32::from(value));
    }
    if region.kind == RegionKind::Spectral {
        item.signed_long(Tag(0x0018, 0x6022), i32::from(region.reference_row));
    }
    item.shorts(Tag(0x0018, 0x6024), &[across]);
    item.shorts(Tag(0x0018, 0x6026), &[down]);
    item.double(Tag(0x0018, 0x602C), region.delta.0);
    item.double(Tag(0x0018, 0x602E), region.delta.1);
}

/// Photometric Interpretation (0028,0004).
const fn photometric(pixels: Pixels) -> &'static str {
    match pixels {
        Pixels::Mono => "MONOCHROME2",
        Pixels::Palette8 | Pixels::Palette16 => "PALETTE COLOR",
        Pixels::Rgb => "RGB",
        Pixels::YbrPlanes => "YBR_FULL",
        Pixels::Ybr422 => "YBR_FULL_422",
    }
}

/// A time of day, so many seconds after eight.
fn clock(seconds: u64) -> String {
    let seconds = (8 * 3600 + seconds) % 86_400;
    format!("{:02}{:02}{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

const FRAME_TIME: Tag = Tag(0x0018, 0x1063);
const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

/// The day of all studies.
const DATE: &str = "20260101";
/// Manufacturer and Institution Name.
const MAKER: &str = "Chrysalis test images";
const NOT_FOR_DIAGNOSIS: &str = "TEST IMAGE - NOT FOR DIAGNOSIS";
