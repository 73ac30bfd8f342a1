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
    /// What it makes of TLS 1.2 with ciphers that are not spoken here.
    pub old_suites: Vec<(Old, Taken)>,
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

/// Ciphers of TLS 1.2 that are not spoken here, by what is the matter with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// Key exchange by RSA: no forward secrecy.
    Rsa,
    /// CBC: no AEAD.
    Cbc,
    /// Key exchange by DHE, with forward secrecy and AEAD. PS3.15 B.13 permits it with keys of 2048 bits or more.
    Dhe,
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

    /// The ciphers that are not spoken here and that it takes, one of each kind.
    fn old_suites(&self) -> impl Iterator<Item = (Old, &str)> {
        self.old_suites.iter().filter_map(|(kind, taken)| match taken {
            Taken::Yes(suite) => Some((*kind, suite.as_str())),
            Taken::No(_) | Taken::Silence => None,
        })
    }

    /// The profile, with what keeps it from the next better one.
    fn profile_words(&self) -> String {
        let profile = self.profile();
        let why: Vec<_> =
            self.old_suites().map(|(kind, suite)| format!("{suite}, {}", kind.matter())).collect();
        match profile {
            Profile::Modified if !why.is_empty() => {
                format!(
                    "{profile}; it takes {}, which B.13 permits with keys of 2048 bits or more",
                    why.join("; ")
                )
            }
            Profile::Bcp195 => format!("{profile}: it takes {}", why.join("; ")),
            Profile::Modified | Profile::Downgrading | Profile::Newest | Profile::None => profile.to_string(),
        }
    }

    /// The profile that it meets.
    pub fn profile(&self) -> Profile {
        let takes = |name: &str| {
            self.versions.iter().any(|(version, taken)| *version == name && matches!(taken, Taken::Yes(_)))
        };
        let takes_old = ["TLS 1.1", "TLS 1.0", "SSL 3.0"].into_iter().any(takes);
        let takes_old_suites = self.old_suites().any(|(kind, _)| kind != Old::Dhe);
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
            Self::Bcp195 => "PS3.15 B.12, BCP 195; not B.13, the modified one",
            Self::Downgrading => {
                "PS3.15 B.9 only, which is retired: it takes versions before TLS 1.2, which should be switched off"
            }
            Self::Newest => "TLS 1.3 alone: safe, though the profiles of PS3.15 demand TLS 1.2 as well",
            Self::None => "none",
        })
    }
}

impl Old {
    fn matter(self) -> &'static str {
        match self {
            Self::Rsa => "without forward secrecy",
            Self::Cbc => "without AEAD",
            Self::Dhe => "with DHE",
        }
    }
}

impl fmt::Display for Old {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.matter())
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
        for (kind, taken) in &self.old_suites {
            match taken {
                Taken::Yes(suite) => writeln!(f, "  TLS 1.2 {kind}  yes  {suite}")?,
                Taken::No(_) | Taken::Silence => writeln!(f, "  TLS 1.2 {kind}  no")?,
            }
        }
        writeln!(f, "  profile  {}", self.profile_words())?;
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
fn nothing_in_common(report: &Report) -> String {
    let says = |what: &str| {
        report.versions.iter().any(|(_, taken)| matches!(taken, Taken::No(why) if why.contains(what)))
    };
    let takes_old = report.versions.iter().any(|(_, taken)| matches!(taken, Taken::Yes(_)));
    let old: Vec<_> =
        report.old_suites().map(|(kind, suite)| format!("{suite}, {}", kind.matter())).collect();
    if !old.is_empty() {
        return format!(
            "The peer has only ciphers that are not spoken here ({}): switch ECDHE with AES-GCM on there, or put stunnel before it (see SECURITY).",
            old.join("; ")
        );
    }
    if takes_old {
        return "The peer speaks only versions before TLS 1.2: update it, or put stunnel before it (see SECURITY)."
            .to_owned();
    }
    if says("does not speak TLS") {
        return "The peer does not speak TLS here: is it the port for plain DICOM?".to_owned();
    }
    "No TLS connection came about: is it the right port, and does it let this address in?".to_owned()
}

/// What mends a failure, in a sentence.
fn fix(error: &HandshakeError, leaf: Option<&Leaf>) -> String {
    let pin = leaf.map(|leaf| format!("verify = \"pin\", pins = [\"{}\"]", leaf.pin));
    let pin = pin.unwrap_or_else(|| "verify = \"pin\"".to_owned());
    match error {
        HandshakeError::Certificate { fault, leaf, .. } => match fault {
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
    use super::{Asks, Old, Profile, Report, Taken};
    use time::OffsetDateTime;

    fn report(taken: &[&'static str], old_suites: &[(Old, &str)]) -> Report {
        let names = ["TLS 1.3", "TLS 1.2", "TLS 1.1", "TLS 1.0", "SSL 3.0"];
        let answer = |name: &'static str| match taken.contains(&name) {
            true => (name, Taken::Yes(String::new())),
            false => (name, Taken::No(String::new())),
        };
        Report {
            address: "a:1".to_owned(),
            now: OffsetDateTime::UNIX_EPOCH,
            versions: names.map(answer).to_vec(),
            old_suites: old_suites
                .iter()
                .map(|(kind, suite)| (*kind, Taken::Yes((*suite).to_owned())))
                .collect(),
            chain: Vec::new(),
            asks: Asks::No,
            own: None,
            verdicts: Vec::new(),
        }
    }

    #[test]
    fn the_profile_follows_from_versions_and_ciphers() {
        let no: &[(Old, &str)] = &[];
        let rsa = &[(Old::Rsa, "TLS_RSA_WITH_AES_128_CBC_SHA (0x002F)")][..];
        let cbc = &[(Old::Cbc, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA (0xC014)")][..];
        let dhe = &[(Old::Dhe, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384 (0x009F)")][..];
        let table: [(&[&'static str], _, Profile); 9] = [
            (&["TLS 1.3", "TLS 1.2"], no, Profile::Modified),
            (&["TLS 1.3", "TLS 1.2"], dhe, Profile::Modified),
            (&["TLS 1.2"], rsa, Profile::Bcp195),
            (&["TLS 1.2"], cbc, Profile::Bcp195),
            (&["TLS 1.2", "TLS 1.0"], rsa, Profile::Downgrading),
            (&["TLS 1.2", "TLS 1.1", "SSL 3.0"], rsa, Profile::None),
            (&["TLS 1.3"], no, Profile::Newest),
            (&["TLS 1.0"], no, Profile::None),
            (&[], no, Profile::None),
        ];
        for (taken, old_suites, profile) in table {
            assert_eq!(report(taken, old_suites).profile(), profile, "{taken:?}");
        }
        let words = |taken: &[&'static str], old: &[(Old, &str)]| report(taken, old).to_string();
        let with_dhe = words(&["TLS 1.2"], dhe);
        assert!(
            with_dhe.contains("TLS 1.2 with DHE  yes  TLS_DHE_RSA_WITH_AES_256_GCM_SHA384 (0x009F)"),
            "{with_dhe}"
        );
        assert!(!with_dhe.contains("without"), "it has forward secrecy and AEAD: {with_dhe}");
        let with_rsa = words(&["TLS 1.2"], rsa);
        assert!(
            with_rsa.contains("it takes TLS_RSA_WITH_AES_128_CBC_SHA (0x002F), without forward secrecy"),
            "{with_rsa}"
        );
        assert!(
            words(&[], cbc)
                .contains("not spoken here (TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA (0xC014), without AEAD)")
        );
        assert!(words(&["TLS 1.0"], no).contains("before TLS 1.2"));
    }
}
