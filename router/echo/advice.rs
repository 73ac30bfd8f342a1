//! For each way to fail: what it means, and what to try.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;

use super::report::Advised;
use super::tap::{Began, Tongue as Spoken};
use crate::dicom::{AeTitle, Status};
use crate::dimse::pdu::Rejection;
use crate::dimse::requestor::StoreError;
use crate::dimse::{LinkError, OpenError};
use crate::tls::{Fault, HandshakeError, Tongue};

/// How much of what a peer or the system says is kept, in characters.
const LONGEST: usize = 200;

/// A failure with its explanation.
pub(super) fn advised(what: impl ToString, means: &str, attempt: &str) -> Advised {
    Advised { what: shown(&what.to_string(), LONGEST), means: means.to_owned(), attempt: attempt.to_owned() }
}

/// A text from outside: short, and without control characters.
pub(super) fn shown(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    for character in text.chars().take(longest) {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The name has no address.
pub(super) fn unresolved(host: &str, error: &io::Error) -> Advised {
    advised(
        format!("{host} cannot be resolved: {error}"),
        "The name is unknown, or the name server does not answer.",
        "Check the spelling and the name server of this machine, or use an address.",
    )
}

/// No address accepted a connection.
pub(super) fn unconnected(what: &str, kind: io::ErrorKind) -> Advised {
    match kind {
        io::ErrorKind::ConnectionRefused => advised(
            what,
            "The machine is there, but nothing listens on this port.",
            "Check the port, and that the peer is running. A firewall can refuse like this too.",
        ),
        io::ErrorKind::TimedOut => advised(
            what,
            "Nothing answered: a firewall drops the connection, or the machine is switched off.",
            "Check the address, and ask the network administrators to let this machine through to that port.",
        ),
        _ => advised(
            what,
            "There is no way to this machine from here.",
            "Check the address, the route and the VPN.",
        ),
    }
}

/// The connection did not become an encrypted one.
pub(super) fn unencrypted(error: &HandshakeError) -> Advised {
    let (means, attempt) = match error {
        HandshakeError::Timeout(_) => (
            "Connected, but no TLS came of it: the peer hangs, or waits for plain DICOM.",
            "Ask whether the port is one for TLS; try without TLS.",
        ),
        HandshakeError::NotTls(Tongue::Dicom) => (
            "The peer has no TLS on this port.",
            "Use its port for TLS, usually 2762; or send it plain DICOM, which is Unsecured.",
        ),
        HandshakeError::NotTls(_) => ("What listens there speaks another protocol.", "Check the port."),
        HandshakeError::Closed | HandshakeError::Left | HandshakeError::Io(_) => (
            "The peer hung up during the handshake: it has no TLS on this port, wants a client certificate, or only speaks old versions.",
            "Ask whether the port is one for TLS and what it wants; its log says why.",
        ),
        HandshakeError::OldVersion | HandshakeError::NoCommonCipher(_) => (
            "The peer is too old for TLS as it is spoken today.",
            "Put stunnel next to the peer: docs/SECURITY.md has the recipe.",
        ),
        HandshakeError::Certificate { fault: Fault::UnknownPin, .. } => (
            "The peer has another key than the pinned ones: it has a new certificate, or somebody else answers.",
            "Ask its administrator, on another way, for the pin of its certificate.",
        ),
        HandshakeError::Certificate { .. } => (
            "The peer cannot show that it is who it should be.",
            "Compare with its administrator, on another way; then correct ca, pins or server_name, or its certificate.",
        ),
        HandshakeError::Refused(_) => {
            ("The peer will not have us.", "Set certificate and key to what it knows; its log says why.")
        }
        HandshakeError::Protocol(_) => {
            ("What answers speaks TLS badly.", "Look for a proxy in between; the peer's log says more.")
        }
        HandshakeError::Name(_) => ("No certificate could be for such a name.", "Set server_name."),
        HandshakeError::Material(_) => ("One of our own files is of no use.", "Mend the file."),
    };
    // What is to be done with a pin needs all of it.
    let what = shown(&error.to_string(), 2 * LONGEST);
    Advised { what, means: means.to_owned(), attempt: attempt.to_owned() }
}

/// No association came about.
pub(super) fn unassociated(error: &OpenError, began: &Began, calling: &AeTitle, called: &AeTitle) -> Advised {
    match error {
        OpenError::Rejected(rejection) => rejected(error, *rejection, calling, called),
        OpenError::Link(link) => not_dicom(link, began).unwrap_or_else(|| match link {
            LinkError::Closed | LinkError::Aborted(_) => advised(
                link,
                "The peer hung up instead of answering: it refuses our address or AE title without saying so, or expects TLS on this port.",
                "Have this machine and its AE title added there; ask whether the port is one for TLS. The peer's log says why.",
            ),
            LinkError::Violation { .. } => advised(
                link,
                "What listens there speaks DICOM badly.",
                "Ask the vendor; the peer's log and this report belong together.",
            ),
            LinkError::Timeout(_) => advised(
                link,
                "Connected, but silent: the peer hangs, is at its limit of associations, or waits for TLS.",
                "Restart the peer or try later; ask whether the port is one for TLS; or allow more time with --timeout.",
            ),
            LinkError::Tls(error) => unencrypted(error),
            LinkError::Io(_) => advised(
                link,
                "The connection broke before there was an answer: the peer expects TLS on this port, or something in between cuts connections.",
                "Ask whether the port is one for TLS, and call it by TLS then; look for a firewall or a proxy in between.",
            ),
        }),
        OpenError::Contexts(_) => {
            advised(error, "This is a fault of this program.", "Please report it with this report.")
        }
    }
}

fn rejected(error: &OpenError, rejection: Rejection, calling: &AeTitle, called: &AeTitle) -> Advised {
    match (rejection.result, rejection.source, rejection.reason) {
        (_, 1, 3) => advised(
            error,
            &format!("The peer does not know the calling AE title \"{calling}\"."),
            "Have it added there exactly so, case included, with this machine's address; or call as a title it knows.",
        ),
        (_, 1, 7) => advised(
            error,
            &format!("The peer is not called \"{called}\"."),
            "Ask for its AE title; case counts. Look for an entry of another system with the same address.",
        ),
        (2, ..) => advised(
            error,
            "The peer is there, but busy or out of room.",
            "Try again later; if it stays so, its limit of associations is reached or its disk is full.",
        ),
        _ => advised(
            error,
            "The peer refuses us and does not say why.",
            "Its log says why. AE titles and its list of allowed addresses come first.",
        ),
    }
}

fn not_dicom(error: &LinkError, began: &Began) -> Option<Advised> {
    // What breaks the protocol in an answer that began as DICOM does is no other protocol.
    let (means, attempt) = match began.tongue() {
        Spoken::Nothing => return None,
        Spoken::Tls => (
            "The peer speaks TLS on this port, and plain DICOM was sent to it.",
            "Call it by TLS, or use its port for plain DICOM, usually 104 or 11112.",
        ),
        Spoken::Http => (
            "A web server listens there, not a DICOM one.",
            "Use the DICOM port, usually 104 or 11112. If it is DICOMweb, it is no peer of this kind.",
        ),
        Spoken::Ssh => ("A remote login server (SSH) listens there.", "Check the port."),
        Spoken::Text => ("What listens there speaks another protocol than DICOM.", "Check the port."),
        Spoken::Unknown if matches!(error, LinkError::Violation { what, .. } if what == "no DICOM") => {
            ("What listens there does not speak DICOM.", "Check the port.")
        }
        Spoken::Unknown => return None,
    };
    Some(advised(format!("{error}; it began with \"{}\"", began.shown()), means, attempt))
}

/// The association is there, but no answer to the C-ECHO.
pub(super) fn unechoed(error: &StoreError) -> Advised {
    match error {
        StoreError::Context(_) => advised(
            "Verification was not accepted",
            "The peer accepted us but takes no C-ECHO.",
            "Nothing has to be wrong: storing may still work, see the SOP classes.",
        ),
        StoreError::Link(LinkError::Timeout(_)) => advised(
            error,
            "The peer accepted us and then fell silent.",
            "Restart it, or try later; its log says what it waits for.",
        ),
        StoreError::Link(_) | StoreError::Source(_) => {
            advised(error, "The association broke.", "The peer's log says why.")
        }
    }
}

/// The peer answered the C-ECHO with something else than success.
pub(super) fn refused(status: Status) -> Advised {
    advised(
        status,
        "The peer is there, but answers C-ECHO with a failure.",
        "Ask its administrator what this status means there.",
    )
}

/// The association could not be released.
pub(super) fn unreleased(error: &LinkError) -> Advised {
    advised(
        error,
        "The C-ECHO itself was answered; the peer only did not say goodbye.",
        "Storing will work. If studies stay open at the peer, ask its vendor.",
    )
}

/// The folder cannot be used.
pub(super) fn unusable(what: &str, kind: io::ErrorKind) -> Advised {
    match kind {
        io::ErrorKind::PermissionDenied => advised(
            what,
            "This user may not write there.",
            "Give the folder to the user of the service, and run this command as that user.",
        ),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            advised(what, "Something else stands in the way of the folder.", "Check the path.")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            advised(what, "The disk or the quota is full.", "Make room.")
        }
        io::ErrorKind::ReadOnlyFilesystem => advised(
            what,
            "The file system cannot be written.",
            "Look at how it is mounted, and whether the disk has failed.",
        ),
        io::ErrorKind::TimedOut => advised(
            what,
            "The file system does not answer: a network share is probably away.",
            "Check the share and its server.",
        ),
        _ => advised(what, "The folder cannot be used.", "Check the path, the mount and the disk."),
    }
}

#[cfg(test)]
mod tests {
    use super::unassociated;
    use crate::dicom::AeTitle;
    use crate::dimse::{LinkError, OpenError};
    use crate::echo::tap::Began;

    #[test]
    fn whoever_breaks_off_before_an_answer_may_want_tls() {
        let title = AeTitle::from_wire(b"A");
        let broken = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for error in [LinkError::Closed, LinkError::Io(broken()), LinkError::Timeout("an answer")] {
            let advised = unassociated(&OpenError::Link(error), &Began::default(), &title, &title);
            assert!(advised.attempt.contains("whether the port is one for TLS"), "{advised:?}");
        }
    }
}
