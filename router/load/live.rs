//! What is shown while it runs: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::report::Sample;

/// The display.
#[derive(Debug)]
pub(super) struct Live {
    form: Form,
    studies: Option<u64>,
    compression: f64,
    before: Option<Sample>,
}

#[derive(Debug)]
enum Form {
    Bar(ProgressBar),
    Lines { last: f64 },
    Nothing,
}

/// Seconds between two lines where there is no terminal.
const SELDOM: f64 = 10.0;

impl Live {
    /// For a run of so many studies, if that is known.
    pub(super) fn new(studies: Option<u64>, compression: f64) -> Self {
        let form = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(studies, ProgressDrawTarget::stderr_with_hz(4));
            let style = "{bar:30} {pos}/{len} studies  {elapsed}\n{wide_msg}";
            bar.set_style(
                ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.enable_steady_tick(Duration::from_millis(500));
            Form::Bar(bar)
        } else {
            Form::Lines { last: 0.0 }
        };
        Self { form, studies, compression, before: None }
    }

    /// None at all.
    pub(super) fn nothing() -> Self {
        Self { form: Form::Nothing, studies: None, compression: 1.0, before: None }
    }

    /// A heading, such as that of a step.
    pub(super) fn say(text: &str) {
        eprintln!("{text}");
    }

    /// How it stands.
    pub(super) fn show(&mut self, sample: &Sample) {
        let text = self.text(sample);
        match &mut self.form {
            Form::Bar(bar) => {
                bar.set_position(sample.studies_delivered);
                bar.set_message(text);
            }
            Form::Lines { last } if sample.at_seconds - *last >= SELDOM => {
                *last = sample.at_seconds;
                let of = self.studies.map(|studies| format!("/{studies}")).unwrap_or_default();
                eprintln!("{:6.0} s  {}{of} studies  {text}", sample.at_seconds, sample.studies_delivered);
            }
            Form::Lines { .. } | Form::Nothing => return,
        }
        self.before = Some(sample.clone());
    }

    /// It is over.
    pub(super) fn end(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    fn text(&self, sample: &Sample) -> String {
        let hours = sample.at_seconds * self.compression / 3600.0;
        let rate = if hours > 0.0 { sample.studies_delivered as f64 / hours } else { 0.0 };
        let time = |seconds: Option<f64>| {
            seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.1} ms", seconds * 1000.0))
        };
        let mut text = format!(
            "{rate:.0} studies/h  acknowledge p50 {} p99 {}  backlog {} ({:.1} MB)",
            time(sample.acknowledge_p50),
            time(sample.acknowledge_p99),
            sample.backlog_instances,
            sample.backlog_bytes as f64 / 1e6
        );
        if let Some(cores) = self.cores(sample) {
            text += &format!("  CPU {:.0} %", cores * 100.0);
        }
        if let Some(memory) = sample.node_memory_bytes {
            text += &format!("  memory {:.1} MB", memory as f64 / 1e6);
        }
        if sample.sink_is_down {
            text += "  the PACS is down";
        }
        text
    }

    /// Share of a core since what was shown before.
    fn cores(&self, sample: &Sample) -> Option<f64> {
        let before = self.before.as_ref()?;
        let used = sample.node_cpu_seconds? - before.node_cpu_seconds?;
        let passed = sample.at_seconds - before.at_seconds;
        (passed > 0.0).then(|| used / passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_it_stands_in_modelled_studies() {
        let mut live = Live::nothing();
        live.compression = 60.0;
        live.before = Some(Sample { at_seconds: 59.0, node_cpu_seconds: Some(1.0), ..Sample::default() });
        let sample = Sample {
            at_seconds: 60.0,
            studies_delivered: 40,
            acknowledge_p50: Some(0.0123),
            backlog_instances: 2,
            backlog_bytes: 4_400_000,
            node_cpu_seconds: Some(1.5),
            node_memory_bytes: Some(20_000_000),
            ..Sample::default()
        };
        let text = live.text(&sample);
        assert_eq!(
            text,
            "40 studies/h  acknowledge p50 12.3 ms p99 -  backlog 2 (4.4 MB)  CPU 50 %  memory 20.0 MB"
        );
    }
}
