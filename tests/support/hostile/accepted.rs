//! Section H: what others accept from carts, and so do we. Each row is stored, answered 0000, and comes out byte for byte.

use super::super::instance::{EXPLICIT_LITTLE, IMPLICIT_LITTLE, US_IMAGE};
use super::super::wire::{DATA, item, pdu, pdv};
use super::answers::Answers;
use super::bytes::{ABORT, RELEASE, Rq, context, element, max_length, pdata, store_set};
use super::data_sets::{STUDY, long, raw, short, text};

/// A private transfer syntax, which the listener lists: General Electric's, with pixels in big endian.
pub const PRIVATE_SYNTAX: &str = "1.2.840.113619.5.2";
const ULTRASOUND_RETIRED: &str = "1.2.840.10008.5.1.4.1.1.6";

/// One association that stores one instance, in some way of its own.
pub struct Accepted {
    /// What is odd about it, as the sentence of the list.
    pub what: &'static str,
    pub sop_instance: String,
    pub sent: Vec<u8>,
    /// The data set that is stored.
    pub data_set: Vec<u8>,
    is_released: bool,
}

impl Accepted {
    /// Whether it was answered as it has to be.
    pub fn is_right(&self, answers: &Answers) -> bool {
        answers.is_accepted()
            && answers.statuses() == [(0, String::new())]
            && answers.is_released() == self.is_released
    }
}

/// A visit of a cart; a row changes what is odd about it.
struct Visit {
    rq: Rq,
    context: u8,
    class: String,
    /// In the command, padded as it is.
    instance: String,
    data_set: Vec<u8>,
    /// Before the command set, or instead of its group length.
    group_length: Vec<u8>,
    pack: fn(u8, &[u8], &[u8]) -> Vec<u8>,
    end: &'static [u8],
}

type Change = fn(&mut Visit);

