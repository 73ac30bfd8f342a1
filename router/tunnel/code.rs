//! A site's code, and how a link shows that it has it without saying it.
//!
//! The scheme is that of SCRAM (RFC 5802) with SHA-256, but for one thing: the salt is part of the code, so that the
//! link's first message can be the proof.
//!
//! ```text
//!  K        = PBKDF2-HMAC-SHA256(secret, salt, 100,000)
//!  link key = HMAC(K, "chrysalis link key")        stored  = SHA-256(link key)
//!  gateway key = HMAC(K, "chrysalis gateway key")
//!  said     = "chrysalis tunnel 1\0" GREETING HELLO with a proof of zeros
//!  link's proof    = link key XOR HMAC(stored, said)
//!  gateway's proof = HMAC(gateway key, said link's proof)
//! ```
//!
//! The gateway keeps *stored* and *gateway key*: with them nobody can be a link. A recorded HELLO is of no use, because
//! the next GREETING has another nonce.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use serde::{Deserialize, Serialize};

use super::wire::{Hello, Message, Nonce, Proof};

const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
const SALT: usize = 16;
const SECRET: usize = 20;
/// What every code begins with: the version of the scheme.
const PREFIX: &str = "chrysalis-site-1-";
const SAID: &[u8] = b"chrysalis tunnel 1\0";

/// A site's code. Never printed but where it is made.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    salt: [u8; SALT],
    secret: [u8; SECRET],
}

/// What a gateway keeps of a code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verifier {
    salt: Hex<SALT>,
    iterations: NonZeroU32,
    stored: Hex<32>,
    gateway_key: Hex<32>,
}

/// What a link makes of its code, once.
#[derive(Clone)]
pub struct LinkKey {
    link_key: [u8; 32],
    stored: [u8; 32],
    gateway_key: [u8; 32],
}

/// Something is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// It is not what `site add` prints.
    #[error("this is no site's code: one begins with \"{PREFIX}\" and has 72 hexadecimal digits after it")]
    NoCode,
}

/// No random numbers can be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random numbers: {0}")]
pub struct NoRandomness(String);

/// Random bytes.
///
/// # Errors
/// [`NoRandomness`]
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| NoRandomness(error.to_string()))?;
    Ok(bytes)
}

impl Code {
    /// A new one.
    ///
    /// # Errors
    /// [`NoRandomness`]
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self { salt: random()?, secret: random()? })
    }

    /// The text that an administrator carries from the gateway to the link.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}{}", Hex(self.salt), Hex(self.secret))
    }

    /// What a gateway keeps of it.
    pub fn verifier(&self) -> Verifier {
        let LinkKey { stored, gateway_key, .. } = self.link_key();
        let (salt, stored, gateway_key) = (Hex(self.salt), Hex(stored), Hex(gateway_key));
        Verifier { salt, iterations: ITERATIONS, stored, gateway_key }
    }

    /// What a link uses it as. Takes some hundredths of a second.
    pub fn link_key(&self) -> LinkKey {
        let mut key = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &self.salt, &self.secret, &mut key);
        let link_key = mac(&key, &[b"chrysalis link key"]);
        let gateway_key = mac(&key, &[b"chrysalis gateway key"]);
        LinkKey { link_key, stored: sha256(&link_key), gateway_key }
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(CodeError::NoCode)?;
        let (salt, secret) = digits.split_at_checked(2 * SALT).ok_or(CodeError::NoCode)?;
        let (Ok(Hex(salt)), Ok(Hex(secret))) = (salt.parse(), secret.parse()) else {
            return Err(CodeError::NoCode);
        };
        Ok(Self { salt, secret })
    }
}

impl LinkKey {
    /// Completes a hello.
    pub fn sign(&self, greeting: &Message, mut hello: Hello) -> Hello {
        let mask = mac(&self.stored, &said(greeting, &hello).each_ref().map(|part| &part[..]));
        hello.proof = xor(&self.link_key, &mask);
        hello
    }

    /// Whether a gateway's proof shows that it knows the code.
    pub fn accepts(&self, greeting: &Message, hello: &Hello, proof: &Proof) -> bool {
        let expected = gateway_proof(&self.gateway_key, greeting, hello);
        verify_slices_are_equal(&expected, proof).is_ok()
    }
}

