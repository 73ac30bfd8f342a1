//! The input of `association` as a script, and how it is written: a byte for the step and a fixed number for its arguments, so
//! that whatever bytes there are is a script, and a change of one byte is a small change of it.

/// One step of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A-ASSOCIATE-RQ for Verification (1) and ultrasound images in Implicit (3), Explicit (5) and deflated (7).
    Request,
    /// A C-STORE-RQ with its data set, in PDVs of so many bytes.
    Store {
        /// Message ID.
        id: u8,
        /// Which instance.
        instance: u8,
        /// Which of [`data_set`].
        kind: u8,
        /// Bytes of each PDV of the data set; 0 for one PDV.
        piece: u8,
        /// Presentation context.
        context: u8,
    },
    /// A C-STORE-RQ whose data set does not follow at once.
    StoreCommand {
        /// Message ID.
        id: u8,
        /// Which instance.
        instance: u8,
    },
    /// A PDV of a data set.
    Data {
        /// Presentation context.
        context: u8,
        /// Message control header.
        control: u8,
        /// So many bytes.
        length: u8,
    },
    /// C-ECHO-RQ.
    Echo {
        /// Message ID.
        id: u8,
    },
    /// Any command without data set.
    Command {
        /// Command Field, high and low.
        field: [u8; 2],
        /// Message ID.
        id: u8,
    },
    /// A-RELEASE-RQ.
    Release,
    /// A-RELEASE-RP.
    ReleaseReply,
    /// A-ABORT.
    Abort,
    /// A-ASSOCIATE-AC for what a requestor here proposes: Verification (1) and ultrasound images in Implicit (3).
    Accept {
        /// Result of the second context.
        result: u8,
        /// Maximum length in units of 64 bytes.
        max_length: u8,
    },
    /// A-ASSOCIATE-RJ.
    Reject,
    /// C-STORE-RSP or C-ECHO-RSP.
    Response {
        /// Message ID Being Responded To.
        id: u8,
        /// Status, high and low.
        status: [u8; 2],
        /// Whether to a C-ECHO.
        is_echo: bool,
    },
    /// Any bytes, at most 255.
    Raw(Vec<u8>),
    /// Silence, by [`PAUSES`].
    Pause(u8),
    /// Silence until something was answered.
    Await,
    /// Nothing is taken any more.
    Stall,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
}

/// Milliseconds: within and beyond every timer.
pub const PAUSES: [u64; 8] = [1, 500, 1_500, 29_000, 31_000, 299_000, 301_000, 4_000_000];

const ULTRASOUND: &[u8] = b"1.2.840.10008.5.1.4.1.1.6.1\0";
const VERIFICATION: &[u8] = b"1.2.840.10008.1.1";
const APPLICATION: &[u8] = b"1.2.840.10008.3.1.1.1";
const IMPLICIT: &[u8] = b"1.2.840.10008.1.2";
const EXPLICIT: &[u8] = b"1.2.840.10008.1.2.1";
const DEFLATED: &[u8] = b"1.2.840.10008.1.2.1.99";

/// Reads a script; missing arguments are 0.
pub fn decode(mut bytes: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut next = move || {
        let (&first, rest) = bytes.split_first()?;
        bytes = rest;
        Some(first)
    };
    while let Some(code) = next() {
        let mut one = || next().unwrap_or(0);
        steps.push(match code % 18 {
            0 => Step::Request,
            1 => Step::Store { id: one(), instance: one(), kind: one(), piece: one(), context: one() },
            2 => Step::StoreCommand { id: one(), instance: one() },
            3 => Step::Data { context: one(), control: one(), length: one() },
            4 => Step::Echo { id: one() },
            5 => Step::Command { field: [one(), one()], id: one() },
            6 => Step::Release,
            7 => Step::ReleaseReply,
            8 => Step::Abort,
            9 => Step::Accept { result: one(), max_length: one() },
            10 => Step::Reject,
            11 => Step::Response { id: one(), status: [one(), one()], is_echo: one() == 1 },
            12 => {
                let length = one();
                Step::Raw((0..length).map_while(|_| next()).collect())
            }
            13 => Step::Pause(one()),
            14 => Step::Await,
            15 => Step::Stall,
            16 => Step::Close,
            _ => Step::Reset,
        });
    }
    steps
}

