//! One plot as inline SVG.
//!
//! The picture has no size of its own: grid and labels stand at percentages, so that letters stay as large as the page's on
//! any width, and the lines are in an inner picture that is stretched to fit. Labels stand outside of the picture's box;
//! the style leaves room for them. Colours and strokes are the style's too.

use std::fmt::Write;

use super::axis::Axis;
use super::html::escaped;
use super::thin::{Part, thin};

/// More parts of a line than this are a smear. Each has three points: of the line, and of the band from lowest to highest.
const MOST_PARTS: usize = 240;
/// The inner picture's width and height.
const SIDE: f64 = 1000.0;

/// A plot over time.
pub(super) struct Plot {
    /// Distinguishes the identifiers of this plot's parts from those of others.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What there is to be seen, for those who hear it read.
    pub(super) description: String,
    /// Two at most: the style knows a first and a second.
    pub(super) lines: Vec<Line>,
    /// Whether the area below the first line is filled.
    pub(super) fill: Fill,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) x_label: fn(f64) -> String,
    pub(super) y_label: fn(f64) -> String,
    /// Times at which the PACS was down, as beginnings and ends.
    pub(super) shades: Vec<(f64, f64)>,
    /// A height that is drawn as the goal.
    pub(super) goal: Option<f64>,
}

/// A line of a plot.
pub(super) struct Line {
    pub(super) name: String,
    /// In order of time; where there are none for long, the line is broken.
    pub(super) points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    None,
    Below,
}

