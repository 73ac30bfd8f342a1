//! What a record does to the deliveries of its instance. Later wins, but *delivered* yields only to *resent*.

use crate::id::Sequence;
use crate::instance::{Delivery, State};
use crate::journal::Record;

/// The instance a record is about; none for records about a bucket.
pub(crate) fn subject(record: &Record) -> Option<Sequence> {
    match record {
        Record::Committed { instance, .. } => Some(instance.sequence),
        Record::Delivered { sequence, .. }
        | Record::Held { sequence, .. }
        | Record::Released { sequence, .. }
        | Record::Superseded { sequence, .. }
        | Record::Discarded { sequence, .. }
        | Record::Rerouted { sequence, .. }
        | Record::Resent { sequence, .. } => Some(*sequence),
        Record::Closed { .. } | Record::Removed { .. } | Record::DamageNoted { .. } => None,
    }
}

/// The deliveries after the record.
pub(crate) fn apply(before: &[Delivery], record: &Record) -> Vec<Delivery> {
    let mut after = before.to_vec();
    match record {
        Record::Delivered { destination, at, detail, .. } => {
            set(&mut after, destination, *at, State::Delivered { detail: detail.clone() });
        }
        Record::Held { destination, at, hold, .. } => {
            unless_delivered(&mut after, destination, *at, State::Held(hold.clone()));
        }
        Record::Released { destination, at, .. } => {
            if let Some(delivery) = find(&mut after, destination)
                && matches!(delivery.state, State::Held(_))
            {
                delivery.state = State::Owed;
                delivery.at = *at;
            }
        }
        Record::Superseded { destinations, at, by, .. } => {
            for destination in destinations {
                if let Some(delivery) = find(&mut after, destination)
                    && delivery.state.is_open()
                {
                    let held = match &delivery.state {
                        State::Held(hold) => Some(hold.clone()),
                        _ => None,
                    };
                    delivery.state = State::Superseded { by: *by, held };
                    delivery.at = *at;
                }
            }
        }
        Record::Discarded { destination, at, who, why, .. } => {
            let state = State::Discarded { who: who.clone(), why: why.clone() };
            unless_delivered(&mut after, destination, *at, state);
        }
        Record::Rerouted { from, to, at, who, .. } => {
            let why = format!("rerouted to {}", to.join(", "));
            let since = find(&mut after, from).map_or(*at, |d| d.since);
            unless_delivered(&mut after, from, *at, State::Discarded { who: who.clone(), why });
            // What was discarded there before, the place it is taken from included, is owed again: later wins.
            for destination in to {
                let known = find(&mut after, destination);
                if known.is_none_or(|d| matches!(d.state, State::Discarded { .. })) {
                    set(&mut after, destination, *at, State::Owed).since = since;
                }
            }
        }
        Record::Resent { destination, at, .. } => {
            set(&mut after, destination, *at, State::Owed).since = *at;
        }
        Record::Committed { .. }
        | Record::Closed { .. }
        | Record::Removed { .. }
        | Record::DamageNoted { .. } => {}
    }
    after
}

fn find<'a>(deliveries: &'a mut [Delivery], destination: &str) -> Option<&'a mut Delivery> {
    deliveries.iter_mut().find(|d| d.destination == destination)
}

fn set<'a>(deliveries: &'a mut Vec<Delivery>, destination: &str, at: u64, state: State) -> &'a mut Delivery {
    let place = deliveries.iter().position(|d| d.destination == destination).unwrap_or(deliveries.len());
    if place == deliveries.len() {
        let destination = destination.to_owned();
        deliveries.push(Delivery { destination, state, at, since: at, conflicting: false });
    } else {
        deliveries[place].state = state;
        deliveries[place].at = at;
    }
    &mut deliveries[place]
}

fn unless_delivered(deliveries: &mut [Delivery], destination: &str, at: u64, state: State) {
    if let Some(delivery) = find(deliveries, destination)
        && !matches!(delivery.state, State::Delivered { .. })
    {
        delivery.state = state;
        delivery.at = at;
    }
}

#[cfg(test)]
mod tests {
    use super::apply;
    use crate::id::Sequence;
    use crate::instance::{Delivery, Hold, HoldKind, State};
    use crate::journal::Record;

    const SEQUENCE: fn() -> Sequence = || Sequence::new(1, 1);

    fn owed() -> Vec<Delivery> {
        vec![Delivery { destination: "pacs".into(), state: State::Owed, at: 0, since: 0, conflicting: false }]
    }

