use std::time::Duration;

use super::{Candidate, Event, Kept, MOST_STARTS, Outcome, Report, Then};
use crate::config::Overlay;

const PROBATION: Duration = Duration::from_secs(120);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn overlay(revision: &str) -> Overlay {
    Overlay { revision: revision.into(), text: format!("# {revision}\n") }
}

fn settled(good: Option<&str>, last: Option<(&str, Outcome)>) -> Kept {
    let last = last.map(|(revision, outcome)| Report { revision: revision.into(), outcome });
    Kept { from: "north at x".into(), good: good.map(overlay), candidate: None, last }
}

fn on_probation(good: Option<&str>, candidate: &str, starts: u32, since: u64) -> Kept {
    let candidate = Candidate { overlay: overlay(candidate), starts, since: at(since) };
    Kept { candidate: Some(candidate), ..settled(good, None) }
}

fn offered(revision: &str) -> Event {
    Event::Offered(overlay(revision))
}

fn started(in_force: Option<&str>) -> Event {
    Event::Started { in_force: in_force.map(str::to_owned), problems: vec!["no".into()] }
}

fn wrong(revision: &str) -> Event {
    Event::Wrong { revision: revision.into(), problems: vec!["no".into()] }
}

fn refused() -> Outcome {
    Outcome::Refused { problems: vec!["no".into()] }
}

#[test]
fn every_state_meets_every_event() {
    let gone_back = |why: &str| Outcome::GoneBack { why: why.into() };
    let silence = || gone_back("the gateway was not reached within 2m");
    let applied = Outcome::Applied;
    let good = || settled(Some("A"), None);
    let trying = || on_probation(Some("A"), "B", 0, 10);
    let with = |kept: Kept, revision: &str, outcome| Kept {
        last: Some(Report { revision: revision.into(), outcome }),
        ..kept
    };
    let failed = || Event::Failed(vec!["no".into()]);
    let worn = || on_probation(Some("A"), "B", MOST_STARTS, 10);
    use Then::{Nothing, Write, WriteAndApply};
    let table = [
        // Settled: nothing was ever set.
        (settled(None, None), offered("A"), 10, on_probation(None, "A", 0, 10), WriteAndApply),
        (settled(None, None), wrong("A"), 10, settled(None, Some(("A", refused()))), Write),
        (settled(None, None), started(None), 10, settled(None, None), Nothing),
        (settled(None, None), Event::Passed, 999, settled(None, None), Nothing),
        // Settled with a good one.
        (good(), offered("B"), 10, trying(), WriteAndApply),
        (good(), wrong("B"), 10, settled(Some("A"), Some(("B", refused()))), Write),
        (good(), started(Some("A")), 10, good(), Nothing),
        (good(), started(None), 10, settled(Some("A"), Some(("A", refused()))), Write),
        (
            settled(Some("A"), Some(("A", refused()))),
            started(None),
            10,
            settled(Some("A"), Some(("A", refused()))),
            Nothing,
        ),
        (
            settled(Some("A"), Some(("A", refused()))),
            started(Some("A")),
            10,
            with(good(), "A", applied.clone()),
            Write,
        ),
        (good(), failed(), 10, good(), Nothing),
        (good(), Event::Answered, 10, good(), Nothing),
        (good(), Event::Passed, 999, good(), Nothing),
        // On probation: B is in force, A is kept.
        (trying(), offered("C"), 20, on_probation(Some("A"), "C", 0, 20), WriteAndApply),
        (trying(), wrong("C"), 20, with(trying(), "C", refused()), Write),
        (trying(), failed(), 20, with(good(), "B", refused()), WriteAndApply),
        (trying(), Event::Answered, 20, with(settled(Some("B"), None), "B", applied.clone()), Write),
        (trying(), Event::Passed, 129, trying(), Nothing),
        (trying(), Event::Passed, 130, with(good(), "B", silence()), WriteAndApply),
        (trying(), started(Some("B")), 0, on_probation(Some("A"), "B", 1, 0), Write),
        (trying(), started(Some("A")), 0, with(good(), "B", refused()), WriteAndApply),
        (
            worn(),
            started(Some("B")),
            0,
            with(good(), "B", gone_back("the program started 3 times with it and did not last")),
            WriteAndApply,
        ),
        // The first one ever: to go back is to go back to the file alone.
        (
            on_probation(None, "A", 0, 0),
            Event::Passed,
            120,
            with(settled(None, None), "A", silence()),
            WriteAndApply,
        ),
    ];
    for (number, (kept, event, now, expected, then)) in table.into_iter().enumerate() {
        let what = format!("{number}: {event:?}");
        assert_eq!(kept.step(event, at(now), PROBATION), (expected, then), "{what}");
    }
}

#[test]
fn what_is_in_force_is_what_is_on_probation_and_a_start_has_the_good_one_to_fall_back_on() {
    let revisions = |kept: &Kept| kept.to_try().map(|over| over.revision.clone()).collect::<Vec<_>>();
    let trying = on_probation(Some("A"), "B", 0, 0);
    assert_eq!((trying.in_force(), revisions(&trying)), (Some(&overlay("B")), vec!["B".into(), "A".into()]));
    let good = settled(Some("A"), None);
    assert_eq!((good.in_force(), revisions(&good)), (Some(&overlay("A")), vec!["A".to_owned()]));
    assert_eq!(settled(None, None).in_force(), None);
}

#[test]
fn what_was_judged_is_not_asked_for_again_and_what_is_unknown_is() {
    let trying = on_probation(Some("A"), "B", 0, 0);
    let outcome = |kept: &Kept, revision| kept.report(revision).map(|report| report.outcome);
    assert_eq!(outcome(&trying, "B"), Some(Outcome::Probation));
    assert_eq!(outcome(&trying, "A"), Some(Outcome::Applied));
    assert_eq!(outcome(&trying, "C"), None);
    assert_eq!(outcome(&settled(Some("A"), Some(("B", refused()))), "B"), Some(refused()));
    assert_eq!(outcome(&settled(Some("A"), Some(("A", refused()))), "A"), Some(refused()));
    assert_eq!(outcome(&settled(None, None), "A"), None, "a link that lost everything wants it");
}

#[test]
fn an_answer_counts_only_after_a_quarter_of_the_probation() {
    let deadlines = on_probation(None, "A", 0, 100).deadlines(PROBATION);
    assert_eq!(deadlines, Some((at(130), at(220))));
    assert_eq!(settled(Some("A"), None).deadlines(PROBATION), None);
}

#[test]
fn what_is_written_is_read_again() {
    let kept = Kept {
        last: Some(Report { revision: "C".into(), outcome: Outcome::GoneBack { why: "x".into() } }),
        ..on_probation(Some("A"), "B", 2, 0)
    };
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), kept);
}
