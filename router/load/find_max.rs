//! The highest rate that a node sustains: steps of bounded length, each at a rate of its own.

use std::time::Duration;

use super::live::Live;
use super::report::Step;
use super::run::generator_seconds;
use super::search::Search;
use super::stage::{Drain, Stage};
use tokio_util::sync::CancellationToken;

/// Studies of the burst that says where to begin, and of a step at least.
const FEW: u64 = 10;
/// Seconds that a step lasts, if so few studies do not take longer.
const STEP: f64 = 30.0;
/// The last study may be at the PACS so much later than the rate would have it, of the step's length and in seconds.
const SLACK: (f64, f64) = (0.1, 2.0);
/// When nothing has moved for so long, nothing will.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of all cores: when the node and what makes the load use more, the machine is full.
const FULL: f64 = 0.85;

/// What a step took.
struct Tried {
    studies: u64,
    bytes: u64,
    seconds: f64,
    step: Step,
}

/// Looks for the highest rate.
pub(super) async fn search(stage: &Stage, acknowledge_limit: Duration) -> Vec<Step> {
    let done = CancellationToken::new();
    let watching = stage.watch(Live::nothing(), done.clone(), Duration::from_secs(1));
    let mut steps = Vec::new();
    Live::say(&format!("A burst of {FEW} studies says where to begin."));
    let burst = try_rate(stage, None, FEW, f64::INFINITY, acknowledge_limit).await;
    let bytes_per_second = burst.bytes as f64 / burst.seconds;
    let rate = burst.studies as f64 / burst.seconds * 3600.0;
    Live::say(&format!("{rate:.0} studies/h at once, {:.0} MB/s.", bytes_per_second / 1e6));
    // A burst has what a steady rate has not: somebody who sends while others wait.
    let mut search = Search::from(round(rate * 0.75));
    while let Some(rate) = search.next() {
        if stage.cancel.is_cancelled() {
            break;
        }
        let rate = round(rate);
        let studies = ((rate * STEP / 3600.0).round() as u64).max(FEW);
        let Tried { step, .. } =
            try_rate(stage, Some(rate), studies, bytes_per_second, acknowledge_limit).await;
        // It was cut short, and says nothing.
        if stage.cancel.is_cancelled() {
            break;
        }
        let word = if step.sustained { "sustained" } else { "not sustained" };
        Live::say(&format!("{rate:8.0} studies/h  {word}: {}", step.why));
        search.tell(step.sustained);
        steps.push(step);
    }
    let found = search.found().map(round);
    match found {
        Some(rate) if search.is_bounded() => Live::say(&format!("This host sustains {rate:.0} studies/h.")),
        Some(rate) => Live::say(&format!("This host sustains {rate:.0} studies/h; no limit was met.")),
        None => Live::say("No rate that was tried is sustained."),
    }
    done.cancel();
    let _ = watching.await;
    steps
}

/// Sends so many studies, evenly spaced at the rate or all at once, and waits until they are at the PACS.
///
/// Even spaces, because a few random ones would say more of chance than of the node.
async fn try_rate(
    stage: &Stage,
    rate: Option<f64>,
    studies: u64,
    bytes_per_second: f64,
    acknowledge_limit: Duration,
) -> Tried {
    let (began, before) = (stage.now(), stage.ledger.totals());
    let (cpu_before, generator_before) = (stage.view.cpu_seconds().await, generator_seconds());
    stage.carts.take_lateness();
    let pause = rate.map_or(0.0, |rate| 3600.0 / rate);
    let sent = stage.send((0..studies).map(|number| number as f64 * pause)).await;
    let drain = stage.drain(PATIENCE).await;
    let (ended, after) = (stage.now(), stage.ledger.totals());
    let seconds = (ended - began).max(1e-3);
    let cores = |before: Option<f64>, after: Option<f64>| {
        before.zip(after).map_or(0.0, |(before, after)| (after - before) / seconds)
    };
    let cores_used = cores(cpu_before, stage.view.cpu_seconds().await);
    let generator_cores = cores(Some(generator_before), Some(generator_seconds()));
    let bytes = after.bytes_acknowledged - before.bytes_acknowledged;
    let p99 = stage.ledger.stills_p99_since(began).unwrap_or_default();
    let mut judged = Judged {
        length: studies as f64 * pause,
        // The last study takes its own time, however idle the node is.
        alone: bytes as f64 / studies.max(1) as f64 / bytes_per_second,
        late: ended - began - studies as f64 * pause,
        waited: stage.carts.take_lateness().most,
        p99,
        limit: acknowledge_limit.as_secs_f64(),
        unanswered: sent - (after.studies_sent - before.studies_sent).min(sent),
        is_stuck: drain == Drain::Stuck,
    }
    .judge();
    if !judged.0 && cores_used + generator_cores > FULL * stage.machine.cores {
        judged.1 += &format!(
            "; the machine is full: the node used {cores_used:.2} cores and the load generator {generator_cores:.2}, which a node alone would have for itself"
        );
    }
    let step = Step {
        studies_per_hour: rate.unwrap_or(studies as f64 / seconds * 3600.0),
        sustained: judged.0,
        why: judged.1,
        acknowledge_p99: p99,
        cores_used,
        generator_cores,
    };
    Tried { studies: sent, bytes, seconds, step }
}

