//! The PDUs that open and close an association (PS3.8 9.3).
//!
//! They are written through `dicom-ul`. Those that a peer sends are read here, because `dicom-ul` allocates for every sub-item
//! before any limit can be applied, and refuses what carts send and PACS accept: unknown items, AE titles padded with NULs,
//! two max-length items. Everything here works on a buffer whose length the driver has already checked.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use dicom_ul::pdu as ul;

use crate::dicom::{AeTitle, Uid};

/// Bytes in front of every PDU: type, a reserved byte, the length.
pub const HEADER: usize = 6;
/// Fixed fields of A-ASSOCIATE-RQ and -AC before their items (PS3.8 Tables 9-11 and 9-17).
pub const ASSOCIATE_FIXED: usize = 68;

/// PDU types (PS3.8 9.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PduType {
    /// 01H
    AssociateRq,
    /// 02H
    AssociateAc,
    /// 03H
    AssociateRj,
    /// 04H
    PData,
    /// 05H
    ReleaseRq,
    /// 06H
    ReleaseRp,
    /// 07H
    Abort,
}

impl PduType {
    /// The type with this number, if there is one.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::AssociateRq,
            2 => Self::AssociateAc,
            3 => Self::AssociateRj,
            4 => Self::PData,
            5 => Self::ReleaseRq,
            6 => Self::ReleaseRp,
            7 => Self::Abort,
            _ => return None,
        })
    }
}

/// Source and reason of an A-ABORT (PS3.8 9.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Abort {
    /// 0 the service user, 2 the service provider.
    pub source: u8,
    /// Meaningful only from the provider.
    pub reason: u8,
}

impl Abort {
    /// By the user, for reasons of its own.
    pub const USER: Self = Self { source: 0, reason: 0 };
    /// By the provider, reason not specified.
    pub const UNSPECIFIED: Self = Self { source: 2, reason: 0 };
    /// Unrecognised PDU.
    pub const UNRECOGNISED_PDU: Self = Self { source: 2, reason: 1 };
    /// Unexpected PDU.
    pub const UNEXPECTED_PDU: Self = Self { source: 2, reason: 2 };
    /// Invalid PDU parameter value.
    pub const INVALID_PARAMETER: Self = Self { source: 2, reason: 6 };
}

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match (self.source, self.reason) {
            (0, _) => "source: the application",
            (2, 1) => "unrecognised PDU",
            (2, 2) => "unexpected PDU",
            (2, 4) => "unrecognised PDU parameter",
            (2, 5) => "unexpected PDU parameter",
            (2, 6) => "invalid PDU parameter value",
            _ => "no reason given",
        };
        write!(f, "{text} ({}/{})", self.source, self.reason)
    }
}

/// Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// 1 permanent, 2 transient.
    pub result: u8,
    /// 1 service user, 2 ACSE provider, 3 presentation provider.
    pub source: u8,
    /// Meaning depends on the source.
    pub reason: u8,
}

impl Rejection {
    /// No reason given.
    pub const NO_REASON: Self = Self { result: 1, source: 1, reason: 1 };
    /// Application context name not supported.
    pub const APPLICATION_CONTEXT: Self = Self { result: 1, source: 1, reason: 2 };
    /// Calling AE title not recognised.
    pub const CALLING_AE: Self = Self { result: 1, source: 1, reason: 3 };
    /// Called AE title not recognised.
    pub const CALLED_AE: Self = Self { result: 1, source: 1, reason: 7 };
    /// Protocol version not supported.
    pub const PROTOCOL_VERSION: Self = Self { result: 1, source: 2, reason: 2 };
    /// Temporary congestion.
    pub const CONGESTION: Self = Self { result: 2, source: 3, reason: 1 };
    /// Local limit exceeded.
    pub const LOCAL_LIMIT: Self = Self { result: 2, source: 3, reason: 2 };

