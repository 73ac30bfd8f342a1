//! Which study goes next: the quiet ones, one at a time, the preferred first, each in the order of receipt.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrysalis_queue::simulation::{HeldClock, SimDisk, Stepped};
use chrysalis_queue::{Action, Instance, Keys, LeaseRequest, Meta, Options, Outcome, Owed, Sequence};

/// A queue, its clock, and how many instances it was given.
struct Node {
    options: Options,
    queue: Stepped,
    clock: HeldClock,
    received: u32,
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whatever may go, of a study that has been quiet for ten seconds.
fn quiet() -> LeaseRequest {
    LeaseRequest { max: 100, quiet: s(10), ..LeaseRequest::default() }
}

impl Node {
    /// Opened a minute ago.
    fn new() -> Self {
        let clock = HeldClock::start();
        let mut options = Options::new(Path::new("/q"));
        options.fs = Arc::new(SimDisk::new(u64::MAX));
        options.clock = Arc::new(clock.clone());
        options.index_cache = None;
        let (queue, _) = Stepped::open(&options).unwrap();
        clock.advance(s(60));
        Self { options, queue, clock, received: 0 }
    }

    fn receive(&mut self, study: &str) -> Sequence {
        self.received += 1;
        let staged = self.queue.stage(b"HEAD").unwrap();
        let keys = Keys { key: self.received.to_string(), group: study.into(), ..Keys::default() };
        let meta = Meta { keys, owed: vec![Owed::send("pacs")], attachment: Vec::new() };
        let sequence = staged.commit(meta, |_| Vec::new()).unwrap();
        self.queue.pump();
        sequence
    }

    /// The studies of what is leased, and when something will be due.
    fn lease(&mut self, want: LeaseRequest) -> (Vec<Instance>, Option<Duration>) {
        let (leased, due) = self.queue.lease_as("pacs", want).unwrap();
        assert!(leased.is_sorted_by_key(|instance| instance.sequence), "in the order of receipt");
        assert!(leased.windows(2).all(|two| two[0].keys.group == two[1].keys.group), "of one study");
        (leased, due)
    }

    fn study(&mut self, want: LeaseRequest) -> Option<String> {
        self.lease(want).0.first().map(|instance| instance.keys.group.clone())
    }

