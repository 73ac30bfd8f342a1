//! From `[listener.tls]` and `[destination.tls]` as written to what they mean. The files that they name are not looked at
//! here: whoever uses them does, and says what they are.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::file::{Item, Read, Section};
use super::read::{ae_list, non_empty, path, timeout};
use super::tls::{
    CertificateIdentity, CertificateMatch, ClientAuth, ClientTls, ServerTls, TlsVersion, Verify,
};

/// How long a handshake may take unless it is said.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The table `tls` of somebody who is called; none where it is not there.
pub(super) fn server(parent: &Section<'_>) -> Read<Option<ServerTls>> {
    let Some(item) = parent.get("tls") else { return Ok(None) };
    let section = item.section()?;
    let certificate = section.required("certificate", path);
    let key = section.required("key", path);
    let client = section.or("client", ClientAuth::None, |item| {
        item.choice(&[
            ("none", ClientAuth::None),
            ("optional", ClientAuth::Optional),
            ("required", ClientAuth::Required),
        ])
    });
    let ca = optional_path(&section, "ca");
    let min_version = section.or("min_version", TlsVersion::V12, |item| {
        item.choice(&[("1.2", TlsVersion::V12), ("1.3", TlsVersion::V13)])
    });
    let handshake = section.or("handshake", HANDSHAKE, timeout);
    let identities = section.each("identity", identity);
    let tls = ServerTls {
        certificate: certificate?,
        key: key?,
        client: client?,
        ca: ca?,
        min_version: min_version?,
        handshake: handshake?,
        identities: identities?,
    };
    fits_together(&section, &tls)?;
    Ok(Some(tls))
}

fn fits_together(section: &Section<'_>, tls: &ServerTls) -> Read<()> {
    let is_pin = |known: &CertificateIdentity| matches!(known.certificate, CertificateMatch::Pin(_));
    match tls.client {
        ClientAuth::None if tls.ca.is_some() => {
            Err(section.fail("ca", "asks nobody: set client to \"optional\" or \"required\""))
        }
        ClientAuth::None if !tls.identities.is_empty() => {
            Err(section.fail("identity", "asks nobody: set client to \"optional\" or \"required\""))
        }
        ClientAuth::Optional | ClientAuth::Required
            if tls.ca.is_none() && !tls.identities.iter().any(is_pin) =>
        {
            Err(section.fail(
                "client",
                "no certificate could be good: name authorities as ca, or pin certificates under identity",
            ))
        }
        ClientAuth::Optional | ClientAuth::Required
            if tls.ca.is_none() && !tls.identities.iter().all(is_pin) =>
        {
            Err(section
                .fail("identity", "a san or subject proves nothing without authorities: name them as ca"))
        }
        _ => Ok(()),
    }
}

fn identity(item: &Item<'_>) -> Read<CertificateIdentity> {
    let section = item.section()?;
    let san = section.or("san", None, |item| text(item).map(|san| Some(CertificateMatch::San(san))));
    let subject =
        section.or("subject", None, |item| text(item).map(|name| Some(CertificateMatch::Subject(name))));
    let pin = section.or("pin", None, |item| item.parse().map(|pin| Some(CertificateMatch::Pin(pin))));
    let calling_ae = match section.get("calling_ae") {
        Some(item) => match ae_list(&section, "calling_ae") {
            Ok(titles) if titles.is_empty() => Err(item.fail("is empty")),
            titles => titles,
        },
        None => Err(section.fail("calling_ae", "is required")),
    };
    let mut named = [san?, subject?, pin?].into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(certificate), None) => Ok(CertificateIdentity { certificate, calling_ae: calling_ae? }),
        (None, _) => Err(item.fail("one of san, subject and pin is required")),
        (Some(_), Some(_)) => Err(item.fail("only one of san, subject and pin can be given")),
    }
}

