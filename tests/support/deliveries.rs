//! What a node says of its deliveries, over its API and by its command line.

use super::instance::{Instance, Study};
use super::modality::Modality;
use super::node::Node;
use super::wait::poll;
use serde_json::Value;
use std::time::Duration;

/// Longest wait for a delivery to get somewhere.
pub const SOON: Duration = Duration::from_secs(30);

/// Keys of a `dicom` destination that fails and tries again within milliseconds.
pub const BRISK: &str = "timeouts = { connect = \"2s\", acse = \"2s\", dimse = \"2s\" }\nbackoff = { first = \"20ms\", max = \"100ms\" }";

/// So many small instances of one study.
pub fn small(seed: u64, count: u32) -> Vec<Instance> {
    let study = Study::new(seed);
    (1..=count).map(|n| study.small(n)).collect()
}

/// Sends them all over one association; each must be answered with Success.
#[track_caller]
pub fn store_all(node: &Node, instances: &[Instance]) {
    let answers = Modality::new(node.address).store_all(instances).expect("an association");
    assert!(answers.iter().all(|answer| answer.status == 0), "{answers:?}");
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The queue's own name of the instance.
    pub instance: String,
    pub sop_instance: String,
    pub destination: String,
    pub state: String,
    pub reason: String,
}

impl Seen {
    /// The deliveries in the JSON of a listing.
    #[track_caller]
    pub fn read(json: &str) -> Vec<Self> {
        let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
        let list = value["deliveries"].as_array().unwrap_or_else(|| panic!("no deliveries in {json}"));
        let text = |delivery: &Value, key: &str| delivery[key].as_str().unwrap_or_default().to_owned();
        let seen = |delivery: &Value| Self {
            instance: text(delivery, "instance"),
            sop_instance: text(delivery, "sop_instance_uid"),
            destination: text(delivery, "destination"),
            state: text(delivery, "state"),
            reason: text(delivery, "reason"),
        };
        list.iter().map(seen).collect()
    }
}

impl Node {
    /// Every delivery, in the order of receiving; at most a thousand.
    #[track_caller]
    pub fn deliveries(&self) -> Vec<Seen> {
        Seen::read(&self.api_get("/api/queue?limit=1000").text())
    }

    /// The deliveries of one SOP Instance UID to one destination, oldest first.
    #[track_caller]
    pub fn deliveries_of(&self, instance: &Instance, destination: &str) -> Vec<Seen> {
        let mut seen = self.deliveries();
        seen.retain(|d| d.sop_instance == instance.sop_instance && d.destination == destination);
        seen
    }

    /// Waits until the newest delivery of an instance to a destination is in this state, and returns it.
    #[track_caller]
    pub fn wait_state(&self, instance: &Instance, destination: &str, state: &str) -> Seen {
        let mut last = None;
        let found = poll(SOON, || {
            last = self.deliveries_of(instance, destination).pop();
            last.clone().filter(|seen| seen.state == state)
        });
        found.unwrap_or_else(|| panic!("{destination} did not get to {state} within {SOON:?}: {last:?}"))
    }

    /// Waits until every delivery there is satisfies `is`.
    #[track_caller]
    pub fn wait_all(&self, what: &str, is: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let mut last = Vec::new();
        let found = poll(SOON, || {
            last = self.deliveries();
            last.iter().all(&is).then(|| last.clone())
        });
        found.unwrap_or_else(|| {
            last.retain(|seen| !is(seen));
            panic!("not everything was {what} within {SOON:?}: {last:#?}")
        })
    }

    /// Waits until nothing is owed anywhere: everything is delivered or superseded.
    #[track_caller]
    pub fn wait_drained(&self) -> Vec<Seen> {
        self.wait_all("delivered", |seen| ["delivered", "superseded"].contains(&seen.state.as_str()))
    }

    /// How a destination is: `well`, `ill` or `paused`.
    #[track_caller]
    pub fn health(&self, destination: &str) -> String {
        let status: Value = serde_json::from_str(&self.api_get("/api/status").text()).unwrap();
        let all = status["destinations"].as_array().cloned().unwrap_or_default();
        let one = all.iter().find(|d| d["destination"] == destination);
        one.and_then(|d| d["health"].as_str()).unwrap_or("not listed").to_owned()
    }

    /// Waits until a destination is well, ill or paused.
    #[track_caller]
    pub fn wait_health(&self, destination: &str, health: &str) {
        let mut last = String::new();
        let found = poll(SOON, || {
            last = self.health(destination);
            (last == health).then_some(())
        });
        found.unwrap_or_else(|| panic!("{destination} is {last} and not {health} after {SOON:?}"));
    }

    /// A decision over the API about one instance at one destination; it must be carried out.
    #[track_caller]
    pub fn decide(&self, verb: &str, seen: &Seen, reason: &str) {
        let body = format!(
            "{{\"instances\": [\"{}\"], \"destination\": \"{}\", \"reason\": \"{reason}\"}}",
            seen.instance, seen.destination
        );
        let response = self.api_post(&format!("/api/queue/{verb}"), &body);
        let answer: Value = serde_json::from_str(&response.text()).unwrap_or_default();
        assert!(response.status == 200 && answer["changed"] == 1, "{verb}: {} {answer}", response.status);
    }
}
