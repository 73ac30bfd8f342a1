//! What comes back to a hostile peer.

use super::super::wire;

/// The acceptor's PDUs, in order: type and variable field.
#[derive(Debug)]
pub struct Answers(pub Vec<(u8, Vec<u8>)>);

impl Answers {
    /// All that was sent until the connection's end.
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut pdus = Vec::new();
        while let Some(pdu) = wire::read_pdu(&mut bytes).unwrap() {
            pdus.push((pdu.kind, pdu.body));
        }
        Self(pdus)
    }

    /// Source and reason of the A-ABORT, if that is the last word.
    pub fn abort(&self) -> Option<(u8, u8)> {
        self.0.last().filter(|pdu| pdu.0 == wire::ABORT).map(|pdu| (pdu.1[2], pdu.1[3]))
    }

    /// Result, source and reason of the A-ASSOCIATE-RJ.
    pub fn rejection(&self) -> Option<(u8, u8, u8)> {
        self.0.first().filter(|pdu| pdu.0 == wire::ASSOCIATE_RJ).map(|pdu| (pdu.1[1], pdu.1[2], pdu.1[3]))
    }

    pub fn is_accepted(&self) -> bool {
        self.0.first().is_some_and(|pdu| pdu.0 == wire::ASSOCIATE_AC)
    }

    pub fn is_released(&self) -> bool {
        self.0.last().is_some_and(|pdu| pdu.0 == wire::RELEASE_RP)
    }

    /// The results of the presentation contexts, by identifier.
    pub fn results(&self) -> Vec<(u8, u8)> {
        let items = self.items().into_iter().filter(|(kind, _)| *kind == 0x21);
        items.map(|(_, value)| (value[0], value[2])).collect()
    }

    /// A sub-item of the user information.
    pub fn user_item(&self, wanted: u8) -> Option<Vec<u8>> {
        let user = self.items().into_iter().find(|(kind, _)| *kind == 0x50)?.1;
        split_items(&user).into_iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    fn items(&self) -> Vec<(u8, Vec<u8>)> {
        if self.is_accepted() { split_items(&self.0[0].1[68..]) } else { Vec::new() }
    }

    /// Statuses and comments of all responses; a comment is longer than 64 characters in none (PS3.7 C).
    pub fn statuses(&self) -> Vec<(u16, String)> {
        let mut set = Vec::new();
        let mut found = Vec::new();
        for (_, body) in self.0.iter().filter(|pdu| pdu.0 == wire::DATA) {
            for (_, control, fragment) in wire::pdvs(body).unwrap() {
                set.extend_from_slice(fragment);
                if control & wire::LAST_BIT != 0 {
                    let command = wire::Command::parse(&std::mem::take(&mut set)).unwrap();
                    let comment = command.string(0x0902).unwrap_or_default();
                    assert!(comment.len() <= 64, "{comment}");
                    found.push((command.get_number(0x0900).unwrap_or(u16::MAX), comment));
                }
            }
        }
        found
    }
}

fn split_items(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        items.push((bytes[0], bytes[4..4 + length].to_vec()));
        bytes = &bytes[4 + length..];
    }
    items
}
