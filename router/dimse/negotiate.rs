//! What a requestor proposes against what we take: a pure function from a request and a policy to an answer.
//!
//! Which transfer syntax of several in one context is chosen (nothing is re-encoded on receipt, so what is chosen is what is
//! stored, and the sender may have to convert to it):
//!
//! * loops (multi-frame SOP classes): whatever is encapsulated, in the sender's order, because carts keep loops compressed and
//!   decompressing one makes it ten times larger for nothing; then Explicit, Implicit, Big Endian, deflated, private;
//! * anything else: encapsulated and always reversible, in the sender's order; then Explicit, Implicit, Big Endian, deflated,
//!   private; what may be lossy comes last, because a sender with native pixels would compress them for our sake.
//!
//! A sender that offers one syntax for each context, as most do, decides for itself.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use dicom_core::dictionary::{UidDictionary, UidDictionaryEntry};
use dicom_dictionary_std::StandardSopClassDictionary;

use super::pdu::{
    Abort, AnsweredContext, AssociateAccept, AssociateRequest, ContextResult, ProposedContext, Rejection,
    RequestLimits, Role, UserIdentity, UserInformation,
};
use crate::dicom::transfer_syntax::Fidelity;
use crate::dicom::uid::{self, Uid};
use crate::dicom::{AePattern, Encoding, TransferSyntax};
use crate::tls::Titles;

/// The P-DATA-TF length we advertise by default, and use when a peer's is unlimited, in bytes.
pub const DEFAULT_MAX_PDU: u32 = 128 * 1024;
/// What is assumed of a peer that states no maximum length, in bytes.
pub const UNSTATED_MAX_PDU: u32 = 16 * 1024;
/// The smallest maximum length of a peer that is obeyed, in bytes.
pub const SMALLEST_MAX_PDU: u32 = 128;

/// What an acceptor takes.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Called AE titles; none accepts any.
    pub called_ae: Option<Vec<AePattern>>,
    /// Calling AE titles; none accepts any.
    pub calling_ae: Option<Vec<AePattern>>,
    /// Storage SOP classes; none accepts any, unknown and private ones included.
    pub sop_classes: Option<Vec<Uid>>,
    /// Transfer syntaxes accepted although DICOM does not register them.
    pub private_transfer_syntaxes: Vec<Uid>,
    /// The P-DATA-TF length to advertise, in bytes.
    pub max_pdu: u32,
    /// Longest A-ASSOCIATE-RQ that is read, in bytes.
    pub max_request: u32,
    /// Longest data set that is received, in bytes.
    pub max_data_set: u64,
    /// Bounds on the request's content.
    pub limits: RequestLimits,
    /// Calling AE titles that are bound to certificates, as far as they concern this peer.
    pub titles: Titles,
    /// User identities, one of which must be presented; none asks for none.
    pub identities: Option<Vec<UserIdentity>>,
    /// Whether there is room.
    pub admission: Admission,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            called_ae: None,
            calling_ae: None,
            sop_classes: None,
            private_transfer_syntaxes: Vec::new(),
            max_pdu: DEFAULT_MAX_PDU,
            max_request: 512 * 1024,
            max_data_set: 4 * 1024 * 1024 * 1024,
            limits: RequestLimits::default(),
            titles: Titles::default(),
            identities: None,
            admission: Admission::Open,
        }
    }
}

/// Whether there is room for one more association, as far as its requestor is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// There is.
    Open,
    /// The spool is full, or the program is stopping: rejected as 2/3/1, temporary congestion.
    Congested,
    /// Too many associations, in all or from this address: rejected as 2/3/2, local limit exceeded.
    LimitExceeded,
}

/// A presentation context that both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatedContext {
    /// The identifier.
    pub id: u8,
    /// The SOP class.
    pub abstract_syntax: Uid,
    /// How data sets on it are encoded.
    pub transfer_syntax: TransferSyntax,
}

