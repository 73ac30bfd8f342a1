//! The Upper Layer state machine (PS3.8 9.2, Table 9-10), for both roles: a pure function from a state and an event to the
//! next state and the actions that the driver has to carry out, in order.
//!
//! ```text
//!  acceptor   Sta1 -5-> Sta2 -6-> Sta3 -7-> Sta6 -12-> Sta8 -14-> Sta13 -> Sta1
//!  requestor  Sta1 -1-> Sta4 -2-> Sta5 -3-> Sta6 -11-> Sta7 -13-> Sta1
//!  collision  Sta7 -12-> Sta9 (requestor) -14-> Sta11 -13-> Sta1
//!                        Sta10 (acceptor) -13-> Sta12 -14-> Sta13
//! ```
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use super::pdu::Abort;

/// Who opened the association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The one that sent the A-ASSOCIATE-RQ.
    Requestor,
    /// The one that answered it.
    Acceptor,
}

/// A state of PS3.8 9.2.1, with the one fact some of them carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Sta1: no connection.
    Idle(Idle),
    /// Sta2: connection open, awaiting the A-ASSOCIATE-RQ.
    AwaitingRequest(AwaitingRequest),
    /// Sta3: awaiting the local answer to a request.
    AwaitingDecision(AwaitingDecision),
    /// Sta4: awaiting the transport connection.
    Connecting(Connecting),
    /// Sta5: awaiting A-ASSOCIATE-AC or -RJ.
    AwaitingAnswer(AwaitingAnswer),
    /// Sta6: data transfer.
    Established(Established),
    /// Sta7: awaiting A-RELEASE-RP.
    AwaitingReleaseReply(AwaitingReleaseReply),
    /// Sta8: awaiting the local answer to an A-RELEASE-RQ.
    ReleaseRequested(ReleaseRequested),
    /// Sta9: collision, requestor, awaiting the local answer.
    CollisionRequestorAnswers(CollisionRequestorAnswers),
    /// Sta10: collision, acceptor, awaiting A-RELEASE-RP.
    CollisionAcceptorWaits(CollisionAcceptorWaits),
    /// Sta11: collision, requestor, awaiting A-RELEASE-RP.
    CollisionRequestorWaits(CollisionRequestorWaits),
    /// Sta12: collision, acceptor, awaiting the local answer.
    CollisionAcceptorAnswers(CollisionAcceptorAnswers),
    /// Sta13: awaiting the close of the connection.
    AwaitingClose(AwaitingClose),
}

/// Sta1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Idle;
/// Sta2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AwaitingRequest;
/// Sta3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AwaitingDecision;
/// Sta4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connecting;
/// Sta5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AwaitingAnswer;
/// Sta6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Established {
    /// Who opened the association; decides a release collision.
    pub role: Role,
}
/// Sta7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AwaitingReleaseReply {
    /// Who opened the association; decides a release collision.
    pub role: Role,
}
/// Sta8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReleaseRequested;
/// Sta9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CollisionRequestorAnswers;
/// Sta10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CollisionAcceptorWaits;
/// Sta11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CollisionRequestorWaits;
/// Sta12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CollisionAcceptorAnswers;
/// Sta13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AwaitingClose;

/// An event of PS3.8 9.2.2, in the table's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Evt1: A-ASSOCIATE request (local).
    AssociateRequest,
    /// Evt2: transport connection confirmed.
    Connected,
    /// Evt3: A-ASSOCIATE-AC received.
    AcceptPdu,
    /// Evt4: A-ASSOCIATE-RJ received.
    RejectPdu,
    /// Evt5: transport connection indication.
    Incoming,
    /// Evt6: A-ASSOCIATE-RQ received; `acceptable` is the provider's own check (protocol version and the like, AE-6).
    RequestPdu {
        /// Whether the provider lets the request through to the user.
        acceptable: bool,
    },
    /// Evt7: A-ASSOCIATE response, accept (local).
    Accept,
    /// Evt8: A-ASSOCIATE response, reject (local).
    Reject,
    /// Evt9: P-DATA request (local).
    SendData,
    /// Evt10: P-DATA-TF received.
    DataPdu,
    /// Evt11: A-RELEASE request (local).
    Release,
    /// Evt12: A-RELEASE-RQ received.
    ReleaseRqPdu,
    /// Evt13: A-RELEASE-RP received.
    ReleaseRpPdu,
    /// Evt14: A-RELEASE response (local).
    ReleaseResponse,
    /// Evt15: A-ABORT request (local); a provider-initiated one carries its source.
    Abort(Abort),
    /// Evt16: A-ABORT received.
    AbortPdu,
    /// Evt17: transport connection closed.
    Closed,
    /// Evt18: ARTIM expired.
    ArtimExpired,
    /// Evt19: unrecognised or invalid PDU, with the abort it earns once an association exists.
    InvalidPdu(Abort),
}