    /// Whether trying again later makes sense.
    pub fn is_transient(self) -> bool {
        self.result == 2
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_transient() { "transient" } else { "permanent" };
        let text = match (self.source, self.reason) {
            (1, 2) => "application context not supported",
            (1, 3) => "calling AE title not recognised",
            (1, 7) => "called AE title not recognised",
            (2, 2) => "protocol version not supported",
            (3, 1) => "temporary congestion",
            (3, 2) => "local limit exceeded",
            _ => "no reason given",
        };
        write!(f, "{text}, {kind} ({}/{}/{})", self.result, self.source, self.reason)
    }
}

/// A presentation context as proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedContext {
    /// The identifier; odd by the standard, any by custom.
    pub id: u8,
    /// The abstract syntax: a SOP class.
    pub abstract_syntax: Uid,
    /// Transfer syntaxes, in the sender's order.
    pub transfer_syntaxes: Vec<Uid>,
}

/// The answer to a presentation context (PS3.8 Table 9-18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContextResult {
    /// 0
    Acceptance,
    /// 1
    UserRejection,
    /// 2
    NoReason,
    /// 3
    AbstractSyntaxNotSupported,
    /// 4
    TransferSyntaxesNotSupported,
}

/// A presentation context as answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredContext {
    /// The identifier.
    pub id: u8,
    /// Whether it may be used.
    pub result: ContextResult,
    /// The chosen transfer syntax; means nothing unless accepted.
    pub transfer_syntax: Uid,
}

/// SCP/SCU role selection (PS3.7 D.3.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The SOP class it is about.
    pub sop_class: Uid,
    /// SCU role wanted, or granted.
    pub scu: bool,
    /// SCP role wanted, or granted.
    pub scp: bool,
}

/// User identity as sent (PS3.7 D.3.3.7). The secret has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct UserIdentity {
    /// 1 user name, 2 user name and passcode, 3 Kerberos, 4 SAML, 5 JWT.
    pub kind: u8,
    /// User name or token.
    pub primary: Vec<u8>,
    /// Passcode, for kind 2.
    pub secondary: Vec<u8>,
}

impl std::fmt::Debug for UserIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UserIdentity {{ kind: {}, .. }}", self.kind)
    }
}

/// What A-ASSOCIATE-RQ and -AC have in common: the user information item (PS3.7 D.3.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserInformation {
    /// Largest P-DATA-TF variable field the sender takes, in bytes; 0 means unlimited, none means it did not say.
    pub max_length: Option<u32>,
    /// Whether max-length came more than once; the first one counts.
    pub repeated_max_length: bool,
    /// Implementation Class UID.
    pub implementation_class: Option<Uid>,
    /// Implementation version name.
    pub implementation_version: Option<String>,
    /// Role selections.
    pub roles: Vec<Role>,
    /// Asynchronous operations window: invoked, performed.
    pub async_window: Option<(u16, u16)>,
    /// User identity.
    pub identity: Option<UserIdentity>,
}

/// An A-ASSOCIATE-RQ as received or to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociateRequest {
    /// Bit 0 means version 1.
    pub protocol_version: u16,
    /// Called AE title.
    pub called: AeTitle,
    /// Calling AE title.
    pub calling: AeTitle,
    /// Both title fields and the reserved ones behind them, as received: an A-ASSOCIATE-AC returns them unchanged.
    pub raw_titles: [u8; 64],
    /// Application context name.
    pub application_context: Uid,
    /// Proposed presentation contexts.
    pub contexts: Vec<ProposedContext>,
    /// User information.
    pub user: UserInformation,
}

/// An A-ASSOCIATE-AC as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociateAccept {
    /// Answered presentation contexts.
    pub contexts: Vec<AnsweredContext>,
    /// User information.
    pub user: UserInformation,
}

/// Bounds on what a request may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Presentation contexts.
    pub contexts: usize,
    /// Transfer syntaxes in each.
    pub transfer_syntaxes: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { contexts: 128, transfer_syntaxes: 64 }
    }
}

