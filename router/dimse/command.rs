//! Command sets (PS3.7 6.3, 9.3 and Annex E): always Implicit VR Little Endian, small, and typed once they are read.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::dicom::{AeTitle, Status, Uid};

/// The most bytes a command set may have.
pub const MAX_COMMAND_SET: usize = 16 * 1024;
/// The most characters of an Error Comment (0000,0902).
pub const MAX_COMMENT: usize = 64;

/// A command set, as far as this program knows what to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// C-ECHO-RQ.
    EchoRequest(EchoRequest),
    /// C-ECHO-RSP.
    EchoResponse(Response),
    /// C-STORE-RQ.
    StoreRequest(StoreCommand),
    /// C-STORE-RSP.
    StoreResponse(Response),
    /// C-CANCEL-RQ.
    Cancel,
    /// Anything else, request or response.
    Other(Other),
}

/// C-ECHO-RQ (PS3.7 9.3.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EchoRequest {
    /// Message ID.
    pub message_id: u16,
    /// Affected SOP Class UID, returned in the response.
    pub sop_class: Uid,
    /// Whether a data set follows, which should not be.
    pub has_data: bool,
}

/// C-STORE-RQ (PS3.7 9.3.1.1). What is missing is empty; whether that can be accepted is decided elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreCommand {
    /// Message ID.
    pub message_id: u16,
    /// Affected SOP Class UID.
    pub sop_class: Uid,
    /// Affected SOP Instance UID; none if the element is missing, which is another fault than an empty one.
    pub sop_instance: Option<Uid>,
    /// Priority: 0 medium, 1 high, 2 low.
    pub priority: u16,
    /// Whether a data set follows.
    pub has_data: bool,
    /// Move Originator Application Entity Title, when the store is part of a C-MOVE.
    pub move_originator: Option<(AeTitle, u16)>,
}

/// C-STORE-RSP or C-ECHO-RSP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Message ID Being Responded To.
    pub message_id: u16,
    /// Status.
    pub status: Status,
    /// Affected SOP Class UID.
    pub sop_class: Uid,
    /// Affected SOP Instance UID; empty for C-ECHO.
    pub sop_instance: Uid,
    /// Error Comment (0000,0902), cut to 64 characters when written.
    pub comment: String,
    /// Whether a data set follows, which should not be.
    pub has_data: bool,
}

/// A command that is neither C-STORE, C-ECHO nor C-CANCEL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Command Field.
    pub field: u16,
    /// Message ID.
    pub message_id: u16,
    /// Affected or Requested SOP Class UID.
    pub sop_class: Uid,
    /// Whether a data set follows.
    pub has_data: bool,
}

/// Why a command set cannot be read. The peer is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Elements do not fit, or one is not of group 0000: not Implicit VR Little Endian.
    #[error("the command set is not in Implicit VR Little Endian")]
    Malformed,
    /// No Command Field (0000,0100).
    #[error("the command set has no command field")]
    NoField,
    /// A response without exactly one Status (0000,0900) of two bytes: nobody can say what it means.
    #[error("the response has no status, or more than one")]
    NoStatus,
}

const STORE_RQ: u16 = 0x0001;
const STORE_RSP: u16 = 0x8001;
const ECHO_RQ: u16 = 0x0030;
const ECHO_RSP: u16 = 0x8030;
const CANCEL_RQ: u16 = 0x0FFF;
const NO_DATA_SET: u16 = 0x0101;

impl Command {
    /// Reads a command set. The group length is not looked at: it may be wrong or missing
    /// ([`Command::has_wrong_group_length`]).
    ///
    /// # Errors
    /// [`CommandError`] when it is not Implicit VR Little Endian or names no command.
    pub fn read(bytes: &[u8]) -> Result<Self, CommandError> {
        let set = Elements::read(bytes)?;
        let field = set.field.ok_or(CommandError::NoField)?;
        let has_data = set.data_set_type != NO_DATA_SET;
        let response = |set: Elements, status| Response {
            message_id: set.responded_id,
            status,
            sop_class: set.sop_class,
            sop_instance: set.sop_instance.unwrap_or_default(),
            comment: set.comment,
            has_data,
        };
        Ok(match field {
            STORE_RQ => Self::StoreRequest(StoreCommand {
                message_id: set.message_id,
                sop_class: set.sop_class,
                sop_instance: set.sop_instance,
                priority: set.priority,
                has_data,
                move_originator: set.move_originator.map(|title| (title, set.move_message_id)),
            }),
            ECHO_RQ => Self::EchoRequest(EchoRequest {
                message_id: set.message_id,
                sop_class: set.sop_class,
                has_data,
            }),
            STORE_RSP | ECHO_RSP => {
                let status = set.one_status()?;
                let response = response(set, status);
                if field == STORE_RSP { Self::StoreResponse(response) } else { Self::EchoResponse(response) }
            }
            CANCEL_RQ => Self::Cancel,
            _ => Self::Other(Other { field, message_id: set.message_id, sop_class: set.sop_class, has_data }),
        })
    }

