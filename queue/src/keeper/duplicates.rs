//! One key, several instances: what becomes of the newer and of the older.
//!
//! Looked at after the commit, never before it: every answer rests on its own synced file.

use std::collections::BTreeMap;

use crate::id::Sequence;
use crate::instance::{Delivery, Hold, HoldKind, Instance, Owed, Start, State};
use crate::view::inherited_hold;

/// An instance that was known before, with its deliveries; `leased` names the destinations it is under way to.
pub(crate) struct Known {
    pub(crate) instance: Instance,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) leased: Vec<String>,
}

/// What to write for the new instance, and what its coming does to older ones.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) owed: Vec<Owed>,
    pub(crate) since: u64,
    pub(crate) conflicting: bool,
    /// Bucket and sequence of the older ones, with the destinations at which the new one takes over.
    pub(crate) superseded: BTreeMap<(u32, Sequence), Vec<String>>,
    /// Newer ones that take over from this one, with the destinations.
    pub(crate) gives_way: BTreeMap<Sequence, Vec<String>>,
}

/// Decides. `known` are the others with the same key, oldest first.
pub(crate) fn decide(new: &Instance, owed: &[Owed], known: &[Known]) -> Decision {
    let mut decision = Decision {
        owed: owed.to_vec(),
        since: new.since,
        conflicting: false,
        superseded: BTreeMap::new(),
        gives_way: BTreeMap::new(),
    };
    let known = known.iter().filter(|k| !k.was_dropped());
    let (same, other): (Vec<_>, Vec<_>) = known.partition(|k| k.instance.sha256() == new.sha256());
    let foreign = other.iter().rev().find(|k| k.instance.keys.subject != new.keys.subject && k.counts());
    // What a rule discards is neither a conflict nor a successor.
    let mut to_send =
        decision.owed.iter_mut().filter(|o| !matches!(o.start, Start::Discard { .. })).peekable();
    decision.conflicting = to_send.peek().is_some() && other.iter().any(|k| k.counts());
    for owed in to_send {
        for older in same.iter().filter(|k| k.instance.sequence < new.sequence) {
            take_over(older, new.sequence, owed, &mut decision.since, &mut decision.superseded);
        }
        // One that a crash hid until newer ones were known: it never takes over from those, or each would be waiting
        // for the other.
        if let Some(newer) = same.iter().rev().find(|k| k.instance.sequence > new.sequence && k.goes_to(owed))
        {
            decision.gives_way.entry(newer.instance.sequence).or_default().push(owed.destination.clone());
        }
        let last = same.iter().rev().find(|k| !k.was_dropped_at(&owed.destination));
        let passed = same.iter().any(|k| k.passed_conflict(&owed.destination));
        let conflict =
            foreign.filter(|_| !passed).map(|k| format!("UID conflict with {}", k.instance.sequence));
        let discarded = last.is_some_and(|k| k.was_discarded(&owed.destination));
        let discarded = discarded.then(|| "discarded before".to_owned());
        // Neither hides the other from whoever decides.
        let why: Vec<_> = conflict.into_iter().chain(discarded).collect();
        if !why.is_empty() {
            hold(owed, &why.join("; "));
        }
    }
    decision
}

/// The newer file takes over what is open of the older one, with its age and its hold.
fn take_over(
    older: &Known,
    new: Sequence,
    owed: &mut Owed,
    since: &mut u64,
    superseded: &mut BTreeMap<(u32, Sequence), Vec<String>>,
) {
    let Some(delivery) = older.delivery(&owed.destination) else { return };
    let is_open = delivery.state.is_open();
    // The older one gave way to this one, whose own record a crash took: it takes over all the same.
    let gave_way = matches!(delivery.state, State::Superseded { by, .. } if by == new);
    if !is_open && !gave_way {
        return;
    }
    *since = delivery.since.min(*since);
    if let Some(inherited) = inherited_hold(&delivery.state) {
        owed.start.hold_if_sent(|| inherited.clone());
    }
    if is_open && !older.leased.contains(&owed.destination) {
        let older = (older.instance.bucket, older.instance.sequence);
        superseded.entry(older).or_default().push(owed.destination.clone());
    }
}

fn hold(owed: &mut Owed, why: &str) {
    owed.start.hold_if_sent(|| Hold::new(HoldKind::Conflict, why));
}