/// Why an association PDU cannot be read. The peer is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum PduError {
    #[error("the PDU is shorter than its fixed fields")]
    Short,
    #[error("an item is longer than what holds it")]
    ItemOverrun,
    #[error("a presentation context without abstract or transfer syntax")]
    IncompleteContext,
    #[error("too many presentation contexts")]
    TooManyContexts,
    #[error("too many transfer syntaxes in one presentation context")]
    TooManySyntaxes,
    #[error("two presentation contexts with one identifier")]
    DuplicateContext,
    #[error("no presentation context")]
    NoContext,
    #[error("an item that makes no sense")]
    Malformed,
}

impl AssociateRequest {
    /// Reads the bytes behind the PDU header.
    ///
    /// # Errors
    /// [`PduError`] when lengths do not fit or a limit is passed; nothing is allocated beyond the limits.
    pub fn read(body: &[u8], limits: RequestLimits) -> Result<Self, PduError> {
        let (version, raw_titles, items) = split_fixed(body)?;
        let mut request = Self {
            protocol_version: version,
            called: AeTitle::from_wire(raw_titles.get(..16).unwrap_or_default()),
            calling: AeTitle::from_wire(raw_titles.get(16..32).unwrap_or_default()),
            raw_titles,
            application_context: Uid::default(),
            contexts: Vec::new(),
            user: UserInformation::default(),
        };
        let mut seen = [false; 256];
        for item in Items(items) {
            let (kind, value) = item?;
            match kind {
                0x10 => request.application_context = Uid::from_wire(value),
                0x20 => {
                    if request.contexts.len() >= limits.contexts {
                        return Err(PduError::TooManyContexts);
                    }
                    let context = read_proposed(value, limits.transfer_syntaxes)?;
                    if let Some(slot) = seen.get_mut(usize::from(context.id))
                        && std::mem::replace(slot, true)
                    {
                        return Err(PduError::DuplicateContext);
                    }
                    request.contexts.push(context);
                }
                0x50 => read_user(value, &mut request.user)?,
                // Unknown items are skipped by length (PS3.8 9.3.1 lets later versions add some).
                _ => {}
            }
        }
        if request.contexts.is_empty() { Err(PduError::NoContext) } else { Ok(request) }
    }

    /// The whole PDU.
    pub fn encode(&self) -> Vec<u8> {
        let contexts = self.contexts.iter().map(|context| ul::PresentationContextProposed {
            id: context.id,
            abstract_syntax: context.abstract_syntax.as_str().to_owned(),
            transfer_syntaxes: context.transfer_syntaxes.iter().map(|uid| uid.as_str().to_owned()).collect(),
        });
        write(&ul::Pdu::AssociationRQ(ul::AssociationRQ {
            protocol_version: self.protocol_version,
            calling_ae_title: self.calling.as_str().to_owned(),
            called_ae_title: self.called.as_str().to_owned(),
            application_context_name: self.application_context.as_str().to_owned(),
            presentation_contexts: contexts.collect(),
            user_variables: user_variables(&self.user),
        }))
    }
}

impl AssociateAccept {
    /// Reads the bytes behind the PDU header.
    ///
    /// # Errors
    /// [`PduError`] when lengths do not fit.
    pub fn read(body: &[u8]) -> Result<Self, PduError> {
        let (_, _, items) = split_fixed(body)?;
        let mut accept = Self { contexts: Vec::new(), user: UserInformation::default() };
        for item in Items(items) {
            match item? {
                (0x21, value) if accept.contexts.len() < 256 => accept.contexts.push(read_answered(value)?),
                (0x21, _) => return Err(PduError::TooManyContexts),
                (0x50, value) => read_user(value, &mut accept.user)?,
                _ => {}
            }
        }
        Ok(accept)
    }

