//! What destinations want of images and loops, and what they get.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use chrysalis::dicom::TransferSyntax;
use chrysalis::transcode::Outline;
use chrysalis_sizing::{Colour, Scene};
use dicom_core::Tag;
use std::path::{Path, PathBuf};
use support::archive::{Action, Archive, Script};
use support::deliveries::{BRISK, store_all};
use support::instance::{
    DataSet, Digest, EXPLICIT_LITTLE, Encoding, IMPLICIT_LITTLE, Instance, JPEG_BASELINE, RLE_LOSSLESS,
    Study, US_MULTIFRAME,
};
use support::node::{Node, NodeBuilder};

const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";

/// A folder with these keys.
fn folder(builder: NodeBuilder, name: &str, lines: &str) -> NodeBuilder {
    builder
        .table(&format!("[[destination]]\nname = \"{name}\"\nkind = \"folder\"\npath = \"{name}\"\n{lines}"))
}

fn bytes(instance: &Instance) -> Vec<u8> {
    let DataSet::Bytes(bytes) = &instance.data_set else { panic!("a generated instance") };
    bytes.to_vec()
}

/// A value of a data set without its padding; none where there is no such element.
fn value(instance: &Instance, tag: Tag) -> Option<String> {
    let data_set = bytes(instance);
    let syntax = TransferSyntax(chrysalis::dicom::Uid::new(&instance.transfer_syntax));
    let outline = Outline::read(&data_set, syntax.encoding()).unwrap();
    let value = outline.value(&data_set, tag, 1 << 20).unwrap()?;
    Some(String::from_utf8_lossy(&value).trim_end_matches(['\0', ' ']).to_owned())
}

/// What the program itself makes of a file: native pixels.
fn decoded(node: &Node, file: &Path) -> Instance {
    let out = node.home().join("decoded.dcm");
    let (from, to) = (file.to_str().unwrap(), out.to_str().unwrap());
    let args = ["transcode", from, to, "--force", "--image", "uncompressed", "--loop", "uncompressed"];
    node.run(&args).expect_success();
    Instance::from_part10(&out).unwrap()
}

/// The last bytes of a data set: its native pixels.
fn pixels(instance: &Instance, count: usize) -> Vec<u8> {
    let all = bytes(instance);
    all[all.len() - count..].to_vec()
}

/// A loop as a cart sends it: JPEG Baseline.
fn lossy_loop(node: &Node, study: &Study) -> Instance {
    let native = node.home().join("native.dcm");
    let lossy = node.home().join("lossy.dcm");
    study.instance(50, study.scene(96, 128, 4), Encoding::ExplicitLittle).write_part10(&native).unwrap();
    let (from, to) = (native.to_str().unwrap(), lossy.to_str().unwrap());
    node.run(&["transcode", from, to, "--loop", "jpeg-lossy", "--quality", "80"]).expect_success();
    let mut made = Instance::from_part10(&lossy).unwrap();
    made.study.clone_from(&study.study);
    made
}

#[track_caller]
fn only_file(node: &Node, name: &str) -> PathBuf {
    let files = node.delivered(name);
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn jpeg_lossless_arrives_as_such_with_equal_pixels_and_two_destinations_share_one_copy() {
    let want = "image = \"jpeg-lossless\"\nloop = \"jpeg-lossless\"";
    let node = folder(folder(Node::builder(), "one", want), "two", want).start();
    let study = Study::new(1);
    let sent = study.instance(1, study.scene(240, 320, 6), Encoding::ExplicitLittle);
    store_all(&node, std::slice::from_ref(&sent));
    node.wait_drained();
    let file = only_file(&node, "one");
    let arrived = Instance::from_part10(&file).unwrap();
    assert_eq!(
        (arrived.transfer_syntax.as_str(), &arrived.sop_instance),
        (JPEG_LOSSLESS, &sent.sop_instance)
    );
    let count = 240 * 320 * 3 * 6;
    assert!(pixels(&decoded(&node, &file), count) == pixels(&sent, count), "pixels differ");
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(only_file(&node, "two")).unwrap());
    assert_eq!(node.metric("chrysalis_transcodes_total", &["result=\"made\""]), 2.0);
    let copies = node.metric("chrysalis_transcode_copy_bytes_total", &[]);
    assert_eq!(node.metric("chrysalis_transcode_cache_bytes", &[]), copies / 2.0, "there is one copy");
}

