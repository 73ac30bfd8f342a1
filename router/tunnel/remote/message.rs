//! What is said on the stream of a configuration; docs/TUNNEL.md has it byte for byte.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::state::Outcome;
use crate::config::{MAX_AFAR_BYTES, Overlay};
use crate::tunnel::wire::{Fields, Malformed, put_text};

/// The most that is read of one reply, in bytes.
const MAX_REPLY: usize = 64 << 10;
/// Reasons that are told, and characters of each.
const MAX_REASONS: usize = 50;
const MAX_REASON: usize = 400;
/// The longest name of a revision.
const MAX_REVISION: usize = 64;

/// What the gateway holds: the body of the OPEN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// What it is called.
    pub revision: String,
    /// Bytes of the sections.
    pub length: u32,
    /// Of these bytes.
    pub sha256: [u8; 32],
}

/// What the link says of it: a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Reply {
    /// It does not know the revision: the sections are to be sent.
    Wanted,
    /// What became of it.
    #[serde(untagged)]
    Report(Outcome),
}

/// Replies, as they come: a line each.
#[derive(Debug, Default)]
pub(super) struct Lines(BytesMut);

impl Announcement {
    /// Of this.
    pub fn of(overlay: &Overlay) -> Self {
        let length = u32::try_from(overlay.text.len()).unwrap_or(u32::MAX);
        Self {
            revision: overlay.revision.clone(),
            length,
            sha256: Sha256::digest(overlay.text.as_bytes()).into(),
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_text(&mut out, &self.revision);
        out.put_u32(self.length);
        out.put_slice(&self.sha256);
        out.freeze()
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let (revision, length, sha256) = (fields.text()?, fields.u32()?, fields.array()?);
        fields.end()?;
        if revision.is_empty() || revision.len() > MAX_REVISION {
            return Err(Malformed::Value("a revision without a name"));
        }
        if length as usize > MAX_AFAR_BYTES {
            return Err(Malformed::Value("a configuration that is too long"));
        }
        Ok(Self { revision, length, sha256 })
    }

    /// The sections that were announced, if these are they.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn take(self, bytes: Vec<u8>) -> Result<Overlay, Malformed> {
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if bytes.len() != self.length as usize || digest != self.sha256 {
            return Err(Malformed::Value("other sections than were announced"));
        }
        let text = String::from_utf8(bytes).map_err(|_| Malformed::Value("sections that are not text"))?;
        Ok(Overlay { revision: self.revision, text })
    }
}

impl Reply {
    /// Its bytes. Of many and long reasons only some are told.
    pub fn encode(&self) -> Bytes {
        let short = |text: &String| text.chars().take(MAX_REASON).collect::<String>();
        let reply = match self {
            Self::Report(Outcome::Refused { problems }) => {
                let problems = problems.iter().take(MAX_REASONS).map(short).collect();
                Self::Report(Outcome::Refused { problems })
            }
            Self::Report(Outcome::GoneBack { why }) => Self::Report(Outcome::GoneBack { why: short(why) }),
            other => other.clone(),
        };
        let mut line = serde_json::to_vec(&reply).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }
}

impl Lines {
    /// Bytes have come.
    ///
    /// # Errors
    /// [`Malformed`]: a line that is none, or does not end.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Reply>, Malformed> {
        self.0.extend_from_slice(bytes);
        let mut replies = Vec::new();
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line = self.0.split_to(end + 1);
            let reply = serde_json::from_slice(&line);
            replies.push(reply.map_err(|_| Malformed::Value("a reply that is none"))?);
        }
        if self.0.len() > MAX_REPLY {
            return Err(Malformed::Value("a reply that is too long"));
        }
        Ok(replies)
    }
}

#[cfg(test)]
mod tests {
    use super::{Announcement, Lines, Reply};
    use crate::config::Overlay;
    use crate::tunnel::remote::Outcome;

    fn overlay() -> Overlay {
        Overlay { revision: "3-0011aabb".into(), text: "[[route]]\nto = [\"pacs\"]\n".into() }
    }

    #[test]
    fn an_announcement_comes_back_as_it_was_and_only_its_own_sections_are_taken() {
        let announced = Announcement::of(&overlay());
        let bytes = announced.encode();
        assert_eq!(bytes.len(), 2 + 10 + 4 + 32);
        assert_eq!(Announcement::decode(bytes.clone()), Ok(announced.clone()));
        assert_eq!(announced.clone().take(overlay().text.into_bytes()), Ok(overlay()));
        assert!(announced.clone().take(b"[[route]]\nto = [\"other\"]\n"[..24].to_vec()).is_err());
        for length in 0..bytes.len() {
            assert!(Announcement::decode(bytes.slice(..length)).is_err(), "{length}");
        }
        let long = Announcement { length: 65_537, ..announced.clone() };
        assert!(Announcement::decode(long.encode()).is_err());
        assert!(
            Announcement::decode(Announcement { revision: String::new(), ..announced }.encode()).is_err()
        );
    }

    #[test]
    fn replies_are_lines_of_json_however_they_are_cut() {
        let replies = [
            (Reply::Wanted, "{\"state\":\"wanted\"}\n"),
            (Reply::Report(Outcome::Probation), "{\"state\":\"probation\"}\n"),
            (Reply::Report(Outcome::Applied), "{\"state\":\"applied\"}\n"),
            (
                Reply::Report(Outcome::Refused { problems: vec!["node: no".into()] }),
                "{\"state\":\"refused\",\"problems\":[\"node: no\"]}\n",
            ),
            (
                Reply::Report(Outcome::GoneBack { why: "silence".into() }),
                "{\"state\":\"gone-back\",\"why\":\"silence\"}\n",
            ),
        ];
        let mut lines = Lines::default();
        for (reply, text) in replies {
            assert_eq!(reply.encode(), text.as_bytes());
            let read: Vec<_> = text.bytes().flat_map(|byte| lines.push(&[byte]).unwrap()).collect();
            assert_eq!(read, [reply]);
        }
        assert!(Lines::default().push(b"{\"state\":\"glad\"}\n").is_err());
        assert!(Lines::default().push(&vec![b'x'; 70_000]).is_err());
    }
}
