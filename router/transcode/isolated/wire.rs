//! What goes through the pipes. Numbers are little endian.
//!
//! ```text
//! request  codec 1 | largest frame 8 | deadline in ms 8 | length 4 | bytes
//! answer   0 | rows 2 | columns 2 | samples 1 | bytes per sample 1 | precision 1 | marking 1 | length 8 | pixels
//!          1 | length 4 | text
//! ```

use std::io::{self, Read, Write};
use std::time::Duration;

use chrysalis_codecs::{Depth, Frame, FrameLayout, Limits, Marking, Order, Samples};

use super::{Foreign, IsolatedError};

/// The longest compressed frame.
pub(super) const LONGEST_REQUEST: usize = 128 << 20;
const LONGEST_TEXT: usize = 4096;

/// What precedes the bytes to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) codec: Foreign,
    pub(super) limits: Limits,
    pub(super) deadline: Duration,
    pub(super) length: usize,
}

impl Request {
    pub(super) fn write(&self, output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        let mut head = vec![match self.codec {
            Foreign::Jpeg2000 => 0,
            Foreign::JpegLs => 1,
            Foreign::JpegXl => 2,
        }];
        head.extend(self.limits.frame_bytes.to_le_bytes());
        head.extend(u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX).to_le_bytes());
        head.extend((self.length as u32).to_le_bytes());
        output.write_all(&head)?;
        output.write_all(bytes)?;
        output.flush()
    }

    /// The next request and its bytes; nothing if there is none.
    pub(super) fn read(input: &mut impl Read) -> io::Result<Option<(Self, Vec<u8>)>> {
        let mut first = [0];
        if input.read(&mut first)? == 0 {
            return Ok(None);
        }
        let codec = match first {
            [0] => Foreign::Jpeg2000,
            [1] => Foreign::JpegLs,
            [2] => Foreign::JpegXl,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown codec")),
        };
        let limits = Limits { frame_bytes: u64::from_le_bytes(array(input)?) };
        let deadline = Duration::from_millis(u64::from_le_bytes(array(input)?));
        let length = u32::from_le_bytes(array(input)?) as usize;
        if length > LONGEST_REQUEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a request longer than any"));
        }
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        Ok(Some((Self { codec, limits, deadline, length }, bytes)))
    }
}

/// Writes what a decoder returned.
pub(super) fn write_answer(output: &mut impl Write, answer: &Result<Frame, String>) -> io::Result<()> {
    match answer {
        Ok(frame) => {
            let layout = frame.layout;
            let (samples, depth) = (layout.samples == Samples::Three, layout.depth == Depth::Sixteen);
            let marking = match frame.marking {
                None => 0,
                Some(Marking::Rgb) => 1,
                Some(Marking::Ybr) => 2,
                Some(Marking::Unmarked) => 3,
            };
            output.write_all(&[0])?;
            output.write_all(&layout.rows.to_le_bytes())?;
            output.write_all(&layout.columns.to_le_bytes())?;
            output.write_all(&[
                if samples { 3 } else { 1 },
                1 + u8::from(depth),
                frame.precision,
                marking,
            ])?;
            output.write_all(&(frame.pixels.len() as u64).to_le_bytes())?;
            output.write_all(&frame.pixels)?;
        }
        Err(text) => {
            let text = text.as_bytes().get(..LONGEST_TEXT).unwrap_or(text.as_bytes());
            output.write_all(&[1])?;
            output.write_all(&(text.len() as u32).to_le_bytes())?;
            output.write_all(text)?;
        }
    }
    output.flush()
}

/// What came back: the child's answer, or that it gave none.
pub(super) enum Answer {
    /// The decoder's own result, or nonsense.
    Given(Result<Frame, IsolatedError>),
    /// The pipe ended or broke.
    None,
}

/// Reads an answer. It is checked like anything else that a hostile stream may have had a hand in.
pub(super) fn read_answer(input: &mut impl Read, limits: Limits) -> Answer {
    match try_read_answer(input, limits) {
        Ok(answer) => Answer::Given(answer),
        Err(_) => Answer::None,
    }
}

