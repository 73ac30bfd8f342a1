//! What is told about a peer. Pure.

use std::fmt;

use rustls::AlertDescription;
use time::OffsetDateTime;

use crate::cert::show::Shown;
use crate::tls::{Fault, HandshakeError, Leaf};

/// Everything that was found out.
#[derive(Debug)]
pub struct Report {
    /// Where the peer listens.
    pub address: String,
    /// When it was looked at.
    pub now: OffsetDateTime,
    /// The versions, newest first.
    pub versions: Vec<(&'static str, Taken)>,
    /// What it makes of TLS 1.2 with ciphers that are not wanted any more.
    pub old_suites: Taken,
    /// Its certificate, and the authorities it sends along.
    pub chain: Vec<Leaf>,
    /// Whether it asks for a client certificate.
    pub asks: Asks,
    /// Our own certificate, if it was shown one.
    pub own: Option<Leaf>,
    /// What came of each way to verify it.
    pub verdicts: Vec<Verdict>,
}

/// What a peer makes of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It speaks it, with this cipher suite.
    Yes(String),
    /// It does not, and says or does this.
    No(String),
    /// It says nothing in time.
    Silence,
}

/// Whether a peer asks for a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// It does not.
    No,
    /// It asks, and goes on without.
    Optional,
    /// It asks, and goes on with the one it was shown.
    Shown,
    /// It does not go on without a good one.
    Required,
    /// It does not go on with the one it was shown, and says so.
    Refused(AlertDescription),
}

/// What comes of one value of `verify`.
#[derive(Debug)]
pub struct Verdict {
    /// `ca`, `pin` or `none`.
    pub verify: &'static str,
    /// Nothing, or why there is no connection.
    pub outcome: Result<(), HandshakeError>,
}

/// The secure transport connection profile of PS3.15 that a peer meets, as far as can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// B.13: TLS 1.2 at least, and none of the ciphers that BCP 195 tolerates beside the good ones.
    Modified,
    /// B.12: TLS 1.2 at least.
    Bcp195,
    /// B.9, retired: TLS 1.2, and older versions with those who have nothing better.
    Downgrading,
    /// TLS 1.3 alone: safe, but the profiles demand TLS 1.2.
    Newest,
    /// None.
    None,
}

impl Report {
    /// Whether a destination can be configured that reaches the peer and verifies it.
    pub fn is_ok(&self) -> bool {
        let good = |verdict: &Verdict| verdict.verify != "none" && verdict.outcome.is_ok();
        self.verdicts.iter().any(good) && !self.asks.stops_us()
    }

    /// What mends a refusal of our side.
    fn certificate_fix(&self) -> String {
        match &self.own {
            None => "set certificate and key to a pair that the peer trusts".to_owned(),
            Some(own) => format!(
                "have the peer trust {}, or set certificate and key to a pair that it trusts",
                if own.is_self_signed() { &own.subject } else { &own.issuer }
            ),
        }
    }