    fn give_back(&mut self, leased: &[Instance]) {
        for instance in leased {
            self.queue.finish("pacs", instance, Outcome::Untried);
        }
    }
}

#[test]
fn a_study_goes_when_nothing_has_come_for_so_long_and_whole() {
    let mut node = Node::new();
    node.receive("a");
    node.clock.advance(s(7));
    assert_eq!(node.lease(quiet()).1, Some(s(3)));
    node.receive("a");
    node.clock.advance(s(9));
    let (none, due) = node.lease(quiet());
    assert_eq!((none.len(), due), (0, Some(s(1))));
    node.clock.advance(s(1));
    assert_eq!(node.lease(quiet()).0.len(), 2);
    assert_eq!(node.lease(quiet()), (Vec::new(), None));
}

#[test]
fn a_study_that_still_comes_in_does_not_hold_up_another() {
    let mut node = Node::new();
    node.receive("a");
    node.receive("b");
    node.clock.advance(s(9));
    node.receive("a");
    node.clock.advance(s(1));
    let (leased, _) = node.lease(quiet());
    assert_eq!((leased.len(), leased[0].keys.group.as_str()), (1, "b"));
    assert_eq!(node.lease(quiet()), (Vec::new(), Some(s(9))));
}

#[test]
fn a_long_study_at_the_head_that_is_not_quiet_does_not_hide_a_quiet_one_behind_it() {
    let mut node = Node::new();
    for _ in 0..10_500 {
        node.receive("long");
    }
    node.receive("short");
    node.clock.advance(s(10));
    node.receive("long");
    assert_eq!(node.study(quiet()).as_deref(), Some("short"));
    let first = node.lease(LeaseRequest { max: 1, ..LeaseRequest::default() }).0;
    node.receive("other");
    let alone = LeaseRequest { max: 1, alone: true, ..LeaseRequest::default() };
    assert_eq!(first[0].keys.group, "long");
    assert_eq!(node.study(alone).as_deref(), Some("other"));
}

#[test]
fn after_a_start_every_study_counts_as_seen_when_the_queue_was_opened() {
    let mut node = Node::new();
    node.receive("a");
    node.clock.advance(s(100));
    node.queue.flush().unwrap();
    let Node { options, queue, clock, received } = node;
    drop(queue);
    let (queue, _) = Stepped::open(&options).unwrap();
    let mut node = Node { options, queue, clock, received };
    node.clock.advance(s(4));
    assert_eq!(node.lease(quiet()), (Vec::new(), Some(s(6))));
    node.clock.advance(s(6));
    assert_eq!(node.study(quiet()).as_deref(), Some("a"));
}

#[test]
fn an_answer_of_nothing_lasts_until_something_is_due_or_decided_and_no_longer() {
    let mut node = Node::new();
    let first = node.receive("a");
    let second = node.receive("b");
    assert!(node.queue.decide(second, "pacs", Action::Hold { why: "wait".into() }).is_ok());
    node.clock.advance(s(10));
    let leased = node.lease(quiet()).0;
    node.queue.finish("pacs", &leased[0], Outcome::Retry(s(300)));
    assert_eq!(node.lease(quiet()), (Vec::new(), Some(s(300))));
    // Something new is due sooner.
    node.receive("c");
    assert_eq!(node.lease(quiet()), (Vec::new(), Some(s(10))));
    assert!(node.queue.decide(second, "pacs", Action::Release).is_ok());
    assert_eq!(node.study(quiet()).as_deref(), Some("b"));
    assert!(node.queue.decide(first, "pacs", Action::Release).is_ok());
    assert_eq!(node.study(quiet()).as_deref(), Some("a"));
    node.clock.advance(s(10));
    assert_eq!(node.study(quiet()).as_deref(), Some("c"));
}

#[test]
fn a_retry_waits_its_time_and_the_quiet_too() {
    let mut node = Node::new();
    node.receive("a");
    node.clock.advance(s(10));
    let leased = node.lease(quiet()).0;
    node.receive("a");
    node.queue.finish("pacs", &leased[0], Outcome::Retry(s(30)));
    assert_eq!(node.lease(quiet()), (Vec::new(), Some(s(10))));
    node.clock.advance(s(10));
    let (second, _) = node.lease(quiet());
    assert_eq!(second.len(), 1);
    assert_eq!(node.lease(quiet()), (Vec::new(), Some(s(20))));
}

#[test]
fn alone_leaves_out_the_studies_that_are_under_way_there() {
    let mut node = Node::new();
    for study in ["a", "a", "b", "a"] {
        node.receive(study);
    }
    let alone = || LeaseRequest { max: 1, alone: true, ..LeaseRequest::default() };
    let a = node.lease(alone()).0;
    let b = node.lease(alone()).0;
    assert_eq!((a[0].keys.group.as_str(), b[0].keys.group.as_str()), ("a", "b"));
    assert_eq!(node.study(alone()), None);
    node.give_back(&a);
    assert_eq!(node.study(alone()).as_deref(), Some("a"));
}

#[test]
fn the_preferred_study_goes_first_while_it_has_something_due() {
    let mut node = Node::new();
    for study in ["a", "b", "b", "a"] {
        node.receive(study);
    }
    let prefer = |study: &str| LeaseRequest { max: 1, prefer: Some(study.into()), ..LeaseRequest::default() };
    assert_eq!(node.study(prefer("b")).as_deref(), Some("b"));
    assert_eq!(node.study(prefer("b")).as_deref(), Some("b"));
    assert_eq!(node.study(prefer("b")).as_deref(), Some("a"));
    assert_eq!(node.study(prefer("nobody's")).as_deref(), Some("a"));
}

#[test]
fn a_study_is_avoided_only_while_another_has_something_due() {
    let mut node = Node::new();
    for study in ["a", "b"] {
        node.receive(study);
    }
    let avoid = || LeaseRequest { max: 1, avoid: Some("a".into()), ..LeaseRequest::default() };
    assert_eq!(node.study(avoid()).as_deref(), Some("b"));
    assert_eq!(node.study(avoid()).as_deref(), Some("a"));
    assert_eq!(node.study(avoid()), None);
}
