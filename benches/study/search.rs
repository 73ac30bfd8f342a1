//! How soon an administrator has what he looks for, among 100,000 instances, and what that costs the carts.

use super::hoard::{self, INSTANCES};
use super::load;
use super::report::{Row, Verdict, median};
use super::sender;
use super::support::node::Node;
use super::support::process::list;
use serde_json::{Value, json};
use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Times that each question is asked.
const TIMES: usize = 7;
/// Starts after which a patient is looked for who has never been looked for.
const STARTS: usize = 3;
/// Objects of 5 kB that a cart sends in one round.
const SENT: u32 = 1000;
/// Any instance: what is looked for is its study, its patient, its sender.
const LOOKED_FOR: u32 = 61_803;

/// Searches one by one, and beside carts.
pub(crate) fn search() -> Vec<Row> {
    let mut node = hoard::node();
    let mut rows = by_patient(&mut node);
    rows.extend(questions().iter().flat_map(|question| ask(&node, question)));
    rows.push(beside_carts(&node));
    rows
}

/// What is asked for, over HTTP and on the command line.
struct Question {
    what: &'static str,
    on_the_command_line: &'static str,
    body: Value,
    args: Vec<String>,
    /// Milliseconds, and how many lines must come.
    goal: Option<f64>,
    lines: usize,
}

fn questions() -> Vec<Question> {
    let study = hoard::study_of(LOOKED_FOR);
    let (uid, title) = (study.study.clone(), hoard::title_of(LOOKED_FOR));
    let accession = format!("A{}", study.seed);
    let args = |args: &[&str]| args.iter().map(ToString::to_string).collect();
    vec![
        Question {
            what: "search by study",
            on_the_command_line: "the same, `chrysalis queue list`",
            body: json!({ "study": uid }),
            args: args(&["--study", &uid]),
            goal: Some(100.0),
            lines: 24,
        },
        Question {
            what: "by calling AE, a page of 100",
            on_the_command_line: "the same, `chrysalis queue list`",
            body: json!({ "calling_ae": title, "destination": "pacs" }),
            args: args(&["--calling-ae", &title, "--destination", "pacs", "--limit", "100"]),
            goal: Some(100.0),
            lines: 100,
        },
        Question {
            what: "by calling AE, a page of 1,000",
            on_the_command_line: "the same, `chrysalis queue list`",
            body: json!({ "calling_ae": title, "destination": "pacs", "limit": 1000 }),
            args: args(&["--calling-ae", &title, "--destination", "pacs", "--limit", "1000"]),
            goal: None,
            lines: 1000,
        },
        Question {
            what: "by a calling AE that nobody has",
            on_the_command_line: "the same, `chrysalis queue list`",
            body: json!({ "calling_ae": "NOBODY*" }),
            args: args(&["--calling-ae", "NOBODY*"]),
            goal: Some(100.0),
            lines: 0,
        },
        Question {
            what: "by accession number, again",
            on_the_command_line: "the same, `chrysalis queue list`",
            body: json!({ "accession": accession, "destination": "pacs" }),
            args: args(&["--accession", &accession, "--destination", "pacs"]),
            goal: None,
            lines: 24,
        },
        Question {
            what: "held at the PACS, a page of 100",
            on_the_command_line: "the same, `chrysalis queue list`",
            body: json!({ "destination": "pacs", "state": "held" }),
            args: args(&["--destination", "pacs", "--state", "held", "--limit", "100"]),
            goal: None,
            lines: 100,
        },
        Question {
            what: "a page of 100 of everything",
            on_the_command_line: "the same, `chrysalis queue list`",
            body: json!({}),
            args: args(&["--limit", "100"]),
            goal: None,
            lines: 100,
        },
        Question {
            what: "the studies of one calling AE",
            on_the_command_line: "the same, `chrysalis queue list`",
            body: json!({ "calling_ae": title, "by_study": true, "limit": 1000 }),
            args: args(&["--calling-ae", &title, "--by-study", "--limit", "1000"]),
            goal: Some(100.0),
            lines: 104,
        },
        Question {
            what: "all studies",
            on_the_command_line: "the same, `chrysalis queue list`",
            body: json!({ "by_study": true, "limit": 10_000 }),
            args: args(&["--by-study", "--limit", "10000"]),
            goal: None,
            lines: 6251,
        },
    ]
}