    fn held() -> Record {
        let hold = Hold::new(HoldKind::Operator, "wait");
        Record::Held { sequence: SEQUENCE(), destination: "pacs".into(), at: 1, hold, who: "me".into() }
    }

    fn released() -> Record {
        Record::Released { sequence: SEQUENCE(), destination: "pacs".into(), at: 2, who: "me".into() }
    }

    fn delivered() -> Record {
        Record::Delivered { sequence: SEQUENCE(), destination: "pacs".into(), at: 3, detail: "0000".into() }
    }

    fn discarded() -> Record {
        Record::Discarded {
            sequence: SEQUENCE(),
            destination: "pacs".into(),
            at: 4,
            who: "me".into(),
            why: "test".into(),
        }
    }

    fn resent() -> Record {
        Record::Resent { sequence: SEQUENCE(), destination: "pacs".into(), at: 5, who: "me".into() }
    }

    fn after(records: &[Record]) -> &'static str {
        let end = records.iter().fold(owed(), |deliveries, record| apply(&deliveries, record));
        end[0].state.name()
    }

    #[test]
    fn later_wins_but_delivered_yields_only_to_resent() {
        assert_eq!(after(&[held()]), "held");
        assert_eq!(after(&[held(), released()]), "owed");
        assert_eq!(after(&[held(), discarded()]), "discarded");
        assert_eq!(after(&[discarded(), released()]), "discarded");
        assert_eq!(after(&[discarded(), delivered()]), "delivered");
        for later in [held(), released(), discarded()] {
            assert_eq!(after(&[delivered(), later]), "delivered");
        }
        assert_eq!(after(&[delivered(), resent()]), "owed");
        assert_eq!(after(&[discarded(), resent()]), "owed");
    }

    fn rerouted() -> Record {
        let to = vec!["archive".into(), "cloud".into()];
        Record::Rerouted { sequence: SEQUENCE(), from: "pacs".into(), to, at: 9, who: "me".into() }
    }

    #[test]
    fn writing_a_last_batch_twice_changes_nothing() {
        let batch = [held(), released(), delivered(), resent(), discarded()];
        for len in 1..=batch.len() {
            let once = &batch[..len];
            let twice = [once, once].concat();
            assert_eq!(after(once), after(&twice), "{once:?}");
        }
    }

    #[test]
    fn what_is_sent_again_is_owed_since_then_and_what_is_rerouted_or_released_since_it_came() {
        let since = |records: &[Record], destination: &str| {
            let end = records.iter().fold(owed(), |deliveries, record| apply(&deliveries, record));
            end.iter().find(|d| d.destination == destination).map(|d| d.since)
        };
        let resent_at = since(&[delivered(), resent()], "pacs");
        assert!(resent_at > Some(0));
        assert_eq!(since(&[delivered(), resent(), delivered()], "pacs"), resent_at);
        assert_eq!(since(&[held(), released()], "pacs"), Some(0));
        assert_eq!(since(&[rerouted()], "archive"), Some(0));
    }

    #[test]
    fn a_reroute_leaves_alone_where_it_is_or_was_and_sends_where_it_was_discarded_or_never_was() {
        let mut before = owed();
        for (destination, state) in [
            ("archive", State::Delivered { detail: String::new() }),
            ("cloud", State::Discarded { who: String::new(), why: String::new() }),
            ("shelf", State::Held(Hold::new(HoldKind::Refused, "A900"))),
        ] {
            let destination = destination.to_owned();
            before.push(Delivery { destination, state, at: 0, since: 0, conflicting: false });
        }
        let to = ["archive", "cloud", "shelf", "vault"].map(str::to_owned).to_vec();
        let record =
            Record::Rerouted { sequence: SEQUENCE(), from: "pacs".into(), to, at: 9, who: "me".into() };
        let end = apply(&before, &record);
        let states: Vec<_> = end.iter().map(|d| (d.destination.as_str(), d.state.name())).collect();
        let expected = [
            ("pacs", "discarded"),
            ("archive", "delivered"),
            ("cloud", "owed"),
            ("shelf", "held"),
            ("vault", "owed"),
        ];
        assert_eq!(states, expected);
    }

    #[test]
    fn a_reroute_owes_the_new_destinations_and_closes_the_old_one() {
        let end = apply(&owed(), &rerouted());
        let states: Vec<_> = end.iter().map(|d| (d.destination.as_str(), d.state.name())).collect();
        assert_eq!(states, [("pacs", "discarded"), ("archive", "owed"), ("cloud", "owed")]);
    }
}
