//! `[[relay]]`: connections that are handed on byte for byte.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::file::{Read, Section};
use super::meaning::HostPort;
use super::names::RelayName;
use super::read::{host_port, name, network, socket_address, timeout};
use super::read_tls;
use super::tls::{ClientTls, ServerTls};
use crate::tls::Security;

/// One relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Logs and metrics name it by this.
    pub name: RelayName,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The service that it connects to.
    pub connect: HostPort,
    /// TLS with those who call; plain without.
    pub tls: Option<ServerTls>,
    /// TLS with the service; plain without.
    pub connect_tls: Option<ClientTls>,
    /// Networks that may connect; empty means any.
    pub allow: Vec<IpNet>,
    /// Proxies that say whom they speak for, by the PROXY protocol; from them a header is required.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections open at once.
    pub max_connections: usize,
    /// And from one address.
    pub max_per_address: usize,
    /// How long things may take.
    pub timeouts: RelayTimeouts,
}

/// How long a relay waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayTimeouts {
    /// For the service to accept, TLS with it included; and for the header of a trusted proxy.
    pub connect: Duration,
    /// For a byte from either side.
    pub idle: Duration,
}

impl Relay {
    /// Whether a caller of this address may connect.
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.is_empty() || self.allow.iter().any(|network| network.contains(&address))
    }

    /// Whether the service is verified, and what is sent to it encrypted.
    pub fn security(&self) -> Security {
        self.connect_tls.as_ref().map_or(Security::Unsecured, ClientTls::security)
    }
}

const COUNT: RangeInclusive<u64> = 1..=65_535;

pub(super) fn relay(section: &Section<'_>) -> Read<Relay> {
    let name = name(section);
    let listen = section.required("listen", socket_address);
    let connect = section.required("connect", host_port);
    let tls = read_tls::server(section);
    let connect_tls = read_tls::client_at(section, "connect_tls");
    let allow = section.each("allow", network);
    let trusted_proxies = section.each("trusted_proxies", network);
    let max_connections = section.or("max_connections", 64, |item| item.count(COUNT));
    let max_per_address = section.or("max_per_address", 16, |item| item.count(COUNT));
    let timeouts = timeouts(&section.table("timeouts"));
    Ok(Relay {
        name: name?,
        listen: listen?,
        connect: connect?,
        tls: tls?,
        connect_tls: connect_tls?,
        allow: allow?,
        trusted_proxies: trusted_proxies?,
        max_connections: max_connections?,
        max_per_address: max_per_address?,
        timeouts: timeouts?,
    })
}

fn timeouts(section: &Section<'_>) -> Read<RelayTimeouts> {
    let connect = section.or("connect", Duration::from_secs(10), timeout);
    let idle = section.or("idle", Duration::from_secs(3600), timeout);
    Ok(RelayTimeouts { connect: connect?, idle: idle? })
}