/// What the driver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of PS3.8 9.2.3")]
pub enum Action {
    OpenTransport,
    SendRequest,
    SendAccept,
    SendReject,
    SendData,
    SendReleaseRq,
    SendReleaseRp,
    SendAbort(Abort),
    IndicateAssociate,
    ConfirmAccept,
    ConfirmReject,
    IndicateData,
    IndicateRelease,
    ConfirmRelease,
    IndicateAbort,
    StartArtim,
    StopArtim,
    CloseTransport,
}

use Action as A;
use Event as E;

impl State {
    /// Where every association begins (Sta1).
    pub const IDLE: Self = Self::Idle(Idle);

    /// The number of the state in PS3.8.
    pub fn number(self) -> u8 {
        match self {
            Self::Idle(_) => 1,
            Self::AwaitingRequest(_) => 2,
            Self::AwaitingDecision(_) => 3,
            Self::Connecting(_) => 4,
            Self::AwaitingAnswer(_) => 5,
            Self::Established(_) => 6,
            Self::AwaitingReleaseReply(_) => 7,
            Self::ReleaseRequested(_) => 8,
            Self::CollisionRequestorAnswers(_) => 9,
            Self::CollisionAcceptorWaits(_) => 10,
            Self::CollisionRequestorWaits(_) => 11,
            Self::CollisionAcceptorAnswers(_) => 12,
            Self::AwaitingClose(_) => 13,
        }
    }

    /// One row of Table 9-10: the next state and what to do on the way.
    ///
    /// A local event that the table leaves empty is our own mistake; it changes nothing and does nothing, and the driver's
    /// types see to it that it does not occur.
    #[must_use]
    pub fn on(self, event: Event) -> (Self, Vec<Action>) {
        match self {
            Self::Idle(state) => state.on(event),
            Self::AwaitingRequest(state) => state.on(event),
            Self::AwaitingDecision(state) => state.on(event),
            Self::Connecting(state) => state.on(event),
            Self::AwaitingAnswer(state) => state.on(event),
            Self::Established(state) => state.on(event),
            Self::AwaitingReleaseReply(state) => state.on(event),
            Self::ReleaseRequested(state) => state.on(event),
            Self::CollisionRequestorAnswers(state) => state.on(event),
            Self::CollisionAcceptorWaits(state) => state.on(event),
            Self::CollisionRequestorWaits(state) => state.on(event),
            Self::CollisionAcceptorAnswers(state) => state.on(event),
            Self::AwaitingClose(state) => state.on(event),
        }
    }
}

const CLOSE: State = State::AwaitingClose(AwaitingClose);

type Step = (State, Vec<Action>);

impl Idle {
    fn on(self, event: Event) -> Step {
        match event {
            // AE-1
            E::AssociateRequest => (State::Connecting(Connecting), vec![A::OpenTransport]),
            // AE-5
            E::Incoming => (State::AwaitingRequest(AwaitingRequest), vec![A::StartArtim]),
            E::Connected
            | E::AcceptPdu
            | E::RejectPdu
            | E::RequestPdu { .. }
            | E::Accept
            | E::Reject
            | E::SendData
            | E::DataPdu
            | E::Release
            | E::ReleaseRqPdu
            | E::ReleaseRpPdu
            | E::ReleaseResponse
            | E::Abort(_)
            | E::AbortPdu
            | E::Closed
            | E::ArtimExpired
            | E::InvalidPdu(_) => (State::Idle(self), vec![]),
        }
    }
}

