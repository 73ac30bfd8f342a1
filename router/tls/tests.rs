//! Handshakes in memory, with certificates that are made for the purpose: whom each way of verifying believes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, SigningKey as _, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{Bindings, ClientTls, Fault, HandshakeError, Leaf, Pin, ServerTls, Shown, Tongue};
use crate::config::{self, CertificateIdentity, CertificateMatch, ClientAuth, TlsVersion, Verify};

const LIMIT: Duration = Duration::from_secs(10);
/// What server certificates are for.
const NAME: &str = "pacs.example.org";

/// A folder of certificates and keys.
struct Files(tempfile::TempDir);

/// A certificate with its key in files.
#[derive(Clone)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    pin: Pin,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn expired(name: &str) -> CertificateParams {
    let mut params = named(name);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    params
}

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    fn pair(&self, name: &str, certificate: &str, key: &KeyPair) -> Pair {
        let pin = Pin::of_public_key(&rcgen::PublicKeyData::subject_public_key_info(key));
        let certificate = self.write(&format!("{name}.crt"), certificate);
        Pair { certificate, key: self.write(&format!("{name}.key"), key.serialize_pem()), pin }
    }

    fn issued(&self, name: &str, params: &CertificateParams, by: &Authority) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, by).expect("a certificate");
        self.pair(name, &certificate.pem(), &key)
    }

    fn self_signed(&self, name: &str, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        self.pair(name, &params.self_signed(&key).expect("a certificate").pem(), &key)
    }

    fn ca(&self, name: &str, authority: &Authority) -> PathBuf {
        self.write(&format!("{name}.pem"), authority.pem())
    }

    /// X.509 v1, as `openssl req` and `openssl x509 -req` make it without extensions.
    fn version_1(&self, name: &str, key: &KeyPair) -> Pair {
        let der = version_1(name, key);
        let pin = Pin::of_certificate(&CertificateDer::from(der.clone())).expect("a certificate");
        let certificate = self.write(&format!("{name}.der"), der);
        Pair { certificate, key: self.write(&format!("{name}.key"), key.serialize_pem()), pin }
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

fn version_1(name: &str, key: &KeyPair) -> Vec<u8> {
    let algorithm: &[u8] = if key.algorithm() == &PKCS_RSA_SHA256 {
        &[0x30, 13, 6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11, 5, 0]
    } else {
        &[0x30, 10, 6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2]
    };
    let attribute = tlv(0x30, &[tlv(6, &[0x55, 4, 3]), tlv(0x0C, name.as_bytes())].concat());
    let subject = tlv(0x30, &tlv(0x31, &attribute));
    let validity = tlv(0x30, &[tlv(0x17, b"200101000000Z"), tlv(0x18, b"20900101000000Z")].concat());
    let public = rcgen::PublicKeyData::subject_public_key_info(key);
    let parts = [&tlv(2, &[7])[..], algorithm, &subject, &validity, &subject, &public].concat();
    let tbs = tlv(0x30, &parts);
    let signature = [vec![0], key.sign(&tbs).expect("a signature")].concat();
    tlv(0x30, &[&tbs[..], algorithm, &tlv(3, &signature)].concat())
}

fn server(pair: &Pair) -> config::ServerTls {
    config::ServerTls {
        certificate: pair.certificate.clone(),
        key: pair.key.clone(),
        client: ClientAuth::None,
        ca: None,
        min_version: TlsVersion::V12,
        handshake: LIMIT,
        identities: Vec::new(),
    }
}

fn client(verify: Verify) -> config::ClientTls {
    config::ClientTls { verify, server_name: None, identity: None }
}

fn showing(pair: &Pair, verify: Verify) -> config::ClientTls {
    config::ClientTls { identity: Some((pair.certificate.clone(), pair.key.clone())), ..client(verify) }
}

/// What became of both ends, after a greeting either way.
struct Met {
    client: Result<(), HandshakeError>,
    server: Result<Option<Shown>, HandshakeError>,
}

impl Met {
    fn client_fault(&self) -> Fault {
        match &self.client {
            Err(HandshakeError::Certificate { fault, .. }) => fault.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn server_fault(&self) -> Fault {
        match &self.server {
            Err(HandshakeError::Certificate { fault, .. }) => fault.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn is_well(&self) -> bool {
        self.client.is_ok() && self.server.is_ok()
    }
}

async fn meet(client: &config::ClientTls, server: &config::ServerTls) -> Met {
    meet_as(client, server, NAME).await
}

async fn meet_as(client: &config::ClientTls, server: &config::ServerTls, host: &str) -> Met {
    let client = ClientTls::new(client).expect("a client");
    let server = ServerTls::new(server).expect("a server");
    let (near, far) = duplex(64 << 10);
    let calling = async {
        let name = client.name_for(host)?;
        let mut stream = client.connect(near, &name, LIMIT).await?;
        stream.write_all(b"hello").await.map_err(HandshakeError::Io)?;
        stream.flush().await.map_err(HandshakeError::Io)?;
        // In TLS 1.3 a client learns only here that its certificate was refused.
        let mut answer = [0; 5];
        let read = stream.read_exact(&mut answer).await;
        read.map(drop).map_err(|error| HandshakeError::from_io(error, None, Tongue::Tls))
    };
    let called = async {
        let (mut stream, shown) = server.accept(far, LIMIT).await?;
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting).await.map_err(HandshakeError::Io)?;
        stream.write_all(b"there").await.map_err(HandshakeError::Io)?;
        stream.flush().await.map_err(HandshakeError::Io)?;
        Ok(shown)
    };
    let (client, server) = tokio::join!(calling, called);
    Met { client, server }
}

#[tokio::test]
async fn an_authority_is_believed_for_the_right_name_in_time_and_for_its_own_only() {
    let files = Files::new();
    let (ours, foreign) = (authority("ours"), authority("foreign"));
    let ca = || Verify::Ca(Some(files.ca("ours", &ours)));
    let good = files.issued("good", &named(NAME), &ours);
    assert!(meet(&client(ca()), &server(&good)).await.is_well());
    for (pair, fault) in [
        (files.issued("foreign", &named(NAME), &foreign), Fault::UnknownIssuer),
        (files.issued("expired", &expired(NAME), &ours), Fault::Expired),
        (files.issued("other", &named("other.example.org"), &ours), Fault::WrongName(NAME.to_owned())),
        (files.self_signed("self", &named(NAME)), Fault::UnknownIssuer),
        (files.version_1("v1", &KeyPair::generate().expect("a key")), Fault::Version1),
    ] {
        let met = meet(&client(ca()), &server(&pair)).await;
        assert_eq!(met.client_fault(), fault);
        assert!(matches!(met.server, Err(HandshakeError::Refused(_))), "the server is told by an alert");
    }
}

#[tokio::test]
async fn an_authority_s_own_certificate_fails_as_a_leaf_and_can_be_pinned() {
    let files = Files::new();
    let mut params = named(NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let recipe = files.self_signed("recipe", &params);
    let met = meet(&client(Verify::Ca(Some(recipe.certificate.clone()))), &server(&recipe)).await;
    assert_eq!(met.client_fault(), Fault::AuthorityAsLeaf);
    let words = met.client.expect_err("refused").to_string();
    assert!(words.contains(&recipe.pin.to_string()), "{words}");
    assert!(meet(&client(Verify::Pin(vec![recipe.pin])), &server(&recipe)).await.is_well());
}

#[tokio::test]
async fn with_authority_and_pins_only_a_pinned_leaf_in_time_for_the_name_passes() {
    let files = Files::new();
    let (ours, foreign) = (authority("ours"), authority("foreign"));
    let (live, spare) =
        (files.issued("live", &named(NAME), &ours), files.issued("spare", &named(NAME), &ours));
    let wrong = files.issued("wrong", &named(NAME), &ours);
    let old = files.issued("old", &expired(NAME), &ours);
    let other = files.issued("other", &named("other.example.org"), &ours);
    let ca_pin = Pin::of_public_key(&rcgen::PublicKeyData::subject_public_key_info(ours.key()));
    let chained = {
        let pair = files.issued("chained", &named(NAME), &foreign);
        let leaf = std::fs::read_to_string(&pair.certificate).expect("a file");
        let certificate = files.write("chained.pem", leaf + &ours.pem());
        Pair { certificate, ..pair }
    };
    let pins = vec![live.pin, spare.pin, old.pin, other.pin, ca_pin];
    for (pair, fault) in [
        (&spare, None),
        (&wrong, Some(Fault::UnknownPin)),
        (&old, Some(Fault::Expired)),
        (&other, Some(Fault::WrongName(NAME.to_owned()))),
        (&chained, Some(Fault::UnknownIssuer)),
    ] {
        let verify = Verify::CaAndPin(Some(files.ca("ours", &ours)), pins.clone());
        let met = meet(&client(verify), &server(pair)).await;
        match fault {
            None => assert!(met.is_well()),
            Some(fault) => assert_eq!(met.client_fault(), fault),
        }
    }
}

#[tokio::test]
async fn with_authority_and_pins_a_failure_says_what_is_wrong_and_not_to_pin_what_is_pinned() {
    let files = Files::new();
    let (ours, foreign) = (authority("ours"), authority("foreign"));
    let alone = files.self_signed("alone", &named(NAME));
    let (theirs, new) =
        (files.issued("theirs", &named(NAME), &foreign), files.issued("new", &named(NAME), &ours));
    let spare = Pin::of_public_key(b"spare");
    for (pair, pins, says, says_not) in [
        (&alone, vec![alone.pin, spare], "its key is pinned, which is not enough", "pin it"),
        (&alone, vec![alone.pin, spare], "set ca to a file with this certificate", "pin it"),
        (&alone, vec![spare], "its key is not pinned either", "is pinned"),
        (&theirs, vec![theirs.pin, spare], "Set ca to a file with the certificate of", "proxy"),
        (&theirs, vec![spare], "a TLS-inspecting proxy may have answered", "pin it"),
        // An authority that the machine trusts, as an inspecting proxy's is made to be.
        (&new, vec![spare], "a TLS-inspecting proxy may have answered", "pin it"),
    ] {
        let verify = Verify::CaAndPin(Some(files.ca("ours", &ours)), pins);
        let met = meet(&client(verify), &server(pair)).await;
        let error = met.client.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert!(error.contains(says) && !error.contains(says_not), "{error}");
    }
    // What is advised works.
    let verify = Verify::CaAndPin(Some(alone.certificate.clone()), vec![alone.pin, spare]);
    assert!(meet(&client(verify), &server(&alone)).await.is_well());
    // Where a pin alone is enough, that is still said.
    let verify = Verify::Ca(Some(files.ca("ours", &ours)));
    let met = meet(&client(verify), &server(&alone)).await;
    assert!(
        met.client.is_err_and(|error| error.to_string().contains("if it is the right one, pin it: sha256/"))
    );
}

#[tokio::test]
async fn by_pin_alone_the_same_holds_and_the_error_names_the_pin_that_was_seen() {
    let files = Files::new();
    let (live, spare) = (files.self_signed("live", &named(NAME)), files.self_signed("spare", &named(NAME)));
    let wrong = files.self_signed("wrong", &named(NAME));
    let old = files.self_signed("old", &expired(NAME));
    let other = files.self_signed("other", &named("other.example.org"));
    let ours = authority("ours");
    let ca_pin = Pin::of_public_key(&rcgen::PublicKeyData::subject_public_key_info(ours.key()));
    let chained = {
        let leaf = std::fs::read_to_string(&wrong.certificate).expect("a file");
        let certificate = files.write("chained.pem", leaf + &ours.pem());
        Pair { certificate, ..wrong.clone() }
    };
    let pins = vec![live.pin, spare.pin, old.pin, other.pin, ca_pin];
    let settings = config::ClientTls { server_name: Some(NAME.to_owned()), ..client(Verify::Pin(pins)) };
    assert!(meet_as(&settings, &server(&spare), "10.0.0.1").await.is_well());
    for (pair, fault) in [
        (&wrong, Fault::UnknownPin),
        (&chained, Fault::UnknownPin),
        (&old, Fault::Expired),
        (&other, Fault::WrongName(NAME.to_owned())),
    ] {
        let met = meet_as(&settings, &server(pair), "10.0.0.1").await;
        assert_eq!(met.client_fault(), fault);
        if fault == Fault::UnknownPin {
            let words = met.client.expect_err("refused").to_string();
            assert!(words.contains(&wrong.pin.to_string()), "{words}");
        }
    }
}

#[tokio::test]
async fn a_version_1_certificate_works_by_pin_and_unverified_in_both_roles_and_both_versions_of_tls() {
    let files = Files::new();
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
    let ecdsa = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    for (name, key) in [("rsa", &rsa), ("ecdsa", &ecdsa)] {
        let pair = files.version_1(name, key);
        let leaf =
            Leaf::of(&super::certificates(&pair.certificate).expect("a file")[0]).expect("a certificate");
        assert_eq!((leaf.version, leaf.subject.as_str()), (1, format!("CN={name}").as_str()));
        for min_version in [TlsVersion::V12, TlsVersion::V13] {
            for verify in [Verify::Pin(vec![pair.pin]), Verify::Nobody] {
                let known = CertificateIdentity {
                    certificate: CertificateMatch::Pin(pair.pin),
                    calling_ae: vec!["A".parse().expect("a title")],
                };
                let server = config::ServerTls {
                    client: ClientAuth::Required,
                    identities: vec![known],
                    min_version,
                    ..server(&pair)
                };
                let met = meet(&showing(&pair, verify), &server).await;
                assert!(met.client.is_ok(), "{:?}", met.client);
                assert_eq!(met.server.expect("a handshake").map(|shown| shown.leaf.pin), Some(pair.pin));
            }
        }
    }
}

/// A peer that shows a certificate whose key it does not have: the one thing that no way of verifying may let pass.
#[tokio::test]
async fn who_does_not_have_the_key_is_nobody_even_unverified() {
    let files = Files::new();
    let (victim, thief) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    for shown in [
        version_1("victim", &victim),
        named(NAME).self_signed(&victim).expect("a certificate").der().to_vec(),
    ] {
        let shown = CertificateDer::from(shown);
        let pin = Pin::of_certificate(&shown).expect("a certificate");
        for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
            for verify in [Verify::Pin(vec![pin]), Verify::Nobody] {
                let key =
                    super::private_key(&files.write("thief.key", thief.serialize_pem())).expect("a key");
                let key = super::provider().key_provider.load_private_key(key).expect("a key");
                let forged = rustls::sign::CertifiedKey::new(vec![shown.clone()], key);
                let config = rustls::ServerConfig::builder_with_provider(super::provider())
                    .with_protocol_versions(versions)
                    .expect("a version")
                    .with_no_client_auth()
                    .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(forged)));
                let (near, far) = duplex(64 << 10);
                let client = ClientTls::new(&client(verify)).expect("a client");
                let name = ServerName::try_from(NAME).expect("a name");
                let accepting = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(far);
                let (met, _) = tokio::join!(client.connect(near, &name, LIMIT), accepting);
                let fault = met.expect_err("a thief");
                assert!(
                    matches!(fault, HandshakeError::Certificate { fault: Fault::BadSignature, .. }),
                    "{fault}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_client_s_certificate_is_asked_for_as_configured() {
    let files = Files::new();
    let (ours, foreign) = (authority("ours"), authority("foreign"));
    let pair = files.issued("server", &named(NAME), &ours);
    let good = files.issued("cart", &named("cart-1"), &ours);
    let trust = || Verify::Ca(Some(files.ca("ours", &ours)));
    let with = |client| config::ServerTls { client, ca: Some(files.ca("ours", &ours)), ..server(&pair) };
    let met = meet(&showing(&good, trust()), &with(ClientAuth::Required)).await;
    assert_eq!(
        met.server.expect("a handshake").map(|shown| shown.leaf.subject),
        Some("CN=cart-1".to_owned())
    );
    assert!(meet(&client(trust()), &with(ClientAuth::Optional)).await.is_well());
    let met = meet(&showing(&good, trust()), &with(ClientAuth::None)).await;
    assert_eq!(met.server.expect("a handshake").map(|shown| shown.leaf), None);
    let met = meet(&client(trust()), &with(ClientAuth::Required)).await;
    assert_eq!(met.server_fault(), Fault::Missing);
    let alert = met.client.expect_err("refused");
    assert!(
        matches!(alert, HandshakeError::Refused(rustls::AlertDescription::CertificateRequired)),
        "{alert}"
    );
    for (name, params, by, fault) in [
        ("foreign", named("cart-1"), &foreign, Fault::UnknownIssuer),
        ("expired", expired("cart-1"), &ours, Fault::Expired),
    ] {
        let bad = files.issued(name, &params, by);
        for asked in [ClientAuth::Optional, ClientAuth::Required] {
            let met = meet(&showing(&bad, trust()), &with(asked)).await;
            assert_eq!(met.server_fault(), fault);
            assert!(matches!(met.client, Err(HandshakeError::Refused(_))));
        }
    }
}

#[tokio::test]
async fn plain_dicom_and_other_tongues_are_named_on_both_sides() {
    let files = Files::new();
    let server = ServerTls::new(&server(&files.self_signed("a", &named(NAME)))).expect("a server");
    for (bytes, expected) in [
        (&b"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00"[..], "the peer speaks plain DICOM, not TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", "the peer speaks HTTP without TLS"),
        (
            b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
            "the peer speaks no version of TLS that is allowed here",
        ),
    ] {
        let (mut near, far) = duplex(64 << 10);
        let talking = async {
            near.write_all(bytes).await.expect("written");
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.expect("an answer");
            answer
        };
        let (accepted, answer) = tokio::join!(server.accept(far, LIMIT), talking);
        let words = accepted.expect_err("no TLS").to_string();
        assert!(words.starts_with(expected), "{words}");
        assert_eq!(answer.first(), Some(&0x15), "an alert");
    }
    let client = ClientTls::new(&client(Verify::Nobody)).expect("a client");
    let (near, mut far) = duplex(64 << 10);
    let aborting = async {
        far.read_u8().await.expect("a hello");
        far.write_all(&[7, 0, 0, 0, 0, 4, 0, 0, 0, 0]).await.expect("written");
    };
    let name = ServerName::try_from(NAME).expect("a name");
    let (connected, ()) = tokio::join!(client.connect(near, &name, LIMIT), aborting);
    assert_eq!(connected.expect_err("no TLS").to_string(), "the peer speaks plain DICOM, not TLS");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_ends_at_its_deadline_and_a_close_notify_in_it_at_once() {
    let files = Files::new();
    let server = ServerTls::new(&server(&files.self_signed("a", &named(NAME)))).expect("a server");
    // Half of a record.
    let (mut near, far) = duplex(64 << 10);
    near.write_all(b"\x16\x03\x01\x02\x00\x01").await.expect("written");
    let error = server.accept(far, LIMIT).await.expect_err("a stall");
    assert!(matches!(error, HandshakeError::Timeout(LIMIT)), "{error}");
    // A close_notify alone, and one after half of a hello.
    for start in [&b""[..], &b"\x16\x03\x01\x00\x04\x01\x00\x01\x00"[..]] {
        let (mut near, far) = duplex(64 << 10);
        near.write_all(start).await.expect("written");
        near.write_all(b"\x15\x03\x03\x00\x02\x01\x00").await.expect("written");
        let began = tokio::time::Instant::now();
        drop(near);
        let error = server.accept(far, LIMIT).await.expect_err("nothing more");
        assert!(began.elapsed() < LIMIT, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let files = Files::new();
    let old = files.self_signed("a", &named(NAME));
    let tls = ServerTls::new(&server(&old)).expect("a server");
    assert_eq!(tls.own().pin, old.pin);
    let renewed = files.self_signed("b", &named(NAME));
    std::fs::copy(&renewed.certificate, &old.certificate).expect("a file");
    tokio::time::advance(Duration::from_secs(2)).await;
    tls.refresh().await;
    assert_eq!(tls.own().pin, old.pin, "the key is still the old one's");
    std::fs::copy(&renewed.key, &old.key).expect("a file");
    // A copy of the same length within the same tick of the file system's clock would not be seen.
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    std::fs::File::open(&old.key).and_then(|file| file.set_modified(later)).expect("a time");
    tokio::time::advance(Duration::from_secs(2)).await;
    tls.refresh().await;
    assert_eq!(tls.own().pin, renewed.pin);
}

#[test]
fn a_wrong_file_says_what_it_is() {
    let files = Files::new();
    let key = KeyPair::generate().expect("a key");
    let certificate = named(NAME).self_signed(&key).expect("a certificate");
    let certificate_der = files.write("c.der", certificate.der());
    let key_der = files.write("k.der", key.serialize_der());
    let pem = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
    for good in [&certificate_der, &files.write("c.cer", certificate.pem())] {
        assert_eq!(super::certificates(good).map(|found| found.len()), Ok(1));
    }
    for good in [&key_der, &files.write("k.pem", key.serialize_pem())] {
        assert!(super::private_key(good).is_ok());
    }
    let says = |path: &Path, expected: &str| {
        let error = super::certificates(path).expect_err("no certificate").to_string();
        assert!(error.contains(expected) && error.contains(&path.display().to_string()), "{error}");
    };
    says(&key_der, "this is a private key");
    says(&files.write("a", key.serialize_pem()), "this is a private key");
    says(&files.write("b", pem("ENCRYPTED PRIVATE KEY")), "encrypted private key");
    says(&files.write("d", pem("CERTIFICATE REQUEST")), "request for a certificate");
    says(&files.write("e", pem("PKCS7")), "PKCS #7");
    says(&files.write("f", [0x30, 7, 2, 1, 3, 0x30, 2, 6, 0]), "PKCS #12");
    says(&files.write("g", [0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2]), "Java key store");
    says(&files.write("h", ""), "it is empty");
    says(&files.write("i", "hello"), "neither PEM nor DER");
    says(&files.write("j", pem("OPENSSH PRIVATE KEY")), "SSH");
    says(&files.write("l", "-----BEGIN CERTIFICATE-----\n!!\n"), "damaged PEM");
    says(Path::new("/nowhere/at/all.pem"), "cannot be read");
    let error = super::private_key(&certificate_der).expect_err("no key").to_string();
    assert!(error.contains("this is a certificate"), "{error}");
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----\n";
    let error = super::private_key(&files.write("m", legacy)).expect_err("no key").to_string();
    assert!(error.contains("encrypted private key"), "{error}");
    let (one, other) = (files.self_signed("one", &named("one")), files.self_signed("other", &named("other")));
    let error = super::identity(&one.certificate, &other.key).expect_err("two pairs").to_string();
    assert!(error.contains("is not the key of the certificate"), "{error}");
}

#[test]
fn damaged_certificates_are_refused_and_nothing_panics() {
    let key = KeyPair::generate().expect("a key");
    let whole = named(NAME).self_signed(&key).expect("a certificate").der().to_vec();
    assert!(Leaf::of(&CertificateDer::from(whole.clone())).is_ok());
    for at in 0..whole.len() {
        assert!(Leaf::of(&CertificateDer::from(&whole[..at])).is_err(), "cut at {at}");
        for flip in [0x01, 0x80, 0xFF] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            let _ = Leaf::of(&CertificateDer::from(damaged));
        }
    }
}

#[tokio::test]
async fn a_pinned_key_does_not_vouch_for_the_names_beside_it() {
    let files = Files::new();
    let (ours, foreign) = (authority("ours"), authority("foreign"));
    let pair = files.issued("pair", &named(NAME), &ours);
    let title = |text: &str| text.parse::<crate::dicom::AeTitle>().expect("a title");
    let known = |certificate, text| CertificateIdentity { certificate, calling_ae: vec![title(text)] };
    let ca = files.ca("ours", &ours);
    // Its holder made a certificate for itself with the name of another cart.
    for (signer, by_authority) in [(&foreign, false), (&ours, true)] {
        let cart = files.issued("cart", &named("other.example.org"), signer);
        let listener = config::ServerTls {
            client: ClientAuth::Required,
            ca: Some(ca.clone()),
            identities: vec![
                known(CertificateMatch::Pin(cart.pin), "CT1"),
                known(CertificateMatch::San("other.example.org".to_owned()), "OTHER"),
            ],
            ..server(&pair)
        };
        let met = meet(&showing(&cart, Verify::Ca(Some(ca.clone()))), &listener).await;
        let shown = met.server.expect("a handshake").expect("a certificate");
        assert_eq!(shown.by_authority, by_authority);
        let vouches = Some(&ca).filter(|_| shown.by_authority);
        let titles = Bindings::of([&listener]).titles(Some(&shown.leaf), vouches);
        assert!(titles.allow(&title("CT1")).is_ok());
        assert_eq!(titles.allow(&title("OTHER")).is_ok(), by_authority);
    }
    let nobody = config::ServerTls {
        identities: vec![known(CertificateMatch::San("other.example.org".to_owned()), "OTHER")],
        ..server(&pair)
    };
    let leaf = Leaf::of(
        named("other.example.org").self_signed(&KeyPair::generate().expect("a key")).expect("one").der(),
    );
    let titles = Bindings::of([&nobody]).titles(Some(&leaf.expect("a certificate")), None);
    assert!(titles.allow(&title("OTHER")).is_err(), "without authorities no name proves anything");
}

#[test]
fn a_title_belongs_to_its_certificate_and_a_certificate_to_its_titles() {
    let leaf = |name: &str| {
        let key = KeyPair::generate().expect("a key");
        Leaf::of(named(name).self_signed(&key).expect("a certificate").der()).expect("a certificate")
    };
    let title = |text: &str| text.parse::<crate::dicom::AeTitle>().expect("a title");
    let (ct, mr, other) = (leaf("ct.example.org"), leaf("mr.example.org"), leaf("other.example.org"));
    let known = |certificate, titles: &[&str]| CertificateIdentity {
        certificate,
        calling_ae: titles.iter().map(|text| title(text)).collect(),
    };
    let identities = [
        known(CertificateMatch::San("CT.example.org".to_owned()), &["CT1", "CT2"]),
        known(CertificateMatch::Subject("mr.example.org".to_owned()), &["MR1"]),
        known(CertificateMatch::Pin(ct.pin), &["CT3"]),
    ];
    let ca = PathBuf::from("ca.pem");
    let listener = crate::config::ServerTls {
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        client: ClientAuth::Required,
        ca: Some(ca.clone()),
        min_version: TlsVersion::V12,
        handshake: Duration::from_secs(10),
        identities: identities.to_vec(),
    };
    let bindings = Bindings::of([&listener]);
    let by = |ca: Option<&PathBuf>, who: Option<&Leaf>, text: &str| {
        bindings.titles(who, ca).allow(&title(text)).is_ok()
    };
    let may = |who: Option<&Leaf>, text: &str| by(Some(&ca), who, text);
    // At another listener: names that other authorities vouch for are not the ones that are meant, keys are.
    assert!(!by(None, Some(&mr), "MR1") && !by(None, None, "MR1"));
    assert!(by(None, Some(&ct), "CT3") && !by(None, Some(&ct), "CT1"));
    assert!(may(Some(&ct), "CT1") && may(Some(&ct), "CT2") && may(Some(&ct), "CT3") && may(Some(&mr), "MR1"));
    assert!(!may(Some(&ct), "MR1") && !may(Some(&mr), "CT1"), "another's");
    assert!(!may(Some(&ct), "US1"), "a bound certificate has its own only");
    for nobody in [Some(&other), None] {
        assert!(may(nobody, "US1") && !may(nobody, "CT1") && !may(nobody, "MR1"));
    }
}

#[test]
fn names_are_for_a_host_by_san_and_by_common_name_only_without_any() {
    let key = KeyPair::generate().expect("a key");
    let leaf = |names: &[&str]| {
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
        params.distinguished_name.push(DnType::CommonName, "cn.example.org");
        Leaf::of(params.self_signed(&key).expect("a certificate").der()).expect("a certificate")
    };
    let with = leaf(&["a.example.org", "*.ward.example.org", "10.0.0.1"]);
    for (host, is_for) in [
        ("A.example.org.", true),
        ("x.ward.example.org", true),
        ("x.y.ward.example.org", false),
        ("10.0.0.1", true),
        ("10.0.0.2", false),
        ("cn.example.org", false),
    ] {
        assert_eq!(with.is_for(host), is_for, "{host}");
    }
    assert!(leaf(&[]).is_for("cn.example.org") && !leaf(&[]).is_for("a.example.org"));
    assert_eq!((with.version, with.key.as_str(), with.is_ca), (3, "ECDSA P-256", false));
}

#[test]
fn a_subject_cannot_be_imitated_by_what_stands_in_one_of_its_values() {
    let key = KeyPair::generate().expect("a key");
    let leaf = |parts: &[(DnType, &str)]| {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        Leaf::of(params.self_signed(&key).expect("a certificate").der()).expect("a certificate")
    };
    let fits = |subject: &str, leaf: &Leaf| CertificateMatch::Subject(subject.to_owned()).fits(leaf);
    let (org, common) = (DnType::OrganizationName, DnType::CommonName);
    let true_one = leaf(&[(org.clone(), "Hosp"), (common.clone(), "cart9")]);
    assert!(fits("O=Hosp, CN=cart9", &true_one) && fits("cart9", &true_one));
    let imitations = [
        leaf(&[(org.clone(), "Hosp, CN=cart9")]),
        leaf(&[(common.clone(), "O=Hosp, CN=cart9")]),
        leaf(&[(org.clone(), "Hosp\\, CN=cart9")]),
    ];
    for imitation in &imitations {
        assert!(!fits("O=Hosp, CN=cart9", imitation), "{}", imitation.subject);
    }
    assert_eq!(imitations[0].subject, r"O=Hosp\, CN=cart9");
    let odd = leaf(&[(common.clone(), " #a+b\n\"c\" ")]);
    assert_eq!(odd.subject, r#"CN=\ #a\+b\0A\"c\"\ "#);
    // Two common names say nothing: who has a say about one may not about the other.
    let two = DnType::CustomDnType(vec![2, 5, 4, 3]);
    let two = leaf(&[(common, "cart9"), (two, "other")]);
    assert_eq!(two.common_name, None, "{}", two.subject);
    assert!(!fits("cart9", &two) && !fits("other", &two));
}

#[test]
fn an_alternative_name_counts_as_what_it_is_and_not_as_how_it_is_written() {
    use super::San;
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["a.example.org".to_owned()]).expect("a name");
    let mut leaf = Leaf::of(params.self_signed(&key).expect("a certificate").der()).expect("a certificate");
    let mut fits = |san: San, written: &str| {
        leaf.names = vec![san];
        CertificateMatch::San(written.to_owned()).fits(&leaf)
    };
    let address = || San::Ip("10.0.0.1".parse().expect("an address"));
    assert!(fits(address(), "10.0.0.1") && !fits(San::Dns("10.0.0.1".into()), "10.0.0.1"));
    assert!(fits(San::Dns("CT1".into()), "ct1") && !fits(San::Email("ct1".into()), "ct1"));
    assert!(fits(San::Email("a@example.org".into()), "A@example.org"));
    assert!(!fits(San::Dns("a@example.org".into()), "a@example.org"));
    assert!(!fits(San::Uri("ct1".into()), "ct1") && !fits(San::Uri("a@example.org".into()), "a@example.org"));
    assert!(fits(San::Uri("urn:a".into()), "urn:a") && !fits(San::Dns("urn:a".into()), "urn:a"));
    assert!(fits(San::Ip("::1".parse().expect("an address")), "0:0::1"));
}
