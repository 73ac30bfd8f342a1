//! Which plots a report has: what is drawn from the samples, and what is said beside it.

use super::axis::Axis;
use super::svg::{Fill, Line, Marks, Plot};
use super::words::{bytes, bytes_per_second, cores, count, digits, seconds};
use super::{Report, Sample, verdict};

/// A counter is drawn as its rate over at most so many parts of the run: more of them would show chance, not the rate.
const MOST_PARTS: usize = 150;

/// A plot with what stands around it.
pub(super) struct Figure {
    pub(super) heading: &'static str,
    /// What it shows, in a sentence or two.
    pub(super) caption: String,
    /// The lines' names with a figure each, in their order.
    pub(super) legend: Vec<String>,
    /// The height that is drawn as the goal, in words.
    pub(super) goal: Option<String>,
    /// Whether there are times at which the PACS was down.
    pub(super) shaded: bool,
    pub(super) svg: String,
}

/// The plots over time, without those of which nothing was measured.
pub(super) fn over_time(report: &Report) -> Vec<Figure> {
    [throughput, acknowledge, deliver, backlog, processor, memory, disk]
        .iter()
        .filter_map(|plot| plot(report))
        .collect()
}

fn throughput(report: &Report) -> Option<Figure> {
    let taken = rate(&report.samples, |sample| Some(sample.bytes_acknowledged as f64));
    let left = rate(&report.samples, |sample| Some(sample.bytes_delivered as f64));
    let lines = vec![
        line("taken from carts", taken, |points| format!("mean {}", bytes_per_second(mean(points)))),
        line("at the archive", left, |points| format!("mean {}", bytes_per_second(mean(points)))),
    ];
    Draft {
        id: "throughput",
        heading: "Throughput",
        caption: "Bytes of images a second, as the carts sent them. The two lines lie on each other while images \
                  leave as fast as they come.",
        lines,
        fill: Fill::None,
        y_label: bytes_per_second,
        height: Height::Linear { least: 1e3 },
        goal: None,
    }
    .figure(report)
}

fn acknowledge(report: &Report) -> Option<Figure> {
    times(
        report,
        "acknowledge",
        "Time to acknowledge",
        "How long a cart waits from the first byte of an image until it is told that the image is safe on disk, loops \
         included. The scale goes upwards in multiples of ten.",
        |sample| sample.acknowledge_p50,
        |sample| sample.acknowledge_p99,
    )
}

fn deliver(report: &Report) -> Option<Figure> {
    times(
        report,
        "deliver",
        "Time to deliver",
        "How long it takes from an image's first byte at the cart to its last byte at the archive. After an outage this \
         holds the time that images waited for the archive. The scale goes upwards in multiples of ten.",
        |sample| sample.deliver_p50,
        |sample| sample.deliver_p99,
    )
}

fn times(
    report: &Report,
    id: &'static str,
    heading: &'static str,
    caption: &'static str,
    p50: fn(&Sample) -> Option<f64>,
    p99: fn(&Sample) -> Option<f64>,
) -> Option<Figure> {
    let highest = |points: &[(f64, f64)]| format!("highest {}", seconds(most(points)));
    let lines = vec![
        line("half of the images (p50)", points(&report.samples, p50), highest),
        line("99 of 100 images (p99)", points(&report.samples, p99), highest),
    ];
    Draft { id, heading, caption, lines, fill: Fill::None, y_label: decade, height: Height::Log, goal: None }
        .figure(report)
}

fn backlog(report: &Report) -> Option<Figure> {
    let waiting = points(&report.samples, |sample| Some(sample.backlog_instances as f64));
    let heaviest = report.samples.iter().map(|sample| sample.backlog_bytes).max().unwrap_or(0);
    let words =
        |points: &[(f64, f64)]| format!("highest {}, of {}", whole(most(points)), bytes(heaviest as f64));
    Draft {
        id: "backlog",
        heading: "Backlog, in images",
        caption: "Images that were acknowledged and are not at the archive yet. They are safe on disk meanwhile.",
        lines: vec![line("images waiting", waiting, words)],
        fill: Fill::Below,
        y_label: whole,
        height: Height::Linear { least: 5.0 },
        goal: None,
    }
    .figure(report)
}

