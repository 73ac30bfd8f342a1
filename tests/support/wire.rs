//! DICOM networking in as few lines as the tests need, written apart from the router's: PDUs (PS3.8 9.3), their items, and
//! command sets (PS3.7 6.3), which are always Implicit VR Little Endian.

use std::io::{self, Read, Write};

pub const ASSOCIATE_RQ: u8 = 1;
pub const ASSOCIATE_AC: u8 = 2;
pub const ASSOCIATE_RJ: u8 = 3;
pub const DATA: u8 = 4;
pub const RELEASE_RQ: u8 = 5;
pub const RELEASE_RP: u8 = 6;
pub const ABORT: u8 = 7;

pub const VERIFICATION: &str = "1.2.840.10008.1.1";
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Names this test code in associations and files.
pub const IMPLEMENTATION: &str = "2.25.205837106529160493847210948571634509218";

/// Message control header of a PDV (PS3.8 E.2): command or data set, last fragment or not.
pub const COMMAND_BIT: u8 = 1;
pub const LAST_BIT: u8 = 2;

pub const STORE_RQ: u16 = 0x0001;
pub const STORE_RSP: u16 = 0x8001;
pub const ECHO_RQ: u16 = 0x0030;
pub const ECHO_RSP: u16 = 0x8030;

/// A PDU as it came: its type and what follows the length.
#[derive(Debug, Clone)]
pub struct Pdu {
    pub kind: u8,
    pub body: Vec<u8>,
}

/// No PDU in a test is larger; a larger length is a broken peer.
const LONGEST_PDU: u32 = 64 << 20;

/// Reads one PDU; `None` when the peer closed between two PDUs.
pub fn read_pdu(stream: &mut impl Read) -> io::Result<Option<Pdu>> {
    let mut head = [0; 6];
    let mut got = 0;
    while got < head.len() {
        match stream.read(&mut head[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let length = u32::from_be_bytes(head[2..].try_into().unwrap());
    if length > LONGEST_PDU {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a PDU of {length} bytes")));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok(Some(Pdu { kind: head[0], body }))
}

/// The bytes of a PDU.
pub fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0];
    out.extend((body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// Writes a PDU with one write.
pub fn write_pdu(stream: &mut impl Write, kind: u8, body: &[u8]) -> io::Result<()> {
    stream.write_all(&pdu(kind, body))
}

/// The bytes of a presentation data value item.
pub fn pdv(context: u8, control: u8, fragment: &[u8]) -> Vec<u8> {
    let mut out = ((fragment.len() + 2) as u32).to_be_bytes().to_vec();
    out.extend([context, control]);
    out.extend_from_slice(fragment);
    out
}

/// The PDVs in the body of a P-DATA-TF: context, control header, fragment.
pub fn pdvs(body: &[u8]) -> io::Result<Vec<(u8, u8, &[u8])>> {
    let mut rest = body;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "a PDV does not fit its PDU");
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let (value, after) =
            after.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(broken)?;
        let [context, control, fragment @ ..] = value else { return Err(broken()) };
        out.push((*context, *control, fragment));
        rest = after;
    }
    Ok(out)
}

/// A presentation context as proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    pub id: u8,
    pub abstract_syntax: String,
    pub transfer_syntaxes: Vec<String>,
}

/// A presentation context as answered; result 0 is acceptance (PS3.8 9.3.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub id: u8,
    pub result: u8,
    pub transfer_syntax: String,
}

/// What an A-ASSOCIATE-RQ or -AC says.
#[derive(Debug, Clone, Default)]
pub struct Associate {
    pub called_ae: String,
    pub calling_ae: String,
    pub proposed: Vec<Proposed>,
    pub answered: Vec<Answered>,
    /// Maximum length received; 0 is no limit.
    pub max_pdu: u32,
    pub implementation_class: String,
    pub implementation_version: String,
}

impl Associate {
    /// The body of the PDU: a request when there are proposed contexts or none at all, else an acceptance.
    pub fn to_body(&self) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 0];
        out.extend(ae_field(&self.called_ae));
        out.extend(ae_field(&self.calling_ae));
        out.extend([0; 32]);
        out.extend(item(0x10, APPLICATION_CONTEXT.as_bytes()));
        for context in &self.proposed {
            let mut body = vec![context.id, 0, 0, 0];
            body.extend(item(0x30, context.abstract_syntax.as_bytes()));
            context.transfer_syntaxes.iter().for_each(|ts| body.extend(item(0x40, ts.as_bytes())));
            out.extend(item(0x20, &body));
        }
        for context in &self.answered {
            let mut body = vec![context.id, 0, context.result, 0];
            body.extend(item(0x40, context.transfer_syntax.as_bytes()));
            out.extend(item(0x21, &body));
        }
        let mut user = item(0x51, &self.max_pdu.to_be_bytes());
        user.extend(item(0x52, self.implementation_class.as_bytes()));
        user.extend(item(0x55, self.implementation_version.as_bytes()));
        out.extend(item(0x50, &user));
        out
    }

    /// Reads the body of an A-ASSOCIATE-RQ or -AC.
    pub fn parse(body: &[u8]) -> io::Result<Self> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "an A-ASSOCIATE PDU is too short");
        let (fixed, rest) = body.split_at_checked(68).ok_or_else(broken)?;
        let mut out =
            Self { called_ae: text(&fixed[4..20]), calling_ae: text(&fixed[20..36]), ..Self::default() };
        for (kind, value) in items(rest)? {
            match kind {
                0x20 => out.proposed.push(proposed(value)?),
                0x21 => out.answered.push(answered(value)?),
                0x50 => out.user_information(value)?,
                _ => {}
            }
        }
        Ok(out)
    }

    fn user_information(&mut self, value: &[u8]) -> io::Result<()> {
        for (kind, value) in items(value)? {
            match kind {
                0x51 => self.max_pdu = value.try_into().map_or(0, u32::from_be_bytes),
                0x52 => self.implementation_class = text(value),
                0x55 => self.implementation_version = text(value),
                _ => {}
            }
        }
        Ok(())
    }
}

