//! Two sides talk, with nothing between them but a list of messages.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{CREDIT_STEP, Event, Incoming, Mux, Refused, SEND_QUEUE, Side, Violation};
use crate::tunnel::wire::{Kind, Message, Why, Windows};

const WINDOWS: Windows = Windows { stream: 64 << 10, session: 256 << 10, streams: 4 };
const NOW: Duration = Duration::ZERO;

fn pair() -> (Mux, Mux) {
    (Mux::new(Side::Link, WINDOWS, WINDOWS), Mux::new(Side::Gateway, WINDOWS, WINDOWS))
}

/// Everything that one has to say.
fn all(from: &mut Mux) -> Vec<Message> {
    std::iter::from_fn(|| from.next(NOW)).collect()
}

fn deliver(messages: Vec<Message>, to: &mut Mux) -> Vec<Event> {
    messages.into_iter().filter_map(|message| to.received(message, NOW).unwrap()).collect()
}

fn data_bytes(messages: &[Message]) -> usize {
    let length = |message: &Message| match message {
        Message::Data { bytes, .. } => bytes.len(),
        _ => 0,
    };
    messages.iter().map(length).sum()
}

fn bytes(length: usize) -> Bytes {
    vec![7; length].into()
}

#[test]
fn a_question_overtakes_an_instance_that_waits() {
    let (mut link, _) = pair();
    let bulk = link.open(Kind::Upload, Bytes::new()).unwrap();
    link.send(bulk, bytes(50_000)).unwrap();
    link.send(bulk, bytes(50_000)).unwrap();
    let question = link.open(Kind::Echo, Bytes::from_static(b"pacs")).unwrap();
    link.send(question, bytes(10)).unwrap();
    let order: Vec<_> = all(&mut link)
        .iter()
        .map(|message| match message {
            Message::Open { stream, .. } => ("open", *stream),
            Message::Data { stream, .. } => ("data", *stream),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order[..3], [("open", bulk), ("open", question), ("data", question)]);
    assert!(order[3..].iter().all(|said| *said == ("data", bulk)));
}

#[test]
fn nothing_is_sent_beyond_the_credit_and_credit_comes_as_things_are_taken() {
    let (mut link, mut gateway) = pair();
    let id = link.open(Kind::Loopback, Bytes::new()).unwrap();
    let (mut sent, mut taken) = (0, 0);
    for _ in 0..100 {
        while link.send(id, bytes(10_000)).is_ok() {}
        let said = all(&mut link);
        sent += data_bytes(&said);
        assert!(sent - taken <= WINDOWS.stream as usize + 10_000, "what was taken last is still in hand");
        deliver(said, &mut gateway);
        assert_eq!(all(&mut link), [], "without credit nothing goes");
        for _ in 0..3 {
            if let Incoming::Bytes(bytes) = gateway.take(id) {
                taken += bytes.len();
            }
        }
        deliver(all(&mut gateway), &mut link);
    }
    assert!(taken > 1_000_000);
}

#[test]
fn streams_that_nobody_takes_from_leave_the_others_their_credit_as_far_as_it_goes() {
    let (mut link, mut gateway) = pair();
    let stuck = link.open(Kind::Upload, Bytes::new()).unwrap();
    let lively = link.open(Kind::Upload, Bytes::new()).unwrap();
    let mut taken = 0;
    for _ in 0..200 {
        let _ = link.send(stuck, bytes(20_000));
        let _ = link.send(lively, bytes(20_000));
        deliver(all(&mut link), &mut gateway);
        while let Incoming::Bytes(bytes) = gateway.take(lively) {
            taken += bytes.len();
        }
        deliver(all(&mut gateway), &mut link);
    }
    assert!(taken > 2_000_000, "{taken}");
}

#[test]
fn instances_that_nobody_takes_leave_credit_for_a_question() {
    let windows = Windows { stream: 64 << 10, session: 96 << 10, streams: 4 };
    let (mut gateway, mut link) =
        (Mux::new(Side::Gateway, windows, windows), Mux::new(Side::Link, windows, windows));
    for _ in 0..3 {
        let stuck = gateway.open(Kind::Push, Bytes::new()).unwrap();
        gateway.send(stuck, bytes(64 << 10)).unwrap();
    }
    let said = all(&mut gateway);
    assert_eq!(data_bytes(&said), (96 << 10) - (12 << 10), "all but an eighth");
    deliver(said, &mut link);
    let question = gateway.open(Kind::Configuration, Bytes::new()).unwrap();
    gateway.send(question, bytes(10_000)).unwrap();
    let said = all(&mut gateway);
    assert_eq!(data_bytes(&said), 10_000);
    deliver(said, &mut link);
    assert_eq!(link.take(question), Incoming::Bytes(bytes(10_000)));
}

#[test]
fn what_waits_to_be_sent_is_bounded_and_so_are_streams() {
    let (mut link, mut gateway) = pair();
    let id = link.open(Kind::Upload, Bytes::new()).unwrap();
    let fits = (0..1000).take_while(|_| link.send(id, bytes(1 << 10)).is_ok()).count();
    assert_eq!((fits, link.room(id)), (SEND_QUEUE >> 10, 0));
    assert_eq!(link.send(id, bytes(1)), Err(Refused::Full));
    for _ in 1..WINDOWS.streams {
        link.open(Kind::Echo, Bytes::new()).unwrap();
    }
    assert_eq!(link.open(Kind::Echo, Bytes::new()), Err(Refused::TooManyStreams));
    deliver(all(&mut link), &mut gateway);
    let one_more = Message::Open { stream: 99, kind: Kind::Echo, body: Bytes::new() };
    assert_eq!(gateway.received(one_more, NOW), Err(Violation::TooManyStreams(4)));
}

#[test]
fn a_stream_that_was_dropped_is_over_on_both_sides_and_costs_no_credit() {
    let (mut link, mut gateway) = pair();
    for _ in 0..100 {
        let id = link.open(Kind::Upload, Bytes::new()).unwrap();
        link.send(id, bytes(60_000)).unwrap();
        let said = all(&mut link);
        assert!(data_bytes(&said) == 60_000, "the credit in all has come back each time");
        deliver(said, &mut gateway);
        gateway.drop_stream(id, Why::Malformed);
        deliver(all(&mut gateway), &mut link);
        assert_eq!(link.take(id), Incoming::Reset(Why::Malformed));
        assert_eq!(link.send(id, bytes(1)), Err(Refused::Over(Why::Malformed)));
        link.drop_stream(id, Why::Cancelled);
        assert_eq!(all(&mut link), [], "nobody says again that it is over");
    }
    assert!(link.streams.is_empty() && gateway.streams.is_empty());
}

#[test]
fn both_ends_end_and_the_stream_is_forgotten() {
    let (mut link, mut gateway) = pair();
    let id = link.open(Kind::Echo, Bytes::from_static(b"pacs")).unwrap();
    link.finish(id);
    let events = deliver(all(&mut link), &mut gateway);
    let body = Bytes::from_static(b"pacs");
    assert_eq!(events, [Event::Opened { stream: id, kind: Kind::Echo, body }, Event::Readable(id)]);
    assert_eq!(gateway.take(id), Incoming::End);
    gateway.send(id, bytes(5)).unwrap();
    gateway.finish(id);
    deliver(all(&mut gateway), &mut link);
    gateway.drop_stream(id, Why::Cancelled);
    assert_eq!((link.take(id), link.take(id)), (Incoming::Bytes(bytes(5)), Incoming::End));
    link.drop_stream(id, Why::Cancelled);
    assert_eq!((all(&mut link), all(&mut gateway)), (vec![], vec![]));
}

#[test]
fn what_the_other_side_must_not_do_is_named() {
    let data = |stream, length| Message::Data { stream, bytes: bytes(length) };
    let open = |stream| Message::Open { stream, kind: Kind::Upload, body: Bytes::new() };
    let credit = |stream, on_stream, in_all| Message::Credit { stream, on_stream, in_all };
    let table: Vec<(Vec<Message>, Violation)> = vec![
        (vec![data(1, 1)], Violation::NoSuchStream(1)),
        (vec![Message::End { stream: 2 }], Violation::NoSuchStream(2)),
        (vec![Message::Reset { stream: 7, why: Why::Failed }], Violation::NoSuchStream(7)),
        (vec![credit(3, 1, 1)], Violation::NoSuchStream(3)),
        (vec![open(2)], Violation::StreamNumber(2)),
        (vec![open(3), open(1)], Violation::StreamNumber(1)),
        (vec![open(3), open(3)], Violation::StreamNumber(3)),
        (vec![open(1), data(1, 65_536), data(1, 1)], Violation::NoCredit(1)),
        (vec![open(1), Message::End { stream: 1 }, data(1, 1)], Violation::AfterEnd(1)),
        (vec![open(1), Message::End { stream: 1 }, Message::End { stream: 1 }], Violation::AfterEnd(1)),
        (vec![open(1), credit(1, 1, 1)], Violation::TooMuchCredit(1)),
        (vec![credit(0, 0, 1)], Violation::TooMuchCredit(0)),
        (vec![Message::Ping(1)], Violation::OutOfOrder("PING")),
    ];
    for (messages, violation) in table {
        let (_, mut gateway) = pair();
        let results: Vec<_> = messages.iter().map(|m| gateway.received(m.clone(), NOW)).collect();
        assert_eq!(results.last(), Some(&Err(violation)), "{messages:?}");
        assert!(results.iter().rev().skip(1).all(Result::is_ok), "{messages:?}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Open(bool, bool),
    Send(bool, u8, u16),
    Take(bool, u8),
    Finish(bool, u8),
    Drop(bool, u8),
    Carry(bool, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<(bool, bool)>().prop_map(|(side, bulk)| Step::Open(side, bulk)),
        any::<(bool, u8, u16)>().prop_map(|(side, which, length)| Step::Send(side, which, length)),
        any::<(bool, u8)>().prop_map(|(side, which)| Step::Take(side, which)),
        any::<(bool, u8)>().prop_map(|(side, which)| Step::Finish(side, which)),
        any::<(bool, u8)>().prop_map(|(side, which)| Step::Drop(side, which)),
        any::<(bool, u8)>().prop_map(|(side, count)| Step::Carry(side, count)),
        any::<(bool, u8)>().prop_map(|(side, count)| Step::Carry(side, count)),
    ]
}

proptest! {
    #[test]
    fn two_sides_that_keep_to_it_never_violate_it_and_keep_little_whatever_their_users_do(
        steps in proptest::collection::vec(step(), 1..400)
    ) {
        let (link, gateway) = pair();
        let mut sides = [link, gateway];
        let mut known: [Vec<u32>; 2] = [vec![], vec![]];
        let mut sums: HashMap<(usize, u32), i64> = HashMap::new();
        for step in steps {
            let pick = |known: &Vec<u32>, which: u8| known.get(usize::from(which) % known.len().max(1)).copied();
            match step {
                Step::Open(side, bulk) => {
                    let side = usize::from(side);
                    let kind = if bulk { Kind::Upload } else { Kind::Echo };
                    if let Ok(id) = sides[side].open(kind, Bytes::new()) {
                        known[side].push(id);
                    }
                }
                Step::Send(side, which, length) => {
                    let side = usize::from(side);
                    if let Some(id) = pick(&known[side], which)
                        && sides[side].send(id, bytes(length.into())).is_ok()
                    {
                        *sums.entry((side, id)).or_default() += i64::from(length);
                    }
                }
                Step::Take(side, which) => {
                    let side = usize::from(side);
                    if let Some(id) = pick(&known[side], which)
                        && let Incoming::Bytes(bytes) = sides[side].take(id)
                    {
                        *sums.entry((1 - side, id)).or_default() -= bytes.len() as i64;
                    }
                }
                Step::Finish(side, which) => {
                    let side = usize::from(side);
                    if let Some(id) = pick(&known[side], which) {
                        sides[side].finish(id);
                    }
                }
                Step::Drop(side, which) => {
                    let side = usize::from(side);
                    if let Some(id) = pick(&known[side], which) {
                        sides[side].drop_stream(id, Why::Cancelled);
                        known[side].retain(|other| *other != id);
                    }
                }
                Step::Carry(side, count) => {
                    let side = usize::from(side);
                    for _ in 0..count % 16 {
                        let Some(message) = sides[side].next(NOW) else { break };
                        let event = sides[1 - side].received(message, NOW);
                        if let Some(Event::Opened { stream, .. }) = event.unwrap() {
                            known[1 - side].push(stream);
                        }
                    }
                }
            }
            for side in &sides {
                let waits: usize = side.streams.values().map(|s| SEND_QUEUE.saturating_sub(s.room())).sum();
                prop_assert!(waits <= side.streams.len() * (SEND_QUEUE + 65_535));
                let came: u32 = side.streams.values().map(super::Stream::untaken).sum();
                prop_assert!(came <= WINDOWS.session);
                prop_assert!(side.granted + side.owed + u64::from(came) == u64::from(WINDOWS.session));
            }
        }
        prop_assert!(sums.values().all(|sum| *sum >= 0), "nobody takes what was not sent");
    }
}

#[test]
fn credit_is_given_in_steps() {
    let (mut link, mut gateway) = pair();
    let id = link.open(Kind::Upload, Bytes::new()).unwrap();
    for _ in 0..40 {
        link.send(id, bytes(1 << 10)).unwrap();
    }
    deliver(all(&mut link), &mut gateway);
    let mut credits = Vec::new();
    for _ in 0..41 {
        gateway.take(id);
        credits.extend(all(&mut gateway));
    }
    let step = CREDIT_STEP;
    assert_eq!(credits, vec![Message::Credit { stream: id, on_stream: step, in_all: step }; 2]);
}
