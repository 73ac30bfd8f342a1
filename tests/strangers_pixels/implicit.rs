//! A PACS that takes nothing but Implicit VR Little Endian: it gets what DCMTK decodes.

use crate::file::{Dicom, SOP_INSTANCE};
use crate::samples;
use crate::support::deliveries::{BRISK, store_all};
use crate::support::instance::{IMPLICIT_LITTLE, Instance, real_files};
use crate::support::node::Node;
use crate::support::process::list;
use crate::support::strangers::Storescp;
use crate::tools::{DEFLATED, Decoders, JPEG_BASELINE, JPEG_LOSSLESS, JPEG_LOSSLESS_ANY, RLE, name, none_of};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is sent: everything generated and compressed that DCMTK decodes, and real files of up to a megabyte.
fn compressed(folder: &Path) -> Option<Vec<(PathBuf, Instance)>> {
    if !samples::write_all(folder) {
        return None;
    }
    let real = ["ultrasound", "other"].into_iter().filter_map(real_files).flatten();
    let small = |file: &PathBuf| std::fs::metadata(file).unwrap().len() < 1 << 20;
    let real = real.filter(|file| small(file) && Dicom::can_be_sent(file));
    let sent = list(folder).into_iter().chain(real).map(|file| {
        let instance = Instance::from_part10(&file).unwrap().named_by_data_set();
        (file, instance)
    });
    let mut seen = std::collections::BTreeSet::new();
    let wanted = |instance: &Instance| {
        [JPEG_BASELINE, JPEG_LOSSLESS, JPEG_LOSSLESS_ANY, RLE, DEFLATED]
            .contains(&instance.transfer_syntax.as_str())
    };
    Some(
        sent.filter(|(_, instance)| wanted(instance) && seen.insert(instance.sop_instance.clone())).collect(),
    )
}

#[test]
fn a_pacs_that_takes_only_implicit_vr_gets_the_pixels_that_dcmtk_decodes() {
    let home = tempfile::tempdir().unwrap();
    let (Some(sent), Some(decoders)) = (compressed(home.path()), Decoders::find()) else { return };
    let Some(storescp) = Storescp::start(&["+xi"]) else { return };
    let node = Node::builder().dicom_with("pacs", storescp.address, BRISK).start();
    let instances: Vec<_> = sent.iter().map(|(_, instance)| instance.clone()).collect();
    store_all(&node, &instances);
    node.wait_drained();
    let received: BTreeMap<String, Dicom> = list(&storescp.folder())
        .iter()
        .map(|file| Dicom::open(file))
        .map(|file| (file.text(SOP_INSTANCE).unwrap(), file))
        .collect();
    let mut complaints = Vec::new();
    for (file, instance) in &sent {
        let expected = match instance.transfer_syntax.as_str() {
            JPEG_BASELINE => decoders.dcmdjpeg_in_colour(file),
            syntax => decoders.samples(file, syntax),
        };
        let arrived = received.get(&instance.sop_instance);
        match (expected, arrived) {
            (Err(why), _) => complaints.push(format!("{}: {why}", name(file))),
            (Ok(_), None) => complaints.push(format!("{}: it did not arrive", name(file))),
            (Ok(_), Some(arrived)) if arrived.syntax != IMPLICIT_LITTLE => {
                complaints.push(format!("{}: it arrived as {}", name(file), arrived.syntax));
            }
            (Ok(expected), Some(arrived)) => {
                let difference = arrived.pixels().difference(&expected);
                complaints.extend(difference.map(|difference| format!("{}: {difference}", name(file))));
            }
        }
    }
    none_of(&complaints);
    println!("{} instances arrived", sent.len());
}
