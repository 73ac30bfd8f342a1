//! New keys and certificates: a pair that signs itself, or a small authority with a server and clients.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::tls::{self, Leaf, MaterialError};

/// The kind of a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyKind {
    /// RSA with 2048 bits, which everything understands.
    Rsa,
    /// ECDSA on P-256: smaller and faster, and unknown to some old systems.
    Ecdsa,
}

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The common name of the subject, at most 64 characters.
    pub name: String,
    /// Host names and addresses that it is for, beside [`Order::name`] where that is one.
    pub names: Vec<String>,
    /// Days from now until it expires, 1 to 36500.
    pub days: u32,
    /// The kind of key.
    pub key: KeyKind,
}

/// Files that are to be written, which are not there yet.
#[derive(Debug, Default)]
pub struct Files {
    files: Vec<File>,
    /// Their authority's end, where that is sooner than what was ordered.
    cut: Option<OffsetDateTime>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    content: Content,
}

enum Content {
    Certificate(String),
    Key(String),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certificate(_) => "<certificate>",
            Self::Key(_) => "<key>",
        })
    }
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A file is there already: a key that is overwritten is gone.
    #[error("{} is there already, and nothing is overwritten; name another folder", .0.display())]
    Exists(PathBuf),
    /// A name can be neither a host's name nor an address.
    #[error("{0:?} is neither a host name nor an address")]
    Name(String),
    /// A name is made like an address. Nobody would be reached by it: a host's last label is never a number (RFC 1123 2.1).
    #[error("{0:?} looks like an address and is none")]
    Address(String),
    /// The name does not fit a certificate.
    #[error("{0:?} is no name for a certificate: 1 to 64 printable characters")]
    Subject(String),
    /// The authority in the folder is no such.
    #[error("{}: {why}", file.display())]
    Authority {
        /// Its file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the authority is of no use, or the two do not belong together.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// The library would not.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A file cannot be written.
    #[error("{}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a certificate is for.
#[derive(Clone, Copy)]
enum Purpose {
    Both,
    Server,
    Client,
}

/// A pair for both roles that signs itself: `node.pem` and `node.key`.
///
/// # Errors
/// [`GenerateError`]
pub fn self_signed(order: &Order, folder: &Path, now: OffsetDateTime) -> Result<Files, GenerateError> {
    let mut files = Files::default();
    let key = new_key(order.key)?;
    let certificate = leaf(order, Purpose::Both, now)?.self_signed(&key)?;
    files.pair(folder, "node", certificate.pem(), key.serialize_pem())?;
    Ok(files)
}

/// An authority (`ca.pem`, `ca.key`), a certificate for a server (`server.pem`, `server.key`), and one for each client, named
/// after it. Where the folder has an authority already, that one signs, and a server is made only where there is none. What
/// an authority signs ends with it at the latest: see [`Files::cut`].
///
/// # Errors
/// [`GenerateError`]
pub fn authority(
    order: &Order,
    clients: &[String],
    folder: &Path,
    now: OffsetDateTime,
) -> Result<Files, GenerateError> {
    let mut files = Files::default();
    let (ca, ca_key) = (folder.join("ca.pem"), folder.join("ca.key"));
    let is_there = ca.exists() || ca_key.exists();
    let authority = if is_there {
        Authority::existing(&ca, &ca_key, now)?
    } else {
        let key = new_key(order.key)?;
        let params = authority_params(order, now)?;
        files.pair(folder, "ca", params.self_signed(&key)?.pem(), key.serialize_pem())?;
        Authority {
            not_before: params.not_before,
            not_after: params.not_after,
            issuer: Issuer::new(params, key),
        }
    };
    if !is_there || !folder.join("server.pem").exists() {
        let (certificate, key) = authority.signed(order, Purpose::Server, now, &mut files)?;
        files.pair(folder, "server", certificate, key)?;
    }
    for name in clients {
        let of = Order { name: name.clone(), names: Vec::new(), ..order.clone() };
        let (certificate, key) = authority.signed(&of, Purpose::Client, now, &mut files)?;
        let stem: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        files.pair(folder, &stem, certificate, key)?;
    }
    Ok(files)
}

/// Who signs, and from when to when that is worth something.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Authority {
    /// The one in these two files, if it can sign today.
    fn existing(certificate: &Path, key: &Path, now: OffsetDateTime) -> Result<Self, GenerateError> {
        let failed = |file: &Path, why: String| GenerateError::Authority { file: file.to_owned(), why };
        for (missing, there) in [(certificate, key), (key, certificate)] {
            if !missing.exists() {
                let why = format!("is missing beside {}: both are needed to sign", there.display());
                return Err(failed(missing, why));
            }
        }
        // This also finds a key that is another's.
        let pair = tls::identity(certificate, key)?;
        let der = pair.end_entity_cert().map_err(|error| failed(certificate, error.to_string()))?;
        let leaf = Leaf::of(der).map_err(|error| failed(certificate, error.to_string()))?;
        let why = match () {
            () if !leaf.is_ca => Some(
                "is no authority's certificate (CA:true), so nobody would believe what it signs".to_owned(),
            ),
            () if leaf.not_after <= now => Some(format!(
                "this authority expired on {}, so nobody would believe what it signs; make a new one in another folder",
                leaf.not_after.date()
            )),
            () if leaf.not_before > now => Some(format!(
                "this authority is not valid before {}: is the clock right?",
                leaf.not_before.date()
            )),
            () => None,
        };
        if let Some(why) = why {
            return Err(failed(certificate, why));
        }
        let text = fs::read_to_string(key).map_err(|error| failed(key, error.to_string()))?;
        let signing = KeyPair::from_pem(&text).map_err(|error| failed(key, error.to_string()))?;
        let issuer =
            Issuer::from_ca_cert_der(der, signing).map_err(|error| failed(certificate, error.to_string()))?;
        Ok(Self { issuer, not_before: leaf.not_before, not_after: leaf.not_after })
    }

    /// A new certificate and its key.
    fn signed(
        &self,
        order: &Order,
        purpose: Purpose,
        now: OffsetDateTime,
        files: &mut Files,
    ) -> Result<(String, String), GenerateError> {
        let key = new_key(order.key)?;
        let mut params = leaf(order, purpose, now)?;
        params.not_before = params.not_before.max(self.not_before);
        if params.not_after > self.not_after {
            params.not_after = self.not_after;
            files.cut = Some(self.not_after);
        }
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }
}

