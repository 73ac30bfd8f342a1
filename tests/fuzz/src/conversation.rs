//! What was said on an association, read apart from the router: which messages are complete, and what is in them.

/// A command set with its data set, if it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Command Field (0000,0100).
    pub field: u16,
    /// Message ID (0000,0110).
    pub id: u16,
    /// Message ID Being Responded To (0000,0120).
    pub responded: u16,
    /// Status (0000,0900).
    pub status: Option<u16>,
    has_data: bool,
    /// The data set, empty if there is none.
    pub data: Vec<u8>,
}

impl Message {
    /// A C-STORE-RQ.
    pub fn is_store(&self) -> bool {
        self.field == 0x0001
    }

    /// Whether it has to be answered: neither a response nor a C-CANCEL-RQ.
    pub fn wants_answer(&self) -> bool {
        self.field & 0x8000 == 0 && self.field != 0x0FFF
    }
}

/// Every message that is complete in these bytes of one side, in order. Where they break the protocol, reading ends.
pub fn messages(bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    let (mut command, mut open) = (Vec::new(), None::<Message>);
    for (control, data) in pdvs(bytes) {
        let (is_command, is_last) = (control & 1 == 1, control & 2 == 2);
        // The framer lets an empty fragment pass that ends nothing, wherever it comes.
        if data.is_empty() && !is_last {
            continue;
        }
        match (&mut open, is_command) {
            (None, true) => {
                command.extend_from_slice(data);
                if is_last {
                    let Some(message) = read(&std::mem::take(&mut command)) else { return found };
                    if message.has_data {
                        open = Some(message);
                    } else {
                        found.push(message);
                    }
                }
            }
            (Some(message), false) => {
                message.data.extend_from_slice(data);
                if is_last {
                    found.extend(open.take());
                }
            }
            (None, false) | (Some(_), true) => return found,
        }
    }
    found
}

/// The PDVs that are whole, as far as lengths fit.
fn pdvs(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((&[kind, _, a, b, c, d], rest)) = bytes.split_first_chunk::<6>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (mut field, behind) = rest.split_at(length.min(rest.len()));
        bytes = behind;
        while kind == 4 && !field.is_empty() {
            let Some((&[a, b, c, d, _, control], rest)) = field.split_first_chunk::<6>() else {
                return found;
            };
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let Some((data, rest)) = length.checked_sub(2).and_then(|length| rest.split_at_checked(length))
            else {
                return found;
            };
            found.push((control, data));
            field = rest;
        }
    }
    found
}

/// A command set in Implicit VR Little Endian; of an element that comes twice the last one counts.
fn read(mut set: &[u8]) -> Option<Message> {
    let mut message = Message::default();
    let mut field = None;
    while !set.is_empty() {
        let (&[_, _, low, high, a, b, c, d], rest) = set.split_first_chunk::<8>()?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize)?;
        set = rest;
        let number = value.first_chunk::<2>().map(|bytes| u16::from_le_bytes(*bytes));
        match u16::from_le_bytes([low, high]) {
            0x0100 => field = number,
            0x0110 => message.id = number.unwrap_or(0),
            0x0120 => message.responded = number.unwrap_or(0),
            0x0800 => message.has_data = number.is_some_and(|kind| kind != 0x0101),
            0x0900 => message.status = number,
            _ => {}
        }
    }
    message.field = field?;
    Some(message)
}
