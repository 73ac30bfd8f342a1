use super::super::sample;
use super::*;

#[test]
fn a_run_in_which_all_went_well_meets_every_goal() {
    let report = sample::outage();
    let verdict = &report.verdict;
    assert!(verdict.passed, "{verdict:#?}");
    assert!(verdict.rows.iter().all(|row| row.judged && row.hit), "{:#?}", verdict.rows);
    assert_eq!(verdict.rows.len(), 13);
    assert!(verdict.words.ends_with("all 13 goals that this run could show were met."), "{}", verdict.words);
}

#[test]
fn a_lost_image_is_the_first_thing_said() {
    let mut report = sample::outage();
    report.account.lost = 1;
    report.account.altered = 2;
    report.account.delivered -= 3;
    let verdict = judge(&report, None);
    assert!(!verdict.passed);
    assert!(verdict.words.ends_with("1 was lost and 2 were changed."), "{}", verdict.words);
    for what in ["No image lost", "No image changed", "Everything arrived"] {
        assert!(!sample::row(&verdict, what).hit, "{what}");
    }
}

#[test]
fn what_still_waits_or_is_refused_has_not_arrived() {
    let mut report = sample::plain(60);
    report.account.delivered -= 5;
    report.account.waiting = 3;
    report.account.held = 2;
    report.account.sent += 4;
    report.account.refused = 4;
    let verdict = judge(&report, None);
    let arrived = sample::row(&verdict, "Everything arrived");
    assert!(!arrived.hit && arrived.measured.ends_with("3 on their way, 2 held back"), "{arrived:?}");
    assert_eq!(sample::row(&verdict, "Every image was taken").measured, "4 refused for good");
    assert!(verdict.words.contains("but 2 goals were missed: everything arrived; every image"));
}

#[test]
fn a_run_that_sent_nothing_does_not_pass() {
    let report = sample::empty();
    assert!(!report.verdict.passed);
    assert_eq!(report.verdict.words, "Nothing was sent, so nothing was shown.");
}

#[test]
fn a_still_may_take_50_ms_and_a_flush_of_this_disk() {
    let mut report = sample::plain(60);
    for (p99, hit) in [(0.054, true), (0.0542, true), (0.0543, false)] {
        report.acknowledge_stills.p99 = p99;
        let verdict = judge(&report, None);
        let row = sample::row(&verdict, "A still");
        assert_eq!(row.hit, hit, "{row:?}");
        assert_eq!(row.goal, "at most 54.2 ms: 50 ms, and a flush of this disk (4.2 ms)");
    }
    report.acknowledge_stills = super::super::Latency::default();
    assert!(!sample::row(&judge(&report, None), "A still").judged);
}

#[test]
fn an_outage_is_judged_by_the_slowest_and_by_what_was_usual() {
    let mut report = sample::outage();
    report.outages[0].drain_rate_over_arrival_rate = Some(9.9);
    report.outages[0].new_studies_p99_seconds = Some(300.0);
    let verdict = judge(&report, None);
    assert!(!sample::row(&verdict, "Catches up").hit);
    assert!(!sample::row(&verdict, "New studies").hit);

    report.outages[0].drained_seconds = None;
    report.outages[0].new_studies_p99_seconds = None;
    let verdict = judge(&report, None);
    assert_eq!(sample::row(&verdict, "Catches up").measured, "did not finish before the run ended");
    assert!(!sample::row(&verdict, "New studies").judged);
}

#[test]
fn a_slope_is_judged_only_where_the_run_was_long_enough() {
    let mut report = sample::plain(1799);
    report.node.as_mut().expect("a node").memory_slope_bytes_per_hour = Some(9e9);
    assert_eq!(
        sample::row(&judge(&report, None), "Memory does").measured,
        "not judged: a run of 30 min shows it"
    );
    let mut report = sample::plain(1800);
    let node = report.node.as_mut().expect("a node");
    node.memory_slope_bytes_per_hour = Some(MEMORY_SLOPE);
    assert!(sample::row(&judge(&report, None), "Memory does").hit);
    report.node.as_mut().expect("a node").memory_slope_bytes_per_hour = Some(MEMORY_SLOPE * 1.01);
    let verdict = judge(&report, None);
    assert!(!sample::row(&verdict, "Memory does").hit && !verdict.passed);
}