impl AwaitingRequest {
    fn on(self, event: Event) -> Step {
        match event {
            // AE-6
            E::RequestPdu { acceptable: true } => {
                (State::AwaitingDecision(AwaitingDecision), vec![A::StopArtim, A::IndicateAssociate])
            }
            E::RequestPdu { acceptable: false } => (CLOSE, vec![A::SendReject, A::StartArtim]),
            // AA-1
            E::AcceptPdu
            | E::RejectPdu
            | E::DataPdu
            | E::ReleaseRqPdu
            | E::ReleaseRpPdu
            | E::InvalidPdu(_) => (CLOSE, vec![A::SendAbort(Abort::USER), A::StartArtim]),
            // AA-2
            E::AbortPdu | E::ArtimExpired => (State::IDLE, vec![A::StopArtim, A::CloseTransport]),
            // AA-5
            E::Closed => (State::IDLE, vec![A::StopArtim]),
            // Not in the table: the driver gives up, as AA-1.
            E::Abort(abort) => (CLOSE, vec![A::SendAbort(abort), A::StartArtim]),
            E::AssociateRequest
            | E::Connected
            | E::Incoming
            | E::Accept
            | E::Reject
            | E::SendData
            | E::Release
            | E::ReleaseResponse => (State::AwaitingRequest(self), vec![]),
        }
    }
}

impl AwaitingDecision {
    fn on(self, event: Event) -> Step {
        match event {
            // AE-7
            E::Accept => (State::Established(Established { role: Role::Acceptor }), vec![A::SendAccept]),
            // AE-8
            E::Reject => (CLOSE, vec![A::SendReject, A::StartArtim]),
            // AA-8
            E::AcceptPdu
            | E::RejectPdu
            | E::RequestPdu { .. }
            | E::DataPdu
            | E::ReleaseRqPdu
            | E::ReleaseRpPdu => provider_abort(Abort::UNEXPECTED_PDU),
            E::InvalidPdu(abort) => provider_abort(abort),
            E::Abort(abort) => user_abort(abort),
            E::AbortPdu => peer_abort(),
            E::Closed => transport_lost(),
            E::AssociateRequest
            | E::Connected
            | E::Incoming
            | E::SendData
            | E::Release
            | E::ReleaseResponse
            | E::ArtimExpired => (State::AwaitingDecision(self), vec![]),
        }
    }
}

impl Connecting {
    fn on(self, event: Event) -> Step {
        match event {
            // AE-2
            E::Connected => (State::AwaitingAnswer(AwaitingAnswer), vec![A::SendRequest]),
            // AA-2
            E::Abort(_) => (State::IDLE, vec![A::CloseTransport]),
            // AA-4
            E::Closed => transport_lost(),
            E::AssociateRequest
            | E::AcceptPdu
            | E::RejectPdu
            | E::Incoming
            | E::RequestPdu { .. }
            | E::Accept
            | E::Reject
            | E::SendData
            | E::DataPdu
            | E::Release
            | E::ReleaseRqPdu
            | E::ReleaseRpPdu
            | E::ReleaseResponse
            | E::AbortPdu
            | E::ArtimExpired
            | E::InvalidPdu(_) => (State::Connecting(self), vec![]),
        }
    }
}

impl AwaitingAnswer {
    fn on(self, event: Event) -> Step {
        match event {
            // AE-3
            E::AcceptPdu => {
                (State::Established(Established { role: Role::Requestor }), vec![A::ConfirmAccept])
            }
            // AE-4
            E::RejectPdu => (State::IDLE, vec![A::ConfirmReject, A::CloseTransport]),
            // AA-8
            E::RequestPdu { .. } | E::DataPdu | E::ReleaseRqPdu | E::ReleaseRpPdu => {
                provider_abort(Abort::UNEXPECTED_PDU)
            }
            E::InvalidPdu(abort) => provider_abort(abort),
            E::Abort(abort) => user_abort(abort),
            E::AbortPdu => peer_abort(),
            E::Closed => transport_lost(),
            E::AssociateRequest
            | E::Connected
            | E::Incoming
            | E::Accept
            | E::Reject
            | E::SendData
            | E::Release
            | E::ReleaseResponse
            | E::ArtimExpired => (State::AwaitingAnswer(self), vec![]),
        }
    }
}