fn processor(report: &Report) -> Option<Figure> {
    let used = rate(&report.samples, |sample| sample.node_cpu_seconds);
    let words = |points: &[(f64, f64)]| format!("mean {}", cores(mean(points)));
    Draft {
        id: "processor",
        heading: "Processor",
        caption: "What Chrysalis used, as a share of one core: 100 % is one core that does nothing else. The carts and \
                  the archive of this test, which run on the same machine, are not in it.",
        lines: vec![line("used by Chrysalis", used, words)],
        fill: Fill::Below,
        y_label: |cores| format!("{} %", digits(cores * 100.0)),
        height: Height::Linear { least: 0.01 },
        goal: None,
    }
    .figure(report)
}

fn memory(report: &Report) -> Option<Figure> {
    let used = points(&report.samples, |sample| sample.node_memory_bytes.map(|bytes| bytes as f64));
    let words = |points: &[(f64, f64)]| format!("highest {}", bytes(most(points)));
    Draft {
        id: "memory",
        heading: "Memory",
        caption: "Memory that Chrysalis occupied. It should stay level, however long the test and however long the backlog.",
        lines: vec![line("used by Chrysalis", used, words)],
        fill: Fill::Below,
        y_label: bytes,
        height: Height::Linear { least: 1e6 },
        goal: verdict::memory_bound(report),
    }
    .figure(report)
}

fn disk(report: &Report) -> Option<Figure> {
    let used = points(&report.samples, |sample| sample.spool_bytes.map(|bytes| bytes as f64));
    let words = |points: &[(f64, f64)]| format!("highest {}", bytes(most(points)));
    Draft {
        id: "disk",
        heading: "Disk",
        caption: "What the spool occupied: images that wait, and delivered ones that are kept for a while, so that a \
                  study can be sent again, until the room is needed.",
        lines: vec![line("occupied by the spool", used, words)],
        fill: Fill::Below,
        y_label: bytes,
        height: Height::Linear { least: 1e6 },
        goal: None,
    }
    .figure(report)
}

/// The search for the highest rate, if there was one.
pub(super) fn search(report: &Report) -> Option<Figure> {
    let known = report.steps.iter().filter(|step| step.acknowledge_p99 > 0.0);
    let marks: Vec<_> =
        known.map(|step| (step.studies_per_hour, step.acknowledge_p99, step.sustained)).collect();
    let highest = marks.iter().map(|mark| mark.0).reduce(f64::max)?;
    let bound = verdict::acknowledge_bound(report);
    let best = verdict::best_step(report).map_or(0.0, |step| step.studies_per_hour);
    let description = format!(
        "{} rates were tried, up to {} studies an hour; the highest that was kept up is {}.",
        marks.len(),
        digits(highest),
        digits(best)
    );
    let heading = "Search for the highest rate";
    let svg = Marks {
        id: "search",
        title: heading,
        description,
        x: Axis::linear(highest, 10.0),
        y: Axis::log(marks.iter().map(|mark| mark.1).chain([bound])),
        x_label: |rate| format!("{}/h", digits(rate)),
        y_label: decade,
        goal: bound,
        marks,
    }
    .svg();
    Some(Figure {
        heading,
        caption: "Each mark is a rate that was tried, in studies an hour, at the height of the time in which 99 of 100 \
                  stills were answered. The scale goes upwards in multiples of ten."
            .to_owned(),
        legend: Vec::new(),
        goal: Some(format!("goal for stills, {}", seconds(bound))),
        shaded: false,
        svg,
    })
}

/// A plot over time before its axes are known.
struct Draft {
    id: &'static str,
    heading: &'static str,
    caption: &'static str,
    lines: Vec<(Line, String)>,
    fill: Fill,
    y_label: fn(f64) -> String,
    height: Height,
    goal: Option<f64>,
}

enum Height {
    Linear { least: f64 },
    Log,
}