/// What a step is judged by, in seconds.
#[derive(Debug, Clone, Copy)]
struct Judged {
    length: f64,
    alone: f64,
    late: f64,
    waited: f64,
    p99: f64,
    limit: f64,
    unanswered: u64,
    is_stuck: bool,
}

impl Judged {
    /// Whether the rate is sustained, and why.
    fn judge(self) -> (bool, String) {
        let slack = (self.length * SLACK.0).max(SLACK.1) + self.alone;
        let p99 = format!("99 of 100 stills answered within {:.0} ms", self.p99 * 1000.0);
        if self.unanswered > 0 {
            return (false, format!("{} studies were not taken whole", self.unanswered));
        }
        if self.is_stuck {
            return (false, "what waited did not move any more".to_owned());
        }
        if self.late > slack {
            let who = if self.waited > slack / 2.0 {
                format!("; carts began up to {:.1} s late, as all of them were still sending", self.waited)
            } else {
                String::new()
            };
            let words = format!(
                "all was delivered {:.1} s after the time, {slack:.1} s are let pass{who}",
                self.late
            );
            return (false, words);
        }
        if self.p99 > self.limit {
            return (false, format!("{p99}, and the limit is {:.0} ms", self.limit * 1000.0));
        }
        (true, format!("all was delivered {:.1} s after the time; {p99}", self.late.max(0.0)))
    }
}

/// To two digits, and to whole studies.
fn round(rate: f64) -> f64 {
    if rate <= 1.0 {
        return 1.0;
    }
    let step = 10f64.powf(rate.log10().floor() - 1.0).max(1.0);
    (rate / step).round() * step
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Judged = Judged {
        length: 30.0,
        alone: 0.5,
        late: 1.0,
        waited: 0.0,
        p99: 0.02,
        limit: 0.5,
        unanswered: 0,
        is_stuck: false,
    };

    #[test]
    fn a_step_is_sustained_when_all_came_in_time_and_was_answered_soon() {
        assert!(GOOD.judge().0);
        assert!(Judged { late: 3.4, ..GOOD }.judge().0);
    }

    #[test]
    fn a_step_fails_by_backlog_by_answers_or_by_what_is_missing() {
        let why = |judged: Judged| {
            let (sustained, why) = judged.judge();
            assert!(!sustained);
            why
        };
        assert!(why(Judged { late: 4.0, ..GOOD }).contains("4.0 s after"));
        assert!(why(Judged { late: 4.0, waited: 3.0, ..GOOD }).contains("carts began"));
        assert!(why(Judged { p99: 0.6, ..GOOD }).contains("limit is 500 ms"));
        assert!(why(Judged { unanswered: 1, ..GOOD }).contains("1 studies"));
        assert!(why(Judged { is_stuck: true, ..GOOD }).contains("did not move"));
    }

    #[test]
    fn rates_have_two_digits() {
        let rounded = [0.2, 7.4, 43.3, 256.0, 4321.0, 17_777.0].map(round);
        assert_eq!(rounded, [1.0, 7.0, 43.0, 260.0, 4300.0, 18_000.0]);
    }
}
