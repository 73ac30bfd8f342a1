//! How a session opens: three messages.

use std::time::Duration;

use bytes::Bytes;

use super::super::code::{LinkKey, Verifier};
use super::super::mux::{Mux, Side};
use super::super::wire::{Greeting, Hello, Malformed, Message, Nonce, VERSION, Welcome, Windows};
use super::{Close, Session};

/// The shortest and longest keepalive interval that a link takes.
const KEEPALIVE: std::ops::RangeInclusive<u32> = 100..=600_000;
/// The smallest window that makes sense.
const LEAST_WINDOW: u32 = 4 << 10;

/// Why no session came about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// A message that is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Another message than the one that has to come.
    #[error("{0} where {1} has to come")]
    OutOfOrder(&'static str, &'static str),
    /// No version in common.
    #[error("the other side speaks versions {lowest} to {highest} of the tunnel, this one {VERSION}")]
    Version {
        /// The lowest.
        lowest: u16,
        /// The highest.
        highest: u16,
    },
    /// The gateway does not know the code: it is not the one that this site was added to.
    #[error("the gateway does not know this site's code; it is not the gateway that the code is from")]
    FalseGateway,
    /// A value that makes no sense.
    #[error("{0}")]
    Value(&'static str),
    /// No such site, or not its code.
    #[error("unknown site or wrong code")]
    Unauthorised,
}

impl OpeningError {
    /// With what the connection is closed.
    pub fn close(&self) -> Close {
        match self {
            Self::Version { .. } => Close::Version,
            Self::FalseGateway | Self::Unauthorised => Close::Unauthorised,
            Self::Malformed(_) | Self::OutOfOrder(..) | Self::Value(_) => Close::Protocol,
        }
    }
}

/// The link's side, until the session is open.
#[derive(Debug)]
pub struct LinkOpening {
    site: String,
    key: LinkKey,
    nonce: Nonce,
    windows: Windows,
    said: Option<(Message, Hello)>,
}

/// What follows from a message.
#[derive(Debug)]
pub enum Step<T> {
    /// This is to be sent.
    Say(Bytes),
    /// The session is open.
    Open(T),
}

/// What a session is opened with.
#[derive(Debug)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// What the other side calls itself.
    pub software: String,
}

impl LinkOpening {
    /// Waits for the gateway's greeting. The nonce must be a new one.
    pub fn new(site: &str, key: LinkKey, nonce: Nonce, windows: Windows) -> Self {
        Self { site: site.to_owned(), key, nonce, windows, said: None }
    }

    /// A message has come.
    ///
    /// # Errors
    /// [`OpeningError`]: there will be no session.
    pub fn received(&mut self, bytes: Bytes, now: Duration) -> Result<Step<Opened>, OpeningError> {
        match (Message::decode(bytes)?, self.said.take()) {
            (Message::Greeting(greeting), None) => self.greeted(greeting),
            (Message::Welcome(welcome), Some((greeting, hello))) => {
                if !self.key.accepts(&greeting, &hello, &welcome.proof) {
                    return Err(OpeningError::FalseGateway);
                }
                if !KEEPALIVE.contains(&welcome.keepalive) {
                    return Err(OpeningError::Value("the gateway's keepalive is none"));
                }
                let mux = Mux::new(Side::Link, self.windows, sensible(welcome.windows)?);
                let keepalive = Duration::from_millis(welcome.keepalive.into());
                let session = Session::new(mux, keepalive, now);
                Ok(Step::Open(Opened { session, software: welcome.software }))
            }
            (message, None) => Err(OpeningError::OutOfOrder(message.name(), "GREETING")),
            (message, Some(_)) => Err(OpeningError::OutOfOrder(message.name(), "WELCOME")),
        }
    }

    fn greeted(&mut self, greeting: Greeting) -> Result<Step<Opened>, OpeningError> {
        let Greeting { lowest, highest, .. } = greeting;
        if !(lowest..=highest).contains(&VERSION) {
            return Err(OpeningError::Version { lowest, highest });
        }
        let greeting = Message::Greeting(greeting);
        let hello = Hello {
            version: VERSION,
            site: self.site.clone(),
            nonce: self.nonce,
            proof: [0; 32],
            windows: self.windows,
            software: software(),
        };
        let hello = self.key.sign(&greeting, hello);
        let said = Message::Hello(hello.clone()).encode();
        self.said = Some((greeting, hello));
        Ok(Step::Say(said))
    }
}

/// The gateway's side, until the session is open.
#[derive(Debug)]
pub struct GatewayOpening {
    greeting: Message,
}

/// A hello, of a link that has the code of its site.
#[derive(Debug)]
pub struct Judged {
    /// The site.
    pub site: String,
    /// What the link calls itself.
    pub software: String,
    proof: [u8; 32],
    windows: Windows,
}

impl GatewayOpening {
    /// Waits for the link's hello, after [`GatewayOpening::greeting`] has been sent. The nonce must be a new one.
    pub fn new(nonce: Nonce) -> Self {
        Self { greeting: Message::Greeting(Greeting { lowest: VERSION, highest: VERSION, nonce }) }
    }

    /// The first message.
    pub fn greeting(&self) -> Bytes {
        self.greeting.encode()
    }