impl Draft {
    fn figure(self, report: &Report) -> Option<Figure> {
        if self.lines.iter().all(|(line, _)| line.points.is_empty()) {
            return None;
        }
        let values = || self.lines.iter().flat_map(|(line, _)| &line.points).map(|point| point.1);
        let y = match self.height {
            Height::Linear { least } => Axis::linear(values().chain(self.goal).fold(0.0, f64::max), least),
            Height::Log => Axis::log(values()),
        };
        let shades = outages(report);
        let legend: Vec<_> =
            self.lines.iter().map(|(line, words)| format!("{}: {words}", line.name)).collect();
        let goal = self.goal.map(|goal| format!("goal, {}", (self.y_label)(goal)));
        let plot = Plot {
            id: self.id,
            title: self.heading,
            description: format!("Over {}. {}.", seconds(report.sampled_seconds()), legend.join("; ")),
            lines: self.lines.into_iter().map(|(line, _)| line).collect(),
            fill: self.fill,
            x: Axis::time(report.sampled_seconds()),
            y,
            x_label: seconds,
            y_label: self.y_label,
            goal: self.goal,
            shades,
        };
        Some(Figure {
            heading: self.heading,
            caption: self.caption.to_owned(),
            legend,
            goal,
            shaded: !plot.shades.is_empty(),
            svg: plot.svg(),
        })
    }
}

fn line(name: &str, points: Vec<(f64, f64)>, words: impl Fn(&[(f64, f64)]) -> String) -> (Line, String) {
    let words = if points.is_empty() { "not measured".to_owned() } else { words(&points) };
    (Line { name: name.to_owned(), points }, words)
}

/// When the PACS was down: as the report has it, or as the samples do if the run ended before an outage was written down.
fn outages(report: &Report) -> Vec<(f64, f64)> {
    if !report.outages.is_empty() {
        return report.outages.iter().map(|outage| (outage.began_seconds, outage.ended_seconds)).collect();
    }
    let runs = report.samples.chunk_by(|one, next| one.sink_is_down == next.sink_is_down);
    let down = runs.filter(|run| run.first().is_some_and(|first| first.sink_is_down));
    down.filter_map(|run| Some((run.first()?.at_seconds, run.last()?.at_seconds))).collect()
}

/// What was measured, without the samples in which it was not.
fn points(samples: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
    samples.iter().filter_map(|sample| Some((sample.at_seconds, value(sample)?))).collect()
}

/// How fast a counter rose, a second, in the middle of each part of the run. A counter that fell was begun anew.
fn rate(samples: &[Sample], counter: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
    let counts = points(samples, counter);
    let every = counts.len().div_ceil(MOST_PARTS).max(1);
    let ends: Vec<_> = counts.iter().step_by(every).collect();
    let slope = |pair: &[&(f64, f64)]| {
        let [(start, before), (end, after)] = pair else { return None };
        (end > start).then(|| ((start + end) / 2.0, (after - before).max(0.0) / (end - start)))
    };
    ends.windows(2).filter_map(slope).collect()
}

fn most(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|point| point.1).fold(0.0, f64::max)
}

fn mean(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|point| point.1).sum::<f64>() / points.len().max(1) as f64
}

/// Seconds beside a scale in multiples of ten, where minutes would not be round.
fn decade(time: f64) -> String {
    if time < 60.0 { seconds(time) } else { format!("{} s", digits(time)) }
}

/// A number of things, of which there is no part.
fn whole(number: f64) -> String {
    count(number.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_counter_is_drawn_as_its_rate() {
        let counts = (0..1000).map(|at| Sample {
            at_seconds: f64::from(at),
            bytes_acknowledged: 500 * at as u64,
            ..Sample::default()
        });
        let samples: Vec<_> = counts.collect();
        let rates = rate(&samples, |sample| Some(sample.bytes_acknowledged as f64));
        assert!((100..=MOST_PARTS).contains(&rates.len()), "{}", rates.len());
        assert!(rates.iter().all(|(_, rate)| (rate - 500.0).abs() < 1e-9));
    }

    #[test]
    fn what_was_not_measured_has_no_plot() {
        let headings =
            |report: &Report| over_time(report).iter().map(|figure| figure.heading).collect::<Vec<_>>();
        assert_eq!(
            headings(&sample::external()),
            ["Throughput", "Time to acknowledge", "Backlog, in images"]
        );
        assert_eq!(headings(&sample::outage()).len(), 7);
        assert!(headings(&sample::empty()).is_empty());
        assert!(search(&sample::outage()).is_none());
    }

    #[test]
    fn an_outage_that_was_cut_short_is_shaded_from_the_samples() {
        let mut report = sample::outage();
        assert_eq!(outages(&report), [(600.0, 840.0)]);
        report.outages.clear();
        assert_eq!(outages(&report), [(600.0, 839.0)]);
    }
}
