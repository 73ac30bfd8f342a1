//! Who may ask what: the checks before every request.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Method, StatusCode, header};

use super::token::Token;

/// Longest request body, in bytes.
pub(super) const MAX_BODY: usize = 1 << 20;

/// A request that is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("this node is not called that; use its address, or localhost")]
    Host,
    #[error("a web page of another origin may not do this")]
    Origin,
    #[error("a body needs a Content-Length, and no Transfer-Encoding")]
    Framing,
    #[error("the body is too large")]
    Length,
    #[error("a token is needed: Authorization: Bearer, with the content of admin.token")]
    Token,
}

impl Denied {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Framing => StatusCode::BAD_REQUEST,
            Self::Length => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }
}

/// Decides about a request by its head alone. `address` is where the server listens, `peer` who asks.
pub(super) fn check(
    method: &Method,
    headers: &HeaderMap,
    address: SocketAddr,
    peer: SocketAddr,
    token: &Token,
) -> Result<(), Denied> {
    check_framing(headers)?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_ours(host, address) {
        return Err(Denied::Host);
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        if origin.is_none_or(|origin| origin != host) {
            return Err(Denied::Origin);
        }
    }
    let is_reading = method == Method::GET || method == Method::HEAD;
    if is_reading && peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    check_token(headers, token)
}

/// Decides by the token alone.
pub(super) fn check_token(headers: &HeaderMap, token: &Token) -> Result<(), Denied> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(given) if token.matches(given.trim()) => Ok(()),
        _ => Err(Denied::Token),
    }
}

/// Two lengths are how one request hides in another (RFC 9112 6.1), and by the time it comes here the one that does not
/// count is gone: so bodies come with a `Content-Length` only. One that is too long is refused before it is read.
fn check_framing(headers: &HeaderMap) -> Result<(), Denied> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Denied::Framing);
    }
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(()) };
    let length = length.to_str().ok().and_then(|length| length.parse::<u64>().ok());
    if length.is_none_or(|length| length > MAX_BODY as u64) { Err(Denied::Length) } else { Ok(()) }
}

/// Whether a `Host` names this server: by an address, which no name service can redirect, or as localhost. A name of
/// someone else's that resolves to us is how a web page reaches a server on the reader's own machine.
fn is_ours(host: &str, address: SocketAddr) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_known = name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| address.ip().is_unspecified() || ip == address.ip());
    is_known && port == Some(address.port())
}

#[cfg(test)]
mod tests {
    use super::{Denied, check};
    use crate::admin::Token;
    use axum::http::{HeaderMap, Method};

    fn ask(method: &Method, pairs: &[(&'static str, &str)], peer: &str) -> Result<(), Denied> {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::open(folder.path()).unwrap();
        let secret = std::fs::read_to_string(folder.path().join("admin.token")).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.replace("SECRET", secret.trim()).parse().unwrap());
        }
        check(method, &headers, "127.0.0.1:8080".parse().unwrap(), peer.parse().unwrap(), &token)
    }

    const HERE: &str = "127.0.0.1:5000";

    #[test]
    fn reading_is_free_on_loopback_and_needs_the_token_elsewhere() {
        assert_eq!(ask(&Method::GET, &[("host", "127.0.0.1:8080")], HERE), Ok(()));
        assert_eq!(ask(&Method::GET, &[("host", "localhost:8080")], HERE), Ok(()));
        assert_eq!(ask(&Method::GET, &[("host", "127.0.0.1:8080")], "10.0.0.1:5000"), Err(Denied::Token));
    }

    #[test]
    fn changing_needs_the_token_everywhere() {
        let host = ("host", "127.0.0.1:8080");
        assert_eq!(ask(&Method::POST, &[host], HERE), Err(Denied::Token));
        assert_eq!(ask(&Method::POST, &[host, ("authorization", "Bearer x")], HERE), Err(Denied::Token));
        assert_eq!(ask(&Method::POST, &[host, ("authorization", "Bearer SECRET")], HERE), Ok(()));
    }

    #[test]
    fn another_name_or_origin_is_refused_even_with_the_token() {
        let token = ("authorization", "Bearer SECRET");
        for host in ["evil.example:8080", "127.0.0.1", "127.0.0.1:80", "", "127.0.0.2:8080"] {
            assert_eq!(ask(&Method::POST, &[("host", host), token], HERE), Err(Denied::Host), "{host}");
        }
        for origin in ["http://evil.example", "null", "https://127.0.0.1:8080", "http://127.0.0.1:9"] {
            let pairs = [("host", "127.0.0.1:8080"), ("origin", origin), token];
            assert_eq!(ask(&Method::POST, &pairs, HERE), Err(Denied::Origin), "{origin}");
        }
        let own = [("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080"), token];
        assert_eq!(ask(&Method::POST, &own, HERE), Ok(()));
    }
}
