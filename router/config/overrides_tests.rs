use std::ffi::OsString;

use super::Override;
use crate::config::{Config, DestinationKind, Sources};

const FILE: &str = r#"
[node]
ae_title = "FILE"

[[listener]]
name = "modalities"
address = "127.0.0.1:11112"

[[destination]]
name = "pacs"
kind = "dicom"
address = "127.0.0.1:11113"
called_ae = "PACS"

[[destination]]
name = "deep-pacs.2"
kind = "dicom"
address = "127.0.0.1:11114"
called_ae = "DEEP"
timeouts = { acse = "1s" }
"#;

fn environment(variables: &[(&str, &str)]) -> Vec<Override> {
    Override::from_environment(
        variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))),
    )
}

fn flags(given: &[&str]) -> Vec<Override> {
    given.iter().map(|text| text.parse().expect("KEY=VALUE")).collect()
}

fn read(text: &str, overrides: Vec<Override>) -> Result<Config, Vec<String>> {
    let sources = Sources { file: None, overrides };
    let config = sources.read(text, "file.toml");
    config.map_err(|error| error.to_string().lines().map(str::to_owned).collect())
}

fn address(config: &Config, name: &str) -> String {
    match config.destination(name).map(|destination| &destination.kind) {
        Some(DestinationKind::Dicom(dicom)) => dicom.address.to_string(),
        other => panic!("a DICOM destination, not {other:?}"),
    }
}

#[test]
fn the_flag_overrides_the_environment_which_overrides_the_file() {
    let variable = || environment(&[("CHRYSALIS__NODE__AE_TITLE", "ENV")]);
    let title = |overrides| read(FILE, overrides).expect("a configuration").node.ae_title.to_string();
    assert_eq!(title(vec![]), "FILE");
    assert_eq!(title(variable()), "ENV");
    assert_eq!(title([variable(), flags(&["node.ae_title=FLAG"])].concat()), "FLAG");
    assert_eq!(title(flags(&["node.ae_title=ONE", "node.ae_title=TWO"])), "TWO");
}

#[test]
fn a_table_of_a_list_goes_by_its_name() {
    let config = read(FILE, flags(&["destination.deep-pacs.2.address=h:1", "destination.pacs.address=i:2"]));
    let config = config.expect("a configuration");
    assert_eq!((address(&config, "deep-pacs.2"), address(&config, "pacs")), ("h:1".into(), "i:2".into()));
    let config = read(FILE, environment(&[("CHRYSALIS__DESTINATION__DEEP_PACS_2__ADDRESS", "h:1")]));
    assert_eq!(address(&config.expect("a configuration"), "deep-pacs.2"), "h:1");
}

#[test]
fn a_value_is_toml_or_plain_text_as_the_key_wants_it() {
    let config = read(
        FILE,
        flags(&[
            "node.ae_title=123",
            "queue.reserve=2097152",
            "queue.retain=\"1h\"",
            "listener.modalities.max_associations=7",
            "listener.modalities.allow=[\"10.0.0.0/8\"]",
            "destination.pacs.timeouts.acse=2s",
            "destination.deep-pacs.2.timeouts={ dimse = \"3s\" }",
        ]),
    );
    let config = config.expect("a configuration");
    assert_eq!(config.node.ae_title.to_string(), "123");
    assert_eq!((config.queue.reserve, config.queue.retain.as_secs()), (2 << 20, 3600));
    assert_eq!((config.listeners[0].max_associations, config.listeners[0].allow.len()), (7, 1));
    let seconds = |index: usize| match &config.destinations[index].kind {
        DestinationKind::Dicom(dicom) => (dicom.timeouts.acse.as_secs(), dicom.timeouts.dimse.as_secs()),
        DestinationKind::Folder(_)
        | DestinationKind::Web(_)
        | DestinationKind::Tunnel(_)
        | DestinationKind::Site(_) => {
            panic!("a DICOM destination")
        }
    };
    assert_eq!((seconds(0), seconds(1)), ((2, 300), (300, 3)), "a table is replaced as a whole");
}

#[test]
fn what_is_built_in_can_be_overridden_without_a_file() {
    let config = read(
        "",
        flags(&[
            "listener.modalities.address=127.0.0.1:104",
            "destination.archive.backoff={ first = \"1s\" }",
            "node.data_dir=/srv/chrysalis",
        ]),
    );
    let config = config.expect("a configuration");
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:104");
    let DestinationKind::Folder(folder) = &config.destinations[0].kind else { panic!("a folder") };
    assert_eq!(folder.path, std::path::Path::new("/srv/chrysalis/archive"));
    assert_eq!(config.destinations[0].backoff.first.as_secs(), 1);
}

