//! Any text is a configuration, by itself or laid over one from afar, or a reply and a state that were kept as JSON: read without
//! a panic and without much memory, and whatever is wrong with it is said with a place, in words of a bearable length.
#![no_main]

use chrysalis::config::{Config, ConfigError, MAX_AFAR_BYTES, Overlay, Place, judge_afar};
use chrysalis::tunnel::remote::{Announcement, Kept, Reply};
use chrysalis_fuzz::heap;
use libfuzzer_sys::fuzz_target;

/// Default values, and problems: a hundred of them.
const OWN: usize = 4 << 20;
/// The tree of a text is larger than the text: a key and its value are a few hundred bytes in memory.
const EACH: usize = 2048;
/// The longest that one problem may be, in characters.
const LONGEST: usize = 2_500;

const OWN_FILE: &str = r#"
[node]
ae_title = "SITE"

[[listener]]
name = "modalities"
address = "127.0.0.1:104"

[[destination]]
name = "pacs"
kind = "dicom"
address = "10.0.0.5:11112"
called_ae = "PACS"

[[destination]]
name = "cloud"
kind = "tunnel"
url = "ws://127.0.0.1:9/tunnel"
site = "north"
code_file = "code"
remote_configuration = true
"#;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, bytes)) = input.split_first() else { return };
    heap::within(OWN + EACH * bytes.len(), || match (kind % 4, std::str::from_utf8(bytes)) {
        (0, Ok(text)) => own(text),
        (1, Ok(text)) => afar(text),
        (2, _) => json(bytes),
        (3, _) => announced(bytes),
        _ => {}
    });
});

fn own(text: &str) {
    match Config::parse(text, "fuzz.toml") {
        Ok(config) => {
            assert_eq!(config.revision.len(), 16);
            assert!(!config.listeners.is_empty());
        }
        Err(error) => is_bearable(&error, text),
    }
}

fn afar(text: &str) {
    let judged = judge_afar(text, "afar");
    if let Err(error) = &judged {
        is_bearable(error, text);
    }
    let over = Overlay { revision: "1-fuzz".to_owned(), text: text.to_owned() };
    match Config::parse_under(OWN_FILE, "own.toml", &over) {
        Ok(config) => {
            assert!(judged.is_ok() && text.len() <= MAX_AFAR_BYTES);
            // What may not be set was not.
            assert_eq!(config.node.ae_title.as_str(), "SITE");
            assert_eq!(config.afar.as_deref(), Some("1-fuzz"));
        }
        Err(error) => {
            assert!(!text.is_empty(), "{error}");
            is_bearable(&error, text);
        }
    }
}

fn json(bytes: &[u8]) {
    if let Ok(over) = serde_json::from_slice::<Overlay>(bytes) {
        afar(&over.text);
    }
    if let Ok(reply) = serde_json::from_slice::<Reply>(bytes) {
        let written = reply.encode();
        assert!(serde_json::from_slice::<Reply>(&written).is_ok());
    }
    if let Ok(kept) = serde_json::from_slice::<Kept>(bytes) {
        let again = serde_json::from_slice::<Kept>(&serde_json::to_vec(&kept).expect("JSON"));
        assert_eq!(again.ok(), Some(kept));
    }
}

fn announced(bytes: &[u8]) {
    if let Ok(announcement) = Announcement::decode(bytes.to_vec().into()) {
        assert!(announcement.length as usize <= MAX_AFAR_BYTES);
        assert_eq!(announcement.encode(), bytes);
    }
}

/// Every problem has a line that is there, or is about the whole; not too many, and none too long to be read.
fn is_bearable(error: &ConfigError, text: &str) {
    let ConfigError::Invalid(problems) = error else { panic!("{error}") };
    let lines = 1 + text.bytes().filter(|byte| *byte == b'\n').count().max(OWN_FILE.lines().count());
    assert!((1..=100).contains(&problems.problems.len()));
    for problem in &problems.problems {
        match problem.place {
            Place::Line(line) | Place::Afar(line) => assert!((1..=lines).contains(&line), "{problem}"),
            Place::Override(_) => panic!("{problem}: nothing is overridden"),
        }
        assert!(!problem.message.is_empty());
        assert!(problem.to_string().chars().count() <= LONGEST, "{problem}");
    }
}