#[test]
fn a_lossy_copy_has_a_uid_of_its_own_that_is_told_and_says_what_it_is() {
    let archive = Archive::new();
    let keys = format!("{BRISK}\nimage = \"jpeg-lossy\"\nimage_quality = 80");
    let builder = Node::builder().dicom_with("pacs", archive.address(), &keys);
    let node = folder(builder, "files", "image = \"jpeg-lossy\"\nimage_quality = 80").start();
    let sent = Study::new(2).still(1);
    store_all(&node, std::slice::from_ref(&sent));
    node.wait_drained();
    let arrival = archive.arrivals().pop().unwrap();
    assert_eq!(arrival.transfer_syntax, JPEG_BASELINE);
    assert!(arrival.sop_instance.starts_with("2.25."), "{arrival:?}");
    let seen = node.wait_state(&sent, "pacs", "delivered");
    let said =
        format!("0000 (success), as JPEG Baseline (Process 1), SOP Instance UID {}", arrival.sop_instance);
    assert_eq!(seen.reason, said);
    let file = only_file(&node, "files");
    let copy = Instance::from_part10(&file).unwrap();
    assert_eq!((copy.digest(), &copy.sop_instance), (arrival.digest, &arrival.sop_instance));
    assert_eq!(file.file_stem().unwrap().to_str().unwrap(), arrival.sop_instance);
    assert_eq!(value(&copy, Tag(0x0028, 0x2110)).as_deref(), Some("01"));
    assert_eq!(value(&copy, Tag(0x0028, 0x2114)).as_deref(), Some("ISO_10918_1"));
    assert_eq!(value(&copy, Tag(0x0028, 0x0004)).as_deref(), Some("YBR_FULL_422"));
    assert_eq!(value(&copy, Tag(0x0008, 0x0008)).as_deref(), Some("DERIVED\\PRIMARY"));
    // The same wish makes the same copy: the archive says that it has it, and that is so.
    archive.set_script(Script::default().on_store(|_, _| Action::Answer(0x0111)));
    node.decide("resend", &seen, "");
    let again =
        node.wait_all("sent again", |seen| seen.destination != "pacs" || seen.reason.starts_with("0111"));
    assert!(again.iter().all(|seen| seen.state == "delivered"), "{again:?}");
}

#[test]
fn a_pacs_that_takes_only_implicit_vr_gets_native_pixels() {
    let archive = Script::default().only_transfer_syntaxes(&[IMPLICIT_LITTLE]).start();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let study = Study::new(3);
    let scene = study.scene(96, 128, 1);
    let compressed = study.instance(1, scene, Encoding::Rle);
    let native = study.instance(2, scene, Encoding::ExplicitLittle);
    store_all(&node, &[compressed.clone(), native.clone()]);
    node.wait_drained();
    let arrivals = archive.arrivals();
    for (number, sent) in [(1, &compressed), (2, &native)] {
        let arrival = arrivals.iter().find(|arrival| arrival.sop_instance == sent.sop_instance).unwrap();
        assert_eq!(arrival.transfer_syntax, IMPLICIT_LITTLE);
        assert_eq!(
            arrival.digest,
            study.instance(number, scene, Encoding::ImplicitLittle).digest(),
            "{number}"
        );
    }
    let seen = node.wait_state(&compressed, "pacs", "delivered");
    assert_eq!(seen.reason, "0000 (success), as Implicit VR Little Endian");
}

