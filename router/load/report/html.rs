//! The report as one page: no script, nothing fetched, light or dark as the reader has it, fit to be printed.
//!
//! The page is also well-formed XML but for its first line, which keeps its tests honest.

use std::fmt::{self, Write};

use super::plots::{self, Figure};
use super::text::{asked_for, machine};
use super::words::{bytes, cores, count, digits, seconds};
use super::{Latency, Report, Row, verdict};

const STYLE: &str = include_str!("style.css");

/// The page. What came from outside, such as the command or the name of a processor, is escaped.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(report, &mut out);
    out
}

/// Text as it may stand in an element or in an attribute. What XML has no character for is shown as a box.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(character),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            _ if character.is_control() => safe.push('\u{fffd}'),
            _ => safe.push(character),
        }
    }
    safe
}

fn write(report: &Report, out: &mut String) -> fmt::Result {
    let word = if report.verdict.passed { "passed" } else { "failed" };
    writeln!(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>")?;
    writeln!(out, r#"<meta name="viewport" content="width=device-width, initial-scale=1"/>"#)?;
    writeln!(out, "<title>Chrysalis load test: {word}, {}</title>", escaped(&report.began))?;
    writeln!(out, "<style>\n{STYLE}</style>\n</head>\n<body>")?;
    header(report, out)?;
    writeln!(out, "<main>")?;
    figures(report, out)?;
    goals(&report.verdict.rows, out)?;
    search(report, out)?;
    over_time(report, out)?;
    outages(report, out)?;
    account(report, out)?;
    latencies(report, out)?;
    words(out)?;
    writeln!(out, "</main>\n</body>\n</html>")
}

fn header(report: &Report, out: &mut String) -> fmt::Result {
    let (class, mark, word) =
        if report.verdict.passed { ("met", "✓", "Passed") } else { ("missed", "✗", "Failed") };
    writeln!(out, "<header>\n<p class=\"kicker\">Load test of Chrysalis {}</p>", escaped(&report.chrysalis))?;
    writeln!(
        out,
        "<h1 class=\"{class}\"><span aria-hidden=\"true\">{mark}</span> {word}</h1>\n<p class=\"verdict\">{}</p>",
        escaped(&report.verdict.words)
    )?;
    writeln!(out, "<dl class=\"facts\">")?;
    for (name, text) in
        [("Began", report.began.clone()), ("Asked for", asked_for(report)), ("Machine", machine(report))]
    {
        writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escaped(&text))?;
    }
    let command = escaped(&report.command);
    writeln!(out, "<dt>Command</dt><dd><code>{command}</code></dd>\n</dl>\n</header>")
}

/// What most readers want to know, in large digits.
fn figures(report: &Report, out: &mut String) -> fmt::Result {
    let found = &report.account;
    let mut tiles = vec![(
        "images at the archive, unchanged",
        count(found.delivered),
        format!("of {} acknowledged", count(found.acknowledged)),
    )];
    let stills = &report.acknowledge_stills;
    if let Some(best) = verdict::best_step(report) {
        let rate = digits(best.studies_per_hour);
        tiles.push((
            "studies an hour kept up",
            rate,
            "the highest rate that was tried with success".to_owned(),
        ));
        tiles.push((
            "to answer a still, 99 of 100",
            seconds(best.acknowledge_p99),
            "at that rate".to_owned(),
        ));
        if report.node.is_some() {
            let (used, of) = share(best.cores_used);
            tiles.push((of, used, "by Chrysalis itself, at that rate".to_owned()));
        }
    } else {
        let rate = digits(report.plan.studies_per_hour);
        tiles.push(("studies an hour asked for", rate, format!("mix {}", report.plan.mix)));
        if stills.count > 0 {
            let half = format!("half of them within {}", seconds(stills.p50));
            tiles.push(("to answer a still, 99 of 100", seconds(stills.p99), half));
        }
        if let Some(node) = &report.node {
            let (used, of) = share(node.cores_at_rate);
            let idle = format!("by Chrysalis, at this rate; idle {}", cores(node.idle_cores));
            tiles.push((of, used, idle));
        }
    }
    if let Some(node) = &report.node {
        let peak = bytes(node.peak_memory_bytes as f64);
        tiles.push(("of memory at most", peak, "by Chrysalis itself".to_owned()));
    }
    writeln!(out, "<ul class=\"tiles\">")?;
    for (what, figure, more) in tiles {
        let (figure, more) = (escaped(&figure), escaped(&more));
        writeln!(out, "<li><strong>{figure}</strong> <span>{what}</span> <small>{more}</small></li>")?;
    }
    writeln!(out, "</ul>")
}

/// Processor time as a figure and what it is of.
fn share(cores: f64) -> (String, &'static str) {
    match cores < 1.0 {
        true => (format!("{} %", digits(cores * 100.0)), "of one processor core"),
        false => (digits(cores), "processor cores"),
    }
}

fn goals(rows: &[Row], out: &mut String) -> fmt::Result {
    let body = rows.iter().map(|row| {
        let (class, mark) = match (row.judged, row.hit) {
            (false, _) => ("open", "– not judged"),
            (true, true) => ("met", "✓ met"),
            (true, false) => ("missed", "✗ missed"),
        };
        let measured = row.measured.strip_prefix("not judged: ").unwrap_or(&row.measured);
        let cells = [row.what.as_str(), row.goal.as_str(), measured].map(escaped);
        let [what, goal, measured] = cells;
        format!(
            "<tr role=\"row\" class=\"{class}\"><th role=\"rowheader\" scope=\"row\">{what}</th>\
             <td role=\"cell\" data-head=\"Wanted\">{goal}</td><td role=\"cell\" data-head=\"Measured\">{measured}</td>\
             <td role=\"cell\" class=\"mark\">{mark}</td></tr>"
        )
    });
    section(out, "Goals", "What is wanted of this run, and what was measured.")?;
    // A narrow page shows each row as a block of its own, and is a table still to those who hear it read.
    writeln!(out, "<table class=\"goals\" role=\"table\">\n<thead role=\"rowgroup\"><tr role=\"row\">")?;
    for head in ["Goal", "Wanted", "Measured", "Verdict"] {
        writeln!(out, "<th role=\"columnheader\" scope=\"col\">{head}</th>")?;
    }
    writeln!(out, "</tr></thead>\n<tbody role=\"rowgroup\">")?;
    for row in body {
        writeln!(out, "{row}")?;
    }
    writeln!(out, "</tbody>\n</table>\n</section>")
}

fn search(report: &Report, out: &mut String) -> fmt::Result {
    if report.steps.is_empty() {
        return Ok(());
    }
    section(
        out,
        "Highest rate",
        "The rate was raised until the node could not keep up, then the border was looked for in smaller steps.",
    )?;
    if let Some(found) = plots::search(report) {
        figure(&found, out)?;
    }
    let body = report.steps.iter().map(|step| {
        let (class, mark) = if step.sustained { ("met", "● kept up") } else { ("missed", "✕ failed") };
        format!(
            "<tr class=\"{class}\"><th scope=\"row\" class=\"number\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"mark\">{mark}</td><td>{}</td></tr>",
            digits(step.studies_per_hour),
            seconds(step.acknowledge_p99),
            digits(step.cores_used),
            digits(step.generator_cores),
            escaped(&step.why)
        )
    });
    let heads =
        ["Studies an hour", "Still answered (99 of 100)", "Cores, Chrysalis", "Cores, load", "Result", "Why"];
    table(out, &heads, body)?;
    writeln!(out, "</section>")
}

fn over_time(report: &Report, out: &mut String) -> fmt::Result {
    let figures = plots::over_time(report);
    if figures.is_empty() {
        return Ok(());
    }
    let faster = report.plan.time_compression;
    let clock = match faster {
        1.0 => String::new(),
        _ => format!(
            ", as a clock on the wall has it; studies came {} times as fast as at the rate modelled, so that a minute \
             here stands for {}",
            digits(faster),
            seconds(60.0 * faster)
        ),
    };
    let lead = format!(
        "Time runs to the right, from the first study on{clock}. Where there was more to show than fits, a line is the \
         middle of what it stands for, and the lighter band around it goes from the lowest to the highest."
    );
    section(out, "Over time", &lead)?;
    writeln!(out, "<div class=\"figures\">")?;
    for found in &figures {
        figure(found, out)?;
    }
    writeln!(out, "</div>\n</section>")
}

fn figure(found: &Figure, out: &mut String) -> fmt::Result {
    writeln!(out, "<figure>\n<h3>{}</h3>\n<ul class=\"legend\">", found.heading)?;
    for (name, class) in found.legend.iter().zip(["first", "second"]) {
        writeln!(out, "<li><i class=\"key {class}\"></i> {}</li>", escaped(name))?;
    }
    if let Some(goal) = &found.goal {
        writeln!(out, "<li><i class=\"key goal\"></i> {}</li>", escaped(goal))?;
    }
    if found.shaded {
        writeln!(out, "<li><i class=\"key down\"></i> archive down</li>")?;
    }
    writeln!(out, "</ul>\n{}<figcaption>{}</figcaption>\n</figure>", found.svg, escaped(&found.caption))
}

fn outages(report: &Report, out: &mut String) -> fmt::Result {
    if report.outages.is_empty() {
        return Ok(());
    }
    section(
        out,
        "Outages",
        "The archive was switched off and on again, to see what gathers and how it leaves. Times are those of a clock on \
         the wall.",
    )?;
    let known = |value: Option<f64>, words: fn(f64) -> String| value.map_or_else(|| "–".to_owned(), words);
    let body = report.outages.iter().map(|outage| {
        let lasted = outage.ended_seconds - outage.began_seconds;
        let cells = [
            seconds(lasted * report.plan.time_compression),
            count(outage.backlog_instances),
            bytes(outage.backlog_bytes as f64),
            known(outage.drained_seconds, seconds),
            known(outage.drain_rate_over_arrival_rate, |factor| format!("{} times", digits(factor))),
            known(outage.new_studies_p99_seconds, seconds),
        ];
        let cells = cells.map(|cell| format!("<td class=\"number\">{cell}</td>")).concat();
        format!("<tr><th scope=\"row\" class=\"number\">{}</th>{cells}</tr>", seconds(outage.began_seconds))
    });
    let heads = [
        "Began",
        "Stands for",
        "Images gathered",
        "Bytes gathered",
        "Drained in",
        "Against arrivals",
        "New studies (99 of 100)",
    ];
    table(out, &heads, body)?;
    writeln!(out, "</section>")
}

fn account(report: &Report, out: &mut String) -> fmt::Result {
    let found = &report.account;
    section(
        out,
        "What became of every image",
        "Each image was followed by the hash of its bytes, or of its pixels where the route changes how they are encoded.",
    )?;
    let rows = [
        ("Sent", found.sent, "images that the carts had to send"),
        ("Acknowledged", found.acknowledged, "answered with success, which is a promise to deliver them"),
        ("Refused", found.refused, "never answered with success: the cart still has them"),
        ("Delivered", found.delivered, "at the archive, unchanged"),
        ("Waiting", found.waiting, "safe in the node when the test ended, on their way"),
        ("Held", found.held, "safe in the node, waiting for a person's decision"),
        ("Lost", found.lost, "acknowledged, and nowhere to be found"),
        ("Changed", found.altered, "at the archive as something else than was sent"),
        ("Repeated", found.repeated, "arrivals of an image that was there already: harmless"),
        ("Overtaken", found.out_of_order, "arrivals after a later image of the same study"),
        (
            "Attempts failed",
            found.attempts_failed,
            "a cart's attempts that were not answered with success, and were repeated",
        ),
    ];
    let body = rows.iter().map(|(name, number, words)| {
        format!(
            "<tr><th scope=\"row\">{name}</th><td class=\"number\">{}</td><td>{words}</td></tr>",
            count(*number)
        )
    });
    table(out, &["", "Images", "That is"], body)?;
    writeln!(out, "</section>")
}

fn latencies(report: &Report, out: &mut String) -> fmt::Result {
    section(out, "Times in figures", "Over the whole run.")?;
    let rows = [
        ("To acknowledge an image", &report.acknowledge),
        ("To acknowledge a still", &report.acknowledge_stills),
        ("To deliver an image", &report.deliver),
    ];
    let body = rows.iter().map(|(name, latency)| {
        let cells = distribution(latency).map(|cell| format!("<td class=\"number\">{cell}</td>")).concat();
        format!("<tr><th scope=\"row\">{name}</th>{cells}</tr>")
    });
    table(out, &["", "Images", "Mean", "Half within", "90 of 100", "99 of 100", "Longest"], body)?;
    writeln!(out, "</section>")
}

fn distribution(latency: &Latency) -> [String; 6] {
    let times = [latency.mean, latency.p50, latency.p90, latency.p99, latency.max];
    let [mean, p50, p90, p99, max] =
        times.map(|time| if latency.count == 0 { "–".to_owned() } else { seconds(time) });
    [count(latency.count), mean, p50, p90, p99, max]
}

/// The words of the page, each in a sentence.
const WORDS: [(&str, &str); 14] = [
    ("Study", "All images of one examination of a patient."),
    ("Image", "A still or a loop: one object that a cart sends by itself (a DICOM instance)."),
    ("Still, loop", "A single picture; a short film of many pictures, called frames."),
    (
        "Cart",
        "An ultrasound machine. In this test a program takes its place and sends pictures of test patients.",
    ),
    ("Archive", "The PACS, where images are to end up. In this test a program that takes and checks them."),
    (
        "Node",
        "The Chrysalis that is tested: it takes images from carts, keeps them safe, and passes them on.",
    ),
    (
        "Acknowledge",
        "To tell the cart that an image is safe on disk. Only then may the cart forget it, so it is told only after the disk has confirmed.",
    ),
    ("Flush", "What makes a disk confirm that it has written what it was given. Its time is the disk's own."),
    (
        "p50, p99",
        "The time within which half, or 99 of 100, were done. The p99 is what users notice on a bad day.",
    ),
    (
        "Backlog",
        "What is acknowledged and not yet at the archive. It grows while the archive is down and drains afterwards.",
    ),
    ("Mix", "Which kinds of studies come, and how a cart encodes their pictures."),
    (
        "Route",
        "What is done with pictures on their way: as received, or encoded as JPEG Lossless, which loses nothing.",
    ),
    (
        "Time compression",
        "Hours played in minutes: studies come so many times as fast, and the node has to work as much harder.",
    ),
    ("Spool", "The folder in which images are kept safe until they are delivered, and for a while after."),
];

fn words(out: &mut String) -> fmt::Result {
    section(out, "What the words mean", "")?;
    writeln!(out, "<dl class=\"words\">")?;
    for (word, meaning) in WORDS {
        writeln!(out, "<div><dt>{word}</dt><dd>{meaning}</dd></div>")?;
    }
    writeln!(out, "</dl>\n</section>")
}

fn section(out: &mut String, heading: &str, lead: &str) -> fmt::Result {
    writeln!(out, "<section>\n<h2>{}</h2>", escaped(heading))?;
    match lead {
        "" => Ok(()),
        lead => writeln!(out, "<p>{}</p>", escaped(lead)),
    }
}

/// A table that scrolls by itself where the page is narrower.
fn table(out: &mut String, heads: &[&str], rows: impl Iterator<Item = String>) -> fmt::Result {
    writeln!(out, "<div class=\"wide\"><table>\n<thead><tr>")?;
    for head in heads {
        writeln!(out, "<th scope=\"col\">{head}</th>")?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for row in rows {
        writeln!(out, "{row}")?;
    }
    writeln!(out, "</tbody>\n</table></div>")
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::super::sample;
    use super::*;

    fn all() -> [Report; 4] {
        [sample::outage(), sample::find_max(), sample::external(), sample::empty()]
    }

    #[test]
    fn every_page_is_well_formed_and_its_identifiers_are_its_own() {
        for report in all() {
            let page = page(&report);
            let mut reader = Reader::from_str(&page);
            reader.config_mut().check_end_names = true;
            let (mut open, mut ids) = (0, std::collections::BTreeSet::new());
            loop {
                let event = reader.read_event().unwrap_or_else(|error| panic!("{error} in {page}"));
                if let Event::Start(tag) | Event::Empty(tag) = &event {
                    for attribute in tag.attributes() {
                        let attribute = attribute.expect("an attribute with quotes");
                        let fresh = attribute.key.as_ref() != b"id" || ids.insert(attribute.value.to_vec());
                        assert!(fresh, "{:?} is there twice", attribute.value);
                    }
                }
                match event {
                    Event::Start(_) => open += 1,
                    Event::End(_) => open -= 1,
                    Event::Eof => break,
                    _ => {}
                }
            }
            assert_eq!(open, 0);
        }
    }

    #[test]
    fn no_page_fetches_or_runs_anything() {
        for report in all() {
            let page = page(&report);
            for forbidden in ["http", "<script", "<link", "@import", "url(h", "src=", "javascript:", "onload"]
            {
                assert!(!page.to_lowercase().contains(forbidden), "{forbidden} is in the page");
            }
        }
    }

    #[test]
    fn what_came_from_outside_is_escaped() {
        let page = page(&sample::external());
        assert!(page.contains("&#39;A&amp;B &lt;pacs&gt;&#39; --mix &quot;usual&quot;"));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; \u{fffd}[2J"));
        assert_eq!(escaped("a\u{0}\u{ffff}\n"), "a\u{fffd}\u{fffd}\n");
    }

    #[test]
    fn the_verdict_stands_in_words_and_not_in_colour_alone() {
        let passed = page(&sample::outage());
        assert!(passed.contains("</span> Passed</h1>") && passed.contains("✓ met"));
        let mut report = sample::outage();
        report.account.lost = 1;
        report.verdict = verdict::judge(&report, None);
        let failed = page(&report);
        assert!(failed.contains("</span> Failed</h1>") && failed.contains("✗ missed"));
        assert!(page(&sample::external()).contains("– not judged"));
    }

    #[test]
    fn every_plot_has_a_title_and_a_description() {
        let page = page(&sample::outage());
        let pictures = page.matches("role=\"img\"").count();
        assert_eq!(pictures, 7);
        assert_eq!(page.matches("<desc id=").count(), pictures);
        assert_eq!(page.matches("archive down</li>").count(), pictures);
    }

    #[test]
    fn a_hundred_thousand_samples_make_a_page_that_a_browser_opens_at_once() {
        let page = page(&sample::plain(100_000));
        assert!(page.len() < 400_000, "{} bytes", page.len());
    }
}