/// The outcome of a request that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Contexts that may be used; possibly none.
    pub contexts: Vec<NegotiatedContext>,
    /// Longest P-DATA-TF variable field to send, in bytes.
    pub peer_max_pdu: u32,
    /// What to answer.
    pub accept: AssociateAccept,
}

/// The outcome of a request that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Reject it.
    Reject(Rejection),
    /// Abort: it cannot be worked with.
    Abort(Abort),
}

/// Decides on a request whose protocol version is acceptable (that is the provider's check, AE-6).
///
/// # Errors
/// The [`Refusal`] to answer with.
pub fn negotiate(request: &AssociateRequest, policy: &Policy) -> Result<Negotiated, Refusal> {
    check_caller(request, policy).map_err(Refusal::Reject)?;
    let peer_max_pdu = sendable(request.user.max_length).ok_or(Refusal::Abort(Abort::USER))?;
    let answers: Vec<_> = request.contexts.iter().map(|context| answer(context, policy)).collect();
    let contexts = request
        .contexts
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.result == ContextResult::Acceptance);
    let contexts = contexts.map(|(proposed, answer)| NegotiatedContext {
        id: proposed.id,
        abstract_syntax: proposed.abstract_syntax.clone(),
        transfer_syntax: TransferSyntax(answer.transfer_syntax.clone()),
    });
    // Instances come to us: a requestor that wants to be SCP is refused that role (PS3.7 D.3.3.4.2).
    let roles = request.user.roles.iter().map(|role| Role { scp: false, ..role.clone() });
    let user = UserInformation {
        max_length: Some(policy.max_pdu),
        implementation_class: Some(uid::IMPLEMENTATION_CLASS),
        implementation_version: Some(uid::IMPLEMENTATION_VERSION.to_owned()),
        roles: roles.collect(),
        async_window: request.user.async_window.map(|_| (1, 1)),
        ..UserInformation::default()
    };
    Ok(Negotiated {
        contexts: contexts.collect(),
        peer_max_pdu,
        accept: AssociateAccept { contexts: answers, user },
    })
}

/// The longest variable field that a peer takes, in bytes; none if it is too short to work with.
pub fn sendable(max_length: Option<u32>) -> Option<u32> {
    match max_length {
        None => Some(UNSTATED_MAX_PDU),
        Some(0) => Some(DEFAULT_MAX_PDU),
        Some(length) if length < SMALLEST_MAX_PDU => None,
        Some(length) => Some(length.min(DEFAULT_MAX_PDU)),
    }
}

fn check_caller(request: &AssociateRequest, policy: &Policy) -> Result<(), Rejection> {
    if request.application_context != uid::APPLICATION_CONTEXT {
        return Err(Rejection::APPLICATION_CONTEXT);
    }
    match policy.admission {
        Admission::Open => {}
        Admission::Congested => return Err(Rejection::CONGESTION),
        Admission::LimitExceeded => return Err(Rejection::LOCAL_LIMIT),
    }
    let listed = |list: &Option<Vec<AePattern>>, title| match list {
        Some(patterns) => patterns.iter().any(|pattern| pattern.matches(title)),
        None => true,
    };
    if request.called.is_empty() || !listed(&policy.called_ae, &request.called) {
        return Err(Rejection::CALLED_AE);
    }
    if request.calling.is_empty() || !listed(&policy.calling_ae, &request.calling) {
        return Err(Rejection::CALLING_AE);
    }
    if policy.titles.allow(&request.calling).is_err() {
        return Err(Rejection::CALLING_AE);
    }
    match (&policy.identities, &request.user.identity) {
        (None, _) => Ok(()),
        (Some(known), Some(presented)) if known.contains(presented) => Ok(()),
        (Some(_), _) => Err(Rejection::NO_REASON),
    }
}

