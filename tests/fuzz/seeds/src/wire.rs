//! For `pdu` and `scan`: every hostile case that is bytes, what is accepted, and synthetic images in every encoding.

use std::io::Write;

use crate::Seeds;
use crate::steps::Step;
use crate::support::hostile::accepted::accepted;
use crate::support::hostile::cases;
use crate::support::hostile::data_sets::{data_sets, deflated_zeros};
use crate::support::instance::{
    DEFLATED, DataSet, EXPLICIT_BIG, EXPLICIT_LITTLE, Encoding, IMPLICIT_LITTLE, RLE_LOSSLESS, Study,
};
use crate::support::wire::{ASSOCIATE_RQ, DATA, pdvs, read_pdu};
use chrysalis_sizing::{Colour, Scene};

/// Readers of `pdu`.
const ACCEPTOR: u8 = 0;
const FRAMER: u8 = 1;
const READERS: u8 = 2;
const REQUESTOR: u8 = 3;

pub fn add(seeds: &mut Seeds) {
    let hostile = cases().into_iter().flat_map(|case| case.talks).map(|talk| talk.sent);
    let taken = accepted().into_iter().map(|accepted| accepted.sent);
    for (number, sent) in hostile.chain(taken).enumerate() {
        parts(seeds, &sent, number as u8);
        seeds.add("pdu", [&[ACCEPTOR, number as u8][..], &sent].concat());
    }
    answers(seeds);
    sets(seeds);
}

/// What a connection begins with: requests, variable fields of P-DATA-TF, command sets.
fn parts(seeds: &mut Seeds, mut sent: &[u8], cuts: u8) {
    for _ in 0..6 {
        let Ok(Some(pdu)) = read_pdu(&mut sent) else { return };
        match pdu.kind {
            ASSOCIATE_RQ => seeds.add("pdu", [&[READERS, cuts][..], &pdu.body].concat()),
            DATA => {
                seeds.add("pdu", [&[FRAMER, cuts][..], &pdu.body].concat());
                let commands = pdvs(&pdu.body).unwrap_or_default().into_iter();
                for (_, _, command) in commands.filter(|(_, control, _)| control & 1 == 1) {
                    seeds.add("pdu", [&[READERS, cuts][..], command].concat());
                }
            }
            _ => {}
        }
    }
}

/// What a requestor may hear.
fn answers(seeds: &mut Seeds) {
    let accept = Step::Accept { result: 0, max_length: 255 };
    let response = |id, status, is_echo| Step::Response { id, status, is_echo };
    let all = [
        vec![accept.clone(), response(1, [0, 0], true), response(2, [0, 0], false), Step::ReleaseReply],
        vec![accept.clone(), response(1, [0, 0], true), response(2, [0xA7, 0], false), Step::Release],
        vec![accept.clone(), response(2, [0, 0], true)],
        vec![accept.clone(), response(1, [0, 0], true), response(3, [0, 0], false)],
        vec![accept, response(1, [0, 0], true), Step::Abort],
        vec![Step::Accept { result: 3, max_length: 2 }, Step::ReleaseReply],
        vec![Step::Reject],
        vec![Step::Abort],
    ];
    for (number, steps) in all.iter().enumerate() {
        let said = steps.iter().flat_map(Step::bytes).collect::<Vec<_>>();
        seeds.add("pdu", [&[REQUESTOR, number as u8][..], &said].concat());
        if let Some(first) = steps.first() {
            let body = first.bytes().split_off(6);
            seeds.add("pdu", [&[READERS, 0][..], &body].concat());
        }
    }
}

/// The order of the encodings in `scan`.
const SYNTAXES: [&str; 5] = [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED, RLE_LOSSLESS];

fn sets(seeds: &mut Seeds) {
    let mut add = |syntax: &str, cuts: usize, bytes: &[u8]| {
        let place = SYNTAXES.iter().position(|known| *known == syntax).unwrap_or(SYNTAXES.len());
        let bytes = &bytes[..bytes.len().min(16 << 10)];
        seeds.add("scan", [&[place as u8, cuts as u8][..], bytes].concat());
    };
    for (number, set) in data_sets().into_iter().enumerate() {
        add(set.syntax, number, &set.bytes);
        // Odd elements within the other encodings: nobody checks that they are what they say.
        for syntax in [RLE_LOSSLESS, EXPLICIT_BIG, "1.2.3.4.5"] {
            add(syntax, number, &set.bytes);
        }
        add(DEFLATED, number, &deflated(&set.bytes));
    }
    let study = Study::new(1);
    for (number, encoding) in Encoding::ALL.into_iter().enumerate() {
        let scene = Scene { seed: 1, rows: 24, columns: 32, frames: 2, colour: Colour::MarkedRgb };
        let instance = study.instance(number as u32, scene, encoding);
        if let DataSet::Bytes(bytes) = &instance.data_set {
            add(&instance.transfer_syntax, number, bytes);
            add(DEFLATED, number, &deflated(bytes));
        }
    }
    add(DEFLATED, 2, &deflated_zeros(8 << 20));
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}
