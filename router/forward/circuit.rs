//! A destination's health: the circuit breaker, its back-off, and the pause. Pure: time and chance come from outside.
//!
//! ```text
//!            failure                       five holds in a row, or a pause verdict
//!   Well ───────────────► Ill ─────────────────────────────► Paused
//!    ▲                     │  ▲ failure                        │
//!    └──── first success ──┴──┴────────── first success ◄──────┘
//! ```
//!
//! While a destination is ill or paused nothing is held for being refused, because nobody knows whether it is the
//! instance or the destination: it is counted, and what was refused three times is held once a success has shown that
//! the destination is well.

use std::collections::HashMap;
use std::time::Duration;

use chrysalis_queue::{Hold, Outcome, Sequence};

use super::verdict::{Verdict, Why};
use crate::config::Backoff;

/// Holds in a row after which the destination is suspected instead of the instances.
const HOLDS_UNTIL_PAUSED: u32 = 5;
/// Refusals in an illness after which an instance is held when it is over.
const REFUSALS_UNTIL_HELD: u32 = 3;
/// Instances of which refusals and aborts are remembered.
const MAX_REMEMBERED: usize = 4096;

/// Where a destination stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It takes what it is sent.
    Well,
    /// It cannot be reached or is out of resources; probed with growing pauses.
    Ill,
    /// It will not have us; an administrator has to look. Probed slowly.
    Paused,
}

impl Health {
    /// The word used in metrics and listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Ill => "ill",
            Self::Paused => "paused",
        }
    }
}

/// Whether something may be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// As much as there is.
    Send,
    /// One instance, to find out: the first after this one, if there is any.
    Probe {
        /// The last instance tried in this illness.
        after: Option<Sequence>,
        /// The study it was of: another one says more.
        avoid: Option<String>,
    },
    /// Nothing for so long.
    Wait(Duration),
}

/// What is to be done with a delivery, and what is worth a word in the log.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// For the queue.
    pub outcome: Outcome,
    /// The destination's health changed to this, or the reason for it did. It stands beside other deliveries too, so
    /// what the peer said in words about one of them is not in it.
    pub change: Option<(Health, String)>,
}

/// How often an instance was on its way in vain, and how many others had arrived by the last time.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    times: u32,
    successes: u64,
}

/// The health of one destination, or of one calling AE title at it.
#[derive(Debug)]
pub struct Circuit {
    backoff: Backoff,
    health: Health,
    why: String,
    /// Failed probes in a row.
    failures: u32,
    next_try: Duration,
    last_tried: Option<Sequence>,
    last_group: Option<String>,
    /// Deliveries that succeeded.
    successes: u64,
    /// Instances that were to be tried again after they had been on their way.
    troubles: HashMap<Sequence, Trouble>,
    /// Refusals in this illness.
    refusals: HashMap<Sequence, (u32, Why)>,
    aborts: HashMap<Sequence, u32>,
    consecutive_holds: u32,
    /// To be held when they come up next.
    condemned: HashMap<Sequence, Why>,
}

