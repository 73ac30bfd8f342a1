//! For `recovery`: each damage to each file, and records and files as the queue writes them.

use crate::Seeds;

/// Files of that spool that have something in them, or a few less.
const FILES: u8 = 14;

pub fn add(seeds: &mut Seeds) {
    for file in 0..FILES {
        for at in [3_u16, 40, 200, 60_000] {
            let [low, high] = at.to_le_bytes();
            seeds.add("recovery", vec![0, file, low, high, 5]);
            seeds.add("recovery", vec![1, file, low, high]);
            seeds.add("recovery", vec![2, file, low, high, 4]);
            seeds.add("recovery", vec![3, file, low, high, 3, 1, 2, 3]);
        }
        seeds.add("recovery", vec![4, file, 4, 9, 9, 9, 9]);
        seeds.add("recovery", vec![5, file]);
        seeds.add("recovery", vec![8, file, 4, 9, 9, 9, 9]);
        seeds.add("recovery", vec![5, file, 5, file, 0, 0, 0, 0, 0]);
    }
    for (code, body) in records() {
        for batch in [1, 9, 200] {
            let head = [6, 0, batch, 0, 1, code, body.len() as u8];
            seeds.add("recovery", [&head[..], &body].concat());
        }
    }
    for (payload, flags) in [(&b"payload"[..], 0), (b"", 0), (b"payload", 1)] {
        let mut seed = vec![7, 1, flags];
        for part in [b"HEAD", payload, b"tail", &envelope()] {
            seed.push(part.len() as u8);
            seed.extend_from_slice(part);
        }
        seeds.add("recovery", seed);
    }
}

/// A receive sequence of the first boot.
const SEQUENCE: u64 = 1 << 32 | 1;

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

/// One of each kind but the first.
fn records() -> Vec<(u8, Vec<u8>)> {
    let sequence = SEQUENCE.to_le_bytes();
    let at = 1_700_000_000_000_u64.to_le_bytes();
    let subject = || [&sequence[..], &text("pacs"), &at].concat();
    let one = [&1_u16.to_le_bytes()[..], &text("pacs")].concat();
    let with = |more: &[Vec<u8>]| [subject(), more.concat()].concat();
    vec![
        (2, with(&[text("0000")])),
        (3, with(&[vec![1], text("why"), text("who")])),
        (4, with(&[text("who")])),
        (5, [&sequence[..], &at, &(SEQUENCE + 1).to_le_bytes(), &one].concat()),
        (6, with(&[text("who"), text("why")])),
        (7, with(&[one, text("who")])),
        (8, with(&[text("who")])),
        (9, at.to_vec()),
        (10, at.to_vec()),
        (11, [&3_u32.to_le_bytes()[..], &at].concat()),
        (2, [&sequence[..], &text("pacs"), &u64::MAX.to_le_bytes(), &text("0000")].concat()),
    ]
}

fn envelope() -> Vec<u8> {
    let mut out = vec![1];
    out.extend((SEQUENCE + 70).to_le_bytes());
    out.extend(1_700_000_000_000_u64.to_le_bytes());
    out.extend([text("k"), text("z"), text("g")].concat());
    out.extend([1; 16]);
    out.extend(1_u16.to_le_bytes());
    out.extend(text("pacs"));
    out.push(0);
    out.extend(3_u32.to_le_bytes());
    out.extend(b"how");
    out
}