fn proposed(value: &[u8]) -> io::Result<Proposed> {
    let mut out = Proposed { id: value[0], abstract_syntax: String::new(), transfer_syntaxes: Vec::new() };
    for (kind, value) in items(&value[4..])? {
        match kind {
            0x30 => out.abstract_syntax = text(value),
            _ => out.transfer_syntaxes.push(text(value)),
        }
    }
    Ok(out)
}

fn answered(value: &[u8]) -> io::Result<Answered> {
    let transfer_syntax = items(&value[4..])?.first().map(|(_, ts)| text(ts)).unwrap_or_default();
    Ok(Answered { id: value[0], result: value[2], transfer_syntax })
}

/// An item or sub-item: type, reserved, length, value.
pub fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0];
    out.extend((value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out
}

fn items(bytes: &[u8]) -> io::Result<Vec<(u8, &[u8])>> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "an item does not fit its PDU");
    let mut rest = bytes;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (value, after) = after.split_at_checked(length).ok_or_else(broken)?;
        out.push((head[0], value));
        rest = after;
    }
    Ok(out)
}

fn ae_field(title: &str) -> [u8; 16] {
    let mut out = [b' '; 16];
    out.iter_mut().zip(title.bytes()).for_each(|(to, from)| *to = from);
    out
}

/// A value without its padding.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_matches([' ', '\0']).to_owned()
}

/// A command set: elements of group 0000 in order.
#[derive(Debug, Clone, Default)]
pub struct Command(Vec<(u16, Vec<u8>)>);

impl Command {
    /// A C-STORE-RQ with a data set.
    pub fn store_rq(message_id: u16, sop_class: &str, sop_instance: &str) -> Self {
        Self::default()
            .uid(0x0002, sop_class)
            .number(0x0100, STORE_RQ)
            .number(0x0110, message_id)
            .number(0x0700, 0)
            .number(0x0800, 1)
            .uid(0x1000, sop_instance)
    }

    pub fn echo_rq(message_id: u16) -> Self {
        Self::default()
            .uid(0x0002, VERIFICATION)
            .number(0x0100, ECHO_RQ)
            .number(0x0110, message_id)
            .number(0x0800, 0x0101)
    }

    /// The response to `request`, with an Error Comment if there is one.
    pub fn response(request: &Self, status: u16, comment: Option<&str>) -> Self {
        let mut out = Self::default();
        if let Some(class) = request.string(0x0002) {
            out = out.uid(0x0002, &class);
        }
        out = out
            .number(0x0100, request.get_number(0x0100).unwrap_or(0) | 0x8000)
            .number(0x0120, request.get_number(0x0110).unwrap_or(0))
            .number(0x0800, 0x0101)
            .number(0x0900, status);
        if let Some(comment) = comment {
            out = out.string_value(0x0902, comment, b' ');
        }
        match request.string(0x1000) {
            Some(instance) => out.uid(0x1000, &instance),
            None => out,
        }
    }

    pub fn number(self, element: u16, value: u16) -> Self {
        self.raw(element, value.to_le_bytes().to_vec())
    }

    pub fn uid(self, element: u16, value: &str) -> Self {
        self.string_value(element, value, 0)
    }

    fn string_value(self, element: u16, value: &str, padding: u8) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(padding);
        }
        self.raw(element, bytes)
    }

    pub fn raw(mut self, element: u16, value: Vec<u8>) -> Self {
        self.0.push((element, value));
        self
    }

    /// The elements with their group length in front.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (element, value) in &self.0 {
            body.extend([0, 0]);
            body.extend(element.to_le_bytes());
            body.extend((value.len() as u32).to_le_bytes());
            body.extend_from_slice(value);
        }
        let mut out = vec![0, 0, 0, 0, 4, 0, 0, 0];
        out.extend((body.len() as u32).to_le_bytes());
        out.append(&mut body);
        out
    }

    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "a command set is cut off");
        let mut rest = bytes;
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (head, after) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
            let length = u32::from_le_bytes(head[4..].try_into().unwrap()) as usize;
            let (value, after) = after.split_at_checked(length).ok_or_else(broken)?;
            if head[2..4] != [0, 0] {
                out.push((u16::from_le_bytes([head[2], head[3]]), value.to_vec()));
            }
            rest = after;
        }
        Ok(Self(out))
    }

    pub fn get_number(&self, element: u16) -> Option<u16> {
        self.get(element).and_then(|value| value.try_into().ok()).map(u16::from_le_bytes)
    }

    pub fn string(&self, element: u16) -> Option<String> {
        self.get(element).map(text)
    }

    fn get(&self, element: u16) -> Option<&[u8]> {
        self.0.iter().find(|(e, _)| *e == element).map(|(_, value)| value.as_slice())
    }
}