impl Established {
    fn on(self, event: Event) -> Step {
        match event {
            // DT-1
            E::SendData => (State::Established(self), vec![A::SendData]),
            // DT-2
            E::DataPdu => (State::Established(self), vec![A::IndicateData]),
            // AR-1
            E::Release => (
                State::AwaitingReleaseReply(AwaitingReleaseReply { role: self.role }),
                vec![A::SendReleaseRq],
            ),
            // AR-2
            E::ReleaseRqPdu => (State::ReleaseRequested(ReleaseRequested), vec![A::IndicateRelease]),
            // AA-8
            E::AcceptPdu | E::RejectPdu | E::RequestPdu { .. } | E::ReleaseRpPdu => {
                provider_abort(Abort::UNEXPECTED_PDU)
            }
            E::InvalidPdu(abort) => provider_abort(abort),
            E::Abort(abort) => user_abort(abort),
            E::AbortPdu => peer_abort(),
            E::Closed => transport_lost(),
            E::AssociateRequest
            | E::Connected
            | E::Incoming
            | E::Accept
            | E::Reject
            | E::ReleaseResponse
            | E::ArtimExpired => (State::Established(self), vec![]),
        }
    }
}

impl AwaitingReleaseReply {
    fn on(self, event: Event) -> Step {
        match (event, self.role) {
            // AR-6
            (E::DataPdu, _) => (State::AwaitingReleaseReply(self), vec![A::IndicateData]),
            // AR-8
            (E::ReleaseRqPdu, Role::Requestor) => {
                (State::CollisionRequestorAnswers(CollisionRequestorAnswers), vec![A::IndicateRelease])
            }
            (E::ReleaseRqPdu, Role::Acceptor) => {
                (State::CollisionAcceptorWaits(CollisionAcceptorWaits), vec![A::IndicateRelease])
            }
            // AR-3
            (E::ReleaseRpPdu, _) => (State::IDLE, vec![A::ConfirmRelease, A::CloseTransport]),
            // AA-8
            (E::AcceptPdu | E::RejectPdu | E::RequestPdu { .. }, _) => provider_abort(Abort::UNEXPECTED_PDU),
            (E::InvalidPdu(abort), _) => provider_abort(abort),
            (E::Abort(abort), _) => user_abort(abort),
            (E::AbortPdu, _) => peer_abort(),
            (E::Closed, _) => transport_lost(),
            (
                E::AssociateRequest
                | E::Connected
                | E::Incoming
                | E::Accept
                | E::Reject
                | E::SendData
                | E::Release
                | E::ReleaseResponse
                | E::ArtimExpired,
                _,
            ) => (State::AwaitingReleaseReply(self), vec![]),
        }
    }
}

impl ReleaseRequested {
    fn on(self, event: Event) -> Step {
        match event {
            // AR-7
            E::SendData => (State::ReleaseRequested(self), vec![A::SendData]),
            // AR-4
            E::ReleaseResponse => (CLOSE, vec![A::SendReleaseRp, A::StartArtim]),
            E::DataPdu | E::ReleaseRqPdu | E::ReleaseRpPdu => provider_abort(Abort::UNEXPECTED_PDU),
            other => settling(State::ReleaseRequested(self), other),
        }
    }
}

impl CollisionRequestorAnswers {
    fn on(self, event: Event) -> Step {
        match event {
            // AR-9
            E::ReleaseResponse => {
                (State::CollisionRequestorWaits(CollisionRequestorWaits), vec![A::SendReleaseRp])
            }
            E::DataPdu | E::ReleaseRqPdu | E::ReleaseRpPdu => provider_abort(Abort::UNEXPECTED_PDU),
            other => settling(State::CollisionRequestorAnswers(self), other),
        }
    }
}