/// Whether a rule discarded each of these deliveries, and there is one.
pub(crate) fn was_dropped(deliveries: &[Delivery]) -> bool {
    !deliveries.is_empty() && deliveries.iter().all(|d| d.state.is_dropped())
}

impl Known {
    fn delivery(&self, destination: &str) -> Option<&Delivery> {
        self.deliveries.iter().find(|d| d.destination == destination)
    }

    /// It went to that destination, or will, or is held there for another reason than damage.
    fn goes_to(&self, owed: &Owed) -> bool {
        self.delivery(&owed.destination).is_some_and(|d| match &d.state {
            State::Owed | State::Delivered { .. } => true,
            State::Held(hold) => hold.kind != HoldKind::Damage,
            State::Superseded { .. } | State::Discarded { .. } => false,
        })
    }

    fn was_discarded(&self, destination: &str) -> bool {
        self.delivery(destination).is_some_and(|d| matches!(d.state, State::Discarded { .. }))
    }

    /// A rule discarded all of it: as if it had never come.
    fn was_dropped(&self) -> bool {
        was_dropped(&self.deliveries)
    }

    fn was_dropped_at(&self, destination: &str) -> bool {
        self.delivery(destination).is_some_and(|d| d.state.is_dropped())
    }

    /// An instance that was discarded everywhere conflicts with nothing.
    fn counts(&self) -> bool {
        self.deliveries.is_empty()
            || self.deliveries.iter().any(|d| !matches!(d.state, State::Discarded { .. }))
    }

    /// These bytes went to this destination before, or were released to go, so somebody decided the conflict.
    fn passed_conflict(&self, destination: &str) -> bool {
        self.delivery(destination).is_some_and(|d| matches!(d.state, State::Delivered { .. } | State::Owed))
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision, Known, decide};
    use crate::id::{Name, Sequence};
    use crate::instance::{BY_RULE, Delivery, Hold, HoldKind, Instance, Keys, Owed, Start, State};
    use crate::spool::layout::Extent;

    fn instance(n: u32, content: u8, subject: u8) -> Instance {
        Instance {
            sequence: Sequence::new(1, n),
            bucket: 1,
            name: Name::new(0, 1, n),
            extent: Extent {
                head_len: 0,
                payload_len: 1,
                tail_len: 0,
                envelope_len: 0,
                sha256: [content; 32],
            },
            received_at: u64::from(n) * 100,
            since: u64::from(n) * 100,
            keys: Keys { subject: [subject; 16], ..Keys::default() },
            attachment: Vec::new(),
        }
    }

    fn known(n: u32, content: u8, subject: u8, state: State) -> Known {
        let instance = instance(n, content, subject);
        let since = instance.since;
        let delivery = Delivery { destination: "pacs".into(), state, at: 0, since, conflicting: false };
        Known { instance, deliveries: vec![delivery], leased: Vec::new() }
    }

    fn decided(known: &[Known]) -> Decision {
        decide(&instance(9, 1, 1), &[Owed::send("pacs")], known)
    }

    fn delivered() -> State {
        State::Delivered { detail: String::new() }
    }

    fn discarded() -> State {
        State::Discarded { who: String::new(), why: String::new() }
    }

    fn held(kind: HoldKind) -> State {
        State::Held(Hold::new(kind, "because"))
    }

    #[test]
    fn the_same_bytes_take_over_what_is_open_with_its_age() {
        let decision = decided(&[known(3, 1, 1, State::Owed)]);
        assert_eq!(decision.superseded[&(1, Sequence::new(1, 3))], ["pacs"]);
        assert_eq!((decision.since, decision.owed[0].start.held()), (300, None));
        assert!(!decision.conflicting);
    }

    #[test]
    fn one_that_is_found_late_gives_way_to_the_newer_and_never_the_other_way_round() {
        for state in [State::Owed, held(HoldKind::Operator), delivered()] {
            let decision = decided(&[known(12, 1, 1, state)]);
            assert!(decision.superseded.is_empty());
            assert_eq!(decision.gives_way[&Sequence::new(1, 12)], ["pacs"]);
        }
        assert!(decided(&[known(12, 1, 1, discarded())]).owed[0].start.held().is_some());
    }

    #[test]
    fn a_hold_is_inherited_from_one_that_gave_way_already() {
        let held = Hold::new(HoldKind::Operator, "wait");
        let gave_way = State::Superseded { by: Sequence::new(1, 9), held: Some(held.clone()) };
        assert_eq!(decided(&[known(3, 1, 1, gave_way)]).owed[0].start, Start::Hold(held));
    }