    /// The whole PDU; `request` gives the title fields, which are returned as they came (PS3.8 Table 9-17).
    pub fn encode(&self, request: &AssociateRequest) -> Vec<u8> {
        let contexts = self.contexts.iter().map(|context| ul::PresentationContextResult {
            id: context.id,
            reason: match context.result {
                ContextResult::Acceptance => ul::PresentationContextResultReason::Acceptance,
                ContextResult::UserRejection => ul::PresentationContextResultReason::UserRejection,
                ContextResult::NoReason => ul::PresentationContextResultReason::NoReason,
                ContextResult::AbstractSyntaxNotSupported => {
                    ul::PresentationContextResultReason::AbstractSyntaxNotSupported
                }
                ContextResult::TransferSyntaxesNotSupported => {
                    ul::PresentationContextResultReason::TransferSyntaxesNotSupported
                }
            },
            transfer_syntax: context.transfer_syntax.as_str().to_owned(),
        });
        let mut bytes = write(&ul::Pdu::AssociationAC(ul::AssociationAC {
            protocol_version: 1,
            calling_ae_title: "X".to_owned(),
            called_ae_title: "X".to_owned(),
            application_context_name: request.application_context.as_str().to_owned(),
            presentation_contexts: contexts.collect(),
            user_variables: user_variables(&self.user),
        }));
        if let Some(titles) = bytes.get_mut(10..74) {
            titles.copy_from_slice(&request.raw_titles);
        }
        bytes
    }
}

/// The ten bytes of an A-ASSOCIATE-RJ.
pub fn encode_rejection(rejection: Rejection) -> [u8; 10] {
    [3, 0, 0, 0, 0, 4, 0, rejection.result, rejection.source, rejection.reason]
}

/// The ten bytes of an A-ABORT.
pub fn encode_abort(abort: Abort) -> [u8; 10] {
    [7, 0, 0, 0, 0, 4, 0, 0, abort.source, abort.reason]
}

/// The ten bytes of an A-RELEASE-RQ.
pub const RELEASE_RQ: [u8; 10] = [5, 0, 0, 0, 0, 4, 0, 0, 0, 0];
/// The ten bytes of an A-RELEASE-RP.
pub const RELEASE_RP: [u8; 10] = [6, 0, 0, 0, 0, 4, 0, 0, 0, 0];

/// Items of a one-byte type, a reserved byte and a 16-bit length each.
struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = Result<(u8, &'a [u8]), PduError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let split = self.0.split_first_chunk::<4>().and_then(|(&[kind, _, high, low], rest)| {
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
            Some((kind, value, rest))
        });
        let Some((kind, value, rest)) = split else {
            self.0 = &[];
            return Some(Err(PduError::ItemOverrun));
        };
        self.0 = rest;
        Some(Ok((kind, value)))
    }
}

fn split_fixed(body: &[u8]) -> Result<(u16, [u8; 64], &[u8]), PduError> {
    let (&[high, low, _, _], rest) = body.split_first_chunk::<4>().ok_or(PduError::Short)?;
    let (titles, items) = rest.split_first_chunk::<64>().ok_or(PduError::Short)?;
    Ok((u16::from_be_bytes([high, low]), *titles, items))
}

fn read_proposed(value: &[u8], limit: usize) -> Result<ProposedContext, PduError> {
    let (&[id, ..], items) = value.split_first_chunk::<4>().ok_or(PduError::IncompleteContext)?;
    let mut abstract_syntax = None;
    let mut transfer_syntaxes = Vec::new();
    for item in Items(items) {
        match item? {
            (0x30, value) => abstract_syntax = Some(Uid::from_wire(value)),
            (0x40, _) if transfer_syntaxes.len() >= limit => return Err(PduError::TooManySyntaxes),
            (0x40, value) => transfer_syntaxes.push(Uid::from_wire(value)),
            _ => {}
        }
    }
    match abstract_syntax {
        Some(abstract_syntax) if !transfer_syntaxes.is_empty() => {
            Ok(ProposedContext { id, abstract_syntax, transfer_syntaxes })
        }
        Some(_) | None => Err(PduError::IncompleteContext),
    }
}

fn read_answered(value: &[u8]) -> Result<AnsweredContext, PduError> {
    let (&[id, _, result, _], items) = value.split_first_chunk::<4>().ok_or(PduError::IncompleteContext)?;
    let result = match result {
        0 => ContextResult::Acceptance,
        1 => ContextResult::UserRejection,
        3 => ContextResult::AbstractSyntaxNotSupported,
        4 => ContextResult::TransferSyntaxesNotSupported,
        _ => ContextResult::NoReason,
    };
    let mut transfer_syntax = Uid::default();
    for item in Items(items) {
        if let (0x40, value) = item? {
            transfer_syntax = Uid::from_wire(value);
        }
    }
    Ok(AnsweredContext { id, result, transfer_syntax })
}