#[test]
fn the_processor_is_judged_at_the_rate_without_compression() {
    let mut report = sample::plain(60);
    let verdict = judge(&report, None);
    let row = sample::row(&verdict, "Processor");
    assert!(row.hit, "{row:?}");
    assert_eq!((row.goal.as_str(), row.measured.as_str()), ("at most 3 % of one core", "1.78 % of one core"));

    report.plan.studies_per_hour = 20.0;
    assert!(!sample::row(&judge(&report, None), "Processor").hit, "half the rate has half the share");

    for other in ["all-jpeg", "usual, echo only"] {
        report.plan.mix = other.to_owned();
        assert!(!sample::row(&judge(&report, None), "Processor").judged, "{other} has no goal");
    }
}

#[test]
fn memory_of_compressed_time_can_only_hit() {
    let mut report = sample::plain(60);
    report.node.as_mut().expect("a node").peak_memory_bytes = 65_000_000;
    assert!(!sample::row(&judge(&report, None), "Memory").judged);
    report.plan.time_compression = 1.0;
    assert!(!sample::row(&judge(&report, None), "Memory").hit);
}

#[test]
fn a_rate_is_kept_up_if_studies_came_and_left() {
    let report = sample::plain(2400);
    assert!(sample::row(&judge(&report, None), "The rate").hit);

    let mut slow = report.clone();
    slow.plan.time_compression = 120.0;
    assert!(!sample::row(&judge(&slow, None), "The rate").hit, "half of what was asked for came");

    let mut behind = report.clone();
    for sample in &mut behind.samples {
        sample.studies_delivered /= 2;
    }
    assert!(!sample::row(&judge(&behind, None), "The rate").hit, "half of it was still there");

    let mut burst = report;
    burst.plan.burst = true;
    assert!(!sample::row(&judge(&burst, None), "The rate").judged);
}

#[test]
fn a_profile_is_judged_where_its_rate_was_asked_for() {
    let report = sample::plain(2400);
    let kept = judge(&report, Some(40.0));
    assert_eq!(sample::row(&kept, "Profile medium").measured, "40 an hour kept up");
    let more = judge(&report, Some(41.0));
    assert!(!sample::row(&more, "Profile").judged);
    assert!(sample::row(&judge(&sample::find_max(), Some(6000.0)), "Profile").hit);
    assert!(!sample::row(&judge(&sample::find_max(), Some(6001.0)), "Profile").hit);
}

#[test]
fn a_search_is_judged_by_its_best_step() {
    let mut report = sample::find_max();
    assert!(report.verdict.passed, "{:#?}", report.verdict);
    assert_eq!(sample::row(&report.verdict, "Highest").measured, "6,000 studies an hour");
    let still = sample::row(&report.verdict, "A still");
    assert!(still.hit && still.measured == "51 ms (at 6,000 an hour)", "{still:?}");

    report.steps[6].acknowledge_p99 = 0.3;
    let verdict = judge(&report, None);
    let still = sample::row(&verdict, "A still");
    assert!(!still.hit && still.measured == "300 ms (at 6,000 an hour; as wanted up to 4,800)", "{still:?}");

    report.machine.cores = 1.0;
    report.steps.truncate(2);
    assert!(!sample::row(&judge(&report, None), "Highest").judged, "one core is not what the goal is for");
    report.machine.cores = 2.0;
    assert!(!sample::row(&judge(&report, None), "Highest").hit);

    for step in &mut report.steps {
        step.sustained = false;
    }
    let verdict = judge(&report, Some(15.0));
    assert!(!sample::row(&verdict, "Profile").hit);
    assert!(!sample::row(&verdict, "A still").judged);
}