impl Files {
    fn pair(
        &mut self,
        folder: &Path,
        stem: &str,
        certificate: String,
        key: String,
    ) -> Result<(), GenerateError> {
        let contents = [("pem", Content::Certificate(certificate)), ("key", Content::Key(key))];
        for (extension, content) in contents {
            let path = folder.join(format!("{stem}.{extension}"));
            if path.symlink_metadata().is_ok() || self.files.iter().any(|file| file.path == path) {
                return Err(GenerateError::Exists(path));
            }
            self.files.push(File { path, content });
        }
        Ok(())
    }

    /// When certificates expire that should have been valid for longer, because the authority that signed them expires then.
    pub fn cut(&self) -> Option<OffsetDateTime> {
        self.cut
    }

    /// Writes all of them, keys readable by nobody else, and returns where they are: each certificate with its key.
    ///
    /// # Errors
    /// [`GenerateError::Exists`] or [`GenerateError::Write`]; what was written before stays.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, GenerateError> {
        let failed = |file: &Path| {
            let file = file.to_owned();
            move |source: io::Error| match source.kind() {
                io::ErrorKind::AlreadyExists => GenerateError::Exists(file),
                _ => GenerateError::Write { file, source },
            }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        for File { path, content } in &self.files {
            let (text, mode) = match content {
                Content::Certificate(text) => (text, 0o644),
                Content::Key(text) => (text, 0o600),
            };
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create_new(true).mode(mode).open(path).map_err(failed(path))?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed(path))?;
        }
        Ok(self.files.iter().map(|file| file.path.clone()).collect())
    }
}

fn new_key(kind: KeyKind) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyKind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyKind::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
    }
}

