//! The child's side.

use std::io::{self, Read, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use chrysalis_codecs::{Frame, Limits};

use super::Foreign;
use super::wire::{Request, write_answer};

/// The most address space that a child may have: 512 MiB.
pub const MEMORY: u64 = 512 << 20;

/// Answers requests until there are none. Whoever calls this has limited the process first.
///
/// # Errors
/// The pipe broke, or brought what is no request.
pub fn work(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let watch = watch()?;
    while let Some((request, bytes)) = Request::read(input)? {
        let _ = watch.send(Some(request.deadline));
        let answer = decode(request.codec, &bytes, request.limits);
        write_answer(output, &answer)?;
        let _ = watch.send(None);
    }
    Ok(())
}

/// Ends the process when a request takes longer than its deadline. The parent would do so too, if it still lives.
fn watch() -> io::Result<Sender<Option<Duration>>> {
    let (sender, receiver) = channel::<Option<Duration>>();
    let watcher = move || {
        while let Ok(started) = receiver.recv() {
            let Some(deadline) = started else { continue };
            match receiver.recv_timeout(deadline) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => std::process::exit(1),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    };
    std::thread::Builder::new().name("watch".into()).stack_size(64 << 10).spawn(watcher)?;
    Ok(sender)
}

#[cfg_attr(not(feature = "jpeg2000"), expect(unused_variables, reason = "each codec may be left out"))]
fn decode(codec: Foreign, bytes: &[u8], limits: Limits) -> Result<Frame, String> {
    match codec {
        #[cfg(feature = "jpeg2000")]
        Foreign::Jpeg2000 => {
            chrysalis_codecs::jpeg2000::decode_frame(bytes, limits).map_err(|error| error.to_string())
        }
        #[cfg(feature = "jpeg-ls")]
        Foreign::JpegLs => {
            chrysalis_codecs::jpeg_ls::decode_frame(bytes, limits).map_err(|error| error.to_string())
        }
        #[cfg(feature = "jpeg-xl")]
        Foreign::JpegXl => {
            chrysalis_codecs::jpeg_xl::decode_frame(bytes, limits).map_err(|error| error.to_string())
        }
        #[cfg(not(all(feature = "jpeg2000", feature = "jpeg-ls", feature = "jpeg-xl")))]
        _ => Err(format!("this program was built without {codec}")),
    }
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Jpeg2000 => "JPEG 2000",
            Self::JpegLs => "JPEG-LS",
            Self::JpegXl => "JPEG XL",
        })
    }
}
