//! What a hostile peer sends, byte by byte: whatever a case wants different can be.

use super::super::instance::{IMPLICIT_LITTLE, US_IMAGE};
use super::super::wire::{ASSOCIATE_RQ, DATA, VERIFICATION, item, pdu, pdv};

pub use super::super::wire::APPLICATION_CONTEXT;

/// The instance that the cases store, unless they say otherwise.
pub const INSTANCE: &str = "1.2.826.0.1.3680043.10.7";
pub const RELEASE: [u8; 10] = [5, 0, 0, 0, 0, 4, 0, 0, 0, 0];
pub const ABORT: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 0, 0];
/// The context for ultrasound images in Implicit VR Little Endian that [`Rq`] proposes.
pub const CONTEXT: u8 = 3;

/// A presentation context as proposed.
pub fn context(id: u8, class: &str, syntaxes: &[&str]) -> Vec<u8> {
    let syntaxes = syntaxes.iter().flat_map(|syntax| item(0x40, syntax.as_bytes()));
    item(0x20, &[vec![id, 0, 0, 0], item(0x30, class.as_bytes()), syntaxes.collect()].concat())
}

/// An A-ASSOCIATE-RQ; each field can be replaced.
pub struct Rq {
    pub version: u16,
    pub called: [u8; 16],
    pub calling: [u8; 16],
    pub application: &'static str,
    pub items: Vec<u8>,
    pub user: Vec<u8>,
}

impl Default for Rq {
    fn default() -> Self {
        let contexts =
            [context(1, VERIFICATION, &[IMPLICIT_LITTLE]), context(CONTEXT, US_IMAGE, &[IMPLICIT_LITTLE])];
        Self {
            version: 1,
            called: *b"ANY-SCP         ",
            calling: *b"VIVID1          ",
            application: APPLICATION_CONTEXT,
            items: contexts.concat(),
            user: max_length(16384),
        }
    }
}

impl Rq {
    pub fn bytes(&self) -> Vec<u8> {
        let fixed =
            [&self.version.to_be_bytes()[..], &[0, 0], &self.called, &self.calling, &[0; 32]].concat();
        let application = item(0x10, self.application.as_bytes());
        pdu(ASSOCIATE_RQ, &[fixed, application, self.items.clone(), item(0x50, &self.user)].concat())
    }

    /// With these items instead of the contexts.
    pub fn items(items: Vec<u8>) -> Vec<u8> {
        Self { items, ..Self::default() }.bytes()
    }
}

/// The sub-item of the maximum length.
pub fn max_length(length: u32) -> Vec<u8> {
    item(0x51, &length.to_be_bytes())
}

/// The sub-item of a user identity with a passcode.
pub fn user_identity(user: &str, passcode: &[u8]) -> Vec<u8> {
    let field = |value: &[u8]| [&(value.len() as u16).to_be_bytes()[..], value].concat();
    item(0x58, &[&[2, 0][..], &field(user.as_bytes()), &field(passcode)].concat())
}

/// A P-DATA-TF with one PDV.
pub fn pdata(context: u8, control: u8, data: &[u8]) -> Vec<u8> {
    pdu(DATA, &pdv(context, control, data))
}

/// An element of a command set, or of a data set in Implicit VR Little Endian.
pub fn implicit(group: u16, element: u16, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u32).to_le_bytes();
    [&group.to_le_bytes()[..], &element.to_le_bytes(), &length, value].concat()
}

/// An element of a command set.
pub fn element(element: u16, value: &[u8]) -> Vec<u8> {
    implicit(0, element, value)
}

/// An element of a command set that is a number.
pub fn number(tag: u16, value: u16) -> Vec<u8> {
    element(tag, &value.to_le_bytes())
}

/// A C-STORE-RQ command set with what a case wants different.
pub fn store_set(class: Option<&[u8]>, instance: Option<&[u8]>, id: u16, data: u16) -> Vec<u8> {
    let class = class.map(|uid| element(2, uid)).unwrap_or_default();
    let instance = instance.map(|uid| element(0x1000, uid)).unwrap_or_default();
    [class, number(0x100, 1), number(0x110, id), number(0x700, 0), number(0x800, data), instance].concat()
}

/// A C-STORE-RQ for [`INSTANCE`].
pub fn store(id: u16) -> Vec<u8> {
    pdata(CONTEXT, 3, &store_set(Some(US_IMAGE.as_bytes()), Some(INSTANCE.as_bytes()), id, 1))
}

/// A data set in Implicit VR Little Endian that belongs to [`INSTANCE`]: so many elements of four bytes at its end.
pub fn data_set(elements: u16) -> Vec<u8> {
    let pad = |uid: &str| if uid.len() % 2 == 1 { format!("{uid}\0") } else { uid.to_owned() };
    let mut out = implicit(0x0008, 0x0016, pad(US_IMAGE).as_bytes());
    out.extend(implicit(0x0008, 0x0018, pad(INSTANCE).as_bytes()));
    out.extend((0..elements).flat_map(|n| implicit(0x0029, 0x1000 + n, b"abcd")));
    out
}

/// The data set of [`INSTANCE`] in one PDV, or only its beginning.
pub fn data(is_last: bool) -> Vec<u8> {
    pdata(CONTEXT, if is_last { 2 } else { 0 }, &data_set(0))
}