#[test]
fn what_came_deflated_is_inflated_for_whoever_wants_its_pixels_otherwise() {
    let archive = Script::default().only_transfer_syntaxes(&[IMPLICIT_LITTLE]).start();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK);
    let node = folder(node, "files", "image = \"jpeg-lossless\"").start();
    let study = Study::new(12);
    let scene = study.scene(240, 320, 1);
    let native = study.instance(1, scene, Encoding::ExplicitLittle);
    let mut sent = native.deflated();
    sent.study.clone_from(&native.study);
    store_all(&node, std::slice::from_ref(&sent));
    node.wait_drained();
    let arrival = archive.arrivals().pop().unwrap();
    let implicit = study.instance(1, scene, Encoding::ImplicitLittle);
    assert_eq!((arrival.transfer_syntax.as_str(), arrival.digest), (IMPLICIT_LITTLE, implicit.digest()));
    let file = only_file(&node, "files");
    assert_eq!(Instance::from_part10(&file).unwrap().transfer_syntax, JPEG_LOSSLESS);
    let count = 240 * 320 * 3;
    assert!(pixels(&decoded(&node, &file), count) == pixels(&native, count), "pixels differ");
    let (from, to) = (node.home().join("deflated.dcm"), node.home().join("by-hand.dcm"));
    sent.write_part10(&from).unwrap();
    let (from, by_hand) = (from.to_str().unwrap(), to.to_str().unwrap());
    node.run(&["transcode", from, by_hand, "--destination", "files"]).expect_success();
    assert_eq!(Instance::from_part10(&to).unwrap().digest(), Instance::from_part10(&file).unwrap().digest());
}

#[test]
fn what_is_taken_as_it_is_stored_is_sent_so_byte_for_byte() {
    let archive = Archive::new();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let study = Study::new(4);
    let sent: Vec<_> = [Encoding::Rle, Encoding::ExplicitLittle, Encoding::ImplicitLittle]
        .into_iter()
        .zip(1..)
        .map(|(encoding, number)| study.instance(number, study.scene(96, 128, 2), encoding))
        .collect();
    store_all(&node, &sent);
    node.wait_drained();
    let arrivals = archive.arrivals();
    for instance in &sent {
        let arrival = arrivals.iter().find(|arrival| arrival.sop_instance == instance.sop_instance).unwrap();
        assert_eq!(
            (&arrival.transfer_syntax, arrival.digest),
            (&instance.transfer_syntax, instance.digest())
        );
    }
    assert_eq!(node.metric("chrysalis_transcodes_total", &[]), 0.0);
}

#[test]
fn a_loop_that_came_lossy_leaves_as_it_came_and_inspect_says_why() {
    let archive = Archive::new();
    let keys = format!("{BRISK}\nloop = \"jpeg-lossless\"");
    let node = Node::builder().dicom_with("pacs", archive.address(), &keys).start();
    let sent = lossy_loop(&node, &Study::new(5));
    assert_eq!((sent.transfer_syntax.as_str(), sent.sop_class.as_str()), (JPEG_BASELINE, US_MULTIFRAME));
    store_all(&node, std::slice::from_ref(&sent));
    node.wait_drained();
    let arrival = archive.arrivals().pop().unwrap();
    assert_eq!((arrival.transfer_syntax.as_str(), arrival.digest), (JPEG_BASELINE, sent.digest()));
    let file = node.home().join("sent.dcm");
    sent.write_part10(&file).unwrap();
    let said = node.run(&["inspect", file.to_str().unwrap()]).expect_success().output;
    assert!(said.contains("as received (JPEG Baseline (Process 1))"), "{said}");
    assert!(said.contains("stored with loss: lossless would make it larger and gain nothing"), "{said}");
    assert!(
        said.contains("DESTINATION  SECURITY   SENT") && said.contains("Unsecured  as received"),
        "{said}"
    );
}

