//! A long queue that nobody had to send: instances put into a data directory as the receiver would, without the network.

use super::hostile::bytes::implicit;
use super::instance::{Digest, IMPLICIT_LITTLE, US_IMAGE};
use chrysalis::receive::Arrival;
use chrysalis_queue::{Hold, Instance, Keys, Meta, Observer, Options, Owed, Queue, Unavailable};
use std::path::Path;

/// Instances of one study.
const STUDY: u32 = 100;
/// Threads that fill the queue.
const FILLERS: u32 = 4;
/// What a node takes by default, so that a start has it already.
const RESERVE: u64 = 256 << 20;
/// Bytes of the largest element of a data set.
const BULK: usize = 400;

/// Puts so many instances, numbered from 0, into a data directory that no node has open. All are owed to `pacs`.
pub fn fill(data_dir: &Path, instances: u32) {
    let options = Options { extension: "dcm", reserve: RESERVE, ..Options::new(data_dir) };
    let (queue, _) = Queue::open(&options, Silent).unwrap();
    std::thread::scope(|scope| {
        for filler in 0..FILLERS {
            let queue = queue.clone();
            scope.spawn(move || {
                for n in (filler..instances).step_by(FILLERS as usize) {
                    // Nobody looks at the head of what goes to a PACS.
                    let mut staged = queue.stage(&[0; 400]).unwrap();
                    staged.write(&data_set(n)).unwrap();
                    staged.commit(meta(n), |_| Vec::new()).unwrap();
                }
            });
        }
    });
    queue.close();
}

/// What is to arrive of the instance with this number: SOP Instance UID, and SHA-256 of the data set.
pub fn expected(n: u32) -> (String, Digest) {
    (sop_instance(n), Digest::of(&data_set(n)))
}

/// In Implicit VR Little Endian.
fn data_set(n: u32) -> Vec<u8> {
    let uid = |text: String| {
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    };
    let elements = [
        implicit(0x0008, 0x0016, &uid(US_IMAGE.to_owned())),
        implicit(0x0008, 0x0018, &uid(sop_instance(n))),
        implicit(0x0010, 0x0020, format!("{:08}", n / STUDY).as_bytes()),
        implicit(0x0020, 0x000D, &uid(study(n))),
        implicit(0x0042, 0x0011, &[n as u8; BULK]),
    ];
    elements.concat()
}

fn sop_instance(n: u32) -> String {
    long_uid(1, n)
}

fn study(n: u32) -> String {
    long_uid(2, n / STUDY)
}

/// As long as real ones.
fn long_uid(kind: u32, n: u32) -> String {
    format!("2.25.{}", 10_u128.pow(38) + u128::from(kind) * 10_u128.pow(20) + u128::from(n))
}

fn meta(n: u32) -> Meta {
    let keys = Keys {
        kind: US_IMAGE.to_owned(),
        key: sop_instance(n),
        group: study(n),
        subject: u128::from(n / STUDY).to_be_bytes(),
    };
    let arrival = Arrival {
        identity: None,
        listener: "modalities".to_owned(),
        peer: ([192, 168, 10, 20], 40_000).into(),
        site: None,
        upload: None,
        calling_ae: "VIVID1".to_owned(),
        called_ae: "CHRYSALIS".to_owned(),
        transfer_syntax: IMPLICIT_LITTLE.to_owned(),
        sound: true,
        revision: "0123456789abcdef".to_owned(),
        rules: Vec::new(),
    };
    let owed = vec![Owed::send("pacs")];
    Meta { keys, owed, attachment: arrival.to_bytes() }
}

/// Nobody forwards while the queue is filled.
pub struct Silent;

impl Observer for Silent {
    fn held(&self, _instance: &Instance, _destination: &str, _hold: &Hold) {}
    fn ready(&self, _: &str) {}
    fn index_rebuilt(&self, why: &str) {
        panic!("the index failed: {why}");
    }
    fn recording_failed(&self, why: &Unavailable) {
        panic!("recording failed: {why}");
    }
}
