//! The report as a person reads it: aloud on the phone, or pasted into a ticket.

use std::fmt;

use super::classes::SYNTAXES;
use super::report::{Finding, Found, Report, Security, Step, StepName, Syntaxes, TargetName};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}: ")?;
        }
        writeln!(f, "{}", self.target)?;
        for step in &self.steps {
            self.line(f, step)?;
        }
        // Where it got no further, too: it is how the destination is configured.
        if let Some(security) = self.security
            && !self.steps.iter().any(|step| self.meaning(step).is_some())
        {
            writeln!(f, "  {:<12} {security}", "security")?;
        }
        self.table(f)?;
        for question in &self.questions {
            writeln!(f, "  question     {question}")?;
        }
        let result = match self.failure() {
            None if self.steps.is_empty() => "Nothing was tried".to_owned(),
            None => "Everything answered".to_owned(),
            Some((step, _)) => format!("Failed at {}", step.word()),
        };
        writeln!(f, "{result}, {:.1} ms in total.", self.total_ms)
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dicom { called_ae, calling_ae, host, port } if host.contains(':') => {
                write!(f, "{called_ae}@[{host}]:{port}, called by {calling_ae}")
            }
            Self::Dicom { called_ae, calling_ae, host, port } => {
                write!(f, "{called_ae}@{host}:{port}, called by {calling_ae}")
            }
            Self::Folder { path } => write!(f, "folder {path}"),
            Self::Web { url } => write!(f, "{url}"),
            Self::Site { site, endpoint } => write!(f, "{endpoint} at site {site}"),
            Self::Tunnel { url, site } => write!(f, "gateway {url} as {site}"),
        }
    }
}

impl Report {
    fn line(&self, f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
        let (word, took) = (step.step.word(), step.milliseconds);
        match &step.finding {
            Finding::Ok { found } => {
                writeln!(f, "  {word:<12} ok       {}, {took:.1} ms", self.words(found))?;
            }
            Finding::Failed(advised) => {
                writeln!(f, "  {word:<12} FAILED   {}, {took:.1} ms", advised.what)?;
                writeln!(f, "               means    {}", advised.means)?;
                writeln!(f, "               try      {}", advised.attempt)?;
            }
        }
        if let (Some(meaning), Some(security)) = (self.meaning(step), self.security) {
            let own = self.authentication.map(|own| format!("; this node is {}", own.word()));
            writeln!(f, "  {:<12} {security}: {meaning}{}", "security", own.unwrap_or_default())?;
        }
        Ok(())
    }

    /// What the security means, after the step that shows it.
    fn meaning(&self, step: &Step) -> Option<&'static str> {
        let is_tls = self.steps.iter().any(|step| step.step == StepName::Tls);
        match (&step.finding, self.security) {
            (Finding::Ok { found: Found::Connected { .. } }, Some(Security::Unsecured)) if !is_tls => {
                Some("what is sent can be read on the way")
            }
            (Finding::Ok { found: Found::Encrypted { .. } }, Some(Security::Unsecured)) => {
                Some("encrypted to whoever answers, and nobody looked who that is")
            }
            (Finding::Ok { found: Found::Encrypted { .. } }, Some(Security::Secured)) => {
                Some("encrypted, and the peer is who it should be")
            }
            _ => None,
        }
    }

    fn words(&self, found: &Found) -> String {
        match found {
            Found::Addresses(addresses) => format!("is {}", addresses.join(", ")),
            Found::Connected { address, passed_over } if passed_over.is_empty() => format!("to {address}"),
            Found::Connected { address, passed_over } => {
                format!("to {address}, after {}", passed_over.join(", "))
            }
            Found::Encrypted { version, cipher, subject, pin, days_left } => {
                format!("{version} with {cipher}; {subject} ({pin}), {days_left} days left")
            }
            Found::Associated { accepted, proposed } => {
                format!("{}{accepted} of {proposed} presentation contexts accepted", self.peer_words())
            }
            Found::Accepted => "Accepted (status 0000H)".to_owned(),
            Found::Done => "done".to_owned(),
            Found::Open { since } => format!("open since {since}, as the running node says"),
            Found::Place { is_there: true } => "is there".to_owned(),
            Found::Place { is_there: false } => "is not there yet, and can be made".to_owned(),
            Found::Answered { status } => format!("answered with HTTP {status}"),
            Found::Free(bytes) => format!("{:.1} GiB free", *bytes as f64 / (1u64 << 30) as f64),
        }
    }

    fn peer_words(&self) -> String {
        let Some(peer) = &self.peer else { return String::new() };
        let version = peer.implementation_version.as_deref().unwrap_or("a peer without a name");
        let class = peer.implementation_class.as_deref().unwrap_or("no class UID");
        let max_pdu = match peer.max_pdu {
            None => "does not say how long a PDU may be".to_owned(),
            Some(0) => "takes PDUs of any length".to_owned(),
            Some(bytes) => format!("takes PDUs of {bytes} bytes"),
        };
        format!("with {version} ({class}), which {max_pdu}; ")
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.classes.is_empty() {
            return Ok(());
        }
        let syntaxes: Vec<_> = SYNTAXES.iter().map(|(name, _)| *name).collect();
        writeln!(f, "\n  {:<34} {}", "SOP class", syntaxes.join("  "))?;
        for class in &self.classes {
            let cells = match &class.accepted {
                Syntaxes::Some(accepted) => {
                    let cell = |name: &&str| {
                        let word = if accepted.iter().any(|accepted| accepted == name) { "yes" } else { "-" };
                        format!("{word:<width$}", width = name.len())
                    };
                    syntaxes.iter().map(cell).collect::<Vec<_>>().join("  ")
                }
                Syntaxes::NoneOfThese => "taken, but in none of these".to_owned(),
                Syntaxes::ClassRefused => "not taken".to_owned(),
            };
            writeln!(f, "  {}", format!("{:<34} {cells}", class.name).trim_end())?;
        }
        writeln!(f)
    }
}
