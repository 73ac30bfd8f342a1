//! Ports for servers that are stopped and started again.
//!
//! A port given by the kernel comes from the range of outgoing connections, so that while its server is down any
//! connection on the machine may take it. These ports lie below that range.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range of outgoing connections on Linux (32768) and above the ports that services use.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// An address of 127.0.0.1 on which nobody listens.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Tests run in many processes at once: each starts somewhere else.
    let own = std::process::id().wrapping_mul(2_654_435_761) % COUNT;
    for _ in 0..COUNT {
        let port = FIRST + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = (Ipv4Addr::LOCALHOST, port as u16).into();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}