    #[test]
    fn a_hold_by_people_rules_or_conflict_is_inherited_and_a_refusal_is_not() {
        for kind in [HoldKind::Operator, HoldKind::Rule, HoldKind::Conflict] {
            assert!(decided(&[known(3, 1, 1, held(kind))]).owed[0].start.held().is_some(), "{kind:?}");
        }
        for kind in [HoldKind::Refused, HoldKind::Damage] {
            assert!(decided(&[known(3, 1, 1, held(kind))]).owed[0].start.held().is_none(), "{kind:?}");
        }
    }

    #[test]
    fn one_under_way_is_left_to_its_end() {
        let mut under_way = known(3, 1, 1, State::Owed);
        under_way.leased.push("pacs".into());
        assert!(decided(&[under_way]).superseded.is_empty());
    }

    #[test]
    fn what_was_discarded_before_is_held_and_what_was_delivered_goes_again() {
        assert_eq!(
            decided(&[known(3, 1, 1, discarded())]).owed[0].start.held().unwrap().why,
            "discarded before"
        );
        assert_eq!(decided(&[known(3, 1, 1, delivered())]).owed[0].start, Start::Send);
        let later = [known(3, 1, 1, discarded()), known(4, 1, 1, delivered())];
        assert_eq!(decided(&later).owed[0].start, Start::Send);
    }

    fn dropped() -> State {
        State::Discarded { who: BY_RULE.into(), why: "drop".into() }
    }

    #[test]
    fn what_a_rule_discards_takes_nothing_over_and_is_no_conflict() {
        let owed = [Owed::discard("pacs", "drop")];
        for (content, subject) in [(1, 1), (2, 1), (2, 7)] {
            for state in [State::Owed, held(HoldKind::Operator), delivered(), discarded()] {
                let decision = decide(&instance(9, 1, 1), &owed, &[known(3, content, subject, state)]);
                assert_eq!(decision.owed, owed);
                assert!(decision.superseded.is_empty() && decision.gives_way.is_empty());
                assert!(!decision.conflicting && decision.since == 900);
            }
        }
    }

    #[test]
    fn what_a_rule_discarded_was_not_discarded_before_and_conflicts_with_nothing() {
        for (content, subject) in [(1, 1), (2, 1), (2, 7)] {
            let decision = decided(&[known(3, content, subject, dropped())]);
            assert_eq!((&decision.owed[0].start, decision.conflicting), (&Start::Send, false));
        }
        let hidden = [known(3, 1, 1, discarded()), known(4, 1, 1, dropped())];
        assert!(decided(&hidden).owed[0].start.held().is_some(), "a person's decision stands behind it");
    }

    #[test]
    fn of_two_places_only_the_one_that_a_rule_sends_to_takes_over() {
        let owed = [Owed::discard("pacs", "drop"), Owed::send("archive")];
        let mut older = known(3, 1, 1, State::Owed);
        older.deliveries.push(Delivery { destination: "archive".into(), ..older.deliveries[0].clone() });
        let decision = decide(&instance(9, 1, 1), &owed, &[older]);
        assert_eq!(decision.superseded[&(1, Sequence::new(1, 3))], ["archive"]);
        assert_eq!(decision.owed, owed);
    }

    #[test]
    fn other_bytes_of_the_same_subject_are_sent_and_marked() {
        let decision = decided(&[known(3, 2, 1, delivered())]);
        assert!(
            decision.conflicting && decision.owed[0].start.held().is_none() && decision.superseded.is_empty()
        );
    }

    #[test]
    fn another_subject_is_a_conflict_that_holds_the_second() {
        let decision = decided(&[known(3, 2, 7, delivered())]);
        assert_eq!(decision.owed[0].start.held().unwrap().why, "UID conflict with 1-3");
        assert_eq!(decided(&[known(3, 2, 7, discarded())]).owed[0].start, Start::Send);
        let again = [known(3, 2, 7, delivered()), known(4, 1, 1, discarded())];
        let why = "UID conflict with 1-3; discarded before";
        assert_eq!(decided(&again).owed[0].start.held().unwrap().why, why);
        let released = [known(3, 2, 7, delivered()), known(4, 1, 1, delivered())];
        assert_eq!(decided(&released).owed[0].start, Start::Send);
    }
}
