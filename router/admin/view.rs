//! How instances and deliveries are shown: the JSON of the API, and of the command line on a stopped node.

use chrysalis_queue::{NO_ROUTE, Queue, Row, Shown, Standing, State as Journalled};
use serde::Serialize;
use serde_json::{Value, json};

use super::expected;
use super::headers::Patient;
use super::listing::Reveal;
use super::moment;
use crate::config::Config;
use crate::forward::{Board, without_comment};
use crate::metrics::age_seconds;
use crate::receive::Arrival;
use crate::transcode::{Expectation, Subject};

/// One delivery as the API shows it. Patient data only where somebody with the token asked for it.
#[derive(Debug, Serialize)]
pub(super) struct DeliveryView {
    instance: String,
    sop_instance_uid: String,
    study_instance_uid: String,
    sop_class_uid: String,
    destination: String,
    state: &'static str,
    reason: Option<String>,
    received_at: String,
    age_seconds: u64,
    bytes: u64,
    calling_ae: String,
    /// The site whose link brought it, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// Its data is in the spool.
    has_data: bool,
    /// Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Patient>,
    /// In what it would be sent, the best first: only of one instance, and where it is not delivered yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Vec<Expectation>>,
}

impl DeliveryView {
    /// The view of a delivery; what a destination said in words is told where patients are.
    pub(super) fn new(row: &Row, config: &Config, board: Option<&Board>, reveal: Reveal) -> Self {
        let instance = &row.instance;
        let (calling_ae, site) = Arrival::of(instance).map(|a| (a.calling_ae, a.site)).unwrap_or_default();
        let (state, reason) = standing(row, config, board);
        let reason = match reveal {
            Reveal::Patient => reason,
            Reveal::Nothing => reason.map(|reason| without_comment(&reason).into_owned()),
        };
        Self {
            instance: instance.sequence.to_string(),
            sop_instance_uid: instance.keys.key.clone(),
            study_instance_uid: instance.keys.group.clone(),
            sop_class_uid: instance.keys.kind.clone(),
            destination: row.delivery.destination.clone(),
            state,
            reason,
            received_at: moment::write(instance.received_at),
            age_seconds: age_seconds(row.delivery.since).as_secs(),
            bytes: instance.payload_len(),
            calling_ae,
            site,
            has_data: row.has_payload,
            patient: None,
            expected: None,
        }
    }

    /// The same, telling whose it is.
    pub(super) fn revealing(self, patient: Option<Patient>) -> Self {
        Self { patient, ..self }
    }
}

/// State and reason, with what a destination said in words. What is owed to a destination that is not configured counts as held for as long as that lasts.
pub(super) fn standing(row: &Row, config: &Config, board: Option<&Board>) -> (&'static str, Option<String>) {
    let destination = &row.delivery.destination;
    let is_configured = destination == NO_ROUTE || config.destination(destination).is_some();
    match &row.standing {
        Standing::Journalled(Journalled::Owed) if !is_configured => {
            ("held", Some("destination not configured".to_owned()))
        }
        Standing::Leased | Standing::Waiting | Standing::Journalled(Journalled::Owed) => {
            let trouble = board.and_then(|board| board.trouble(destination, &calling_ae(row)));
            (row.standing.name(), trouble.or_else(|| board.and_then(|_| quiet(row, config))))
        }
        Standing::Journalled(state) => (state.name(), reason(state)),
    }
}

/// That a delivery waits for its study to be complete. How long still, the queue knows: whatever comes begins it again.
fn quiet(row: &Row, config: &Config) -> Option<String> {
    let is_ready = row.standing == Standing::Journalled(Journalled::Owed);
    let quiet = config.destination(&row.delivery.destination)?.study_quiet;
    (is_ready && !quiet.is_zero()).then(|| {
        let quiet = humantime::format_duration(quiet);
        format!("waits until nothing has come of its study for {quiet} (up to {quiet} more)")
    })
}

fn calling_ae(row: &Row) -> String {
    Arrival::of(&row.instance).map(|arrival| arrival.calling_ae).unwrap_or_default()
}

/// The reason as it is stored, with what a destination said in words.
pub(super) fn reason(state: &Journalled) -> Option<String> {
    match state {
        Journalled::Owed => None,
        Journalled::Held(hold) => Some(hold.why.clone()),
        Journalled::Superseded { by, .. } => Some(format!("{by} came with the same content")),
        Journalled::Delivered { detail } => Some(detail.clone()),
        Journalled::Discarded { who, why } => Some(format!("{why} ({who})")),
    }
}

/// One instance with all its deliveries, and what it would be sent as if `subject` says what it is. Of what destinations said in words, as `reveal` says.
pub(crate) fn show_json(
    shown: &Shown,
    subject: Option<&Subject>,
    queue: &Queue,
    config: &Config,
    board: Option<&Board>,
    reveal: Reveal,
) -> Value {
    let view = |row: &Row| {
        let is_open = row.delivery.state.is_open();
        let expected = subject.filter(|_| is_open);
        let expected = expected.and_then(|subject| expected::at(subject, &row.delivery.destination, config));
        DeliveryView { expected, ..DeliveryView::new(row, config, board, reveal) }
    };
    let instance = &shown.instance;
    let arrival = Arrival::of(instance).ok();
    let has_payload = shown.rows.iter().any(|row| row.has_payload);
    let hash: String = instance.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut shown = json!({
        "instance": instance.sequence.to_string(),
        "sop_instance_uid": instance.keys.key,
        "study_instance_uid": instance.keys.group,
        "sop_class_uid": instance.keys.kind,
        "transfer_syntax_uid": arrival.as_ref().map(|a| a.transfer_syntax.clone()),
        "sound_when_received": arrival.as_ref().map(|a| a.sound),
        "received_at": moment::write(instance.received_at),
        "bytes": instance.payload_len(),
        "sha256": hash,
        "listener": arrival.as_ref().map(|a| a.listener.clone()),
        "peer": arrival.as_ref().map(|a| a.peer.to_string()),
        "site": arrival.as_ref().and_then(|a| a.site.clone()),
        "calling_ae": arrival.as_ref().map(|a| a.calling_ae.clone()),
        "called_ae": arrival.as_ref().map(|a| a.called_ae.clone()),
        "identity": arrival.as_ref().and_then(|a| a.identity.clone()),
        "rules": arrival.as_ref().map(|a| a.rules.clone()),
        "deliveries": shown.rows.iter().map(view).collect::<Vec<_>>(),
    });
    if has_payload {
        shown["file"] = queue.path(instance).display().to_string().into();
    } else {
        shown["data"] = "removed, only the ledger knows of it".into();
    }
    shown
}
