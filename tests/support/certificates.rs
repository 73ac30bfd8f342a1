//! Certificates for tests: an authority of one's own, and what it issues.

use super::process;
use super::strangers::require;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder with an authority and what it has issued.
pub struct Certificates {
    home: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key()).unwrap();
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { home, issuer }
    }

    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// The authority's own certificate.
    pub fn ca(&self) -> PathBuf {
        self.home.path().join("ca.pem")
    }

    /// One for `CN=name`, for this machine.
    pub fn issue(&self, name: &str) -> Pair {
        self.issue_with(name, |_| {})
    }

    /// One that has expired.
    pub fn expired(&self, name: &str) -> Pair {
        self.issue_with(name, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    }

    /// One for this name alone, which is not this machine's.
    pub fn elsewhere(&self, name: &str) -> Pair {
        self.issue_with(name, |params| params.subject_alt_names.truncate(1))
    }

    fn issue_with(&self, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names = [name, "localhost", "127.0.0.1"].map(String::from);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        edit(&mut params);
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.pair(name, &certificate.pem(), &key.serialize_pem())
    }

    fn pair(&self, name: &str, certificate: &str, key: &str) -> Pair {
        let pair = self.names(name);
        std::fs::write(&pair.certificate, certificate).unwrap();
        std::fs::write(&pair.key, key).unwrap();
        pair
    }

    fn names(&self, name: &str) -> Pair {
        let file = |extension: &str| self.home.path().join(format!("{name}.{extension}"));
        Pair { certificate: file("pem"), key: file("key") }
    }

    /// The recipe for an X.509 v1 certificate: a request, signed by its own key, without extensions.
    #[track_caller]
    pub fn recipe_version_1(&self, name: &str) -> Option<Pair> {
        let pair = self.names(name);
        let request = self.home.path().join(format!("{name}.csr"));
        let subject = format!("/CN={name}");
        let (key, request, certificate) = (text(&pair.key), text(&request), text(&pair.certificate));
        let ask = [
            "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", key, "-out",
            request,
        ];
        openssl(&ask)?;
        openssl(&["x509", "-req", "-in", request, "-signkey", key, "-days", "3650", "-out", certificate])?;
        Some(pair)
    }

    /// The recipe for a self-signed certificate that is its own authority: v3 with CA:TRUE.
    #[track_caller]
    pub fn recipe_authority(&self, name: &str) -> Option<Pair> {
        let pair = self.names(name);
        let subject = format!("/CN={name}");
        let (key, certificate) = (text(&pair.key), text(&pair.certificate));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            &subject,
            "-days",
            "3650",
            "-keyout",
            key,
            "-out",
            certificate,
        ])?;
        Some(pair)
    }
}

impl Pair {
    /// The pin of its key, as the manual has it made with openssl.
    #[track_caller]
    pub fn pin(&self) -> Option<String> {
        let (public, der) = (self.key.with_extension("pub"), self.key.with_extension("spki"));
        let certificate = text(&self.certificate);
        std::fs::write(&public, openssl(&["x509", "-in", certificate, "-noout", "-pubkey"])?).unwrap();
        openssl(&["pkey", "-pubin", "-in", text(&public), "-outform", "DER", "-out", text(&der)])?;
        let digest = Sha256::digest(std::fs::read(&der).unwrap());
        Some(format!("sha256/{}", STANDARD.encode(digest)))
    }

    /// The two keys of the configuration that name its files.
    pub fn lines(&self) -> String {
        format!("certificate = \"{}\"\nkey = \"{}\"\n", self.certificate.display(), self.key.display())
    }
}

/// What DCMTK of every age takes.
fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs openssl; its output.
#[track_caller]
pub fn openssl(args: &[&str]) -> Option<String> {
    let done = process::run(&require("openssl")?, args, Duration::from_secs(60)).expect_success();
    Some(done.output)
}
