#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Decoders that others wrote, for what only has to be decoded, and seldom: JPEG-LS, JPEG 2000, JPEG XL. Where there is an
//! executable for it, they run in a child process, so that a hostile stream takes nobody down with it; else here.

use std::path::PathBuf;

use chrysalis_codecs::Frame;

use super::TranscodeError;
use super::isolated::{Foreign, Isolated, IsolatedError};
use super::plan::LIMITS;

/// Decodes frames in children, or here.
#[derive(Debug)]
pub(crate) struct Decoders {
    isolated: Option<Isolated>,
}

impl Decoders {
    /// With at most `children` children of an executable, or none.
    pub(crate) fn new(executable: Option<PathBuf>, children: usize) -> Self {
        Self { isolated: executable.map(|executable| Isolated::new(executable, children)) }
    }

    /// Decodes one frame.
    ///
    /// # Errors
    /// [`TranscodeError::Pixels`] with what the decoder says; [`TranscodeError::Cache`] when no child can be started.
    pub(crate) fn decode(&self, codec: Foreign, bytes: &[u8]) -> Result<Frame, TranscodeError> {
        let Some(isolated) = &self.isolated else {
            return here(codec, bytes).map_err(TranscodeError::Pixels);
        };
        isolated.decode(codec, bytes, LIMITS).map_err(|error| match error {
            IsolatedError::Start(error) => TranscodeError::Cache(error.into()),
            other => TranscodeError::Pixels(other.to_string()),
        })
    }
}

fn here(codec: Foreign, bytes: &[u8]) -> Result<Frame, String> {
    match codec {
        #[cfg(feature = "jpeg-ls")]
        Foreign::JpegLs => chrysalis_codecs::jpeg_ls::decode_frame(bytes, LIMITS).map_err(|e| e.to_string()),
        #[cfg(feature = "jpeg2000")]
        Foreign::Jpeg2000 => {
            chrysalis_codecs::jpeg2000::decode_frame(bytes, LIMITS).map_err(|e| e.to_string())
        }
        #[cfg(feature = "jpeg-xl")]
        Foreign::JpegXl => chrysalis_codecs::jpeg_xl::decode_frame(bytes, LIMITS).map_err(|e| e.to_string()),
        #[cfg(not(all(feature = "jpeg-ls", feature = "jpeg2000", feature = "jpeg-xl")))]
        _ => {
            let _ = bytes;
            Err("this program was not built to decode it".into())
        }
    }
}
