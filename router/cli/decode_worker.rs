//! `chrysalis decode-worker`: decodes frames for a router that started it, away from the router's own memory. Not for people.

use crate::platform;
use crate::transcode::isolated::{MEMORY, work};

/// Limits this process, then answers requests on standard input until it ends.
///
/// # Errors
/// The limits cannot be set, or the pipes broke.
pub fn run() -> anyhow::Result<()> {
    platform::confine(MEMORY)?;
    work(&mut std::io::stdin().lock(), &mut std::io::stdout().lock())?;
    Ok(())
}