/// What can stand in a certificate.
fn server_name(item: &Item<'_>) -> Read<String> {
    let name = text(item)?;
    match ServerName::try_from(name.trim_end_matches('.')) {
        Ok(_) => Ok(name),
        Err(_) => Err(item.fail(format!("{name:?} is neither a host name nor an address"))),
    }
}

fn text(item: &Item<'_>) -> Read<String> {
    match item.text()? {
        "" => Err(item.fail("is empty")),
        text => Ok(text.to_owned()),
    }
}

#[derive(Clone, Copy)]
enum Word {
    Ca,
    Pin,
    Nobody,
}

/// The table `tls` of somebody we call; none where it is not there.
pub(super) fn client(parent: &Section<'_>) -> Read<Option<ClientTls>> {
    client_at(parent, "tls")
}

/// The same under another name.
pub(super) fn client_at(parent: &Section<'_>, name: &str) -> Read<Option<ClientTls>> {
    let Some(item) = parent.get(name) else { return Ok(None) };
    let section = item.section()?;
    let verify = section.or("verify", Word::Ca, |item| {
        item.choice(&[("ca", Word::Ca), ("pin", Word::Pin), ("none", Word::Nobody)])
    });
    let ca = optional_path(&section, "ca");
    let pins = non_empty(&section, "pins", Item::parse);
    let server_name = section.or("server_name", None, |item| server_name(item).map(Some));
    let certificate = optional_path(&section, "certificate");
    let key = optional_path(&section, "key");
    let (ca, pins) = (ca?, pins?);
    let verify = match (verify?, ca, pins.is_empty()) {
        (Word::Ca, ca, true) => Verify::Ca(ca),
        (Word::Ca, ca, false) => Verify::CaAndPin(ca, pins),
        (Word::Pin, None, false) => Verify::Pin(pins),
        (Word::Pin, None, true) => return Err(section.fail("pins", "is required to verify by pin")),
        (Word::Nobody, None, true) => Verify::Nobody,
        (Word::Nobody, None, false) => {
            return Err(section.fail("pins", "has no meaning when nobody is verified: set verify = \"pin\""));
        }
        (Word::Pin | Word::Nobody, Some(_), _) => {
            return Err(section.fail("ca", "is for verify = \"ca\", which may have pins too"));
        }
    };
    let identity = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(section.fail("key", "is required with a certificate")),
        (None, Some(_)) => return Err(section.fail("certificate", "is required with a key")),
    };
    Ok(Some(ClientTls { verify, server_name: server_name?, identity }))
}

fn optional_path(section: &Section<'_>, name: &str) -> Read<Option<PathBuf>> {
    section.or(name, None, |item| path(item).map(Some))
}

#[cfg(test)]
mod tests {
    use crate::config::{CertificateMatch, ClientAuth, Config, DestinationKind, TlsVersion, Verify};

    const PIN: &str = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn listener(tls: &str) -> Result<Config, String> {
        let text = format!("[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:104\"\n[listener.tls]\n{tls}");
        Config::parse(&text, "test").map_err(|error| error.to_string())
    }

    fn destination(tls: &str) -> Result<Verify, String> {
        let text = format!(
            "[[destination]]\nname = \"a\"\nkind = \"dicom\"\naddress = \"pacs:2762\"\ncalled_ae = \"P\"\ntls = {{ {tls} }}"
        );
        let config = Config::parse(&text, "test").map_err(|error| error.to_string())?;
        match &config.destinations[0].kind {
            DestinationKind::Dicom(dicom) => Ok(dicom.tls.clone().expect("TLS").verify),
            _ => Err("another kind".to_owned()),
        }
    }