fn answer(context: &ProposedContext, policy: &Policy) -> AnsweredContext {
    let refuse = |result| AnsweredContext { id: context.id, result, transfer_syntax: uid::IMPLICIT_VR_LE };
    if !is_offered(&context.abstract_syntax, policy) {
        return refuse(ContextResult::AbstractSyntaxNotSupported);
    }
    let acceptable = context.transfer_syntaxes.iter().filter(|&uid| {
        TransferSyntax(uid.clone()).is_registered() || policy.private_transfer_syntaxes.contains(uid)
    });
    let is_loop = is_multiframe(&context.abstract_syntax);
    // The first of equals wins, so the sender's order breaks ties.
    match acceptable.min_by_key(|&uid| rank(&TransferSyntax(uid.clone()), is_loop)) {
        Some(uid) => AnsweredContext {
            id: context.id,
            result: ContextResult::Acceptance,
            transfer_syntax: uid.clone(),
        },
        None => refuse(ContextResult::TransferSyntaxesNotSupported),
    }
}

/// Verification, or storage of anything; a UID that DICOM does not know is taken for storage.
fn is_offered(sop_class: &Uid, policy: &Policy) -> bool {
    if !sop_class.is_conformant() {
        return false;
    }
    if *sop_class == uid::VERIFICATION {
        return true;
    }
    match &policy.sop_classes {
        Some(listed) => listed.contains(sop_class),
        None => is_storage(sop_class),
    }
}

/// Whether a UID is a storage SOP class: registered as one, or not registered at all.
pub fn is_storage(sop_class: &Uid) -> bool {
    let text = sop_class.as_str();
    // PS3.4 B.5 and its retired relatives; names there do not all say "Storage".
    if text.starts_with("1.2.840.10008.5.1.4.1.1.") {
        return true;
    }
    // Meta SOP classes and services that the dictionary of SOP classes does not list.
    let service = ["1.2.840.10008.5.1.1.", "1.2.840.10008.5.1.4.1.2.", "1.2.840.10008.3.1."];
    match StandardSopClassDictionary.by_uid(text) {
        Some(entry) => {
            let name = entry.name();
            name.contains("Storage") && !name.contains("Commitment") && !name.contains("Media Storage")
        }
        None => !service.iter().any(|prefix| text.starts_with(prefix)),
    }
}

/// SOP classes of loops: ultrasound (and its retired form), secondary capture, and video.
fn is_multiframe(sop_class: &Uid) -> bool {
    let Some(rest) = sop_class.as_str().strip_prefix("1.2.840.10008.5.1.4.1.1.") else { return false };
    matches!(
        rest,
        "3" | "3.1"
            | "7.2"
            | "7.3"
            | "7.4"
            | "12.1"
            | "12.2"
            | "12.1.1"
            | "12.2.1"
            | "77.1.1.1"
            | "77.1.2.1"
            | "77.1.4.1"
    )
}