    /// The link's hello has come; `look_up` knows what is kept of a site's code.
    ///
    /// # Errors
    /// [`OpeningError`]: there will be no session.
    pub fn received(
        &self,
        bytes: Bytes,
        look_up: impl FnOnce(&str) -> Option<Verifier>,
    ) -> Result<Judged, OpeningError> {
        let hello = match Message::decode(bytes)? {
            Message::Hello(hello) => hello,
            other => return Err(OpeningError::OutOfOrder(other.name(), "HELLO")),
        };
        if hello.version != VERSION {
            return Err(OpeningError::Version { lowest: hello.version, highest: hello.version });
        }
        let verifier = look_up(&hello.site).unwrap_or_else(Verifier::nobodys);
        let proof = verifier.answer(&self.greeting, &hello).ok_or(OpeningError::Unauthorised)?;
        let windows = sensible(hello.windows)?;
        Ok(Judged { site: hello.site, software: hello.software, proof, windows })
    }
}

impl Judged {
    /// The welcome, and the session that begins with it.
    pub fn open(&self, ours: Windows, keepalive: Duration, now: Duration) -> (Bytes, Session) {
        let milliseconds = u32::try_from(keepalive.as_millis()).unwrap_or(u32::MAX);
        let milliseconds = milliseconds.clamp(*KEEPALIVE.start(), *KEEPALIVE.end());
        let welcome =
            Welcome { proof: self.proof, windows: ours, keepalive: milliseconds, software: software() };
        let mux = Mux::new(Side::Gateway, ours, self.windows);
        let session = Session::new(mux, Duration::from_millis(milliseconds.into()), now);
        (Message::Welcome(welcome).encode(), session)
    }
}

fn sensible(windows: Windows) -> Result<Windows, OpeningError> {
    if windows.stream < LEAST_WINDOW || windows.session < windows.stream || windows.streams == 0 {
        return Err(OpeningError::Value("the other side's windows are none"));
    }
    Ok(windows)
}

fn software() -> String {
    concat!("chrysalis ", env!("CARGO_PKG_VERSION")).to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::code::{Code, Verifier};
    use super::{GatewayOpening, LinkOpening, OpeningError, Step};
    use crate::tunnel::session::Close;
    use crate::tunnel::wire::{Greeting, Message, Windows};

    const WINDOWS: Windows = Windows { stream: 1 << 20, session: 1 << 20, streams: 4 };
    const NOW: Duration = Duration::ZERO;

    fn link(code: &Code) -> LinkOpening {
        LinkOpening::new("north", code.link_key(), [1; 32], WINDOWS)
    }

    fn said<T>(step: Step<T>) -> bytes::Bytes {
        match step {
            Step::Say(bytes) => bytes,
            Step::Open(_) => panic!("open already"),
        }
    }

    #[test]
    fn three_messages_open_a_session_on_both_sides() {
        let code = Code::generate().unwrap();
        let (mut link, gateway) = (link(&code), GatewayOpening::new([2; 32]));
        let hello = said(link.received(gateway.greeting(), NOW).unwrap());
        let look_up = |site: &str| (site == "north").then(|| code.verifier());
        let judged = gateway.received(hello, look_up).unwrap();
        let (welcome, _) = judged.open(WINDOWS, Duration::from_secs(15), NOW);
        assert!(matches!(link.received(welcome, NOW), Ok(Step::Open(_))));
    }

    #[test]
    fn what_opens_no_session_is_told_apart() {
        let code = Code::generate().unwrap();
        let gateway = GatewayOpening::new([2; 32]);
        let refused =
            |bytes, verifier: Option<Verifier>| gateway.received(bytes, |_| verifier).map(drop).unwrap_err();
        let hello = || said(link(&code).received(gateway.greeting(), NOW).unwrap());
        assert_eq!(refused(hello(), None), OpeningError::Unauthorised);
        let other = Code::generate().unwrap().verifier();
        assert_eq!(refused(hello(), Some(other)), OpeningError::Unauthorised);
        let recorded = said(link(&code).received(GatewayOpening::new([3; 32]).greeting(), NOW).unwrap());
        assert_eq!(refused(recorded, Some(code.verifier())), OpeningError::Unauthorised);
        let ping = Message::Ping(1).encode();
        assert_eq!(refused(ping.clone(), None), OpeningError::OutOfOrder("PING", "HELLO"));
        assert!(matches!(link(&code).received(ping, NOW), Err(OpeningError::OutOfOrder("PING", "GREETING"))));
        let future = Message::Greeting(Greeting { lowest: 2, highest: 3, nonce: [0; 32] }).encode();
        let error = link(&code).received(future, NOW).map(drop).unwrap_err();
        assert_eq!((error.close(), error), (Close::Version, OpeningError::Version { lowest: 2, highest: 3 }));
    }

    #[test]
    fn a_gateway_that_does_not_know_the_code_is_no_gateway() {
        let (code, other) = (Code::generate().unwrap(), Code::generate().unwrap());
        let (mut link, gateway) = (link(&code), GatewayOpening::new([2; 32]));
        let greeting = gateway.greeting();
        said(link.received(greeting.clone(), NOW).unwrap());
        let stranger = LinkOpening::new("north", other.link_key(), [1; 32], WINDOWS).received(greeting, NOW);
        let judged = gateway.received(said(stranger.unwrap()), |_| Some(other.verifier())).unwrap();
        let (welcome, _) = judged.open(WINDOWS, Duration::from_secs(15), NOW);
        assert_eq!(link.received(welcome, NOW).map(drop).unwrap_err(), OpeningError::FalseGateway);
    }
}