    /// The profile that it meets.
    pub fn profile(&self) -> Profile {
        let takes = |name: &str| {
            self.versions.iter().any(|(version, taken)| *version == name && matches!(taken, Taken::Yes(_)))
        };
        let takes_old = ["TLS 1.1", "TLS 1.0", "SSL 3.0"].into_iter().any(takes);
        let takes_old_suites = matches!(self.old_suites, Taken::Yes(_));
        match (takes("TLS 1.2"), takes("TLS 1.3")) {
            (true, _) if takes("SSL 3.0") => Profile::None,
            (true, _) if takes_old => Profile::Downgrading,
            (true, _) if takes_old_suites => Profile::Bcp195,
            (true, _) => Profile::Modified,
            (false, true) => Profile::Newest,
            (false, false) => Profile::None,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modified => "PS3.15 B.13, modified BCP 195 (and so B.12, BCP 195), as far as is seen from outside",
            Self::Bcp195 => {
                "PS3.15 B.12, BCP 195; not B.13, the modified one: it takes ciphers without forward secrecy or AEAD too"
            }
            Self::Downgrading => {
                "PS3.15 B.9 only, which is retired: it takes versions before TLS 1.2, which should be switched off"
            }
            Self::Newest => "TLS 1.3 alone: safe, though the profiles of PS3.15 demand TLS 1.2 as well",
            Self::None => "none",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.address)?;
        for (version, taken) in &self.versions {
            match taken {
                Taken::Yes(suite) => writeln!(f, "  {version}  yes  {suite}")?,
                Taken::No(why) => writeln!(f, "  {version}  no   {why}")?,
                Taken::Silence => writeln!(f, "  {version}  no   no answer")?,
            }
        }
        match &self.old_suites {
            Taken::Yes(suite) => writeln!(f, "  TLS 1.2 with old ciphers  yes  {suite}")?,
            Taken::No(_) | Taken::Silence => writeln!(f, "  TLS 1.2 with old ciphers  no")?,
        }
        writeln!(f, "  profile  {}", self.profile())?;
        for (index, leaf) in self.chain.iter().enumerate() {
            let what = if index == 0 { "certificate" } else { "sent along" };
            write!(f, "\n{what}\n{}", Shown { leaf, now: self.now })?;
        }
        writeln!(f, "\nclient certificate\n  {}", self.asks)?;
        if let (Asks::Refused(_), Some(own)) = (self.asks, &self.own) {
            writeln!(f, "  ours is that of {}, issued by {}", own.subject, own.issuer)?;
        }
        if self.chain.is_empty() {
            return writeln!(f, "\n{}", nothing_in_common(self));
        }
        writeln!(f)?;
        for verdict in &self.verdicts {
            let verify = format!("verify = \"{}\"", verdict.verify);
            match &verdict.outcome {
                // In TLS 1.3 the handshake is over before a peer refuses for want of a certificate.
                Ok(()) if self.asks.stops_us() => {
                    let why = match self.asks {
                        Asks::Refused(alert) => HandshakeError::Refused(alert).to_string(),
                        _ => "the peer wants a client certificate".to_owned(),
                    };
                    writeln!(f, "{verify:16}  fails: {why}")?;
                    writeln!(f, "{:16}  fix: {}", "", self.certificate_fix())?;
                }
                Ok(()) if verdict.verify == "none" => writeln!(f, "{verify:16}  connects, Unsecured")?,
                Ok(()) => writeln!(f, "{verify:16}  connects, Secured")?,
                Err(error @ HandshakeError::Refused(_)) => {
                    writeln!(f, "{verify:16}  fails: {error}")?;
                    writeln!(f, "{:16}  fix: {}", "", self.certificate_fix())?;
                }
                Err(error) => {
                    writeln!(f, "{verify:16}  fails: {error}")?;
                    writeln!(f, "{:16}  fix: {}", "", fix(error, self.chain.first()))?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "not asked for: anonymous",
            Self::Optional => "asked for, and not required",
            Self::Shown => "asked for, and ours was taken",
            Self::Required => "required: set certificate and key to a pair that the peer trusts",
            Self::Refused(alert) => {
                return write!(f, "asked for, and ours was refused: {}", HandshakeError::Refused(*alert));
            }
        })
    }
}

impl Asks {
    /// Whether no connection comes about for want of a certificate that the peer takes.
    fn stops_us(self) -> bool {
        matches!(self, Self::Required | Self::Refused(_))
    }
}

/// Why no certificate was seen.
fn nothing_in_common(report: &Report) -> &'static str {
    let says = |what: &str| {
        report.versions.iter().any(|(_, taken)| matches!(taken, Taken::No(why) if why.contains(what)))
    };
    let takes_old = report.versions.iter().any(|(_, taken)| matches!(taken, Taken::Yes(_)));
    match &report.old_suites {
        Taken::Yes(_) => {
            "The peer has only ciphers without forward secrecy: switch ECDHE with AES-GCM on there, or put stunnel before it (see SECURITY)."
        }
        _ if takes_old => {
            "The peer speaks only versions before TLS 1.2: update it, or put stunnel before it (see SECURITY)."
        }
        _ if says("does not speak TLS") => {
            "The peer does not speak TLS here: is it the port for plain DICOM?"
        }
        _ => "No TLS connection came about: is it the right port, and does it let this address in?",
    }
}