/// Smaller is better; see the top of this file.
fn rank(syntax: &TransferSyntax, is_loop: bool) -> u8 {
    match (syntax.encoding(), syntax.fidelity()) {
        (Encoding::Encapsulated, Fidelity::Lossless | Fidelity::Native) => 0,
        (Encoding::Encapsulated, Fidelity::PossiblyLossy) => {
            if is_loop {
                0
            } else {
                6
            }
        }
        (Encoding::ExplicitLe, _) => 1,
        (Encoding::ImplicitLe, _) => 2,
        (Encoding::ExplicitBe, _) => 3,
        (Encoding::DeflatedLe, _) => 4,
        (Encoding::Unknown, _) => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(abstract_syntax: &str, suffixes: &[&str]) -> AssociateRequest {
        let uids = suffixes.iter().map(|suffix| Uid::new(&format!("1.2.840.10008.1.2{suffix}")));
        AssociateRequest {
            protocol_version: 1,
            called: "ANY-SCP".parse().unwrap(),
            calling: "VIVID1".parse().unwrap(),
            raw_titles: [b' '; 64],
            application_context: uid::APPLICATION_CONTEXT,
            contexts: vec![ProposedContext {
                id: 1,
                abstract_syntax: Uid::new(abstract_syntax),
                transfer_syntaxes: uids.collect(),
            }],
            user: UserInformation { max_length: Some(16_384), ..UserInformation::default() },
        }
    }

    fn chosen(abstract_syntax: &str, suffixes: &[&str]) -> String {
        let negotiated = negotiate(&request(abstract_syntax, suffixes), &Policy::default()).unwrap();
        let uid = negotiated.contexts[0].transfer_syntax.0.as_str().to_owned();
        uid.strip_prefix("1.2.840.10008.1.2").unwrap().to_owned()
    }

    fn result(abstract_syntax: &str, policy: &Policy) -> ContextResult {
        negotiate(&request(abstract_syntax, &[".1"]), policy).unwrap().accept.contexts[0].result
    }

    #[test]
    fn loops_stay_compressed_and_stills_never_become_lossy() {
        let (still, cine) = ("1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1");
        assert_eq!(chosen(cine, &["", ".1", ".4.50", ".4.70"]), ".4.50");
        assert_eq!(chosen(still, &["", ".1", ".4.50", ".4.70"]), ".4.70");
        assert_eq!(chosen(still, &["", ".4.50", ".1"]), ".1");
        assert_eq!(chosen(still, &[".4.50"]), ".4.50");
        assert_eq!(chosen(still, &[".2", "", ".1.99"]), "");
    }

    #[test]
    fn case_50_any_storage_is_taken_and_other_services_are_not() {
        let open = Policy::default();
        for storage in
            ["1.2.840.10008.5.1.4.1.1.6", "1.2.840.113543.6.6.1.3.10002", "1.2.3.4.5", "1.2.840.10008.1.1"]
        {
            assert_eq!(result(storage, &open), ContextResult::Acceptance, "{storage}");
        }
        for service in [
            "1.2.840.10008.5.1.4.1.2.2.1",
            "1.2.840.10008.5.1.4.31",
            "1.2.840.10008.3.1.2.3.3",
            "1.2.840.10008.5.1.1.9",
            "1.2.840.10008.1.20.1",
        ] {
            assert_eq!(result(service, &open), ContextResult::AbstractSyntaxNotSupported, "{service}");
        }
        let listed = Policy { sop_classes: Some(vec![uid::US_IMAGE]), ..Policy::default() };
        assert_eq!(result("1.2.3.4.5", &listed), ContextResult::AbstractSyntaxNotSupported);
        assert_eq!(result(uid::US_IMAGE.as_str(), &listed), ContextResult::Acceptance);
    }

    #[test]
    fn case_53_an_abstract_syntax_that_is_no_uid_is_not_supported() {
        for bad in ["1.2.abc", "", &"1".repeat(65)] {
            assert_eq!(result(bad, &Policy::default()), ContextResult::AbstractSyntaxNotSupported);
        }
    }

    #[test]
    fn case_54_a_peers_maximum_is_obeyed_down_to_128() {
        assert_eq!(sendable(Some(0)), Some(DEFAULT_MAX_PDU));
        assert_eq!(sendable(Some(u32::MAX)), Some(DEFAULT_MAX_PDU));
        assert_eq!(sendable(Some(128)), Some(128));
        assert_eq!(sendable(Some(127)), None);
        assert_eq!(sendable(None), Some(UNSTATED_MAX_PDU));
    }

    #[test]
    fn a_private_syntax_is_taken_where_it_is_listed() {
        let mut request = request("1.2.3", &[]);
        let private = Uid::new("1.2.840.113619.5.2");
        request.contexts[0].transfer_syntaxes.push(private.clone());
        let open = negotiate(&request, &Policy::default()).unwrap();
        assert_eq!(open.accept.contexts[0].result, ContextResult::TransferSyntaxesNotSupported);
        let listed = Policy { private_transfer_syntaxes: vec![private], ..Policy::default() };
        assert_eq!(negotiate(&request, &listed).unwrap().contexts.len(), 1);
    }
}