    #[test]
    fn a_listener_has_tls_with_titles_bound_to_certificates() {
        let config = listener(&format!(
            "certificate = \"a.pem\"\nkey = \"b.pem\"\nclient = \"required\"\nca = \"c.pem\"\nmin_version = \"1.3\"\n\
             [[listener.tls.identity]]\nsan = \"ct1.example.org\"\ncalling_ae = [\"CT1\"]\n\
             [[listener.tls.identity]]\npin = \"{PIN}\"\ncalling_ae = [\"US1\", \"US2\"]\n"
        ))
        .expect("a configuration");
        let tls = config.listeners[0].tls.clone().expect("TLS");
        assert_eq!((tls.client, tls.min_version), (ClientAuth::Required, TlsVersion::V13));
        assert_eq!(tls.handshake.as_secs(), 10);
        assert_eq!(tls.identities[0].certificate, CertificateMatch::San("ct1.example.org".to_owned()));
        assert_eq!(tls.identities[1].calling_ae.len(), 2);
    }

    #[test]
    fn what_can_let_nobody_in_or_proves_nothing_is_refused() {
        let files = "certificate = \"a.pem\"\nkey = \"b.pem\"\n";
        let identity = |how: &str| format!("[[listener.tls.identity]]\n{how}\n");
        let ask = "client = \"optional\"\n";
        for (more, expected) in [
            ("client = \"required\"".to_owned(), "no certificate could be good"),
            ("ca = \"c.pem\"".to_owned(), "asks nobody"),
            (identity(&format!("pin = \"{PIN}\"\ncalling_ae = [\"A\"]")), "asks nobody"),
            (
                format!("{ask}ca = \"c.pem\"\n{}", identity("calling_ae = [\"A\"]")),
                "one of san, subject and pin",
            ),
            (format!("{ask}ca = \"c.pem\"\n{}", identity("san = \"a\"")), "calling_ae: is required"),
            (
                format!(
                    "{ask}ca = \"c.pem\"\n{}",
                    identity("san = \"a\"\nsubject = \"b\"\ncalling_ae = [\"A\"]")
                ),
                "only one of",
            ),
            (
                format!("{ask}{}", identity("san = \"a\"\ncalling_ae = [\"A\"]")),
                "no certificate could be good",
            ),
            ("min_version = \"1.1\"".to_owned(), "1.2"),
            ("passphrase = \"x\"".to_owned(), "unknown key"),
        ] {
            let error = listener(&format!("{files}{more}")).expect_err(&more);
            assert!(error.contains(expected), "{more}: {error}");
        }
        assert!(
            listener("certificate = \"a.pem\"")
                .expect_err("no key")
                .contains("listener.tls.key: is required")
        );
    }

    #[test]
    fn a_destination_is_verified_by_authorities_by_pins_by_both_or_not_at_all() {
        assert_eq!(destination(""), Ok(Verify::Ca(None)));
        assert_eq!(destination("ca = \"c.pem\""), Ok(Verify::Ca(Some("c.pem".into()))));
        let pin = PIN.parse().expect("a pin");
        let pins = format!("pins = [\"{PIN}\"]");
        assert_eq!(destination(&pins), Ok(Verify::CaAndPin(None, vec![pin])));
        assert_eq!(destination(&format!("verify = \"pin\", {pins}")), Ok(Verify::Pin(vec![pin])));
        assert_eq!(destination("verify = \"none\""), Ok(Verify::Nobody));
        for name in ["pacs_1.example.org", "192.0.2.1", "fd00::1", "pacs.example.org."] {
            assert_eq!(destination(&format!("server_name = \"{name}\"")), Ok(Verify::Ca(None)), "{name}");
        }
        for (text, expected) in [
            ("verify = \"pin\"".to_owned(), "pins: is required"),
            (format!("verify = \"none\", {pins}"), "has no meaning"),
            ("verify = \"none\", ca = \"c.pem\"".to_owned(), "is for verify"),
            ("certificate = \"c.pem\"".to_owned(), "key: is required"),
            ("server_name = \"a b\"".to_owned(), "destination.tls.server_name: \"a b\" is neither"),
            ("pins = []".to_owned(), "is empty"),
            ("pins = [\"x\"]".to_owned(), "is not a pin"),
        ] {
            let error = destination(&text).expect_err(&text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