/// The same the other way.
pub fn encode(steps: &[Step]) -> Vec<u8> {
    let mut out = Vec::new();
    for step in steps {
        match step {
            Step::Request => out.push(0),
            Step::Store { id, instance, kind, piece, context } => {
                out.extend([1, *id, *instance, *kind, *piece, *context]);
            }
            Step::StoreCommand { id, instance } => out.extend([2, *id, *instance]),
            Step::Data { context, control, length } => out.extend([3, *context, *control, *length]),
            Step::Echo { id } => out.extend([4, *id]),
            Step::Command { field: [high, low], id } => out.extend([5, *high, *low, *id]),
            Step::Release => out.push(6),
            Step::ReleaseReply => out.push(7),
            Step::Abort => out.push(8),
            Step::Accept { result, max_length } => out.extend([9, *result, *max_length]),
            Step::Reject => out.push(10),
            Step::Response { id, status: [high, low], is_echo } => {
                out.extend([11, *id, *high, *low, u8::from(*is_echo)]);
            }
            Step::Raw(bytes) => {
                let bytes = &bytes[..bytes.len().min(255)];
                out.extend([12, bytes.len() as u8]);
                out.extend_from_slice(bytes);
            }
            Step::Pause(which) => out.extend([13, *which]),
            Step::Await => out.push(14),
            Step::Stall => out.push(15),
            Step::Close => out.push(16),
            Step::Reset => out.push(17),
        }
    }
    out
}

impl Step {
    /// What is said in this step; nothing where something else is done.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Request => request(),
            Self::Store { id, instance, kind, piece, context } => {
                let data = data_set(*instance, *kind);
                let length = if *piece == 0 { data.len().max(1) } else { usize::from(*piece) };
                let mut out = pdata(*context, 3, &store_set(*id, *instance));
                let count = data.len().div_ceil(length);
                for (number, piece) in data.chunks(length).enumerate() {
                    out.extend(pdata(*context, if number + 1 == count { 2 } else { 0 }, piece));
                }
                if data.is_empty() {
                    out.extend(pdata(*context, 2, &[]));
                }
                out
            }
            Self::StoreCommand { id, instance } => pdata(3, 3, &store_set(*id, *instance)),
            Self::Data { context, control, length } => {
                let data: Vec<u8> = (0..*length).collect();
                pdata(*context, *control, &data)
            }
            Self::Echo { id } => pdata(1, 3, &set(VERIFICATION, 0x0030, *id, 0x0101, &[])),
            Self::Command { field, id } => {
                pdata(3, 3, &set(ULTRASOUND, u16::from_be_bytes(*field), *id, 0x0101, &[]))
            }
            Self::Release => vec![5, 0, 0, 0, 0, 4, 0, 0, 0, 0],
            Self::ReleaseReply => vec![6, 0, 0, 0, 0, 4, 0, 0, 0, 0],
            Self::Abort => vec![7, 0, 0, 0, 0, 4, 0, 0, 0, 0],
            Self::Accept { result, max_length } => accept(*result, u32::from(*max_length) * 64),
            Self::Reject => vec![3, 0, 0, 0, 0, 4, 0, 1, 1, 1],
            Self::Response { id, status, is_echo } => {
                let status = u16::from_be_bytes(*status);
                let field = if *is_echo { 0x8030 } else { 0x8001 };
                let numbers = [(0x0100, field), (0x0120, u16::from(*id)), (0x0800, 0x0101), (0x0900, status)];
                let elements = numbers.into_iter().flat_map(|(at, value)| number(at, value));
                pdata(if *is_echo { 1 } else { 3 }, 3, &elements.collect::<Vec<_>>())
            }
            Self::Raw(bytes) => bytes.clone(),
            Self::Pause(_) | Self::Await | Self::Stall | Self::Close | Self::Reset => Vec::new(),
        }
    }
}