impl Circuit {
    /// A destination is taken to be well until it shows otherwise.
    pub fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            health: Health::Well,
            why: String::new(),
            failures: 0,
            next_try: Duration::ZERO,
            last_tried: None,
            last_group: None,
            successes: 0,
            troubles: HashMap::new(),
            refusals: HashMap::new(),
            aborts: HashMap::new(),
            consecutive_holds: 0,
            condemned: HashMap::new(),
        }
    }

    /// How the destination is.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Whether something may be sent at `now`.
    pub fn permission(&self, now: Duration) -> Permission {
        match self.health {
            Health::Well => Permission::Send,
            Health::Ill | Health::Paused if now >= self.next_try => {
                Permission::Probe { after: self.last_tried, avoid: self.last_group.clone() }
            }
            Health::Ill | Health::Paused => Permission::Wait(self.next_try - now),
        }
    }

    /// Every instance has been tried in this illness: the next probe begins with the oldest again.
    pub fn begin_again(&mut self) {
        self.last_tried = None;
        self.last_group = None;
    }

    /// An administrator says that it is worth trying now, beginning with this instance.
    pub fn try_now(&mut self, instance: Option<Sequence>) {
        self.next_try = Duration::ZERO;
        if let Some(instance) = instance {
            self.last_tried = Some(instance.previous());
            self.last_group = None;
        }
    }

    /// An instance that was refused three times in an illness that is over: why it is to be held without another try.
    pub fn is_condemned(&mut self, instance: Sequence) -> Option<Hold> {
        if self.health != Health::Well {
            return None;
        }
        self.condemned.remove(&instance).map(|why| why.refused())
    }

    /// An association broke while this instance was on its way: how often that has happened with it.
    pub fn count_abort(&mut self, instance: Sequence) -> u32 {
        if self.aborts.len() >= MAX_REMEMBERED {
            self.aborts.clear();
        }
        let times = self.aborts.entry(instance).or_default();
        *times += 1;
        *times
    }

    /// Draws the conclusion of an attempt with an instance of a study. `chance` is in 0..1 and spreads the retries of
    /// many destinations.
    pub fn settle(
        &mut self,
        instance: Sequence,
        group: &str,
        verdict: Verdict,
        now: Duration,
        chance: f64,
    ) -> Settlement {
        let was_ill = self.health != Health::Well;
        let settlement = self.conclude(instance, verdict, now, chance);
        // Another instance tells whether it is the destination or this one that makes associations break.
        if was_ill || self.aborts.contains_key(&instance) {
            self.try_another_than(instance, group);
        }
        settlement
    }

    /// As long as the destination is not well, the next probe is with what comes after this instance, of another study if
    /// there is one.
    pub fn try_another_than(&mut self, instance: Sequence, group: &str) {
        if self.health != Health::Well {
            self.last_tried = Some(instance);
            self.last_group = Some(group.to_owned());
        }
    }

    fn conclude(&mut self, instance: Sequence, verdict: Verdict, now: Duration, chance: f64) -> Settlement {
        match verdict {
            Verdict::Delivered { detail, .. } => {
                self.aborts.remove(&instance);
                self.refusals.remove(&instance);
                self.troubles.remove(&instance);
                Settlement { outcome: Outcome::Delivered(detail.stored()), change: self.succeeded() }
            }
            // What negotiation or our own disk says is about the instance, whatever the destination's health.
            Verdict::Hold(hold) => Settlement { outcome: Outcome::Held(hold), change: None },
            Verdict::Refused(why) => self.refused(instance, why, now, chance),
            Verdict::Retry(why) => self.again(instance, Health::Ill, why, now, chance),
            Verdict::RetryAfter(why, after) => {
                let settlement = self.again(instance, Health::Ill, why, now, chance);
                self.left_alone(settlement, after, now)
            }
            Verdict::Pause(why) => self.again(instance, Health::Paused, why, now, chance),
        }
    }

    /// The destination is suspected, and the instance keeps its place, unless others have arrived since it last failed:
    /// then it is the instance, and it waits by itself, twice as long each time, while the others go on.
    fn again(
        &mut self,
        instance: Sequence,
        health: Health,
        why: Why,
        now: Duration,
        chance: f64,
    ) -> Settlement {
        if self.troubles.len() >= MAX_REMEMBERED {
            self.troubles.clear();
        }
        let trouble = self.troubles.entry(instance).or_default();
        let is_alone = trouble.times > 0 && self.successes > trouble.successes;
        let pause = doubled(self.backoff, trouble.times);
        *trouble = Trouble { times: trouble.times.saturating_add(1), successes: self.successes };
        if is_alone && self.health == Health::Well {
            return Settlement { outcome: Outcome::Retry(spread(pause, chance)), change: None };
        }
        Settlement { outcome: Outcome::Untried, change: self.failed(health, why.text(), now, chance) }
    }

    /// The pause that the destination asks for, for whom our own back-off applies to, where that is shorter.
    fn left_alone(&mut self, settlement: Settlement, after: Duration, now: Duration) -> Settlement {
        let outcome = match settlement.outcome {
            Outcome::Retry(pause) => Outcome::Retry(pause.max(after)),
            other => {
                self.next_try = self.next_try.max(now + after);
                other
            }
        };
        Settlement { outcome, ..settlement }
    }

    /// No association could be had, so nothing was tried.
    pub fn unreachable(&mut self, verdict: Verdict, now: Duration, chance: f64) -> Option<(Health, String)> {
        match verdict {
            Verdict::Pause(why) => self.failed(Health::Paused, why.text(), now, chance),
            Verdict::Retry(why) | Verdict::Refused(why) => self.failed(Health::Ill, why.text(), now, chance),
            Verdict::RetryAfter(why, after) => {
                let change = self.failed(Health::Ill, why.text(), now, chance);
                self.next_try = self.next_try.max(now + after);
                change
            }
            Verdict::Delivered { .. } | Verdict::Hold(_) => None,
        }
    }

    /// The way there is open again: whoever was ill for `why`, which was about the way, is well.
    pub fn reached(&mut self, why: &str) -> Option<(Health, String)> {
        if self.health == Health::Well || self.why != why {
            return None;
        }
        self.health = Health::Well;
        self.failures = 0;
        self.begin_again();
        Some((Health::Well, std::mem::take(&mut self.why)))
    }

    fn refused(&mut self, instance: Sequence, why: Why, now: Duration, chance: f64) -> Settlement {
        if self.health == Health::Well {
            return self.hold_while_well(instance, &why, now, chance);
        }
        if self.refusals.len() >= MAX_REMEMBERED {
            self.refusals.clear();
        }
        let (times, last) = self.refusals.entry(instance).or_default();
        *times += 1;
        last.clone_from(&why);
        let health = self.health;
        Settlement { outcome: Outcome::Untried, change: self.failed(health, why.text(), now, chance) }
    }

    fn hold_while_well(&mut self, instance: Sequence, why: &Why, now: Duration, chance: f64) -> Settlement {
        self.aborts.remove(&instance);
        self.consecutive_holds += 1;
        let change = (self.consecutive_holds >= HOLDS_UNTIL_PAUSED).then(|| {
            let last = why.text();
            let why = format!("{HOLDS_UNTIL_PAUSED} instances in a row were refused; the last: {last}");
            self.failed(Health::Paused, &why, now, chance)
        });
        Settlement { outcome: Outcome::Held(why.refused()), change: change.flatten() }
    }

    fn succeeded(&mut self) -> Option<(Health, String)> {
        self.consecutive_holds = 0;
        self.successes += 1;
        if self.health == Health::Well {
            return None;
        }
        let refused = self.refusals.drain().filter(|(_, (times, _))| *times >= REFUSALS_UNTIL_HELD);
        self.condemned.extend(refused.map(|(instance, (_, why))| (instance, why)));
        self.health = Health::Well;
        self.failures = 0;
        self.begin_again();
        let was = std::mem::take(&mut self.why);
        Some((Health::Well, was))
    }

    fn failed(&mut self, health: Health, why: &str, now: Duration, chance: f64) -> Option<(Health, String)> {
        let pause = match health {
            Health::Paused => self.backoff.max,
            Health::Well | Health::Ill => doubled(self.backoff, self.failures),
        };
        self.failures = self.failures.saturating_add(1);
        self.next_try = now + spread(pause, chance);
        // Another reason is news too: who looks must see why it fails now, not why it began to.
        let changed = self.health != health || self.why != why;
        self.health = health;
        why.clone_into(&mut self.why);
        changed.then(|| (health, why.to_owned()))
    }
}