    /// Whether a command set begins with a group length (PS3.7 E.1) that is not that of what follows.
    pub fn has_wrong_group_length(bytes: &[u8]) -> bool {
        match bytes.split_first_chunk::<12>() {
            Some((&[0, 0, 0, 0, 4, 0, 0, 0, a, b, c, d], rest)) => {
                u32::from_le_bytes([a, b, c, d]) as usize != rest.len()
            }
            _ => false,
        }
    }

    /// The command set as bytes, group length first.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::default();
        match self {
            Self::EchoRequest(request) => {
                to.uid(0x0002, &request.sop_class);
                to.number(0x0100, ECHO_RQ);
                to.number(0x0110, request.message_id);
                to.number(0x0800, NO_DATA_SET);
            }
            Self::StoreRequest(request) => {
                to.uid(0x0002, &request.sop_class);
                to.number(0x0100, STORE_RQ);
                to.number(0x0110, request.message_id);
                to.number(0x0700, request.priority);
                to.number(0x0800, if request.has_data { 1 } else { NO_DATA_SET });
                if let Some(uid) = &request.sop_instance {
                    to.uid(0x1000, uid);
                }
                if let Some((title, message_id)) = &request.move_originator {
                    to.text(0x1030, title.as_str());
                    to.number(0x1031, *message_id);
                }
            }
            Self::EchoResponse(response) => to.response(ECHO_RSP, response),
            Self::StoreResponse(response) => to.response(STORE_RSP, response),
            Self::Cancel => to.number(0x0100, CANCEL_RQ),
            Self::Other(other) => {
                to.uid(0x0002, &other.sop_class);
                to.number(0x0100, other.field);
                to.number(0x0110, other.message_id);
                to.number(0x0800, if other.has_data { 1 } else { NO_DATA_SET });
            }
        }
        to.finish()
    }
}

impl Other {
    /// The response to it, whatever it asked for (PS3.7 C.5.21 unrecognised operation): bit 15 makes it a response.
    pub fn refusal(&self, status: Status, comment: &str) -> Vec<u8> {
        let mut to = Encoder::default();
        let response = Response {
            message_id: self.message_id,
            status,
            sop_class: self.sop_class.clone(),
            sop_instance: Uid::default(),
            comment: comment.to_owned(),
            has_data: false,
        };
        to.response(self.field | 0x8000, &response);
        to.finish()
    }
}

/// The elements of a command set that are of any interest.
struct Elements {
    field: Option<u16>,
    message_id: u16,
    responded_id: u16,
    priority: u16,
    data_set_type: u16,
    status: Vec<Option<u16>>,
    sop_class: Uid,
    sop_instance: Option<Uid>,
    comment: String,
    move_originator: Option<AeTitle>,
    move_message_id: u16,
}