/// Both ways of asking take turns.
fn ask(node: &Node, question: &Question) -> [Row; 2] {
    let (mut over_http, mut by_command) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let (took, lines) = over(node, &question.body);
        // A page ends between two instances.
        assert!(
            lines == question.lines || (question.lines >= 100 && lines == question.lines + 1),
            "{}: {lines} lines, {} wanted",
            question.what,
            question.lines
        );
        over_http.push(took);
        by_command.push(command(node, &question.args));
    }
    [
        row(question.what, question.goal, &over_http),
        row(question.on_the_command_line, question.goal, &by_command),
    ]
}

/// Milliseconds of one request, with its connection, and how many lines were in the answer.
fn over(node: &Node, body: &Value) -> (f64, usize) {
    let started = Instant::now();
    let answer = node.api_post("/api/queue/search", &body.to_string());
    let took = started.elapsed().as_secs_f64() * 1e3;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer: Value = serde_json::from_str(&answer.text()).unwrap();
    let lines = answer.get("deliveries").or_else(|| answer.get("studies"));
    (took, lines.and_then(Value::as_array).unwrap().len())
}

/// Milliseconds from starting the program to its end.
fn command(node: &Node, args: &[String]) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chrysalis"));
    command.args(["queue", "list"]).args(args).arg("--config").arg(node.config());
    let started = Instant::now();
    let output = command.output().unwrap();
    let took = started.elapsed().as_secs_f64() * 1e3;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    took
}

/// The first search by patient after a start reads a data set of each study; what has been read is remembered.
fn by_patient(node: &mut Node) -> Vec<Row> {
    let patient = json!({ "patient_id": hoard::study_of(LOOKED_FOR).patient_id, "destination": "pacs" });
    let accession =
        json!({ "accession": format!("A{}", hoard::study_of(LOOKED_FOR).seed), "destination": "pacs" });
    let (mut cold, mut first, mut second, mut each) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for start in 0..2 * STARTS {
        node.start();
        let is_cold = start % 2 == 0;
        if is_cold {
            forget_files(node);
        }
        let (took, lines) = over(node, &patient);
        assert_eq!(lines, 24, "of the patient");
        if is_cold {
            cold.push(took)
        } else {
            first.push(took)
        }
        second.push(over(node, &patient).0);
        if is_cold {
            forget_files(node);
            each.push(over(node, &accession).0);
        }
        if start + 1 < 2 * STARTS {
            node.stop();
        }
    }
    vec![
        row("by patient ID, first after a start, no file in the page cache", Some(5000.0), &cold),
        row("by patient ID, first after a start", Some(5000.0), &first),
        row("by patient ID, again", Some(5000.0), &second),
        row("by accession number, no file in the page cache", None, &each),
    ]
}

/// Nothing of the spool stays in the page cache.
fn forget_files(node: &Node) {
    rustix::fs::sync();
    for path in list(&node.data_dir.join("spool")) {
        let file = File::open(path).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

/// What a cart can send while somebody searches all the time, against what it can when nobody does.
fn beside_carts(node: &Node) -> Row {
    let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..TIMES as u64 {
        let burst =
            |turn: u64| sender::Burst::prepare(node.address, &load::small(500_000 + 2 * round + turn, SENT));
        let rate = |burst: sender::Burst| f64::from(SENT) / burst.run().as_secs_f64();
        let first = rate(burst(0));
        let second = {
            let (burst, stop) = (burst(1), AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| search_until(node, &stop));
                let rate = rate(burst);
                stop.store(true, Ordering::Relaxed);
                rate
            })
        };
        alone.push(first);
        beside.push(second);
        ratios.push(second / first);
    }
    Row {
        what: "objects of 5 kB received while somebody searches by study all the time",
        goal: String::new(),
        measured: format!(
            "{} /s; {} /s when nobody does",
            super::report::spread(&beside),
            super::report::spread(&alone)
        ),
        ratio: format!("{:.2} x", median(&ratios)),
        verdict: Verdict::None,
    }
}

fn search_until(node: &Node, stop: &AtomicBool) {
    for n in (0..INSTANCES).step_by(997).cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        over(node, &json!({ "study": hoard::study_of(n).study }));
    }
}

fn row(what: &'static str, goal: Option<f64>, took: &[f64]) -> Row {
    let least = took.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = took.iter().copied().fold(0.0, f64::max);
    let measured = format!("{:.1} ms ({least:.1}-{greatest:.1})", median(took));
    match goal {
        Some(goal) => Row::below(what, goal, "ms", median(took), measured),
        None => Row::only(what, measured),
    }
}
