//! Sessions over memory, and a peer that sends what it must not.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Ended, Over, Socket, limits};
use crate::tunnel::connection::{Broken, Connection};
use crate::tunnel::mux::{Mux, Side};
use crate::tunnel::session::{Close, Session};
use crate::tunnel::wire::{Kind, Message, Why, Windows};

const WINDOWS: Windows = Windows { stream: 256 << 10, session: 1 << 20, streams: 8 };

fn session(side: Side) -> Session {
    Session::new(Mux::new(side, WINDOWS, WINDOWS), Duration::from_secs(10), Duration::ZERO)
}

async fn socket(stream: DuplexStream, role: Role) -> Socket<DuplexStream> {
    Socket::new(WebSocketStream::from_raw_socket(stream, role, Some(limits(Over::Plain))).await)
}

struct End {
    connection: Connection,
    driver: JoinHandle<Ended>,
}

async fn begin(stream: DuplexStream, side: Side) -> End {
    let role = if side == Side::Link { Role::Client } else { Role::Server };
    let (connection, driver) = socket(stream, role).await.run(session(side));
    End { connection, driver: tokio::spawn(driver) }
}

async fn pair(buffer: usize) -> (End, End) {
    let (a, b) = duplex(buffer);
    (begin(a, Side::Link).await, begin(b, Side::Gateway).await)
}

/// Gives every byte of every stream back.
fn give_back(connection: Connection) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(accepted) = connection.accept().await {
            tokio::spawn(async move {
                while let Ok(Some(bytes)) = accepted.stream.receive().await {
                    let _ = accepted.stream.send(bytes).await;
                }
                accepted.stream.finish();
            });
        }
    })
}

#[tokio::test]
async fn what_goes_in_comes_out_on_many_streams_at_once() {
    let (link, gateway) = pair(16 << 10).await;
    give_back(gateway.connection.clone());
    let streams = (0..8u8).map(|n| {
        let stream = link.connection.open(Kind::Loopback, Bytes::new()).unwrap();
        tokio::spawn(async move {
            let sending = async {
                for _ in 0..40 {
                    stream.send(vec![n; 20_000].into()).await.unwrap();
                }
                stream.finish();
            };
            let receiving = async {
                let mut count = 0;
                while let Some(bytes) = stream.receive().await.unwrap() {
                    assert!(bytes.iter().all(|byte| *byte == n));
                    count += bytes.len();
                }
                count
            };
            tokio::join!(sending, receiving).1
        })
    });
    for stream in streams {
        assert_eq!(stream.await.unwrap(), 800_000);
    }
    link.connection.close(Close::Normal);
    assert_eq!(link.driver.await.unwrap(), Ended::by_us(Close::Normal, ""));
    assert_eq!(gateway.driver.await.unwrap().close, Close::Normal);
}

#[tokio::test]
async fn a_question_is_answered_while_an_instance_fills_the_path() {
    let (link, gateway) = pair(4 << 10).await;
    let bulk = link.connection.open(Kind::Upload, Bytes::new()).unwrap();
    let stuck = gateway.connection.accept().await.unwrap();
    for _ in 0..4 {
        bulk.send(vec![0; 64 << 10].into()).await.unwrap();
    }
    give_back(gateway.connection.clone());
    let question = link.connection.open(Kind::Loopback, Bytes::new()).unwrap();
    question.send(Bytes::from_static(b"there?")).await.unwrap();
    assert_eq!(question.receive().await, Ok(Some(Bytes::from_static(b"there?"))));
    drop(stuck);
    assert!(matches!(bulk.receive().await, Err(Broken::Reset(Why::Cancelled))));
}

