//! For `association`: peers that behave, and peers that do not.

use crate::Seeds;
use crate::steps::{Step, encode};

const REQUESTOR: u8 = 1;
const ACCEPTOR: u8 = 2;
/// No operation of the disk fails.
const NOTHING: u8 = 4;

pub fn add(seeds: &mut Seeds) {
    let store = |id, instance, kind| Step::Store { id, instance, kind, piece: 0, context: 3 };
    let in_pieces = |piece| Step::Store { id: 1, instance: 1, kind: 2, piece, context: 3 };
    let acceptor = [
        vec![Step::Request, store(1, 1, 1), Step::Await, Step::Await, Step::Release, Step::Close],
        vec![Step::Request, store(1, 1, 0), store(2, 2, 1), store(3, 1, 0), Step::Release],
        vec![Step::Request, store(1, 1, 4), store(1, 1, 5), store(1, 1, 6), store(1, 1, 7), store(2, 1, 8)],
        vec![Step::Request, store(1, 1, 8), store(2, 2, 8), Step::Release],
        vec![Step::Request, Step::Echo { id: 7 }, in_pieces(1), in_pieces(64), Step::Abort],
        vec![Step::Request, Step::StoreCommand { id: 1, instance: 1 }, data(3, 0, 90), Step::Pause(6)],
        vec![Step::Request, Step::StoreCommand { id: 1, instance: 1 }, data(3, 0, 90), Step::Close],
        vec![Step::Request, Step::StoreCommand { id: 1, instance: 1 }, data(5, 2, 9), Step::Release],
        vec![
            Step::Request,
            Step::StoreCommand { id: 1, instance: 1 },
            Step::StoreCommand { id: 2, instance: 1 },
        ],
        vec![Step::Request, Step::Pause(5), Step::Echo { id: 1 }, Step::Pause(5), Step::Release],
        vec![
            Step::Request,
            Step::Command { field: [0, 0x21], id: 1 },
            Step::Command { field: [0x0F, 0xFF], id: 1 },
        ],
        vec![Step::Pause(3), Step::Request, Step::Stall, store(1, 1, 1)],
        vec![Step::Pause(4), Step::Request],
        vec![Step::Request, Step::Request],
        vec![Step::Request, Step::ReleaseReply],
        vec![Step::Raw(vec![1, 0, 0, 0]), Step::Pause(4)],
        vec![Step::Request, store(1, 1, 3), Step::Reset],
        vec![Step::Request, Step::Store { id: 1, instance: 1, kind: 1, piece: 9, context: 7 }, Step::Release],
        vec![Step::Request, Step::Store { id: 1, instance: 1, kind: 1, piece: 0, context: 5 }, Step::Release],
    ];
    for (number, steps) in acceptor.iter().enumerate() {
        // As it is, and with each failure at one of the first operations.
        for failure in [NOTHING, 0, 1, 2, 3] {
            let head = [ACCEPTOR, failure, number as u8 % 3, number as u8];
            seeds.add("association", [&head[..], &encode(steps)].concat());
        }
    }
    let accept = Step::Accept { result: 0, max_length: 16 };
    let response = |id, status| Step::Response { id, status, is_echo: id == 1 };
    let requestor = [
        vec![
            accept.clone(),
            response(1, [0, 0]),
            response(2, [0, 0]),
            response(3, [0xB0, 0]),
            response(4, [0xA7, 0]),
            Step::ReleaseReply,
        ],
        vec![
            accept.clone(),
            Step::Await,
            response(1, [0, 0]),
            Step::Await,
            response(2, [0, 0]),
            Step::Release,
            Step::ReleaseReply,
        ],
        vec![accept.clone(), response(1, [0, 0]), response(3, [0, 0])],
        vec![accept.clone(), response(1, [0, 0]), Step::Stall, Step::Pause(6)],
        vec![accept.clone(), response(1, [0, 0]), Step::Abort],
        vec![accept, Step::Pause(6)],
        vec![Step::Pause(6)],
        vec![Step::Reject],
        vec![Step::Close],
    ];
    for (number, steps) in requestor.iter().enumerate() {
        let head = [REQUESTOR, NOTHING, 0, number as u8];
        seeds.add("association", [&head[..], &encode(steps)].concat());
    }
    // Events of the state machine: an acceptor's life, a requestor's, and a collision.
    for events in [
        &[4, 5, 7, 10, 9, 12, 14, 17][..],
        &[0, 1, 2, 9, 10, 11, 13],
        &[0, 1, 2, 11, 12, 14, 13],
        &[4, 6, 18],
    ] {
        seeds.add("association", [&[0, 0, 0, 0][..], events].concat());
    }
}

fn data(context: u8, control: u8, length: u8) -> Step {
    Step::Data { context, control, length }
}
