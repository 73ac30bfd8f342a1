use chrysalis_sizing::PROFILES;

use super::{SizeArgs, duration, figure};
use crate::cli::{Cli, Command, Exit};
use crate::config::{ConfigError, Loaded, Sources, size_text};

fn args(line: &str) -> Result<SizeArgs, clap::Error> {
    let cli = Cli::read(["chrysalis", "size"].into_iter().chain(line.split_whitespace()).map(Into::into))?;
    match cli.command {
        Some(Command::Size(args)) => Ok(args),
        other => panic!("{other:?}"),
    }
}

fn load() -> Result<Loaded, ConfigError> {
    Sources::default().load_to_ask()
}

/// How it ends and what it prints, or why it is refused.
fn size(line: &str) -> Result<(Exit, String), String> {
    let mut out = Vec::new();
    let exit = args(line).map_err(|error| error.to_string())?.run(load, &mut out);
    let exit = exit.map_err(|error| error.to_string())?;
    Ok((exit, String::from_utf8(out).expect("text")))
}

fn data(line: &str) -> serde_json::Value {
    let (_, text) = size(&format!("{line} --json")).expect("an answer");
    serde_json::from_str(&text).expect("JSON")
}

/// With `CHRYSALIS_WRITE_GUIDE` in the environment, what is printed now is written into the guide.
#[test]
fn every_worked_site_of_the_guide_prints_what_the_guide_says() {
    const BEGIN: &str = "```console\n$ chrysalis size ";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SIZING.md");
    let guide = std::fs::read_to_string(file).expect("the guide");
    let mut parts = guide.split(BEGIN);
    let mut now = parts.next().expect("a beginning").to_owned();
    let mut count = 0;
    for part in parts {
        let (block, rest) = part.split_once("```").expect("an end");
        let (line, _) = block.split_once('\n').expect("a command");
        let (_, printed) = size(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        now.push_str(&format!("{BEGIN}{line}\n{printed}```{rest}"));
        count += 1;
    }
    assert!(count >= 5, "{count} examples");
    if std::env::var_os("CHRYSALIS_WRITE_GUIDE").is_some() {
        std::fs::write(file, &now).expect("the guide");
    }
    let guide = std::fs::read_to_string(file).expect("the guide");
    assert!(
        now == guide,
        "docs/SIZING.md is out of date; run this test with CHRYSALIS_WRITE_GUIDE=1. Now it is:\n{now}"
    );
}

#[test]
fn the_manuals_have_the_profiles_as_the_code_has_them() {
    let read = |name| {
        std::fs::read_to_string(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a manual")
    };
    let (guide, manual) = (read("SIZING.md"), read("OPERATIONS.md"));
    for profile in &PROFILES {
        let (name, cores, settings) = (profile.name, profile.cores, profile.settings());
        let (memory, disk) = (profile.memory / 1_000_000_000, profile.disk / 1_000_000_000);
        let studies = profile.studies_per_hour.map_or(String::new(), |studies| format!("about {studies} "));
        let row = format!("| `{name}` | {studies}| {cores} | {memory} GB | {disk} GB |");
        assert!(guide.contains(&row), "docs/SIZING.md should have {row}");
        let spaced =
            |bytes| size_text(bytes).replacen(['M', 'G'], if bytes < 1 << 30 { " M" } else { " G" }, 1);
        let (cache, reserve) = (spaced(settings.cache), spaced(settings.reserve));
        let (associations, workers) = (settings.associations, settings.workers);
        let row = format!(
            "| `{name}` | {cores} | {memory} GB | {disk} GB | {associations} | {workers} | {cache} | {reserve} |"
        );
        assert!(manual.contains(&row), "docs/OPERATIONS.md should have {row}");
    }
}

#[test]
fn a_hospital_needs_a_profile_for_its_disk_alone() {
    let answer = data("--studies-per-hour 40 --outage 24h --uplink 20Mbit");
    assert_eq!((answer["profile"].as_str(), answer["decides"].as_str()), (Some("medium"), Some("disk")));
    let hours = answer["drain_hours"].as_f64().expect("a number");
    assert!((18.0..24.0).contains(&hours), "{hours}");
    assert_eq!(answer["work"]["encoding"].as_str(), Some("usual"));
}

#[test]
fn a_host_is_told_its_limits_and_what_it_can_do_fits_it() {
    let host = "--cores 2 --memory 4GB --disk 100GB";
    let answer = data(host);
    let most = answer["studies_per_hour"].as_f64().expect("a number");
    assert_eq!(answer["binds"].as_str(), Some("disk"));
    assert_eq!(size(&format!("--studies-per-hour {most} {host}")).expect("an answer").0, Exit::Done);
    let (exit, text) = size(&format!("--studies-per-hour {} {host}", most * 1.2)).expect("an answer");
    assert_eq!(exit, Exit::Failed);
    assert!(text.contains("This host is NOT enough: it has too little disk."), "{text}");
}

#[test]
fn this_host_is_looked_at() {
    let (exit, text) = size("--host --disk 100GB --outage 1h").expect("an answer");
    assert_eq!(exit, Exit::Done);
    assert!(text.starts_with("A host with "), "{text}");
}

#[test]
fn an_uplink_that_never_catches_up_and_a_host_without_room_are_refused_with_figures() {
    let slow = size("--studies-per-hour 40 --uplink 5Mbit").expect_err("too slow");
    assert!(
        slow.starts_with("the uplink is too slow: 8.7 Mbit/s of studies come and 4.8 Mbit/s can leave"),
        "{slow}"
    );
    let full = size("--cores 2 --memory 4GB --disk 500MB").expect_err("no room");
    assert!(full.starts_with("the host has no room: it has 500 MB of disk"), "{full}");
    let busy = size("--studies-per-hour 100000 --mix all-native --to jpeg-lossless").expect_err("too much");
    assert!(busy.starts_with("one node is too small"), "{busy}");
}

#[test]
fn command_lines_that_make_no_sense_are_usage_errors() {
    for line in [
        "",
        "--mix usual",
        "--studies-per-hour 0",
        "--studies-per-hour -1",
        "--studies-per-hour NaN",
        "--studies-per-hour 100001",
        "--studies-per-hour 40 --outage 1000d",
        "--studies-per-hour 40 --uplink 20",
        "--studies-per-hour 40 --to jpeg",
        "--studies-per-hour 40 --carts 0",
        "--cores 2",
        "--cores 2 --memory 4GB",
        "--cores 0 --memory 4GB --disk 10GB",
        "--host --cores 2 --memory 4GB --disk 10GB",
        "--studies-per-hour 40 --memory 4GB",
    ] {
        assert_eq!(args(line).err().map(|error| error.exit_code()), Some(2), "{line}");
    }
}

#[test]
fn a_mix_that_is_neither_a_name_nor_a_file_is_refused() {
    let unknown = size("--studies-per-hour 40 --mix unusual").expect_err("no such mix");
    assert!(unknown.contains("all-jpeg, usual, all-lossless, all-native, nor is it a file"), "{unknown}");
}

#[test]
fn figures_are_as_long_as_they_are_good() {
    let table =
        [(0.0, "0"), (0.0131, "0.013"), (0.28, "0.28"), (1.44, "1.4"), (9.96, "10"), (5240.4, "5240")];
    for (value, text) in table {
        assert_eq!(figure(value), text);
    }
    assert_eq!(
        (duration(0.5), duration(24.0), duration(240.0)),
        ("30 min".into(), "24 h".into(), "10 days".into())
    );
}