impl Plot {
    /// The picture, as an element that stands by itself.
    pub(super) fn svg(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        begin(out, self.id, self.title, &self.description)?;
        for (began, ended) in &self.shades {
            let (left, right) = (self.x.place(*began), self.x.place(*ended));
            let (x, width) = (percent(left), percent((right - left).max(0.002)));
            writeln!(
                out,
                r#"<rect class="down" x="{x}" y="0" width="{width}" height="100%" fill="url(#{}-hatch)"/>"#,
                self.id
            )?;
        }
        grid(out, &self.x, self.x_label, &self.y, self.y_label)?;
        writeln!(
            out,
            r#"<svg width="100%" height="100%" viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">"#
        )?;
        for (line, class) in self.lines.iter().zip(["first", "second"]) {
            let runs = runs(line);
            let band: String = runs.iter().map(|run| self.band(run)).collect();
            let path: String = runs.iter().map(|run| format!("M{}", self.line(run))).collect();
            let alone = runs.iter().filter(|run| run.len() == 1);
            let dots: String = alone.map(|run| format!("M{}h0", self.line(run))).collect();
            if self.fill == Fill::Below && class == "first" {
                let area: String = runs.iter().map(|run| self.area(run)).collect();
                writeln!(out, r#"<path class="area" d="{area}"/>"#)?;
            }
            if !band.is_empty() {
                writeln!(out, r#"<path class="band {class}" d="{band}"/>"#)?;
            }
            writeln!(out, r#"<path class="line {class}" d="{path}"/>"#)?;
            // A value that stands alone is a line of no length with round ends.
            if !dots.is_empty() {
                writeln!(out, r#"<path class="line {class} dot" d="{dots}"/>"#)?;
            }
        }
        if let Some(goal) = self.goal {
            let y = SIDE * (1.0 - self.y.place(goal));
            writeln!(out, r#"<path class="goal" d="M0 {y:.1}H1000"/>"#)?;
        }
        writeln!(out, "</svg>\n</svg>")
    }

    /// Through the middles of a run.
    fn line(&self, run: &[Part]) -> String {
        self.through(run.iter().map(|part| (part.at, part.middle)))
    }

    /// From the lowest to the highest of each part, if any part has more than one value.
    fn band(&self, run: &[Part]) -> String {
        if run.iter().all(|part| part.low == part.high) {
            return String::new();
        }
        let there = self.through(run.iter().map(|part| (part.at, part.high)));
        let back = self.through(run.iter().rev().map(|part| (part.at, part.low)));
        format!("M{there}L{back}Z")
    }

    fn area(&self, run: &[Part]) -> String {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return String::new() };
        let (left, right) = (SIDE * self.x.place(first.at), SIDE * self.x.place(last.at));
        format!("M{}L{right:.1} 1000L{left:.1} 1000Z", self.line(run))
    }

    /// The points in the inner picture's measure, with `L` between them.
    fn through(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let place = |(x, y)| format!("{:.1} {:.1}", SIDE * self.x.place(x), SIDE * (1.0 - self.y.place(y)));
        points.map(place).collect::<Vec<_>>().join("L")
    }
}

/// The steps of a search: rates against times, each a mark that says by its form whether the rate was kept up.
pub(super) struct Marks {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) description: String,
    /// Rate, time, and whether it was kept up.
    pub(super) marks: Vec<(f64, f64, bool)>,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) x_label: fn(f64) -> String,
    pub(super) y_label: fn(f64) -> String,
    pub(super) goal: f64,
}

impl Marks {
    /// The picture, as an element that stands by itself.
    pub(super) fn svg(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        begin(out, self.id, self.title, &self.description)?;
        grid(out, &self.x, self.x_label, &self.y, self.y_label)?;
        let y = percent(1.0 - self.y.place(self.goal));
        writeln!(out, r#"<line class="goal" x1="0" x2="100%" y1="{y}" y2="{y}"/>"#)?;
        for (rate, time, kept) in &self.marks {
            let (x, y) = (percent(self.x.place(*rate)), percent(1.0 - self.y.place(*time)));
            let (class, mark) = if *kept { ("kept", "●") } else { ("failed", "✕") };
            writeln!(out, r#"<text class="mark {class}" x="{x}" y="{y}" dy="0.35em">{mark}</text>"#)?;
        }
        writeln!(out, "</svg>")
    }
}

fn begin(out: &mut String, id: &str, title: &str, description: &str) -> std::fmt::Result {
    let (title, description) = (escaped(title), escaped(description));
    writeln!(out, r#"<svg class="plot" role="img" aria-labelledby="{id}-title {id}-desc">"#)?;
    writeln!(out, r#"<title id="{id}-title">{title}</title><desc id="{id}-desc">{description}</desc>"#)?;
    writeln!(
        out,
        r#"<defs><pattern id="{id}-hatch" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-ground" width="8" height="8"/><line class="hatch" x1="0" y1="0" x2="0" y2="8"/></pattern></defs>"#
    )
}

fn grid(
    out: &mut String,
    x: &Axis,
    x_label: fn(f64) -> String,
    y: &Axis,
    y_label: fn(f64) -> String,
) -> std::fmt::Result {
    for tick in &y.ticks {
        let at = percent(1.0 - y.place(*tick));
        writeln!(out, r#"<line class="grid" x1="0" x2="100%" y1="{at}" y2="{at}"/>"#)?;
        let label = escaped(&y_label(*tick));
        writeln!(out, r#"<text class="tick up" x="0" y="{at}" dx="-8" dy="0.35em">{label}</text>"#)?;
    }
    for tick in &x.ticks {
        let at = percent(x.place(*tick));
        writeln!(out, r#"<line class="grid" x1="{at}" x2="{at}" y1="0" y2="100%"/>"#)?;
        let label = escaped(&x_label(*tick));
        writeln!(out, r#"<text class="tick along" x="{at}" y="100%" dy="1.5em">{label}</text>"#)?;
    }
    Ok(())
}

/// The line in unbroken runs, each of few enough parts.
fn runs(line: &Line) -> Vec<Vec<Part>> {
    let far = break_length(&line.points);
    let whole = line.points.len().max(1);
    let runs = line.points.chunk_by(|one, next| next.0 - one.0 <= far);
    runs.map(|run| thin(run, (MOST_PARTS * run.len()).div_ceil(whole))).collect()
}

/// A pause this long between two points is shown as one: a twenty-fifth of the whole, and more than the points' usual
/// distance.
fn break_length(points: &[(f64, f64)]) -> f64 {
    match points {
        [first, .., last] => {
            let whole = last.0 - first.0;
            (whole / 25.0).max(3.0 * whole / (points.len() - 1) as f64)
        }
        _ => f64::INFINITY,
    }
}

fn percent(part: f64) -> String {
    format!("{:.2}%", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            id: "x",
            title: "A <title>",
            description: "a & b".to_owned(),
            lines: vec![Line { name: "one".to_owned(), points }],
            fill: Fill::Below,
            x: Axis::time(100.0),
            y: Axis::linear(10.0, 1.0),
            x_label: |value| format!("{value}"),
            y_label: |value| format!("{value}"),
            shades: vec![(10.0, 20.0)],
            goal: Some(5.0),
        }
    }

    #[test]
    fn a_line_goes_from_the_lower_left_to_the_upper_right() {
        let svg = plot(vec![(0.0, 0.0), (100.0, 10.0)]).svg();
        assert!(svg.contains(r#"<path class="line first" d="M0.0 1000.0L1000.0 0.0"/>"#), "{svg}");
        assert!(svg.contains(r#"<path class="goal" d="M0 500.0H1000"/>"#), "{svg}");
        assert!(svg.contains(r#"x="10.00%" y="0" width="10.00%""#), "{svg}");
        assert!(svg.contains("A &lt;title&gt;") && svg.contains("a &amp; b"), "{svg}");
    }

    #[test]
    fn a_line_is_broken_where_nothing_was_measured_for_long() {
        let points = (0..100).filter(|at| !(40..60).contains(at)).map(|at| (f64::from(at), 1.0)).collect();
        let svg = plot(points).svg();
        let line = svg.lines().find(|line| line.contains("line first")).expect("a line");
        assert_eq!(line.matches('M').count(), 2, "{line}");
    }

    #[test]
    fn a_single_point_is_a_dot_and_no_point_is_nothing() {
        assert!(plot(vec![(50.0, 5.0)]).svg().contains(r#"class="line first dot" d="M500.0 500.0h0""#));
        assert!(plot(Vec::new()).svg().contains(r#"<path class="line first" d=""/>"#));
    }

    #[test]
    fn a_hundred_thousand_points_are_drawn_as_a_few_hundred_that_keep_the_extremes() {
        let height = |at: i32| if at == 70_123 { 10.0 } else { f64::from(at % 5) };
        let svg = plot((0..100_000).map(|at| (f64::from(at) / 1000.0, height(at))).collect()).svg();
        let of = |class: &str| svg.lines().find(|line| line.contains(class)).expect("a path").to_owned();
        let points = of("line first").matches(['M', 'L']).count();
        assert!((200..=240).contains(&points), "{points} points");
        let band = of("band first");
        assert!(band.matches(['M', 'L']).count() <= 480 && band.contains(" 0.0L"), "{band}");
    }
}
