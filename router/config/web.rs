//! A DICOMweb destination: its URL, who we are there, and how much it gets at once.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;

use super::tls::ClientTls;

/// A DICOMweb server that takes instances with STOW-RS (PS3.18 10.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebDestination {
    /// Where instances are posted.
    pub url: WebUrl,
    /// Who we are there.
    pub login: WebLogin,
    /// Bytes of data sets after which nothing more is put into a request; a larger object has one for itself.
    pub max_request: u64,
    /// Instances in a request.
    pub max_request_instances: usize,
    /// Requests under way at once.
    pub max_connections: usize,
    /// How long it may take.
    pub timeouts: WebTimeouts,
    /// TLS, where the URL is https.
    pub tls: Option<ClientTls>,
}

/// How long a DICOMweb server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebTimeouts {
    /// To accept the connection.
    pub connect: Duration,
    /// To take the next bytes of a request.
    pub transfer: Duration,
    /// To answer when it has everything.
    pub answer: Duration,
}

/// Who we are at a DICOMweb server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebLogin {
    /// Nobody.
    Anonymous,
    /// Whoever has this token (RFC 6750).
    Bearer(SecretPlace),
    /// A user with a password (RFC 7617).
    Basic {
        /// The user's name, without a colon.
        user: String,
        /// The password.
        password: SecretPlace,
    },
}

/// Where a secret is. The secret itself is in no configuration, so that it is in no copy of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// A file that nobody else may read.
    File(PathBuf),
    /// A variable of the process's environment.
    Variable(String),
}

/// The URL of a studies resource, without credentials, query or fragment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebUrl {
    is_tls: bool,
    host: String,
    port: u16,
    path: String,
}

/// Why a text is no such URL. Never quotes it: it may have a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebUrlError {
    /// It cannot be read.
    #[error("is not a URL such as \"https://archive.example/dicom-web\"")]
    Odd,
    /// Neither http nor https.
    #[error("is neither an http nor an https URL")]
    Scheme,
    /// Something before an `@`.
    #[error("has credentials in it: use token_file, or user and password_file")]
    Credentials,
    /// Something behind a `?` or `#`.
    #[error("has a query or a fragment")]
    Query,
}

impl FromStr for WebUrl {
    type Err = WebUrlError;

    /// The URL of the service or of its `/studies`.
    fn from_str(text: &str) -> Result<Self, WebUrlError> {
        if text.contains(['?', '#']) {
            return Err(WebUrlError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| WebUrlError::Odd)?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(WebUrlError::Scheme),
            None => return Err(WebUrlError::Odd),
        };
        let authority = uri.authority().ok_or(WebUrlError::Odd)?;
        if authority.as_str().contains('@') {
            return Err(WebUrlError::Credentials);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let given = authority.as_str().rsplit_once(':').map(|(_, port)| port).filter(|p| !p.contains(']'));
        let port = match (given, authority.port_u16()) {
            (_, Some(port)) if port != 0 => port,
            (None, None) => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            _ => return Err(WebUrlError::Odd),
        };
        if host.is_empty() {
            return Err(WebUrlError::Odd);
        }
        let service = uri.path().trim_end_matches('/');
        let service = service.strip_suffix("/studies").unwrap_or(service);
        Ok(Self { is_tls, host, port, path: format!("{service}/studies") })
    }
}

impl WebUrl {
    /// Whether it is https.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// A host name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of the studies resource, such as `/dicom-web/studies`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port as the `Host` header has them, the port only where it is not the usual one.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::{WebUrl, WebUrlError};

    #[test]
    fn the_url_of_a_service_and_of_its_studies_are_the_same() {
        for (text, shown) in [
            ("http://archive/dicom-web", "http://archive/dicom-web/studies"),
            ("http://Archive:80/dicom-web/studies/", "http://archive/dicom-web/studies"),
            ("https://archive:8443", "https://archive:8443/studies"),
            ("https://archive/", "https://archive/studies"),
            ("http://[::1]:8042/dicom-web/", "http://[::1]:8042/dicom-web/studies"),
            (
                "https://health.example/v1/projects/p/dicomStores/s/dicomWeb",
                "https://health.example/v1/projects/p/dicomStores/s/dicomWeb/studies",
            ),
        ] {
            assert_eq!(text.parse::<WebUrl>().map(|url| url.to_string()).as_deref(), Ok(shown), "{text}");
        }
        let url: WebUrl = "https://[::1]/x".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.path(), url.is_tls()), ("::1", 443, "/x/studies", true));
    }

    #[test]
    fn what_is_no_url_of_a_service_is_refused_without_quoting_it() {
        for (text, error) in [
            ("", WebUrlError::Odd),
            ("archive", WebUrlError::Odd),
            ("/dicom-web", WebUrlError::Odd),
            ("http://", WebUrlError::Odd),
            ("http://archive:99999/", WebUrlError::Odd),
            ("http://archive:0/", WebUrlError::Odd),
            ("http://a b/", WebUrlError::Odd),
            ("ftp://archive/", WebUrlError::Scheme),
            ("https://user:secret@archive/", WebUrlError::Credentials),
            ("https://archive/?key=secret", WebUrlError::Query),
            ("https://archive/#secret", WebUrlError::Query),
        ] {
            assert_eq!(text.parse::<WebUrl>(), Err(error), "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