/// The name of an instance.
pub fn instance_uid(instance: u8) -> String {
    format!("1.2.826.0.1.3680043.10.9.{instance}")
}

/// A data set in Implicit VR Little Endian: 0 to 3 of growing length, 4 of another instance, 5 cut, 6 odd, 7 empty, 8 longer
/// than what is gathered before a write.
pub fn data_set(instance: u8, kind: u8) -> Vec<u8> {
    let named = if kind % 9 == 4 { instance.wrapping_add(1) } else { instance };
    let mut uid = instance_uid(named).into_bytes();
    if uid.len() % 2 == 1 {
        uid.push(0);
    }
    let mut out = element(0x0008, 0x0016, ULTRASOUND);
    out.extend(element(0x0008, 0x0018, &uid));
    out.extend(element(0x0010, 0x0020, b"FUZZ"));
    out.extend(element(0x0020, 0x000D, b"1.2.3.4\0"));
    match kind % 9 {
        filler @ 0..=3 => out.extend(element(0x0029, 0x1010, &vec![instance; usize::from(filler) * 200])),
        5 => out.truncate(out.len() - 3),
        6 => out.extend(element(0x0029, 0x1010, b"odd")),
        7 => out.clear(),
        8 => out.extend(element(0x0029, 0x1010, &vec![instance; 300_000])),
        _ => {}
    }
    out
}

fn request() -> Vec<u8> {
    let context = |id: u8, class: &[u8], syntax: &[u8]| {
        item(0x20, &[&[id, 0, 0, 0], &item(0x30, class)[..], &item(0x40, syntax)].concat())
    };
    let contexts = [
        context(1, VERIFICATION, IMPLICIT),
        context(3, ULTRASOUND, IMPLICIT),
        context(5, ULTRASOUND, EXPLICIT),
        context(7, ULTRASOUND, DEFLATED),
    ];
    associate(1, &contexts.concat(), 16_384)
}

fn accept(result: u8, max_length: u32) -> Vec<u8> {
    let context = |id: u8, result: u8| item(0x21, &[&[id, 0, result, 0], &item(0x40, IMPLICIT)[..]].concat());
    associate(2, &[context(1, 0), context(3, result)].concat(), max_length)
}

fn associate(kind: u8, contexts: &[u8], max_length: u32) -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0];
    body.extend(b"CHRYSALIS       FUZZ            ");
    body.extend([0; 32]);
    body.extend(item(0x10, APPLICATION));
    body.extend_from_slice(contexts);
    body.extend(item(0x50, &item(0x51, &max_length.to_be_bytes())));
    pdu(kind, &body)
}

fn store_set(id: u8, instance: u8) -> Vec<u8> {
    let mut uid = instance_uid(instance).into_bytes();
    if uid.len() % 2 == 1 {
        uid.push(0);
    }
    set(ULTRASOUND, 0x0001, id, 0x0001, &element(0, 0x1000, &uid))
}

fn set(class: &[u8], field: u16, id: u8, data: u16, more: &[u8]) -> Vec<u8> {
    let numbers = [number(0x0100, field), number(0x0110, u16::from(id)), number(0x0800, data)];
    [&element(0, 0x0002, class)[..], &numbers.concat(), more].concat()
}

fn number(at: u16, value: u16) -> Vec<u8> {
    element(0, at, &value.to_le_bytes())
}

/// An element in Implicit VR Little Endian.
pub fn element(group: u16, at: u16, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u32).to_le_bytes();
    [&group.to_le_bytes()[..], &at.to_le_bytes(), &length, value].concat()
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &(body.len() as u32).to_be_bytes(), body].concat()
}

/// A P-DATA-TF with one PDV.
pub fn pdata(context: u8, control: u8, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32 + 2).to_be_bytes();
    pdu(4, &[&length[..], &[context, control], data].concat())
}