fn try_read_answer(input: &mut impl Read, limits: Limits) -> io::Result<Result<Frame, IsolatedError>> {
    match array(input)? {
        [0] => {}
        [1] => {
            let length = (u32::from_le_bytes(array(input)?) as usize).min(LONGEST_TEXT);
            let mut text = vec![0; length];
            input.read_exact(&mut text)?;
            return Ok(Err(IsolatedError::Refused(String::from_utf8_lossy(&text).into_owned())));
        }
        _ => return Ok(Err(IsolatedError::Nonsense("neither a frame nor an error"))),
    }
    let (rows, columns) = (u16::from_le_bytes(array(input)?), u16::from_le_bytes(array(input)?));
    let [samples, depth, precision, marking] = array(input)?;
    let length = u64::from_le_bytes(array(input)?);
    let shape = match (samples, depth) {
        (1, 1) => Some((Samples::One, Depth::Eight)),
        (1, 2) => Some((Samples::One, Depth::Sixteen)),
        (3, 1) => Some((Samples::Three, Depth::Eight)),
        (3, 2) => Some((Samples::Three, Depth::Sixteen)),
        _ => None,
    };
    let marking = match marking {
        0 => Some(None),
        1 => Some(Some(Marking::Rgb)),
        2 => Some(Some(Marking::Ybr)),
        3 => Some(Some(Marking::Unmarked)),
        _ => None,
    };
    let (Some((samples, depth)), Some(marking), 2..=16) = (shape, marking, precision) else {
        return Ok(Err(IsolatedError::Nonsense("a frame of no known kind")));
    };
    let layout = FrameLayout { rows, columns, samples, depth, order: Order::ByPixel };
    if length != layout.bytes() || length > limits.frame_bytes {
        return Ok(Err(IsolatedError::Nonsense(
            "a frame whose length is not that of its layout, or above the limit",
        )));
    }
    let mut pixels = vec![0; length as usize];
    input.read_exact(&mut pixels)?;
    Ok(Ok(Frame { layout, precision, marking, pixels }))
}

fn array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let layout = FrameLayout {
            rows: 1,
            columns: 2,
            samples: Samples::Three,
            depth: Depth::Eight,
            order: Order::ByPixel,
        };
        Frame { layout, precision: 8, marking: Some(Marking::Rgb), pixels: vec![1, 2, 3, 4, 5, 6] }
    }

    fn back(bytes: &[u8], limit: u64) -> Option<Result<Frame, IsolatedError>> {
        match read_answer(&mut &*bytes, Limits { frame_bytes: limit }) {
            Answer::Given(answer) => Some(answer),
            Answer::None => None,
        }
    }

    #[test]
    fn a_request_arrives_as_it_was_sent_and_the_end_is_no_request() {
        let limits = Limits { frame_bytes: 7 };
        let sent = Request { codec: Foreign::JpegXl, limits, deadline: Duration::from_secs(3), length: 3 };
        let mut pipe = Vec::new();
        sent.write(&mut pipe, b"abc").expect("memory");
        let mut input = pipe.as_slice();
        assert_eq!(Request::read(&mut input).expect("a request"), Some((sent, b"abc".to_vec())));
        assert_eq!(Request::read(&mut input).expect("the end"), None);
        assert!(Request::read(&mut &pipe[..pipe.len() - 1]).is_err());
    }

    #[test]
    fn an_answer_arrives_as_it_was_sent() {
        let mut pipe = Vec::new();
        write_answer(&mut pipe, &Ok(frame())).expect("memory");
        assert_eq!(back(&pipe, 6).expect("an answer").expect("a frame"), frame());
        assert!(matches!(back(&pipe, 5), Some(Err(IsolatedError::Nonsense(_)))), "above the limit");
        assert!((0..pipe.len()).all(|length| back(&pipe[..length], 6).is_none()), "cut off");
        let mut pipe = Vec::new();
        write_answer(&mut pipe, &Err("no such thing".into())).expect("memory");
        let error = back(&pipe, 6).expect("an answer").expect_err("an error");
        assert_eq!(error.to_string(), "no such thing");
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_nonsense() {
        let mut pipe = Vec::new();
        write_answer(&mut pipe, &Ok(frame())).expect("memory");
        for (at, byte) in [(0, 9), (1, 200), (5, 2), (6, 3), (7, 17), (8, 9), (9, 255)] {
            let mut pipe = pipe.clone();
            pipe[at] = byte;
            assert!(matches!(back(&pipe, 1 << 30), Some(Err(IsolatedError::Nonsense(_)))), "byte {at}");
        }
    }
}