/// What mends a failure, in a sentence.
fn fix(error: &HandshakeError, leaf: Option<&Leaf>) -> String {
    let pin = leaf.map(|leaf| format!("verify = \"pin\", pins = [\"{}\"]", leaf.pin));
    let pin = pin.unwrap_or_else(|| "verify = \"pin\"".to_owned());
    match error {
        HandshakeError::Certificate { fault, leaf } => match fault {
            Fault::Expired => "have the certificate renewed by whoever runs the peer".to_owned(),
            Fault::NotYetValid => "set the clock of this machine, or wait".to_owned(),
            Fault::UnknownIssuer => {
                let issuer = leaf.as_ref().map(|leaf| leaf.issuer.clone()).unwrap_or_default();
                format!("set ca to the certificate of {issuer}, or {pin}")
            }
            Fault::WrongName(_) => {
                let name = leaf.as_ref().and_then(|leaf| leaf.names.first().map(ToString::to_string));
                match name {
                    Some(name) => format!("set server_name = \"{name}\" if that is the right peer, or {pin}"),
                    None => pin,
                }
            }
            Fault::Version1 | Fault::AuthorityAsLeaf | Fault::UnknownPin => pin,
            _ => format!("have the certificate made anew, or {pin}"),
        },
        HandshakeError::Refused(_) => "set certificate and key to a pair that the peer trusts".to_owned(),
        HandshakeError::Name(_) => "set server_name to the name in the certificate".to_owned(),
        HandshakeError::Material(_) => "put the file in order".to_owned(),
        HandshakeError::OldVersion | HandshakeError::NoCommonCipher(_) => {
            "update the peer, or put stunnel before it (see SECURITY)".to_owned()
        }
        HandshakeError::NotTls(_) => "use the port of the peer that speaks TLS".to_owned(),
        HandshakeError::Timeout(_)
        | HandshakeError::Closed
        | HandshakeError::Left
        | HandshakeError::Io(_)
        | HandshakeError::Protocol(_) => "look into the log of the peer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Asks, Profile, Report, Taken};
    use time::OffsetDateTime;

    fn report(taken: &[&'static str], old_suites: Taken) -> Report {
        let names = ["TLS 1.3", "TLS 1.2", "TLS 1.1", "TLS 1.0", "SSL 3.0"];
        let answer = |name: &'static str| match taken.contains(&name) {
            true => (name, Taken::Yes(String::new())),
            false => (name, Taken::No(String::new())),
        };
        Report {
            address: "a:1".to_owned(),
            now: OffsetDateTime::UNIX_EPOCH,
            versions: names.map(answer).to_vec(),
            old_suites,
            chain: Vec::new(),
            asks: Asks::No,
            own: None,
            verdicts: Vec::new(),
        }
    }

    #[test]
    fn the_profile_follows_from_versions_and_ciphers() {
        let no = Taken::No(String::new());
        let yes = Taken::Yes("0x002F".to_owned());
        let table: [(&[&'static str], &Taken, Profile); 7] = [
            (&["TLS 1.3", "TLS 1.2"], &no, Profile::Modified),
            (&["TLS 1.2"], &yes, Profile::Bcp195),
            (&["TLS 1.2", "TLS 1.0"], &yes, Profile::Downgrading),
            (&["TLS 1.2", "TLS 1.1", "SSL 3.0"], &yes, Profile::None),
            (&["TLS 1.3"], &no, Profile::Newest),
            (&["TLS 1.0"], &no, Profile::None),
            (&[], &no, Profile::None),
        ];
        for (taken, old_suites, profile) in table {
            assert_eq!(report(taken, old_suites.clone()).profile(), profile, "{taken:?}");
        }
        assert!(report(&[], yes.clone()).to_string().contains("only ciphers without forward secrecy"));
        assert!(report(&["TLS 1.0"], no).to_string().contains("before TLS 1.2"));
    }
}