#[test]
fn an_image_that_cannot_be_decoded_is_sent_as_it_is_or_held_with_the_reason() {
    let tolerant = Archive::new();
    let strict = Script::default().only_transfer_syntaxes(&[JPEG_LOSSLESS, EXPLICIT_LITTLE]).start();
    let keys = format!("{BRISK}\nimage = \"jpeg-lossless\"");
    let node = Node::builder()
        .dicom_with("tolerant", tolerant.address(), &keys)
        .dicom_with("strict", strict.address(), &keys)
        .start();
    let study = Study::new(6);
    let broken = study.instance(1, study.scene(96, 128, 1), Encoding::Rle).undecodable();
    let sound = study.instance(2, study.scene(96, 128, 1), Encoding::Rle);
    store_all(&node, &[broken.clone(), sound.clone()]);
    let seen = node.wait_state(&broken, "tolerant", "delivered");
    assert!(seen.reason.starts_with("0000 (success), as received: "), "{seen:?}");
    let held = node.wait_state(&broken, "strict", "held");
    assert!(held.reason.contains(RLE) && held.reason.contains("no copy could be made"), "{held:?}");
    node.wait_state(&sound, "strict", "delivered");
    node.wait_state(&sound, "tolerant", "delivered");
    let arrivals = tolerant.arrivals();
    let arrival = arrivals.iter().find(|arrival| arrival.sop_instance == broken.sop_instance).unwrap();
    assert_eq!((arrival.transfer_syntax.as_str(), arrival.digest), (RLE_LOSSLESS, broken.digest()));
    assert_eq!(node.metric("chrysalis_transcode_fallbacks_total", &["destination=\"tolerant\""]), 1.0);
    assert_eq!(node.health("strict"), "well");
}

const RLE: &str = "RLE Lossless";

#[test]
fn colour_without_a_colour_becomes_grey_where_that_is_wanted_and_one_mark_keeps_it() {
    let want = "image = \"jpeg-lossless\"\nmonochrome = \"b-mode-only\"";
    let node = folder(Node::builder(), "files", want).start();
    let study = Study::new(7);
    let grey = Scene { colour: Colour::GreyRgb, ..study.scene(96, 128, 1) };
    let (grey, marked) = (
        study.instance(1, grey, Encoding::ExplicitLittle),
        study.instance(2, study.scene(96, 128, 1), Encoding::ExplicitLittle),
    );
    store_all(&node, &[grey.clone(), marked.clone()]);
    node.wait_drained();
    for file in node.delivered("files") {
        let copy = Instance::from_part10(&file).unwrap();
        assert_eq!(copy.transfer_syntax, JPEG_LOSSLESS);
        let expected = if copy.sop_instance == grey.sop_instance { "MONOCHROME2" } else { "RGB" };
        assert_eq!(value(&copy, Tag(0x0028, 0x0004)).as_deref(), Some(expected));
    }
    let decided = |decision: &str| {
        node.metric("chrysalis_monochrome_decisions_total", &[&format!("decision=\"{decision}\"")])
    };
    assert_eq!((decided("converted"), decided("colour"), decided("region_veto")), (1.0, 1.0, 0.0));
}