fn read_user(value: &[u8], user: &mut UserInformation) -> Result<(), PduError> {
    for item in Items(value) {
        let (kind, value) = item?;
        match kind {
            0x51 => {
                let bytes = *value.first_chunk::<4>().ok_or(PduError::Malformed)?;
                user.repeated_max_length |= user.max_length.is_some();
                user.max_length.get_or_insert(u32::from_be_bytes(bytes));
            }
            0x52 => user.implementation_class = Some(Uid::from_wire(value)),
            0x53 => {
                let &[a, b, c, d] = value.first_chunk::<4>().ok_or(PduError::Malformed)?;
                user.async_window = Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
            }
            0x54 if user.roles.len() < 128 => user.roles.push(read_role(value)?),
            0x55 => {
                let text = value.iter().map(|&byte| char::from(byte)).collect::<String>();
                user.implementation_version = Some(text.trim_matches([' ', '\0']).to_owned());
            }
            0x58 => user.identity = Some(read_identity(value)?),
            _ => {}
        }
    }
    Ok(())
}

fn read_role(value: &[u8]) -> Result<Role, PduError> {
    let (uid, rest) = counted(value)?;
    let &[scu, scp] = rest.first_chunk::<2>().ok_or(PduError::Malformed)?;
    Ok(Role { sop_class: Uid::from_wire(uid), scu: scu == 1, scp: scp == 1 })
}

fn read_identity(value: &[u8]) -> Result<UserIdentity, PduError> {
    let (&[kind, _], rest) = value.split_first_chunk::<2>().ok_or(PduError::Malformed)?;
    let (primary, rest) = counted(rest)?;
    let secondary = if rest.is_empty() { &[][..] } else { counted(rest)?.0 };
    Ok(UserIdentity { kind, primary: primary.to_vec(), secondary: secondary.to_vec() })
}

/// A field behind its own 16-bit length.
fn counted(value: &[u8]) -> Result<(&[u8], &[u8]), PduError> {
    let (&length, rest) = value.split_first_chunk::<2>().ok_or(PduError::Malformed)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(length))).ok_or(PduError::ItemOverrun)
}

fn user_variables(user: &UserInformation) -> Vec<ul::UserVariableItem> {
    let mut items = Vec::new();
    items.extend(user.max_length.map(ul::UserVariableItem::MaxLength));
    let class = user.implementation_class.as_ref();
    items.extend(class.map(|uid| ul::UserVariableItem::ImplementationClassUID(uid.as_str().to_owned())));
    items.extend(user.async_window.map(|(invoked, performed)| {
        let bytes = [invoked.to_be_bytes(), performed.to_be_bytes()].concat();
        ul::UserVariableItem::Unknown(0x53, bytes)
    }));
    items.extend(user.roles.iter().map(|role| {
        let roles = ul::RequestorRoles { scu: role.scu, scp: role.scp };
        ul::UserVariableItem::ScuScpRoleSelectionSubItem(role.sop_class.as_str().to_owned(), roles)
    }));
    items.extend(user.implementation_version.clone().map(ul::UserVariableItem::ImplementationVersionName));
    items.extend(user.identity.as_ref().map(|identity| {
        let mut bytes = vec![identity.kind, 0];
        for field in [&identity.primary, &identity.secondary] {
            bytes.extend_from_slice(&u16::try_from(field.len()).unwrap_or(0).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        ul::UserVariableItem::Unknown(0x58, bytes)
    }));
    items
}

/// Writing into memory fails only for titles or names that the codec cannot encode; ours were checked when they were made,
/// and a peer's are not written through here. An empty answer makes the driver fail the association.
fn write(pdu: &ul::Pdu) -> Vec<u8> {
    let mut bytes = Vec::new();
    match ul::write_pdu(&mut bytes, pdu) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}