impl Verifier {
    /// The gateway's own proof, if the hello's proof shows that the link has the code.
    pub fn answer(&self, greeting: &Message, hello: &Hello) -> Option<Proof> {
        let mask = mac(&self.stored.0, &said(greeting, hello).each_ref().map(|part| &part[..]));
        let link_key = xor(&hello.proof, &mask);
        verify_slices_are_equal(&sha256(&link_key), &self.stored.0).ok()?;
        Some(gateway_proof(&self.gateway_key.0, greeting, hello))
    }

    /// One that no code fits, so that a site which is not known takes as long as one that is.
    pub fn nobodys() -> Self {
        Self {
            salt: Hex([0; SALT]),
            iterations: ITERATIONS,
            stored: Hex([0xff; 32]),
            gateway_key: Hex([0; 32]),
        }
    }
}

/// What both sides have said when the proof is made, without the proof.
fn said(greeting: &Message, hello: &Hello) -> [bytes::Bytes; 3] {
    let bare = Message::Hello(Hello { proof: [0; 32], ..hello.clone() });
    [bytes::Bytes::from_static(SAID), greeting.encode(), bare.encode()]
}

fn gateway_proof(key: &[u8; 32], greeting: &Message, hello: &Hello) -> Proof {
    let [prefix, greeting, bare] = said(greeting, hello);
    mac(key, &[&prefix, &greeting, &bare, &hello.proof])
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().first_chunk().copied().unwrap_or_default()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().first_chunk().copied().unwrap_or_default()
}

fn xor(a: &Nonce, b: &Nonce) -> Nonce {
    let mut out = *a;
    out.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
    out
}

/// Bytes as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        if text.len() != 2 * N || !text.is_ascii() {
            return Err(CodeError::NoCode);
        }
        let mut bytes = [0; N];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).map_err(|_| CodeError::NoCode)?;
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<code>")
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<verifier>")
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<link key>")
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, CodeError, Verifier};
    use crate::tunnel::wire::{Greeting, Hello, Message, Windows};

    fn greeting(nonce: u8) -> Message {
        Message::Greeting(Greeting { lowest: 1, highest: 1, nonce: [nonce; 32] })
    }

    fn hello(site: &str) -> Hello {
        Hello {
            version: 1,
            site: site.to_owned(),
            nonce: [9; 32],
            proof: [0; 32],
            windows: Windows { stream: 1, session: 1, streams: 1 },
            software: String::new(),
        }
    }

    #[test]
    fn whoever_has_the_code_is_known_and_knows_the_gateway() {
        let code = Code::generate().unwrap();
        let (key, verifier) = (code.reveal().parse::<Code>().unwrap().link_key(), code.verifier());
        let hello = key.sign(&greeting(1), hello("north"));
        let answer = verifier.answer(&greeting(1), &hello).unwrap();
        assert!(key.accepts(&greeting(1), &hello, &answer));
        assert!(!key.accepts(&greeting(1), &hello, &[0; 32]), "a gateway that does not know the code");
        let text = serde_json::to_string(&verifier).unwrap();
        let kept: Verifier = serde_json::from_str(&text).unwrap();
        assert_eq!(kept.answer(&greeting(1), &hello), Some(answer));
    }

    #[test]
    fn a_recorded_hello_another_code_and_a_changed_word_are_refused() {
        let code = Code::generate().unwrap();
        let (key, verifier) = (code.link_key(), code.verifier());
        let recorded = key.sign(&greeting(1), hello("north"));
        assert_eq!(verifier.answer(&greeting(2), &recorded), None, "replayed");
        let other = Code::generate().unwrap().link_key().sign(&greeting(1), hello("north"));
        assert_eq!(verifier.answer(&greeting(1), &other), None, "another code");
        let changed = Hello { site: "south".into(), ..recorded.clone() };
        assert_eq!(verifier.answer(&greeting(1), &changed), None, "another site");
        assert_eq!(Verifier::nobodys().answer(&greeting(1), &recorded), None);
    }

    #[test]
    fn what_is_kept_says_neither_the_secret_nor_the_links_key_and_nothing_is_printed() {
        let code = Code::generate().unwrap();
        let (revealed, kept) = (code.reveal(), serde_json::to_string(&code.verifier()).unwrap());
        assert!(!kept.contains(&revealed[revealed.len() - 40..]));
        let printed = format!("{code:?} {:?} {:?}", code.verifier(), code.link_key());
        assert_eq!(printed, "<code> <verifier> <link key>");
        for wrong in ["", "chrysalis-site-1-", "chrysalis-site-1-zz", &revealed[1..], &format!("{revealed}0")]
        {
            assert_eq!(wrong.parse::<Code>(), Err(CodeError::NoCode));
        }
    }
}