impl Elements {
    fn read(mut bytes: &[u8]) -> Result<Self, CommandError> {
        let mut set = Self {
            field: None,
            message_id: 0,
            responded_id: 0,
            priority: 0,
            data_set_type: NO_DATA_SET,
            status: Vec::new(),
            sop_class: Uid::default(),
            sop_instance: None,
            comment: String::new(),
            move_originator: None,
            move_message_id: 0,
        };
        while !bytes.is_empty() {
            let (&[0, 0, low, high, a, b, c, d], rest) =
                bytes.split_first_chunk::<8>().ok_or(CommandError::Malformed)?
            else {
                return Err(CommandError::Malformed);
            };
            let length =
                usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| CommandError::Malformed)?;
            let (value, rest) = rest.split_at_checked(length).ok_or(CommandError::Malformed)?;
            set.take(u16::from_le_bytes([low, high]), value);
            bytes = rest;
        }
        Ok(set)
    }

    fn one_status(&self) -> Result<Status, CommandError> {
        match self.status.as_slice() {
            [Some(status)] => Ok(Status(*status)),
            _ => Err(CommandError::NoStatus),
        }
    }

    fn take(&mut self, element: u16, value: &[u8]) {
        let number = value.first_chunk::<2>().map(|&bytes| u16::from_le_bytes(bytes));
        match element {
            0x0002 | 0x0003 if self.sop_class.is_empty() => self.sop_class = Uid::from_wire(value),
            0x0100 => self.field = number,
            0x0110 => self.message_id = number.unwrap_or(0),
            0x0120 => self.responded_id = number.unwrap_or(0),
            0x0700 => self.priority = number.unwrap_or(0),
            0x0800 => self.data_set_type = number.unwrap_or(NO_DATA_SET),
            0x0900 => self.status.push(value.try_into().ok().map(u16::from_le_bytes)),
            0x0902 => {
                let text = value.iter().take(MAX_COMMENT).map(|&byte| char::from(byte)).collect::<String>();
                self.comment = printable(text.trim_matches([' ', '\0']));
            }
            0x1000 | 0x1001 => self.sop_instance = Some(Uid::from_wire(value)),
            0x1030 => {
                self.move_originator = Some(AeTitle::from_wire(value)).filter(|title| !title.is_empty())
            }
            0x1031 => self.move_message_id = number.unwrap_or(0),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Encoder(Vec<u8>);

impl Encoder {
    fn element(&mut self, element: u16, value: &[u8]) {
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&element.to_le_bytes());
        self.0.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_le_bytes());
        self.0.extend_from_slice(value);
    }

    fn number(&mut self, element: u16, value: u16) {
        self.element(element, &value.to_le_bytes());
    }

    fn uid(&mut self, element: u16, uid: &Uid) {
        if !uid.is_empty() {
            self.element(element, &uid.to_padded());
        }
    }

    fn text(&mut self, element: u16, text: &str) {
        let mut bytes: Vec<u8> =
            text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).take(MAX_COMMENT).collect();
        if bytes.len() % 2 == 1 {
            bytes.push(b' ');
        }
        self.element(element, &bytes);
    }

    fn response(&mut self, field: u16, response: &Response) {
        self.uid(0x0002, &response.sop_class);
        self.number(0x0100, field);
        self.number(0x0120, response.message_id);
        self.number(0x0800, NO_DATA_SET);
        self.number(0x0900, response.status.0);
        if !response.comment.is_empty() {
            self.text(0x0902, &response.comment);
        }
        self.uid(0x1000, &response.sop_instance);
    }

    fn finish(self) -> Vec<u8> {
        let mut whole = Encoder(Vec::with_capacity(self.0.len() + 12));
        whole.element(0x0000, &u32::try_from(self.0.len()).unwrap_or(0).to_le_bytes());
        whole.0.extend(self.0);
        whole.0
    }
}

/// Text of a peer that may stand in a log or on a screen: what is no character to read is escaped.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { out.extend(character.escape_default()) } else { out.push(character) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Command {
        Command::StoreRequest(StoreCommand {
            message_id: 7,
            sop_class: Uid::new("1.2.840.10008.5.1.4.1.1.6.1"),
            sop_instance: Some(Uid::new("1.2.3")),
            priority: 0,
            has_data: true,
            move_originator: Some(("MOVER".parse().unwrap(), 9)),
        })
    }

    #[test]
    fn what_is_written_is_read_back() {
        let response = Response {
            message_id: 7,
            status: Status(0xA700),
            sop_class: Uid::new("1.2"),
            sop_instance: Uid::new("1.2.3"),
            comment: "disk full".into(),
            has_data: false,
        };
        for command in [store(), Command::StoreResponse(response), Command::Cancel] {
            assert_eq!(Command::read(&command.encode()), Ok(command));
        }
    }

    #[test]
    fn case_68_a_wrong_or_missing_group_length_is_accepted() {
        let mut bytes = store().encode();
        bytes[8] = 0xFF;
        assert_eq!(Command::read(&bytes), Ok(store()));
        assert_eq!(Command::read(&bytes[12..]), Ok(store()));
    }

    #[test]
    fn what_is_not_implicit_little_endian_is_refused() {
        let garbage: [&[u8]; 4] = [b"garbage", &[0, 0, 0, 1, 0, 0, 0, 2], &[8, 0, 0, 0, 0, 0, 0, 0], &[0; 7]];
        for bytes in garbage {
            assert_eq!(Command::read(bytes), Err(CommandError::Malformed));
        }
        assert_eq!(Command::read(&[]), Err(CommandError::NoField));
    }

    #[test]
    fn a_response_needs_exactly_one_status_of_two_bytes() {
        let with = |statuses: &[&[u8]]| {
            let mut to = Encoder::default();
            to.number(0x0100, STORE_RSP);
            to.number(0x0120, 7);
            statuses.iter().for_each(|status| to.element(0x0900, status));
            Command::read(&to.0)
        };
        assert!(matches!(with(&[&[0, 0]]), Ok(Command::StoreResponse(r)) if r.status == Status::SUCCESS));
        for wrong in [&[][..], &[&[0, 0xC0][..], &[0, 0]], &[&[]], &[&[0, 0, 0, 0]]] {
            assert_eq!(with(wrong), Err(CommandError::NoStatus), "{wrong:?}");
        }
    }

    #[test]
    fn a_comment_is_cut_to_sixty_four_characters() {
        let mut to = Encoder::default();
        to.text(0x0902, &"x".repeat(100));
        assert_eq!(to.0.len(), 8 + 64);
    }
}
