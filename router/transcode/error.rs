//! Why a copy could not be made.

use std::io;
use std::sync::Arc;

use super::attributes::AttributeError;
use super::dataset::{InflateError, OutlineError, ReadError, WriteError};
use super::frames::FrameError;
use super::subject::SubjectError;

/// Why a copy could not be made. Whoever waited for the same copy gets the same answer, hence the shared errors.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TranscodeError {
    /// The pixels, or the elements about them, are not what they claim to be, or nobody here can decode them. It would be
    /// so again.
    #[error("{0}")]
    Pixels(String),
    /// The stored bytes cannot be read.
    #[error("the stored data set cannot be read: {0}")]
    Source(#[source] Arc<io::Error>),
    /// The cache cannot be used, and neither could the copy be streamed.
    #[error("the copy cannot be written: {0}")]
    Cache(#[source] Arc<io::Error>),
    /// The copy, or something on the way to it, would be larger than DICOM or the limits allow.
    #[error("{0}")]
    TooLarge(String),
    /// A codec failed in a way that nobody foresaw. The log says where.
    #[error("a codec failed unexpectedly")]
    Panicked,
}

impl TranscodeError {
    /// As an error of whatever sends the copy.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Source(error) => io::Error::new(error.kind(), Self::Source(error)),
            Self::Pixels(_) | Self::Cache(_) | Self::TooLarge(_) | Self::Panicked => io::Error::other(self),
        }
    }
}

impl From<ReadError> for TranscodeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Source(error) => Self::Source(error.into()),
            other => Self::Pixels(other.to_string()),
        }
    }
}

impl From<OutlineError> for TranscodeError {
    fn from(error: OutlineError) -> Self {
        match error {
            OutlineError::Read(error) => error.into(),
            other => Self::Pixels(other.to_string()),
        }
    }
}

impl From<WriteError> for TranscodeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Output(error) => Self::Cache(error.into()),
            WriteError::Outline(error) => error.into(),
            WriteError::TooLong(_) => Self::TooLarge(error.to_string()),
            other => Self::Pixels(other.to_string()),
        }
    }
}

impl From<InflateError> for TranscodeError {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::Source(error) => Self::Source(error.into()),
            InflateError::Output(error) => Self::Cache(error.into()),
            InflateError::TooLong { .. } => Self::TooLarge(error.to_string()),
            other => Self::Pixels(other.to_string()),
        }
    }
}

impl From<FrameError> for TranscodeError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Source(error) => Self::Source(error.into()),
            FrameError::TooLong { .. } => Self::TooLarge(error.to_string()),
            other => Self::Pixels(other.to_string()),
        }
    }
}

impl From<SubjectError> for TranscodeError {
    fn from(error: SubjectError) -> Self {
        Self::Source(io::Error::other(error).into())
    }
}

impl From<AttributeError> for TranscodeError {
    fn from(error: AttributeError) -> Self {
        match error {
            AttributeError::Source(error) => Self::Source(error.into()),
            AttributeError::Odd(why) => Self::Pixels(why),
        }
    }
}
