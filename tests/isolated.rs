//! Decoders in a child process: the real program, and what streams and strangers do to it.

#![cfg(all(unix, feature = "jpeg2000", feature = "jpeg-ls"))]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrysalis::transcode::isolated::{Foreign, Isolated, IsolatedError, Patience};
use chrysalis_codecs::Limits;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The example of ISO 14495-1 H.3: four by four pixels.
const JPEG_LS: [u8; 57] = [
    0xFF, 0xD8, 0xFF, 0xF7, 0, 11, 8, 0, 4, 0, 4, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0, 0xC0, 0,
    0, 0x6C, 0x80, 0x20, 0x8E, 1, 0xC0, 0, 0, 0x57, 0x40, 0, 0, 0x6E, 0xE6, 0, 0, 1, 0xBC, 0x18, 0, 0, 5,
    0xD8, 0, 0, 0x91, 0x60, 0xFF, 0xD9,
];
const PIXELS: [u8; 16] = [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145];

#[test]
fn a_frame_is_decoded_and_the_child_is_kept_for_the_next() {
    let isolated = isolated();
    assert_eq!(decode(&isolated).expect("a frame"), PIXELS);
    let first = isolated.idle();
    assert_eq!(decode(&isolated).expect("a frame"), PIXELS);
    assert_eq!((first.len(), isolated.idle()), (1, first));
}

#[test]
fn a_bad_stream_is_refused_with_the_decoders_words_and_costs_no_child() {
    let isolated = isolated();
    for (codec, says) in [
        (Foreign::JpegLs, "the bytes do not start a JPEG stream (FFD8H)"),
        (Foreign::Jpeg2000, "the bytes are not a JPEG 2000 codestream (FF4F FF51H)"),
    ] {
        let error = isolated.decode(codec, b"no", Limits::default()).expect_err("no stream");
        assert!(matches!(&error, IsolatedError::Refused(text) if text == says), "{error}");
    }
    assert_eq!(isolated.idle().len(), 1);
    assert_eq!(decode(&isolated).expect("a frame"), PIXELS);
}

#[test]
fn case_102_a_stream_that_needs_more_memory_than_there_may_be_hurts_one_frame_only() {
    let isolated = isolated();
    let error =
        isolated.decode(Foreign::Jpeg2000, &jpeg2000(16_000), Limits::default()).expect_err("too much");
    assert!(matches!(&error, IsolatedError::Died { status } if status.contains("signal: 6")), "{error:?}");
    assert_eq!(decode(&isolated).expect("the same child or a new one"), PIXELS);
}

#[test]
fn case_102_a_decoder_that_dies_over_a_frame_is_an_error_that_says_how() {
    let isolated = isolated();
    let id = stopped(&isolated);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| decode(&isolated));
        while !isolated.idle().is_empty() {
            std::thread::yield_now();
        }
        kill_process(id, Signal::KILL).expect("it is ours");
        let error = answer.join().expect("no panic").expect_err("it is dead");
        assert!(
            matches!(&error, IsolatedError::Died { status } if status.contains("signal: 9")),
            "{error:?}"
        );
    });
    assert_eq!(decode(&isolated).expect("a new child"), PIXELS);
}

#[test]
fn case_102_a_decoder_that_takes_too_long_is_killed() {
    let deadline = Duration::from_secs(3);
    let isolated = Isolated::with_patience(program(), 1, Patience { deadline, ..Patience::default() });
    let id = stopped(&isolated);
    let error = decode(&isolated).expect_err("it never answers");
    assert!(matches!(error, IsolatedError::Timeout { after } if after == deadline), "{error}");
    assert!(test_kill_process(id).is_err(), "it is still there");
    assert_eq!(decode(&isolated).expect("a new child"), PIXELS);
}

#[test]
fn a_child_that_somebody_killed_is_replaced() {
    let isolated = isolated();
    decode(&isolated).expect("a frame");
    let first = isolated.idle();
    kill_process(pid(first[0]), Signal::KILL).expect("it is ours");
    // Killed is not yet gone; until it is, it may still be taken, and then has died of it.
    let start = Instant::now();
    while !matches!(decode(&isolated), Ok(pixels) if pixels == PIXELS) {
        assert!(start.elapsed() < Duration::from_secs(20), "no child takes its place");
    }
    assert_ne!(isolated.idle(), first);
}

#[test]
fn there_are_never_more_children_than_allowed() {
    let isolated = Isolated::new(program(), 2);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(decode(&isolated).expect("a frame"), PIXELS));
        }
    });
    assert!((1..=2).contains(&isolated.idle().len()));
}

#[test]
fn children_without_work_are_ended_after_a_while_and_with_their_owner() {
    let patience = Patience { idle: Duration::ZERO, ..Patience::default() };
    let impatient = Isolated::with_patience(program(), 1, patience);
    decode(&impatient).expect("a frame");
    let start = Instant::now();
    while !impatient.idle().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "it stays");
        std::thread::yield_now();
    }
    let isolated = isolated();
    decode(&isolated).expect("a frame");
    let id = pid(isolated.idle()[0]);
    assert!(test_kill_process(id).is_ok());
    drop(isolated);
    assert!(test_kill_process(id).is_err(), "it is still there");
}

#[test]
fn a_child_ends_when_its_input_does() {
    let status =
        Command::new(program()).arg("decode-worker").stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.expect("it starts").success());
}

#[test]
fn what_is_no_decoder_is_an_error_that_says_so() {
    let nothing = Isolated::new(PathBuf::from("/nowhere/chrysalis"), 1);
    for _ in 0..2 {
        assert!(matches!(decode(&nothing), Err(IsolatedError::Start(_))));
    }
    let other = Isolated::new(PathBuf::from("/bin/true"), 1);
    for _ in 0..2 {
        assert!(matches!(decode(&other), Err(IsolatedError::Died { .. })));
    }
}

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_chrysalis").into()
}

fn isolated() -> Isolated {
    Isolated::new(program(), 1)
}

fn decode(isolated: &Isolated) -> Result<Vec<u8>, IsolatedError> {
    isolated.decode(Foreign::JpegLs, &JPEG_LS, Limits::default()).map(|frame| frame.pixels)
}

/// Has a child decode a frame, and then stops it, so that it does not answer any more.
fn stopped(isolated: &Isolated) -> Pid {
    decode(isolated).expect("a frame");
    let id = pid(isolated.idle()[0]);
    kill_process(id, Signal::STOP).expect("it is ours");
    id
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed()).expect("a process id")
}

/// A grey JPEG 2000 stream of `side` by `side` pixels that has a header and nothing else.
fn jpeg2000(side: u32) -> Vec<u8> {
    let mut out = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    for value in [side, side, 0, 0, side, side, 0, 0] {
        out.extend(value.to_be_bytes());
    }
    out.extend([0, 1, 7, 1, 1]);
    out.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 1, 4, 4, 0, 1]);
    out.extend([0xFF, 0x5C, 0, 7, 0x40, 0x40, 0x48, 0x48, 0x50]);
    out.extend([0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 14, 0, 1, 0xFF, 0x93, 0xFF, 0xD9]);
    out
}