#[rustfmt::skip]
const ROWS: [(&str, Change); 47] = [
    ("nothing odd at all", |_| {}),
    ("an AE title that ends in NULs", |v| v.titles(b"CHRYSALIS\0\0\0\0\0\0\0", b"VIVID1\0\0\0\0\0\0\0\0\0\0")),
    ("an AE title that ends in spaces and NULs", |v| v.titles(b"CHRYSALIS   \0\0\0\0", b"VIVID1 \0        ")),
    ("an AE title in lower case", |v| v.titles(b"chrysalis       ", b"vivid1          ")),
    ("any called AE title", |v| v.titles(b"ANY-SCP         ", b"VIVID1          ")),
    ("an abstract syntax that ends in a NUL", |v| v.propose(&context(3, &format!("{US_IMAGE}\0"), &[EXPLICIT_LITTLE]))),
    ("an abstract syntax that ends in a space", |v| v.propose(&context(3, &format!("{US_IMAGE} "), &[EXPLICIT_LITTLE]))),
    ("a transfer syntax that ends in a NUL", |v| v.propose(&context(3, US_IMAGE, &[&format!("{EXPLICIT_LITTLE}\0")]))),
    ("a transfer syntax that ends in a space", |v| v.propose(&context(3, US_IMAGE, &[&format!("{EXPLICIT_LITTLE} ")]))),
    ("a SOP class in the command that ends in spaces", |v| v.class += "  "),
    ("a SOP class in the command without its padding", |v| v.class = US_IMAGE.into()),
    ("a SOP instance in the command that ends in NULs", |v| v.instance += "\0\0"),
    ("a SOP instance in the command that ends in a space", |v| v.instance += " "),
    ("no implementation class and no version name", |v| v.rq.user = max_length(16384)),
    ("no maximum length", |v| v.rq.user = item(0x52, b"1.2.3")),
    ("no user information at all", |v| v.rq.user = vec![]),
    ("a maximum length of 0", |v| v.rq.user = max_length(0)),
    ("an even context ID", |v| { v.propose(&context(4, US_IMAGE, &[EXPLICIT_LITTLE])); v.context = 4; }),
    ("a context ID of 0", |v| { v.propose(&context(0, US_IMAGE, &[EXPLICIT_LITTLE])); v.context = 0; }),
    ("an unknown item", |v| v.rq.items.extend(item(0x60, &[1; 99]))),
    ("an unknown sub-item of the user information", |v| v.rq.user.extend(item(0x5F, &[1; 99]))),
    ("a wrong group length in the command set", |v| v.group_length = element(0, &7_u32.to_le_bytes())),
    ("a group length of FFFFFFFF in the command set", |v| v.group_length = element(0, &[0xFF; 4])),
    ("no group length in the command set", |v| v.group_length = vec![]),
    ("group lengths in the data set", |v| v.before((0x0008, 0x0000), b"UL", &[44, 1, 0, 0])),
    ("512 bytes of zeros after the data set", |v| v.data_set.extend([0; 512])),
    ("an existing (FFFC,FFFC)", |v| v.data_set.extend([long((0xFFFC, 0xFFFC), b"OB", 6), vec![7; 6]].concat())),
    ("an odd element length", |v| v.data_set.extend(short((0x0040, 0x0010), b"SH", 3, b"odd"))),
    ("odd PDV lengths", |v| v.pack = |id, set, data| [command(id, set), pieces(id, data, 7)].concat()),
    ("command and data in one PDU", |v| v.pack = |id, set, data| pdu(DATA, &[pdv(id, 3, set), pdv(id, 2, data)].concat())),
    ("a command set in several PDVs", |v| v.pack = in_several),
    ("a data set in thousands of tiny PDVs", |v| { v.data_set.extend(long((0x0042, 0x0011), b"OB", 3000)); v.data_set.extend([9; 3000]); v.pack = |id, set, data| [command(id, set), pieces(id, data, 1)].concat(); }),
    ("a last PDV without data", |v| v.pack = |id, set, data| [command(id, set), pdata(id, 0, data), pdata(id, 2, &[])].concat()),
    ("one transfer syntax", |v| v.propose(&context(3, US_IMAGE, &[EXPLICIT_LITTLE]))),
    ("many transfer syntaxes", |v| v.propose(&context(3, US_IMAGE, &[IMPLICIT_LITTLE, "1.2.840.10008.1.2.2", EXPLICIT_LITTLE]))),
    ("the same abstract syntax in several contexts", |v| v.propose(&[context(1, US_IMAGE, &[IMPLICIT_LITTLE]), context(3, US_IMAGE, &[EXPLICIT_LITTLE]), context(5, US_IMAGE, &[EXPLICIT_LITTLE])].concat())),
    ("a retired SOP class", |v| v.is_of(ULTRASOUND_RETIRED)),
    ("a private SOP class", |v| v.is_of("1.2.840.113543.6.6.1.3.10002")),
    ("an unknown SOP class of the standard's root", |v| v.is_of("1.2.840.10008.5.1.4.1.1.999.1")),
    ("characters outside the declared set", |v| v.is_named(b"M\xFCller^J\xF6rg\xFF\x80")),
    ("an empty Patient ID", |v| v.replace((0x0010, 0x0020), b"LO", b"HOSTILE1", b"")),
    ("no Study Instance UID", |v| v.remove((0x0020, 0x000D), b"UI", STUDY.as_bytes())),
    ("dates of zeros", |v| v.data_set.extend([text((0x0040, 0x0244), b"DA", "00000000"), text((0x0040, 0x0245), b"TM", "0000")].concat())),
    ("duplicate tags", |v| v.data_set.extend(text((0x0040, 0x0010), b"SH", "1").repeat(2))),
    ("tags out of order", |v| v.data_set.extend(text((0x0008, 0x0060), b"CS", "US"))),
    ("a private transfer syntax that is listed", |v| v.propose(&context(3, US_IMAGE, &[PRIVATE_SYNTAX]))),
    ("an abort instead of a release when all responses were given", |v| v.end = &ABORT),
];