fn authority_params(order: &Order, now: OffsetDateTime) -> Result<CertificateParams, GenerateError> {
    let name = format!("{} CA", order.name.chars().take(MAX_NAME - 3).collect::<String>());
    let mut params = dated(&name, order.days, now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf(order: &Order, purpose: Purpose, now: OffsetDateTime) -> Result<CertificateParams, GenerateError> {
    let mut params = dated(&order.name, order.days, now)?;
    // A certificate whose extension says that it is none is understood by everybody; one without it is not.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if order.key == KeyKind::Rsa {
        // Key exchange by RSA is nothing that we do; old peers look for it all the same.
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages = match purpose {
        Purpose::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    // Nobody looks at the common name where there are other names, so the name has to be among these.
    match (san(&order.name), purpose) {
        (Ok(name), _) => params.subject_alt_names.push(name),
        // A client may be called anything: who has a name that is no host's is known by his subject.
        (Err(_), Purpose::Client) => {}
        (Err(_), Purpose::Both | Purpose::Server) if !order.names.is_empty() => {}
        (Err(error), Purpose::Both | Purpose::Server) => return Err(error),
    }
    for name in &order.names {
        let name = san(name)?;
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    Ok(params)
}

/// Of this name, from yesterday on, because clocks differ.
fn dated(name: &str, days: u32, now: OffsetDateTime) -> Result<CertificateParams, GenerateError> {
    let is_fine = (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if !is_fine {
        return Err(GenerateError::Subject(name.to_owned()));
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now.saturating_sub(Duration::DAY);
    params.not_after = now.saturating_add(Duration::days(days.into()));
    Ok(params)
}

fn san(name: &str) -> Result<SanType, GenerateError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let bad = || GenerateError::Name(name.to_owned());
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(plain)
    };
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let is_host = name.len() <= 253 && bare.split('.').all(label);
    if !is_host {
        return Err(bad());
    }
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if bare.rsplit('.').next().is_some_and(is_number) {
        return Err(GenerateError::Address(name.to_owned()));
    }
    name.try_into().map(SanType::DnsName).map_err(|_| bad())
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// The longest common name (RFC 5280 A.1, ub-common-name).
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::{GenerateError, KeyKind, Order, Purpose, authority, leaf, new_key, self_signed};
    use crate::config::{ClientAuth, ClientTls as To, ServerTls as By, TlsVersion, Verify};
    use crate::tls::{ClientTls, Leaf, MaterialError, San, ServerTls, certificates, provider};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;
    use time::OffsetDateTime;

    fn order(key: KeyKind) -> Order {
        let names = ["router.example.org", "192.0.2.1"].map(str::to_owned);
        Order { name: "router.example.org".to_owned(), names: names.into(), days: 3650, key }
    }

    fn now() -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn by(folder: &Path, stem: &str, ca: Option<&str>) -> By {
        By {
            certificate: folder.join(format!("{stem}.pem")),
            key: folder.join(format!("{stem}.key")),
            client: if ca.is_some() { ClientAuth::Required } else { ClientAuth::None },
            ca: ca.map(|ca| folder.join(ca)),
            min_version: TlsVersion::V12,
            handshake: Duration::from_secs(10),
            identities: Vec::new(),
        }
    }

    /// Both ends speak over a pipe, each verifying by authority.
    async fn meet(by: &By, to: &To) -> Result<(), MaterialError> {
        let (server, client) = (ServerTls::new(by)?, ClientTls::new(to)?);
        let (here, there) = tokio::io::duplex(64 << 10);
        let limit = Duration::from_secs(10);
        let name = client.name_for("router.example.org").expect("a name");
        let (accepted, connected) =
            tokio::join!(server.accept(there, limit), client.connect(here, &name, limit));
        let (_, leaf) = accepted.expect("the server is content");
        connected.expect("the client is content");
        assert_eq!(leaf.is_some(), by.ca.is_some());
        Ok(())
    }

    #[tokio::test]
    async fn a_pair_that_signs_itself_is_accepted_under_verify_ca_in_both_roles() {
        let _ = provider();
        for key in [KeyKind::Rsa, KeyKind::Ecdsa] {
            let folder = tempfile::tempdir().expect("a folder");
            let folder = folder.path();
            self_signed(&order(key), folder, now()).expect("a pair").write(folder).expect("files");
            let own = folder.join("node.pem");
            let to = To {
                verify: Verify::Ca(Some(own.clone())),
                server_name: None,
                identity: Some((own.clone(), folder.join("node.key"))),
            };
            meet(&by(folder, "node", Some("node.pem")), &to).await.expect("files of use");
            let leaf = Leaf::of(&certificates(&own).expect("a certificate")[0]).expect("a certificate");
            assert_eq!((leaf.version, leaf.is_ca), (3, false));
            assert_eq!(leaf.names.len(), 2);
            assert!(leaf.names.contains(&San::Ip("192.0.2.1".parse().expect("an address"))));
            let days = leaf.seconds_left(now()) / 86_400;
            assert!((3649..=3650).contains(&days), "{days}");
        }
    }

    #[tokio::test]
    async fn an_authoritys_server_and_clients_believe_each_other_and_more_clients_can_follow() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let clients = ["VIVID 1".to_owned()];
        let order = order(KeyKind::Ecdsa);
        let made = authority(&order, &clients, folder, now()).expect("an authority");
        assert_eq!(made.write(folder).expect("files").len(), 6);
        let more = authority(&order, &["epiq".to_owned()], folder, now()).expect("one more");
        assert_eq!(more.write(folder).expect("files").len(), 2, "only the new client");
        for client in ["VIVID_1", "epiq"] {
            let pair = (folder.join(format!("{client}.pem")), folder.join(format!("{client}.key")));
            let to = To {
                verify: Verify::Ca(Some(folder.join("ca.pem"))),
                server_name: None,
                identity: Some(pair),
            };
            meet(&by(folder, "server", Some("ca.pem")), &to).await.expect("files of use");
        }
    }

    #[test]
    fn keys_are_for_nobody_else_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let made = self_signed(&order(KeyKind::Ecdsa), folder, now()).expect("a pair");
        assert!(!format!("{made:?}").contains("PRIVATE"), "a key is not printed");
        made.write(folder).expect("files");
        let mode =
            |name: &str| std::fs::metadata(folder.join(name)).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode("node.key"), 0o600);
        let before = std::fs::read(folder.join("node.key")).expect("a key");
        assert!(matches!(made.write(folder), Err(GenerateError::Exists(_))));
        let again = self_signed(&order(KeyKind::Ecdsa), folder, now());
        assert!(matches!(again, Err(GenerateError::Exists(_))));
        assert_eq!(std::fs::read(folder.join("node.key")).expect("a key"), before);
    }

    #[test]
    fn an_authority_whose_files_do_not_belong_together_or_that_has_expired_signs_nothing() {
        let (folder, other) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (folder, other) = (folder.path(), other.path());
        let order = order(KeyKind::Ecdsa);
        for folder in [folder, other] {
            authority(&order, &[], folder, now()).expect("an authority").write(folder).expect("files");
        }
        let refusal = |at: OffsetDateTime| {
            let made = authority(&order, &["epiq".to_owned()], folder, at);
            made.expect_err("no certificate").to_string()
        };
        let later = refusal(now() + time::Duration::days(3651));
        assert!(later.contains("ca.pem: this authority expired on"), "{later}");
        let before = refusal(now() - time::Duration::days(3));
        assert!(before.contains("is the clock right?"), "{before}");
        std::fs::copy(other.join("ca.key"), folder.join("ca.key")).expect("a copy");
        let mixed = refusal(now());
        assert!(mixed.contains("ca.key: is not the key of the certificate in"), "{mixed}");
        std::fs::remove_file(folder.join("ca.key")).expect("a file");
        let half = refusal(now());
        assert!(half.contains("ca.key: is missing beside"), "{half}");
        for extension in ["pem", "key"] {
            let from = other.join(format!("server.{extension}"));
            std::fs::copy(from, folder.join(format!("ca.{extension}"))).expect("a copy");
        }
        let leaf = refusal(now());
        assert!(leaf.contains("is no authority's certificate"), "{leaf}");
    }

    #[test]
    fn nothing_outlives_the_authority_that_signed_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let short = Order { days: 30, ..order(KeyKind::Ecdsa) };
        let made = authority(&short, &[], folder, now()).expect("an authority");
        assert_eq!(made.cut(), None);
        made.write(folder).expect("files");
        let made = authority(&order(KeyKind::Ecdsa), &["epiq".to_owned()], folder, now()).expect("a client");
        made.write(folder).expect("files");
        let end = |stem: &str| {
            let file = folder.join(format!("{stem}.pem"));
            Leaf::of(&certificates(&file).expect("a certificate")[0]).expect("a certificate").not_after
        };
        assert_eq!(end("epiq"), end("ca"));
        assert_eq!(made.cut(), Some(end("ca")));
    }

    #[test]
    fn the_name_itself_is_among_the_names_once_where_it_can_be_one() {
        for (name, others, expected) in [
            ("router.example.org", &["localhost"][..], "router.example.org, localhost"),
            ("router.example.org", &["localhost", "router.example.org"], "router.example.org, localhost"),
            ("192.0.2.1", &["localhost"], "192.0.2.1, localhost"),
            ("The router of ward 3", &["localhost"], "localhost"),
        ] {
            let names = others.iter().map(|other| (*other).to_owned()).collect();
            let order = Order { name: name.to_owned(), names, ..order(KeyKind::Ecdsa) };
            let params = leaf(&order, Purpose::Both, now()).expect("parameters");
            let signed = params.self_signed(&new_key(order.key).expect("a key")).expect("a certificate");
            let names: Vec<_> = Leaf::of(signed.der())
                .expect("a certificate")
                .names
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(names.join(", "), expected);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let folder = Path::new("nowhere");
        for name in ["a b", "", "http://x", "a..b", &"x".repeat(70)] {
            let order = Order { names: vec![name.to_owned()], ..order(KeyKind::Ecdsa) };
            let made = self_signed(&order, folder, now());
            assert!(matches!(made, Err(GenerateError::Name(_))), "{name:?}");
        }
        for name in ["300.1.1.1", "10.0.0", "1.2.3.4.5", "*.1"] {
            let order = Order { names: vec![name.to_owned()], ..order(KeyKind::Ecdsa) };
            let made = self_signed(&order, folder, now());
            assert!(matches!(made, Err(GenerateError::Address(_))), "{name:?}");
        }
        let nameless = Order { name: "\n".to_owned(), ..order(KeyKind::Ecdsa) };
        assert!(matches!(self_signed(&nameless, folder, now()), Err(GenerateError::Subject(_))));
    }
}
