//! Every filter finds what looking at everything would find, however small its pages are.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrysalis_queue::simulation::{HeldClock, SimDisk, Stepped};
use chrysalis_queue::{
    Action, Filter, Hold, HoldKind, Instance, Keys, Meta, Options, Outcome, Owed, Page, Row, Select, Sequence,
};

/// Sixty instances, one a second, in seven groups and every state, with one of another boot before them.
fn filled() -> Stepped {
    let clock = HeldClock::start();
    let mut options = Options::new(Path::new("/q"));
    options.fs = Arc::new(SimDisk::new(u64::MAX));
    options.clock = Arc::new(clock.clone());
    options.index_cache = None;
    let (mut queue, _) = Stepped::open(&options).unwrap();
    receive(&queue, 0);
    queue.flush().unwrap();
    drop(queue);
    let (mut queue, _) = Stepped::open(&options).unwrap();
    for n in 1..60 {
        clock.advance(Duration::from_secs(1));
        receive(&queue, n);
    }
    for (n, instance) in queue.lease("pacs", 40).unwrap().into_iter().enumerate() {
        match n % 4 {
            0 => queue.finish("pacs", &instance, Outcome::Delivered("0000".into())),
            1 => queue.finish("pacs", &instance, Outcome::Retry(Duration::from_secs(60))),
            2 => queue.finish("pacs", &instance, Outcome::Held(Hold::new(HoldKind::Refused, "A900"))),
            _ => {}
        }
    }
    let all = pages(&mut queue, &Filter { limit: 1000, ..Filter::default() });
    for row in all.iter().step_by(7) {
        let action = Action::Discard { why: "no".into() };
        let _ = queue.decide(row.instance.sequence, "archive", action);
    }
    queue
}

fn receive(queue: &Stepped, n: u64) {
    let mut staged = queue.stage(b"HEAD").unwrap();
    staged.write(&[n as u8; 100]).unwrap();
    let keys = Keys { key: n.to_string(), group: format!("study {}", n % 7), ..Keys::default() };
    let owed = if n.is_multiple_of(3) {
        vec![Owed::send("pacs")]
    } else {
        vec![Owed::send("archive"), Owed::send("pacs")]
    };
    let attachment = format!("cart {}", n % 5).into_bytes();
    staged.commit(Meta { keys, owed, attachment }, |_| Vec::new()).unwrap();
}

fn pages(queue: &mut Stepped, filter: &Filter) -> Vec<Row> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let Page { rows: more, next } = queue.list(&Filter { after, ..filter.clone() }).unwrap();
        rows.extend(more);
        if next.is_none() {
            return rows;
        }
        assert!(next > after, "it goes on");
        after = next;
    }
}

fn names(rows: &[Row]) -> Vec<(Sequence, String)> {
    rows.iter().map(|row| (row.instance.sequence, row.delivery.destination.clone())).collect()
}

fn any<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    std::iter::once(None).chain(values.iter().cloned().map(Some)).collect()
}

#[test]
fn every_filter_finds_what_looking_at_everything_finds() {
    let mut queue = filled();
    let all = pages(&mut queue, &Filter { limit: 1000, ..Filter::default() });
    assert_eq!(all.len(), 100);
    let states = ["ready", "waiting", "leased", "held", "delivered", "discarded", "nonsense"];
    for state in &states[..6] {
        assert!(all.iter().any(|row| row.standing.name() == *state), "{state}");
    }
    let of_cart_two: Select = Arc::new(|it| it.attachment == b"cart 2");
    let since = all.first().unwrap().instance.received_at + 20_000;
    let until = since + 30_000;
    for destination in any(&["pacs", "archive", "nowhere"]) {
        for state in any(&states) {
            for group in any(&["study 3", "study"]) {
                for select in any(std::slice::from_ref(&of_cart_two)) {
                    for window in [false, true] {
                        let is_meant = |instance: &Instance| {
                            group.is_none_or(|group| group == instance.keys.group)
                                && (select.is_none() || instance.attachment == b"cart 2")
                                && (!window || (since..until).contains(&instance.received_at))
                        };
                        let expected: Vec<_> = all
                            .iter()
                            .filter(|row| destination.is_none_or(|name| name == row.delivery.destination))
                            .filter(|row| state.is_none_or(|state| state == row.standing.name()))
                            .filter(|row| is_meant(&row.instance))
                            .cloned()
                            .collect();
                        for limit in [1, 4, 1000] {
                            let filter = Filter {
                                destination: destination.map(str::to_owned),
                                state: state.map(str::to_owned),
                                group: group.map(str::to_owned),
                                since: window.then_some(since),
                                until: window.then_some(until),
                                select: select.clone(),
                                after: None,
                                limit,
                            };
                            let found = pages(&mut queue, &filter);
                            assert_eq!(names(&found), names(&expected), "{filter:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_page_holds_its_limit_and_the_rest_of_the_last_instance_and_no_more() {
    let mut queue = filled();
    let page = queue.list(&Filter { limit: 2, ..Filter::default() }).unwrap();
    assert_eq!(names(&page.rows).len(), 3);
    assert_eq!(page.next, Some(page.rows[2].instance.sequence));
    let none = queue.list(&Filter::default()).unwrap();
    assert!(none.rows.is_empty() && none.next.is_none());
    let last: Sequence = "4294967295-4294967295".parse().unwrap();
    let beyond = queue.list(&Filter { after: Some(last), limit: 9, ..Filter::default() }).unwrap();
    assert!(beyond.rows.is_empty() && beyond.next.is_none());
}

#[test]
fn a_choice_sees_the_whole_of_an_instance_but_its_payload() {
    let mut queue = filled();
    let select: Select = Arc::new(|it| {
        it.key == "8" && it.group == "study 1" && it.payload_len == 100 && it.subject == [0; 16]
    });
    let found = pages(&mut queue, &Filter { select: Some(select), limit: 9, ..Filter::default() });
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|row| row.instance.keys.key == "8"));
}