impl CollisionAcceptorWaits {
    fn on(self, event: Event) -> Step {
        match event {
            // AR-10
            E::ReleaseRpPdu => {
                (State::CollisionAcceptorAnswers(CollisionAcceptorAnswers), vec![A::ConfirmRelease])
            }
            E::DataPdu | E::ReleaseRqPdu => provider_abort(Abort::UNEXPECTED_PDU),
            other => settling(State::CollisionAcceptorWaits(self), other),
        }
    }
}

impl CollisionRequestorWaits {
    fn on(self, event: Event) -> Step {
        match event {
            // AR-3
            E::ReleaseRpPdu => (State::IDLE, vec![A::ConfirmRelease, A::CloseTransport]),
            E::DataPdu | E::ReleaseRqPdu => provider_abort(Abort::UNEXPECTED_PDU),
            other => settling(State::CollisionRequestorWaits(self), other),
        }
    }
}

impl CollisionAcceptorAnswers {
    fn on(self, event: Event) -> Step {
        match event {
            // AR-4
            E::ReleaseResponse => (CLOSE, vec![A::SendReleaseRp, A::StartArtim]),
            E::DataPdu | E::ReleaseRqPdu | E::ReleaseRpPdu => provider_abort(Abort::UNEXPECTED_PDU),
            other => settling(State::CollisionAcceptorAnswers(self), other),
        }
    }
}

impl AwaitingClose {
    fn on(self, event: Event) -> Step {
        match event {
            // AA-6
            E::AcceptPdu | E::RejectPdu | E::DataPdu | E::ReleaseRqPdu | E::ReleaseRpPdu => (CLOSE, vec![]),
            // AA-7
            E::RequestPdu { .. } | E::InvalidPdu(_) => (CLOSE, vec![A::SendAbort(Abort::UNEXPECTED_PDU)]),
            // AA-2
            E::AbortPdu | E::ArtimExpired => (State::IDLE, vec![A::StopArtim, A::CloseTransport]),
            // AR-5
            E::Closed => (State::IDLE, vec![A::StopArtim]),
            E::AssociateRequest
            | E::Connected
            | E::Incoming
            | E::Accept
            | E::Reject
            | E::SendData
            | E::Release
            | E::ReleaseResponse
            | E::Abort(_) => (State::AwaitingClose(self), vec![]),
        }
    }
}

/// What the five states of a release under way have in common.
fn settling(state: State, event: Event) -> Step {
    match event {
        E::AcceptPdu | E::RejectPdu | E::RequestPdu { .. } => provider_abort(Abort::UNEXPECTED_PDU),
        E::InvalidPdu(abort) => provider_abort(abort),
        E::Abort(abort) => user_abort(abort),
        E::AbortPdu => peer_abort(),
        E::Closed => transport_lost(),
        E::AssociateRequest
        | E::Connected
        | E::Incoming
        | E::Accept
        | E::Reject
        | E::SendData
        | E::DataPdu
        | E::Release
        | E::ReleaseRqPdu
        | E::ReleaseRpPdu
        | E::ReleaseResponse
        | E::ArtimExpired => (state, vec![]),
    }
}

/// AA-8.
fn provider_abort(abort: Abort) -> Step {
    (CLOSE, vec![A::SendAbort(abort), A::IndicateAbort, A::StartArtim])
}

/// AA-1.
fn user_abort(abort: Abort) -> Step {
    (CLOSE, vec![A::SendAbort(abort), A::StartArtim])
}

/// AA-3.
fn peer_abort() -> Step {
    (State::IDLE, vec![A::IndicateAbort, A::CloseTransport])
}