#[tokio::test]
async fn whoever_waits_when_the_connection_is_lost_is_told() {
    let (link, gateway) = pair(4 << 10).await;
    let stream = link.connection.open(Kind::Upload, Bytes::new()).unwrap();
    let waiting = tokio::spawn(async move { stream.receive().await });
    gateway.driver.abort();
    assert_eq!(waiting.await.unwrap(), Err(Broken::Session));
    assert!(!link.driver.await.unwrap().by_us);
    assert!(link.connection.accept().await.is_none());
    assert!(link.connection.open(Kind::Echo, Bytes::new()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_given_up() {
    let (a, _silent) = duplex(4 << 10);
    let link = begin(a, Side::Link).await;
    assert_eq!(link.driver.await.unwrap(), Ended::by_us(Close::Silence, ""));
}

/// What a gateway's end answers to these bytes: the code of its close frame.
async fn answer_to(role: Role, sent: Vec<u8>) -> (Ended, u16) {
    let (ours, mut theirs) = duplex(1 << 20);
    let (_connection, driver) = socket(ours, role).await.run(session(Side::Gateway));
    let driver = tokio::spawn(driver);
    theirs.write_all(&sent).await.unwrap();
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    // Until the close frame is whole: 0x88, a length, a code.
    let code = loop {
        let count = theirs.read(&mut buffer).await.unwrap();
        assert!(count > 0, "no close frame in {said:x?}");
        said.extend_from_slice(&buffer[..count]);
        if let Some(code) = close_code(&said, role == Role::Client) {
            break code;
        }
    };
    drop(theirs);
    (driver.await.unwrap(), code)
}

/// The code of a close frame among frames that are short.
fn close_code(mut frames: &[u8], is_masked: bool) -> Option<u16> {
    while frames.len() >= 2 {
        let (first, length) = (frames[0], usize::from(frames[1] & 0x7f));
        let body = if is_masked { 6 } else { 2 };
        let payload = frames.get(body..body + length)?;
        if first == 0x88 {
            let key = if is_masked { [frames[2], frames[3]] } else { [0, 0] };
            return Some(u16::from_be_bytes([payload[0] ^ key[0], payload[1] ^ key[1]]));
        }
        frames = &frames[body + length..];
    }
    None
}

/// A masked frame with a key of zeros, as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn case_106_frames_that_may_not_be_are_answered_with_their_close_codes() {
    let huge = [&[0x82, 0xff][..], &[0x7f; 8], &[0; 4]].concat();
    let flood: Vec<u8> = std::iter::once(frame(0x02, &[0; 4096]))
        .chain((0..64).map(|_| frame(0x00, &[0; 4096])))
        .flatten()
        .collect();
    let table: [(&str, Vec<u8>, Close); 12] = [
        ("text", frame(0x81, b"hello"), Close::Text),
        ("text that is none", frame(0x81, &[0xff, 0xfe]), Close::NotUtf8),
        ("unknown opcode", frame(0x83, b""), Close::Protocol),
        ("unknown control opcode", frame(0x8b, b""), Close::Protocol),
        ("reserved bit", frame(0xc2, b"x"), Close::Protocol),
        ("not masked", vec![0x82, 0x01, 0x05], Close::Protocol),
        ("a frame of 2^63 bytes", huge, Close::TooBig),
        ("a message of too many bytes in pieces", flood, Close::TooBig),
        ("a piece of nothing", frame(0x80, b"x"), Close::Protocol),
        ("a long ping", frame(0x89, &[0; 126]), Close::Protocol),
        ("no message of ours", frame(0x82, &[0x7f]), Close::Protocol),
        ("about a stream there is not", frame(0x82, &Message::End { stream: 1 }.encode()), Close::Protocol),
    ];
    for (what, sent, close) in table {
        let (ended, code) = answer_to(Role::Server, sent).await;
        assert_eq!((ended.close, ended.by_us, code), (close, true, close.code()), "{what}: {ended}");
    }
}

#[tokio::test]
async fn case_106_a_masked_frame_from_a_server_is_refused() {
    let (ended, code) = answer_to(Role::Client, frame(0x82, b"x")).await;
    assert_eq!((ended.close, code), (Close::Protocol, 1002));
}
