//! Images and loops for tests: native, in Explicit VR Little Endian.

use chrysalis_codecs::{Depth, FrameLayout, Order, Samples};
use chrysalis_sizing::{Colour, Scene};

use super::subject::{Soundness, Subject};
use crate::dicom::TransferSyntax;

/// A data set with little more than pixels.
pub(super) struct Sample {
    pub(super) scene: Scene,
    pub(super) order: Order,
    pub(super) pixels: Vec<u8>,
}

impl Sample {
    /// All frames of a scene.
    pub(super) fn of(scene: &Scene) -> Self {
        let pixels = scene.painter().frames().collect::<Vec<_>>().concat();
        Self { scene: *scene, order: Order::ByPixel, pixels }
    }

    /// Planar Configuration 1.
    pub(super) fn by_plane(&mut self) {
        let frame = self.scene.frame_len();
        let planes = |frame: &[u8]| chrysalis_codecs::colour::pixels_to_planes(frame, self.layout()).unwrap();
        self.pixels = self.pixels.chunks(frame).flat_map(planes).collect();
        self.order = Order::ByPlane;
    }

    pub(super) fn layout(&self) -> FrameLayout {
        let samples = if self.scene.colour == Colour::Mono { Samples::One } else { Samples::Three };
        let Scene { rows, columns, .. } = self.scene;
        FrameLayout { rows, columns, samples, depth: Depth::Eight, order: self.order }
    }

    /// The data set.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let Scene { rows, columns, frames, .. } = self.scene;
        let (samples, photometric) = match self.layout().samples {
            Samples::One => (1_u16, "MONOCHROME2"),
            Samples::Three => (3, "RGB"),
        };
        let mut out = Vec::new();
        let mut put = |group: u16, element: u16, vr: &str, value: &[u8]| {
            out.extend(group.to_le_bytes());
            out.extend(element.to_le_bytes());
            out.extend(vr.as_bytes());
            let length = value.len() + value.len() % 2;
            if matches!(vr, "OB" | "OW") {
                out.extend([0, 0]);
                out.extend((length as u32).to_le_bytes());
            } else {
                out.extend((length as u16).to_le_bytes());
            }
            out.extend(value);
            let pad = if matches!(vr, "UI" | "OB") { 0 } else { b' ' };
            out.extend(std::iter::repeat_n(pad, value.len() % 2));
        };
        put(0x0008, 0x0008, "CS", b"ORIGINAL\\PRIMARY\\\\0001");
        put(0x0008, 0x0016, "UI", b"1.2.840.10008.5.1.4.1.1.3.1");
        put(0x0008, 0x0018, "UI", b"1.2.3.4.5");
        put(0x0010, 0x0010, "PN", b"Test^Image");
        put(0x0028, 0x0002, "US", &samples.to_le_bytes());
        put(0x0028, 0x0004, "CS", photometric.as_bytes());
        if samples == 3 {
            put(0x0028, 0x0006, "US", &u16::from(self.order == Order::ByPlane).to_le_bytes());
        }
        put(0x0028, 0x0008, "IS", frames.to_string().as_bytes());
        put(0x0028, 0x0010, "US", &rows.to_le_bytes());
        put(0x0028, 0x0011, "US", &columns.to_le_bytes());
        put(0x0028, 0x0100, "US", &8_u16.to_le_bytes());
        put(0x0028, 0x0101, "US", &8_u16.to_le_bytes());
        put(0x0028, 0x0102, "US", &7_u16.to_le_bytes());
        put(0x0028, 0x0103, "US", &0_u16.to_le_bytes());
        put(0x7FE0, 0x0010, "OB", &self.pixels);
        out
    }

    /// What its bytes are.
    pub(super) fn subject(bytes: &Vec<u8>) -> Subject {
        Subject::read(bytes, &TransferSyntax::EXPLICIT_VR_LE, Soundness::Sound).unwrap()
    }
}
