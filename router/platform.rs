//! The only file of the router with calls that exist on some platforms and not on others.

use tokio::net::TcpStream;

/// Asks the kernel to acknowledge what arrives at once instead of waiting some 40 ms for data to carry it.
///
/// Linux forgets the request after a while, so it is made again before every read. It matters with peers that leave Nagle's
/// algorithm on and write a PDU in two pieces. Elsewhere nothing is done; a failure is harmless and ignored.
#[cfg(target_os = "linux")]
pub fn acknowledge_at_once(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
}

/// See the Linux version: other platforms have no such option.
#[cfg(not(target_os = "linux"))]
pub fn acknowledge_at_once(_stream: &TcpStream) {}

/// Returns when the process is asked to end: SIGTERM or SIGINT.
///
/// # Errors
/// The signal handlers cannot be installed.
#[cfg(unix)]
pub async fn termination() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Returns when the process is asked to end: Ctrl-C.
///
/// # Errors
/// The handler cannot be installed.
#[cfg(not(unix))]
pub async fn termination() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