#[test]
fn a_mistake_says_where_it_was_given() {
    let table = [
        ("node.ae_title=", "--set node.ae_title: an AE title cannot be empty"),
        (
            "destination.pacs.address=h:70000",
            "--set destination.pacs.address: destination.port: 70000 is not 1..65535",
        ),
        (
            "destination.pacs.timeouts={ acse = 5 }",
            "--set destination.pacs.timeouts: destination.timeouts.acse: expected a duration such as \"30s\", found 5",
        ),
        (
            "listener.modalities.max_associations=many",
            "--set listener.modalities.max_associations: is not a 1..65535 in the notation of TOML",
        ),
        (
            "listener.modalities.max_associations=0",
            "--set listener.modalities.max_associations: 0 is not 1..65535",
        ),
        (
            "destination.pasc.address=h:1",
            "--set destination.pasc.address: unknown key; there is after destination: pacs, deep-pacs.2",
        ),
        (
            "profile=huge",
            "--set profile: \"huge\" is not one of \"auto\", \"link-only\", \"minimum\", \"medium\", \"high\"",
        ),
        ("transcode.workers=0", "--set transcode.workers: 0 is not 1..256"),
        ("node.title=X", "--set node.title: unknown key; there is after node: ae_title, data_dir, grace"),
        (
            "nodes.title=X",
            "--set nodes.title: unknown key; there is: profile, node, listener, queue, destination, routing, transcode, admin, log",
        ),
        (
            "log.level=loud",
            "--set log.level: \"loud\" is not one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        ),
    ];
    for (given, expected) in table {
        assert_eq!(read(FILE, flags(&[given])), Err(vec![expected.to_owned()]), "{given}");
    }
    let found = read(FILE, environment(&[("CHRYSALIS__LOG__LEVEL", "loud"), ("CHRYSALIS__LOG", "x")]));
    let found = found.expect_err("two mistakes");
    assert!(
        found[0].starts_with("environment CHRYSALIS__LOG: unknown key; there is after log: format"),
        "{found:?}"
    );
    assert!(found[1].starts_with("environment CHRYSALIS__LOG__LEVEL: \"loud\" is not"), "{found:?}");
}

#[test]
fn mistakes_of_the_file_and_of_overrides_are_reported_together() {
    let found = read("[node]\nae_title = \"\"\n", flags(&["queue.retain=soon"])).expect_err("two mistakes");
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("file.toml:2: node.ae_title: "), "{found:?}");
    assert!(found[1].starts_with("--set queue.retain: "), "{found:?}");
}

#[test]
fn a_variable_that_fits_two_keys_is_refused() {
    let text = format!("{FILE}\n[[destination]]\nname = \"deep_pacs-2\"\nkind = \"folder\"\npath = \"x\"\n");
    let found = read(&text, environment(&[("CHRYSALIS__DESTINATION__DEEP_PACS_2__KIND", "folder")]));
    let expected = "environment CHRYSALIS__DESTINATION__DEEP_PACS_2__KIND: could mean destination.deep-pacs.2.kind or \
                    destination.deep_pacs-2.kind; use --set";
    assert_eq!(found, Err(vec![expected.to_owned()]));
}

#[test]
fn variables_of_others_are_let_alone() {
    let variables = [
        ("CHRYSALIS_TEST_DATA", "x"),
        ("CHRYSALIS_CONFIG", "x"),
        ("CHRYSALIS_REQUIRE_STRANGERS", "1"),
        ("PATH", "x"),
        ("XCHRYSALIS__NODE__AE_TITLE", "x"),
    ];
    assert_eq!(environment(&variables), vec![]);
}

#[test]
fn no_value_is_ever_printed_that_may_be_a_secret() {
    let secret = "listener.modalities.user_identity=[{ username = \"cart\", passcode = \"hidden-word\" }]";
    assert!(!format!("{:?}", flags(&[secret])).contains("hidden-word"));
    for broken in [secret.replace(" }]", ""), secret.replace("\"hidden-word\"", "[\"hidden-word\"]")] {
        let found = read(FILE, flags(&[&broken])).expect_err("a mistake");
        assert!(!found.join("\n").contains("hidden-word"), "{found:?}");
    }
    let config = read(FILE, flags(&[secret])).expect("a configuration");
    assert_eq!(config.listeners[0].user_identity.len(), 1);
}

#[test]
fn overrides_are_part_of_the_revision() {
    let revision = |overrides| read(FILE, overrides).expect("a configuration").revision;
    assert_ne!(revision(vec![]), revision(flags(&["node.grace=1s"])));
    assert_eq!(
        revision(flags(&["node.grace=1s"])),
        revision(environment(&[("CHRYSALIS__NODE__GRACE", "1s")]))
    );
    assert_eq!(revision(vec![]), revision(flags(&["node.ae_title=FILE"])), "the same value is the same");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;
    let name = OsString::from("CHRYSALIS__NODE__AE_TITLE");
    let overrides = Override::from_environment([(name, OsString::from_vec(vec![0xFF]))]);
    let found = read(FILE, overrides);
    assert_eq!(found, Err(vec!["environment CHRYSALIS__NODE__AE_TITLE: is not UTF-8 text".to_owned()]));
}
