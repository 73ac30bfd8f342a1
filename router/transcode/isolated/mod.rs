//! Decoders that others wrote run in a child process, so that what a hostile stream makes them do to memory, to time or to the
//! process hurts nothing but the one frame.
//!
//! The child is this program itself (`decode-worker`, `worker`); requests and answers go over its standard input and output
//! (`wire`). It limits its own memory before it reads anything, and ends when its input does, so that none outlives the router.
//! A child is kept for the frames that follow and replaced when it died or was killed.

mod child;
mod pool;
mod wire;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use chrysalis_codecs::{Frame, Limits};

use pool::Pool;

pub use worker::{MEMORY, work};

/// The codecs that run in a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// JPEG 2000, 1.2.840.10008.1.2.4.90 and .91.
    Jpeg2000,
    /// JPEG-LS, 1.2.840.10008.1.2.4.80 and .81.
    JpegLs,
    /// JPEG XL, 1.2.840.10008.1.2.4.110 to .112.
    JpegXl,
}

/// Why a frame was not decoded.
#[derive(Debug, thiserror::Error)]
pub enum IsolatedError {
    /// The stream is wrong, or of a kind that is not decoded: what the decoder said.
    #[error("{0}")]
    Refused(String),
    /// The compressed frame is larger than any that is handed to a child.
    #[error("the compressed frame has {length} bytes, the limit is {limit}")]
    TooLarge {
        /// Its bytes.
        length: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The decoder was still busy after the deadline and was killed.
    #[error("the decoder was stopped after {} s", after.as_secs())]
    Timeout {
        /// The deadline.
        after: Duration,
    },
    /// The decoder ended without an answer: it crashed, or asked for more memory than it may have.
    #[error("the decoder died: {status}")]
    Died {
        /// How the system says that it ended.
        status: String,
    },
    /// The decoder answered nonsense.
    #[error("the decoder's answer makes no sense: {0}")]
    Nonsense(&'static str),
    /// The child process could not be started: a fault of this machine, not of the stream.
    #[error("the decoder cannot be started: {0}")]
    Start(std::io::Error),
}

/// How long children may take and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The most time for one frame.
    pub deadline: Duration,
    /// How long a child without work is kept.
    pub idle: Duration,
}

impl Default for Patience {
    /// 30 s for a frame; a minute without work.
    fn default() -> Self {
        Self { deadline: Duration::from_secs(30), idle: Duration::from_secs(60) }
    }
}

/// Decoders in child processes; shared by all that decode.
#[derive(Debug)]
pub struct Isolated {
    pool: Pool,
    deadline: Duration,
}

impl Isolated {
    /// Nothing is started before the first frame. At most `children` processes, one at least, of `executable` run at once.
    #[must_use]
    pub fn new(executable: PathBuf, children: usize) -> Self {
        Self::with_patience(executable, children, Patience::default())
    }

    /// The same with other times.
    #[must_use]
    pub fn with_patience(executable: PathBuf, children: usize, patience: Patience) -> Self {
        Self { pool: Pool::new(executable, children.max(1), patience.idle), deadline: patience.deadline }
    }

    /// Decodes one frame; blocks while all children are busy, and then until the child answers or the deadline is over.
    ///
    /// # Errors
    /// The stream cannot be decoded, or took the decoder down or too long. The next frame gets a new child.
    pub fn decode(&self, codec: Foreign, bytes: &[u8], limits: Limits) -> Result<Frame, IsolatedError> {
        if bytes.len() > wire::LONGEST_REQUEST {
            return Err(IsolatedError::TooLarge { length: bytes.len(), limit: wire::LONGEST_REQUEST });
        }
        let child = self.pool.take()?;
        let request = wire::Request { codec, limits, deadline: self.deadline, length: bytes.len() };
        let (child, answer) = child.ask(&request, bytes, self.deadline);
        // A child that is sound goes back; any other was killed and is waited for.
        self.pool.give_back(child);
        answer
    }

    /// The process ids of the children that wait for work.
    #[must_use]
    pub fn idle(&self) -> Vec<u32> {
        self.pool.idle()
    }
}