/// Every row of the list that is one association.
pub fn accepted() -> Vec<Accepted> {
    let visit = |(number, (what, change)): (usize, &(&'static str, Change))| {
        let mut visit = Visit::new(&format!("1.2.826.0.1.3680043.10.8.{number}"));
        change(&mut visit);
        visit.accepted(what)
    };
    ROWS.iter().enumerate().map(visit).collect()
}

impl Visit {
    fn new(uid: &str) -> Self {
        let elements = [
            text((0x0008, 0x0016), b"UI", US_IMAGE),
            text((0x0008, 0x0018), b"UI", uid),
            text((0x0010, 0x0010), b"PN", "Hostile^Data"),
            text((0x0010, 0x0020), b"LO", "HOSTILE1"),
            text((0x0020, 0x000D), b"UI", STUDY),
        ];
        Self {
            rq: Rq { items: context(3, US_IMAGE, &[EXPLICIT_LITTLE]), ..Rq::default() },
            context: 3,
            class: US_IMAGE.into(),
            instance: uid.into(),
            data_set: elements.concat(),
            group_length: element(0, &94_u32.to_le_bytes()),
            pack: |id, set, data| [command(id, set), pdata(id, 2, data)].concat(),
            end: &RELEASE,
        }
    }

    fn titles(&mut self, called: &[u8; 16], calling: &[u8; 16]) {
        (self.rq.called, self.rq.calling) = (*called, *calling);
    }

    fn propose(&mut self, items: &[u8]) {
        self.rq.items = items.to_vec();
    }

    fn is_of(&mut self, class: &str) {
        self.propose(&context(3, class, &[EXPLICIT_LITTLE]));
        self.class = class.into();
        self.replace((0x0008, 0x0016), b"UI", US_IMAGE.as_bytes(), class.as_bytes());
    }

    fn is_named(&mut self, name: &[u8]) {
        self.replace((0x0010, 0x0010), b"PN", b"Hostile^Data", name);
        self.data_set = [text((0x0008, 0x0005), b"CS", "ISO_IR 6"), self.data_set.clone()].concat();
    }

    fn before(&mut self, at: (u16, u16), vr: &[u8; 2], value: &[u8]) {
        self.data_set = [&short(at, vr, value.len() as u16, value)[..], &self.data_set].concat();
    }

    fn remove(&mut self, at: (u16, u16), vr: &[u8; 2], value: &[u8]) {
        self.put(&raw(at, vr, value), &[]);
    }

    fn replace(&mut self, at: (u16, u16), vr: &[u8; 2], from: &[u8], to: &[u8]) {
        self.put(&raw(at, vr, from), &raw(at, vr, to));
    }

    /// Puts bytes in the place of others, which must be there.
    fn put(&mut self, from: &[u8], to: &[u8]) {
        let at = self.data_set.windows(from.len()).position(|window| window == from).unwrap();
        self.data_set.splice(at..at + from.len(), to.iter().copied());
    }

    fn accepted(self, what: &'static str) -> Accepted {
        let set = store_set(Some(self.class.as_bytes()), Some(self.instance.as_bytes()), 1, 1);
        let message = (self.pack)(self.context, &[self.group_length, set].concat(), &self.data_set);
        Accepted {
            what,
            sop_instance: self.instance.trim_end_matches(['\0', ' ']).into(),
            sent: [&self.rq.bytes()[..], &message, self.end].concat(),
            data_set: self.data_set,
            is_released: self.end == RELEASE,
        }
    }
}

fn command(context: u8, set: &[u8]) -> Vec<u8> {
    pdata(context, 3, set)
}

fn in_several(context: u8, set: &[u8], data: &[u8]) -> Vec<u8> {
    let (start, rest) = set.split_at(5);
    let (middle, end) = rest.split_at(9);
    let set = [pdata(context, 1, start), pdata(context, 1, middle), pdata(context, 3, end)];
    [set.concat(), pdata(context, 2, data)].concat()
}

/// The data set in PDVs of so many bytes.
fn pieces(context: u8, data: &[u8], size: usize) -> Vec<u8> {
    let last = data.len().div_ceil(size) - 1;
    let one = |(n, piece): (usize, &[u8])| pdata(context, if n == last { 2 } else { 0 }, piece);
    data.chunks(size).enumerate().flat_map(one).collect()
}