#[test]
fn a_copy_that_the_disk_changed_is_made_again_for_a_pacs_as_for_a_folder() {
    let archive = Archive::new();
    let keys = format!("{BRISK}\nimage = \"jpeg-lossless\"");
    let want = "image = \"jpeg-lossless\"\nbackoff = { first = \"50ms\", max = \"100ms\" }";
    let node = Node::builder().dicom_with("pacs", archive.address(), &keys);
    let node = folder(folder(node, "first", want), "second", want).start();
    for later in ["pacs", "second"] {
        node.run(&["pause", "destination", later]).expect_success();
    }
    let sent = Study::new(13).still(1);
    store_all(&node, std::slice::from_ref(&sent));
    node.wait_state(&sent, "first", "delivered");
    let good = Instance::from_part10(&only_file(&node, "first")).unwrap();
    let damage = || {
        let copies: Vec<_> = support::process::list(&node.data_dir.join("cache"))
            .into_iter()
            .filter(|file| file.extension().is_some_and(|end| end == "copy"))
            .collect();
        let mut copy = std::fs::read(&copies[0]).unwrap();
        copy[1000] ^= 1;
        std::fs::write(&copies[0], copy).unwrap();
    };
    for later in ["pacs", "second"] {
        damage();
        node.run(&["resume", "destination", later]).expect_success();
        node.wait_state(&sent, later, "delivered");
    }
    assert_eq!(archive.arrivals().pop().unwrap().digest, good.digest());
    assert_eq!(Instance::from_part10(&only_file(&node, "second")).unwrap().digest(), good.digest());
    assert!(node.metric("chrysalis_transcodes_total", &["result=\"cache\""]) >= 2.0);
}

#[test]
fn a_cache_that_cannot_be_used_costs_no_more_than_speed() {
    let mut node = folder(Node::builder(), "files", "image = \"jpeg-lossless\"").start();
    node.stop();
    std::fs::remove_dir_all(node.data_dir.join("cache")).unwrap();
    std::fs::write(node.data_dir.join("cache"), "not a folder").unwrap();
    node.start();
    let sent = Study::new(14).still(1);
    store_all(&node, std::slice::from_ref(&sent));
    node.wait_drained();
    assert_eq!(Instance::from_part10(&only_file(&node, "files")).unwrap().transfer_syntax, JPEG_LOSSLESS);
    assert!(node.output().contains("The cache of copies cannot be used"), "{}", node.output());
}

#[test]
fn what_cannot_be_encoded_as_wanted_says_so_at_its_delivery_and_is_counted_once() {
    let archive = Archive::new();
    let keys = format!("{BRISK}\nimage = \"jpeg-lossy\"");
    let node = Node::builder().dicom_with("pacs", archive.address(), &keys).start();
    let good = Study::new(15).still(1);
    let shorter = good.edited(|data_set| data_set.truncate(data_set.len() - 2));
    let broken = shorter.edited(|data_set| {
        let at = data_set.windows(4).rposition(|tag| tag == [0xE0, 0x7F, 0x10, 0]).unwrap() + 8;
        let length = u32::try_from(data_set.len() - at - 4).unwrap();
        data_set[at..at + 4].copy_from_slice(&length.to_le_bytes());
    });
    store_all(&node, std::slice::from_ref(&broken));
    let seen = node.wait_state(&broken, "pacs", "delivered");
    assert!(seen.reason.starts_with("0000 (success), as received: "), "{seen:?}");
    assert_eq!(archive.arrivals().pop().unwrap().digest, broken.digest());
    assert_eq!(node.metric("chrysalis_transcode_fallbacks_total", &[]), 1.0);
    assert_eq!(node.output().matches("The original is sent").count(), 1, "{}", node.output());
}

#[test]
fn a_reload_changes_what_is_wanted() {
    let node = folder(Node::builder(), "files", "image = \"as-received\"").start();
    let study = Study::new(8);
    store_all(&node, &[study.still(1)]);
    node.wait_drained();
    node.edit("as-received", "jpeg-lossless");
    let report = node.run(&["reload"]).expect_success().output;
    assert!(report.contains("destination files: image"), "{report}");
    store_all(&node, &[study.still(2)]);
    node.wait_drained();
    let mut syntaxes: Vec<_> = node
        .delivered("files")
        .iter()
        .map(|file| Instance::from_part10(file).unwrap().transfer_syntax)
        .collect();
    syntaxes.sort();
    assert_eq!(syntaxes, [EXPLICIT_LITTLE, JPEG_LOSSLESS]);
    node.edit("[admin]", "[transcode]\ncompare = false\n[admin]");
    let report = node.run(&["reload"]).expect_success().output;
    assert!(report.contains("transcode.compare: needs a restart"), "{report}");
}