/// AA-4.
fn transport_lost() -> Step {
    (State::IDLE, vec![A::IndicateAbort])
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVALID: Event = E::InvalidPdu(Abort::INVALID_PARAMETER);

    fn states() -> [State; 15] {
        let (requestor, acceptor) = (Role::Requestor, Role::Acceptor);
        [
            State::IDLE,
            State::AwaitingRequest(AwaitingRequest),
            State::AwaitingDecision(AwaitingDecision),
            State::Connecting(Connecting),
            State::AwaitingAnswer(AwaitingAnswer),
            State::Established(Established { role: requestor }),
            State::AwaitingReleaseReply(AwaitingReleaseReply { role: requestor }),
            State::ReleaseRequested(ReleaseRequested),
            State::CollisionRequestorAnswers(CollisionRequestorAnswers),
            State::CollisionAcceptorWaits(CollisionAcceptorWaits),
            State::CollisionRequestorWaits(CollisionRequestorWaits),
            State::CollisionAcceptorAnswers(CollisionAcceptorAnswers),
            CLOSE,
            State::Established(Established { role: acceptor }),
            State::AwaitingReleaseReply(AwaitingReleaseReply { role: acceptor }),
        ]
    }

    /// Table 9-10, transcribed: per event the action of each state from Sta1 to Sta13; `-` where the table is empty.
    #[rustfmt::skip]
    fn table() -> Vec<(Event, [&'static str; 13])> {
        vec![
            (E::AssociateRequest, ["AE1", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
            (E::Connected, ["-", "-", "-", "AE2", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
            (E::AcceptPdu, ["-", "AA1", "AA8", "-", "AE3", "AA8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA6"]),
            (E::RejectPdu, ["-", "AA1", "AA8", "-", "AE4", "AA8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA6"]),
            (E::Incoming, ["AE5", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
            (E::RequestPdu { acceptable: true }, ["-", "AE6", "AA8", "-", "AA8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA7"]),
            (E::Accept, ["-", "-", "AE7", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
            (E::Reject, ["-", "-", "AE8", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
            (E::SendData, ["-", "-", "-", "-", "-", "DT1", "-", "AR7", "-", "-", "-", "-", "-"]),
            (E::DataPdu, ["-", "AA1", "AA8", "-", "AA8", "DT2", "AR6", "AA8", "AA8", "AA8", "AA8", "AA8", "AA6"]),
            (E::Release, ["-", "-", "-", "-", "-", "AR1", "-", "-", "-", "-", "-", "-", "-"]),
            (E::ReleaseRqPdu, ["-", "AA1", "AA8", "-", "AA8", "AR2", "AR8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA6"]),
            (E::ReleaseRpPdu, ["-", "AA1", "AA8", "-", "AA8", "AA8", "AR3", "AA8", "AA8", "AR10", "AR3", "AA8", "AA6"]),
            (E::ReleaseResponse, ["-", "-", "-", "-", "-", "-", "-", "AR4", "AR9", "-", "-", "AR4", "-"]),
            (E::Abort(Abort::USER), ["-", "AA1", "AA1", "AA2", "AA1", "AA1", "AA1", "AA1", "AA1", "AA1", "AA1", "AA1", "-"]),
            (E::AbortPdu, ["-", "AA2", "AA3", "-", "AA3", "AA3", "AA3", "AA3", "AA3", "AA3", "AA3", "AA3", "AA2"]),
            (E::Closed, ["-", "AA5", "AA4", "AA4", "AA4", "AA4", "AA4", "AA4", "AA4", "AA4", "AA4", "AA4", "AR5"]),
            (E::ArtimExpired, ["-", "AA2", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "AA2"]),
            (INVALID, ["-", "AA1", "AA8", "-", "AA8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA8", "AA7"]),
        ]
    }

    /// PS3.8 Tables 9-6 to 9-9: what each action does, and the state it leads to.
    fn meaning(name: &str, state: State, event: Event) -> Step {
        let abort = if event == INVALID { Abort::INVALID_PARAMETER } else { Abort::UNEXPECTED_PDU };
        match name {
            "-" => (state, vec![]),
            "AE1" => (State::Connecting(Connecting), vec![A::OpenTransport]),
            "AE2" => (State::AwaitingAnswer(AwaitingAnswer), vec![A::SendRequest]),
            "AE3" => (State::Established(Established { role: Role::Requestor }), vec![A::ConfirmAccept]),
            "AE4" => (State::IDLE, vec![A::ConfirmReject, A::CloseTransport]),
            "AE5" => (State::AwaitingRequest(AwaitingRequest), vec![A::StartArtim]),
            "AE6" => (State::AwaitingDecision(AwaitingDecision), vec![A::StopArtim, A::IndicateAssociate]),
            "AE7" => (State::Established(Established { role: Role::Acceptor }), vec![A::SendAccept]),
            "AE8" => (CLOSE, vec![A::SendReject, A::StartArtim]),
            "DT1" | "AR7" => (state, vec![A::SendData]),
            "DT2" | "AR6" => (state, vec![A::IndicateData]),
            "AR1" => {
                let State::Established(Established { role }) = state else { unreachable!() };
                (State::AwaitingReleaseReply(AwaitingReleaseReply { role }), vec![A::SendReleaseRq])
            }
            "AR2" => (State::ReleaseRequested(ReleaseRequested), vec![A::IndicateRelease]),
            "AR3" => (State::IDLE, vec![A::ConfirmRelease, A::CloseTransport]),
            "AR4" => (CLOSE, vec![A::SendReleaseRp, A::StartArtim]),
            "AR5" | "AA5" => (State::IDLE, vec![A::StopArtim]),
            "AR8" if state == State::AwaitingReleaseReply(AwaitingReleaseReply { role: Role::Acceptor }) => {
                (State::CollisionAcceptorWaits(CollisionAcceptorWaits), vec![A::IndicateRelease])
            }
            "AR8" => (State::CollisionRequestorAnswers(CollisionRequestorAnswers), vec![A::IndicateRelease]),
            "AR9" => (State::CollisionRequestorWaits(CollisionRequestorWaits), vec![A::SendReleaseRp]),
            "AR10" => (State::CollisionAcceptorAnswers(CollisionAcceptorAnswers), vec![A::ConfirmRelease]),
            "AA1" => (CLOSE, vec![A::SendAbort(Abort::USER), A::StartArtim]),
            "AA2" if state == State::Connecting(Connecting) => (State::IDLE, vec![A::CloseTransport]),
            "AA2" => (State::IDLE, vec![A::StopArtim, A::CloseTransport]),
            "AA3" => (State::IDLE, vec![A::IndicateAbort, A::CloseTransport]),
            "AA4" => (State::IDLE, vec![A::IndicateAbort]),
            "AA6" => (CLOSE, vec![]),
            "AA7" => (CLOSE, vec![A::SendAbort(Abort::UNEXPECTED_PDU)]),
            "AA8" => (CLOSE, vec![A::SendAbort(abort), A::IndicateAbort, A::StartArtim]),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_state_answers_every_event_as_table_9_10_says() {
        for (event, row) in table() {
            for state in states() {
                let name = row[usize::from(state.number()) - 1];
                assert_eq!(
                    state.on(event),
                    meaning(name, state, event),
                    "{event:?} in Sta{}",
                    state.number()
                );
            }
        }
    }

    #[test]
    fn a_request_the_provider_refuses_is_rejected_at_once() {
        let (state, actions) =
            State::AwaitingRequest(AwaitingRequest).on(E::RequestPdu { acceptable: false });
        assert_eq!((state, actions), (CLOSE, vec![A::SendReject, A::StartArtim]));
    }

    #[test]
    fn case_36_a_release_collision_ends_in_two_replies() {
        let run = |role, events: [Event; 3]| {
            let mut state = State::AwaitingReleaseReply(AwaitingReleaseReply { role });
            events.map(|event| {
                state = state.on(event).0;
                state.number()
            })
        };
        assert_eq!(run(Role::Requestor, [E::ReleaseRqPdu, E::ReleaseResponse, E::ReleaseRpPdu]), [9, 11, 1]);
        assert_eq!(run(Role::Acceptor, [E::ReleaseRqPdu, E::ReleaseRpPdu, E::ReleaseResponse]), [10, 12, 13]);
    }
}