/// Twice as long after each failure, from the first pause to the longest.
fn doubled(backoff: Backoff, failures: u32) -> Duration {
    backoff.first.saturating_mul(1 << failures.min(20)).min(backoff.max)
}

/// A quarter more or less, by chance.
fn spread(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::{Circuit, Health, Permission};
    use crate::config::Backoff;
    use crate::forward::verdict::Verdict;
    use chrysalis_queue::{Outcome, Sequence};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    struct Bench(Circuit, Duration);

    fn bench() -> Bench {
        Bench(Circuit::new(Backoff { first: 5 * SECOND, max: 300 * SECOND }), Duration::ZERO)
    }

    fn instance(n: u32) -> Sequence {
        format!("1-{n}").parse().unwrap()
    }

    fn probe(after: Option<u32>) -> Permission {
        Permission::Probe { after: after.map(instance), avoid: after.map(|_| "study".to_owned()) }
    }

    impl Bench {
        fn settle(&mut self, n: u32, verdict: Verdict) -> &'static str {
            match self.0.settle(instance(n), "study", verdict, self.1, 0.5).outcome {
                Outcome::Delivered(_) => "delivered",
                Outcome::Held(_) => "held",
                Outcome::Retry(_) | Outcome::Untried => "kept",
            }
        }
        fn deliver(&mut self, n: u32) -> &'static str {
            self.settle(n, Verdict::Delivered { detail: "0000".into(), is_warning: false })
        }
        fn refuse(&mut self, n: u32) -> &'static str {
            self.settle(n, Verdict::Refused("A900".into()))
        }
        fn fail(&mut self, n: u32) -> &'static str {
            self.settle(n, Verdict::Retry("down".into()))
        }
        fn until_probe(&mut self) -> Duration {
            match self.0.permission(self.1) {
                Permission::Wait(pause) => {
                    self.1 += pause;
                    pause
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_way_that_is_open_again_ends_an_illness_that_was_about_the_way_and_no_other() {
        let mut bench = bench();
        let shut = |bench: &mut Bench| bench.0.unreachable(Verdict::Pause("shut".into()), bench.1, 0.5);
        assert_eq!(shut(&mut bench), Some((Health::Paused, "shut".to_owned())));
        assert_eq!(shut(&mut bench), None, "no news");
        assert_eq!(bench.0.reached("shut"), Some((Health::Well, "shut".to_owned())));
        bench.fail(1);
        assert_eq!((bench.0.reached("shut"), bench.0.health()), (None, Health::Ill));
    }

    #[test]
    fn the_pauses_double_from_the_first_to_the_longest_and_never_end() {
        let mut bench = bench();
        let mut pauses = Vec::new();
        for n in 0..9 {
            bench.fail(n);
            pauses.push(bench.until_probe().as_secs());
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(bench.0.health(), Health::Ill);
    }

    #[test]
    fn jitter_spreads_a_pause_by_a_quarter_each_way() {
        for (chance, expected) in [(0.0, 3750), (1.0, 6250)] {
            let mut bench = bench();
            bench.0.settle(instance(1), "study", Verdict::Retry("".into()), Duration::ZERO, chance);
            assert_eq!(bench.until_probe().as_millis(), expected);
        }
    }

    #[test]
    fn a_well_destination_holds_what_it_refuses() {
        let mut bench = bench();
        assert_eq!(bench.refuse(1), "held");
        assert_eq!(bench.0.permission(bench.1), Permission::Send);
    }

    #[test]
    fn after_five_holds_in_a_row_the_destination_is_paused_and_nothing_more_is_held() {
        let mut bench = bench();
        for n in 1..=5 {
            assert_eq!((bench.0.health(), bench.refuse(n)), (Health::Well, "held"));
        }
        assert_eq!((bench.0.health(), bench.until_probe()), (Health::Paused, 300 * SECOND));
        assert_eq!(bench.refuse(7), "kept");
        assert_eq!((bench.deliver(8), bench.0.health()), ("delivered", Health::Well));
    }

    #[test]
    fn a_success_between_holds_starts_the_count_again() {
        let mut bench = bench();
        for n in 1..=20 {
            assert_eq!(bench.refuse(n), "held", "{n}");
            bench.deliver(100 + n);
        }
    }

    #[test]
    fn an_ill_destination_is_probed_with_the_next_instance_each_time() {
        let mut bench = bench();
        bench.fail(1);
        bench.until_probe();
        assert_eq!(bench.0.permission(bench.1), probe(None));
        bench.fail(1);
        bench.until_probe();
        assert_eq!(bench.0.permission(bench.1), probe(Some(1)));
        bench.0.begin_again();
        assert_eq!(bench.0.permission(bench.1), probe(None));
    }

    #[test]
    fn refused_three_times_in_an_illness_is_held_once_it_is_over_and_not_before() {
        let mut bench = bench();
        bench.fail(1);
        for _ in 0..3 {
            assert_eq!(bench.refuse(1), "kept");
            assert!(bench.0.is_condemned(instance(1)).is_none());
        }
        bench.refuse(2);
        bench.deliver(3);
        assert_eq!(bench.0.is_condemned(instance(1)).unwrap().why, "A900");
        assert!(bench.0.is_condemned(instance(1)).is_none(), "held once");
        assert!(bench.0.is_condemned(instance(2)).is_none(), "refused once only");
    }

    #[test]
    fn an_instance_that_always_fails_while_others_arrive_no_longer_makes_the_destination_ill() {
        let mut bench = bench();
        bench.fail(1);
        assert_eq!(bench.0.health(), Health::Ill);
        bench.until_probe();
        bench.deliver(2);
        for n in 3..20 {
            bench.fail(1);
            assert_eq!(bench.0.health(), Health::Well, "{n}");
            bench.deliver(n);
        }
        let waits = |bench: &mut Bench| match bench
            .0
            .settle(instance(1), "study", Verdict::Retry("".into()), bench.1, 0.5)
            .outcome
        {
            Outcome::Retry(pause) => pause,
            other => panic!("{other:?}"),
        };
        assert_eq!(waits(&mut bench), 300 * SECOND);
        bench.fail(21);
        assert_eq!(bench.0.health(), Health::Ill, "another instance is another matter");
    }

    #[test]
    fn what_negotiation_says_of_an_instance_never_pauses_the_destination() {
        let mut bench = bench();
        for n in 1..50 {
            let hold = chrysalis_queue::Hold::new(chrysalis_queue::HoldKind::Refused, "not accepted");
            assert_eq!(bench.settle(n, Verdict::Hold(hold)), "held");
        }
        assert_eq!(bench.0.health(), Health::Well);
    }

    #[test]
    fn a_destination_that_asks_for_a_pause_gets_it_and_no_shorter_one_than_usual() {
        for (asked, gets) in [(60, 60), (1, 5), (0, 5)] {
            let mut bench = bench();
            bench.settle(1, Verdict::RetryAfter("503".into(), asked * SECOND));
            assert_eq!((bench.0.health(), bench.until_probe()), (Health::Ill, gets * SECOND));
            bench.deliver(1);
            assert_eq!(bench.0.permission(bench.1), Permission::Send);
        }
    }

    #[test]
    fn one_instance_for_which_a_pause_is_always_asked_keeps_it_for_itself() {
        let mut bench = bench();
        let ask = |bench: &mut Bench| {
            let verdict = Verdict::RetryAfter("503".into(), 600 * SECOND);
            bench.0.settle(instance(1), "study", verdict, bench.1, 0.5).outcome
        };
        ask(&mut bench);
        bench.until_probe();
        bench.deliver(2);
        assert!(matches!(ask(&mut bench), Outcome::Retry(pause) if pause == 600 * SECOND));
        assert_eq!(bench.0.permission(bench.1), Permission::Send);
    }

    #[test]
    fn a_pause_is_retried_at_the_slow_rate_and_ends_with_the_first_success() {
        let mut bench = bench();
        bench.settle(1, Verdict::Pause("called AE title not recognised".into()));
        assert_eq!((bench.0.health(), bench.until_probe()), (Health::Paused, 300 * SECOND));
        bench.deliver(1);
        assert_eq!(bench.0.permission(bench.1), Permission::Send);
    }
}