#[test]
fn the_queue_says_what_something_would_be_sent_as() {
    let archive = Archive::new();
    let keys = format!("{BRISK}\nimage = \"jpeg-lossless\"");
    let node = Node::builder().dicom_with("pacs", archive.address(), &keys).start();
    node.run(&["pause", "destination", "pacs"]).expect_success();
    let sent = Study::new(9).still(1);
    store_all(&node, std::slice::from_ref(&sent));
    let seen = node.wait_state(&sent, "pacs", "ready");
    let shown = node.run(&["queue", "show", &seen.instance]).expect_success().output;
    let expected = [
        "SECURITY   WOULD BE SENT",
        "Unsecured  ",
        "JPEG Lossless",
        "else as received (Explicit VR Little Endian)",
        "else held",
    ];
    for word in expected {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

#[test]
fn files_are_transcoded_as_a_destination_would_get_them_and_nothing_is_written_over() {
    let node = folder(Node::builder(), "files", "image = \"jpeg-lossless\"").start();
    let sent = Study::new(10).still(1);
    store_all(&node, std::slice::from_ref(&sent));
    node.wait_drained();
    let (input, output) = (node.home().join("in"), node.home().join("out"));
    std::fs::create_dir_all(input.join("deep")).unwrap();
    sent.write_part10(&input.join("deep/one.dcm")).unwrap();
    std::fs::write(input.join("note.txt"), "no DICOM").unwrap();
    let args = ["transcode", input.to_str().unwrap(), output.to_str().unwrap(), "--destination", "files"];
    let said = node.run(&args).expect_success().output;
    assert!(said.contains("1 written, 0 failed, 1 skipped."), "{said}");
    let made = Instance::from_part10(&output.join("deep/one.dcm")).unwrap();
    let delivered = Instance::from_part10(&only_file(&node, "files")).unwrap();
    assert_eq!((made.digest(), made.transfer_syntax.as_str()), (delivered.digest(), JPEG_LOSSLESS));
    let before = std::fs::read(output.join("deep/one.dcm")).unwrap();
    let refused = node.run(&args);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.output);
    assert!(refused.output.contains("is there already"), "{}", refused.output);
    assert_eq!(Digest::of(&before), Digest::of(&std::fs::read(output.join("deep/one.dcm")).unwrap()));
    assert_eq!(support::process::list(&output).len(), 1, "nothing half written is left");
}

#[test]
fn a_duplicate_of_the_originals_uid_is_not_taken_for_the_copy_that_went_there_under_another() {
    let archive = Archive::new();
    let keys = format!("{BRISK}\nimage = \"jpeg-lossy\"");
    let node = Node::builder().dicom_with("pacs", archive.address(), &keys).start();
    let one = Study::new(11).still(1);
    let mut other = one.edited(|data_set| *data_set.last_mut().unwrap() ^= 0x80);
    other.study.clone_from(&one.study);
    store_all(&node, &[one.clone(), other]);
    let seen = node.wait_drained();
    let names: std::collections::BTreeSet<_> =
        archive.arrivals().into_iter().map(|arrival| arrival.sop_instance).collect();
    assert_eq!(names.len(), 2, "each content has a name of its own");
    node.edit("image = \"jpeg-lossy\"", "image = \"as-received\"");
    node.run(&["reload"]).expect_success();
    archive.set_script(Script::default().status(0x0111));
    node.decide("resend", &seen[0], "");
    let instance = &seen[0].instance;
    let held = node.wait_all("held", |seen| seen.instance != *instance || seen.state == "held");
    let held = held.into_iter().find(|seen| seen.instance == *instance).unwrap();
    assert!(held.reason.contains("another content of this UID is known"), "{held:?}");
}
