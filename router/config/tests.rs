//! The configuration as a whole: what is accepted, and how mistakes are reported.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Config, ConfigError, DEFAULT_TEXT, MAX_FILE_BYTES};
use crate::config::{
    CallingAe, DestinationKind, DicomDestination, KEYS, Leniency, Origin, Passcode, SecretPlace, Sources,
    Verify, WebLogin,
};
use crate::tls::Security;

const FULL: &str = r#"
profile = "medium"

[node]
ae_title = "CHRYSALIS"
data_dir = "./chrysalis-data"
grace = "10s"

[[listener]]
name = "modalities"
address = "127.0.0.1:11112"
called_ae = ["CHRYSALIS"]
calling_ae = ["VIVID1", "EPIQ7"]
allow = ["10.0.0.0/8", "192.168.1.7"]
trusted_proxies = ["10.9.0.1"]
max_associations = 256
max_per_address = 16
per_network = [{ network = "10.1.0.0/16", max = 64 }, { network = "10.1.2.0/24", max = 8 }]
max_pdu = 131072
max_data_set = "8GiB"
malformed = "refuse"
sop_class_mismatch = "accept"
sop_classes = ["1.2.840.10008.5.1.4.1.1.6.1"]
transfer_syntaxes = ["1.2.3.4"]
timeouts = { request = "250ms", idle = "1m" }
user_identity = [{ username = "cart", passcode = "hidden-word" }, { username = "other" }]

[listener.tls]
certificate = "server.pem"
key = "server.key"
client = "required"
ca = "ca.pem"
min_version = "1.3"
handshake = "5s"

[[listener.tls.identity]]
san = "vivid-1.example.org"
calling_ae = ["VIVID1"]

[[relay]]
name = "worklist"
listen = "127.0.0.1:2575"
connect = "ris.example.org:104"
allow = ["10.0.0.0/8"]
trusted_proxies = ["10.9.0.1"]
max_connections = 8
max_per_address = 4
timeouts = { connect = "5s", idle = "10m" }
tls = { certificate = "server.pem", key = "server.key", client = "optional", ca = "ca.pem" }
connect_tls = { verify = "none" }

[queue]
retain = "72h"                    # delivered payloads, evicted first when space is needed
ledger = "90d"                    # outcomes, after the payload is gone
reserve = "256MiB"
high_watermark = "90%"

[[destination]]
name = "pacs"
kind = "dicom"
address = "pacs.example.org:11113"
called_ae = "PACS"
calling_ae = "passthrough"
timeouts = { connect = "300s", acse = "300s", dimse = "500ms" }
max_associations = 2
one_study_per_association = true
max_pdu = "64KiB"
study_quiet = "90s"
backoff = { first = "20ms", max = "80ms" }
tls = { ca = "ca.pem", pins = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="], certificate = "a.pem", key = "a.key", server_name = "pacs" }

[[destination]]
name = "archive"
kind = "folder"
path = "./archive"

[routing]
match = "first"
on_no_route = "refuse"

[[destination]]
name = "cloud"
kind = "dicomweb"
url = "https://health.example.org/dicom-web"
user = "ward"
password_file = "/etc/chrysalis/password"
max_request = "1MiB"
max_request_instances = 4
max_connections = 2
timeouts = { connect = "1s", transfer = "2s", answer = "1m" }
tls = { verify = "none" }

[[route]]
name = "echo"
action = "hold"
to = ["pacs", "archive"]
[route.when]
listener = ["modalities"]
calling_ae = ["VIVID1", "EPIQ*"]
called_ae = "CHRYSALIS"
source = ["10.0.0.0/8", "192.168.1.7"]
modality = "US"
sop_class = ["UltrasoundImageStorage", "1.2.840.10008.5.1.4.1.1.3.*"]
station_name = "ROOM ?"
institution = "General Hospital"
NumberOfFrames = [1, "2"]
any = [{ StudyDescription = "ECHO*" }, 'StudyDescription ~ "stress"']
all = [{ modality = "US" }]
not = { PatientID = "TEST*" }

[admin]
address = "[::1]:8080"

[log]
format = "json"
level = "debug"
"#;

fn problems(text: &str) -> Vec<String> {
    match Config::parse(text, "chrysalis.toml") {
        Err(error @ ConfigError::Invalid(_)) => error.to_string().lines().map(str::to_owned).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

fn dicom<'a>(config: &'a Config, name: &str) -> &'a DicomDestination {
    match config.destination(name).map(|destination| &destination.kind) {
        Some(DestinationKind::Dicom(dicom)) => dicom,
        other => panic!("expected a DICOM destination, got {other:?}"),
    }
}

const PACS: &str = "[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \"127.0.0.1:11113\"\ncalled_ae = \"PACS\"\n";

#[test]
fn a_problem_quotes_no_more_of_a_value_than_anybody_reads() {
    let problems = problems(&format!("[log]\nformat = \"{}\"\nlevel = \"x\"", "\u{e9}".repeat(100_000)));
    assert_eq!(problems.len(), 2);
    let [long, short] = [&problems[0], &problems[1]];
    assert!(long.starts_with("chrysalis.toml:2: log.format: ") && long.ends_with(" ..."), "{long}");
    assert!(long.chars().count() < 1100);
    assert!(short.contains("is not one of"), "{short}");
}

#[test]
fn a_file_with_every_key_means_what_it_says() {
    let config = Config::parse(FULL, "full.toml").expect("a configuration");
    let listener = &config.listeners[0];
    assert_eq!((listener.malformed, listener.sop_class_mismatch), (Leniency::Refuse, Leniency::Accept));
    assert_eq!((listener.max_pdu, listener.max_data_set), (128 << 10, 8 << 30));
    assert_eq!(listener.timeouts.request, Duration::from_millis(250));
    assert_eq!(listener.user_identity[0].passcode, Some(Passcode::new("hidden-word")));
    let pacs = dicom(&config, "pacs");
    assert_eq!(pacs.address.to_string(), "pacs.example.org:11113");
    assert_eq!(pacs.calling_ae, CallingAe::Passthrough);
    assert_eq!(pacs.timeouts.dimse, Duration::from_millis(500));
    assert!(pacs.one_study_per_association);
    assert_eq!(config.destinations[0].study_quiet, Duration::from_secs(90));
    assert_eq!(config.destinations[0].backoff.max, Duration::from_millis(80));
    let Some(DestinationKind::Web(cloud)) = config.destination("cloud").map(|d| &d.kind) else {
        panic!("a DICOMweb server")
    };
    let password = SecretPlace::File("/etc/chrysalis/password".into());
    assert_eq!(cloud.login, WebLogin::Basic { user: "ward".to_owned(), password });
    assert_eq!((cloud.max_request, cloud.max_request_instances, cloud.max_connections), (1 << 20, 4, 2));
    assert_eq!(cloud.timeouts.answer, Duration::from_secs(60));
    assert_eq!(cloud.tls.as_ref().map(|tls| tls.verify.clone()), Some(Verify::Nobody));
    assert_eq!(config.admin.address.to_string(), "[::1]:8080");
    assert!(!format!("{config:?}").contains("hidden-word"));
}

#[test]
fn every_described_key_is_read() {
    let full: toml::Table = toml::from_str(FULL).expect("TOML");
    for key in KEYS {
        let mut table = full.clone();
        let wrong = toml::Value::Datetime("1979-05-27".parse().expect("a date"));
        if key.dotted() == "destination.path" {
            // The other kind of destination has this key.
            table["destination"].as_array_mut().expect("tables").remove(0);
            table.remove("route");
        }
        if key.section == "listener.tunnel" {
            // The other kind of listener has this table.
            place(&mut table, "listener").insert("kind".to_owned(), "tunnel".into());
        }
        place(&mut table, key.section).insert(key.name.to_owned(), wrong);
        let found = problems(&table.to_string());
        assert!(
            found.iter().any(|line| line.contains(&format!(": {}: ", key.dotted()))),
            "{}: {found:?}",
            key.dotted()
        );
    }
}

fn place<'a>(table: &'a mut toml::Table, section: &str) -> &'a mut toml::Table {
    section.split('.').filter(|name| !name.is_empty()).fold(table, |table, name| {
        match table.entry(name).or_insert(toml::Table::new().into()) {
            toml::Value::Array(tables) => tables[0].as_table_mut().expect("a table"),
            value => value.as_table_mut().expect("a table"),
        }
    })
}

#[test]
fn an_https_url_is_verified_by_the_systems_authorities_unless_it_says_otherwise() {
    let of = |url: &str| {
        let text = format!("[[destination]]\nname = \"p\"\nkind = \"dicomweb\"\nurl = \"{url}\"");
        let config = Config::parse(&text, "x").expect("a configuration");
        let DestinationKind::Web(web) = &config.destinations[0].kind else { panic!("a DICOMweb server") };
        (web.tls.as_ref().map(|tls| tls.verify.clone()), config.destinations[0].security())
    };
    assert_eq!(of("https://h/"), (Some(Verify::Ca(None)), Some(Security::Secured)));
    assert_eq!(of("http://h/"), (None, Some(Security::Unsecured)));
}

#[test]
fn the_embedded_default_is_what_an_empty_file_means() {
    let default = Config::embedded_default();
    let empty = Config::parse("", "empty.toml").expect("a configuration");
    assert_eq!(Config { revision: default.revision.clone(), ..empty }, default);
    assert_eq!(default.listeners[0].address.to_string(), "127.0.0.1:11112");
    let DestinationKind::Folder(folder) = &default.destinations[0].kind else { panic!("a folder") };
    assert_eq!(folder.path, Path::new("./chrysalis-data/archive"));
}

#[test]
fn the_default_archive_moves_with_the_data_directory() {
    let config = Config::parse("[node]\ndata_dir = \"/srv/chrysalis\"\n", "x").expect("a configuration");
    let DestinationKind::Folder(folder) = &config.destinations[0].kind else { panic!("a folder") };
    assert_eq!(folder.path, Path::new("/srv/chrysalis/archive"));
}

#[test]
fn a_destination_is_called_with_the_nodes_title_unless_it_says_otherwise() {
    let config =
        Config::parse(&format!("[node]\nae_title = \"WARD\"\n{PACS}"), "x").expect("a configuration");
    assert_eq!(dicom(&config, "pacs").calling_ae, CallingAe::Fixed("WARD".parse().expect("a title")));
}

#[test]
fn one_mistake_is_one_line_with_file_line_and_key() {
    let table: &[(&str, &str)] = &[
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicom\"\ncalled_ae = \"P\"\naddress = \"h:70000\"",
            "5: destination.port: 70000 is not 1..65535",
        ),
        ("[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"", "3: listener.port: 0 is not 1..65535"),
        (
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:65536\"",
            "3: listener.port: 65536 is not 1..65535",
        ),
        (
            "[[listener]]\nname = \"a\"\naddress = \"localhost:104\"",
            "3: listener.address: \"localhost\" is not an IP address",
        ),
        ("[[listener]]\nname = \"a\"\naddress = \"104\"", "3: listener.address: \"104\" is not host:port"),
        (
            "[destination]\nname = \"pacs\"\n[[route]]\nto = [\"pacs\"]",
            "1: destination: write [[destination]]: there can be several",
        ),
        (
            "[destinations]",
            "1: destinations: unknown key; did you mean destination? allowed here: profile, node, listener, relay, queue, destination, routing, route, transcode, admin, log",
        ),
        (
            "[node]\nae_titel = \"X\"",
            "2: node.ae_titel: unknown key; did you mean ae_title? allowed here: ae_title, data_dir, grace",
        ),
        (
            "include = \"more.toml\"",
            "1: include: unknown key; allowed here: profile, node, listener, relay, queue, destination, routing, route, transcode, admin, log",
        ),
        ("[admin]\naddress = 8080", "2: admin.address: expected a string, found 8080"),
        ("admin = 1", "1: admin: expected a table, found 1"),
        ("[listener]", "1: listener: write [[listener]]: there can be several"),
        ("[node]\nae_title = \"\"", "2: node.ae_title: an AE title cannot be empty"),
        ("[node]\ndata_dir = \"/\"", "2: node.data_dir: is the root directory"),
        ("[node]\ndata_dir = \"\"", "2: node.data_dir: is empty"),
        ("[queue]\nretain = 72", "2: queue.retain: expected a duration such as \"30s\", found 72"),
        ("[queue]\n\nreserve = \"1KiB\"", "3: queue.reserve: \"1KiB\" is not 1MiB..1TiB"),
        (
            "[queue]\nhigh_watermark = \"0%\"",
            "2: queue.high_watermark: \"0%\" is not a share from \"1%\" to \"100%\"",
        ),
        ("[log]\nformat = \"xml\"", "2: log.format: \"xml\" is not one of \"human\", \"json\""),
        (
            "[[destination]]\nname = \"none\"\nkind = \"folder\"\npath = \"x\"",
            "2: destination.name: \"none\" is reserved for instances that no route matches",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicom\"\naddress = \"h:1\"",
            "1: destination.called_ae: is required",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"folder\"\npath = \"x\"\ncalled_ae = \"P\"",
            "5: destination.called_ae: has no meaning for a destination of kind \"folder\"",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"folder\"\npath = \"x\"\ntimeouts = { connect = \"1s\" }",
            "5: destination.timeouts: has no meaning for a destination of kind \"folder\"",
        ),
        ("[[destination]]\nname = \"p\"\nkind = \"dicomweb\"", "1: destination.url: is required"),
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicomweb\"\nurl = \"https://u:canary@h/\"",
            "4: destination.url: has credentials in it: use token_file, or user and password_file",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicomweb\"\nurl = \"http://h/\"\ncalled_ae = \"P\"",
            "5: destination.called_ae: has no meaning for a destination of kind \"dicomweb\"",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicomweb\"\nurl = \"http://h/\"\ntimeouts = { dimse = \"9s\" }",
            "5: destination.timeouts.dimse: has no meaning for a destination of kind \"dicomweb\"",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicom\"\naddress = \"h:1\"\ncalled_ae = \"P\"\nurl = \"http://h/\"",
            "6: destination.url: has no meaning for a destination of kind \"dicom\"",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicomweb\"\nurl = \"http://h/\"\ntoken_variable = \"canary.secret\"",
            "5: destination.token_variable: is not the name of a variable",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicomweb\"\nurl = \"http://h/\"\ntls = { verify = \"none\" }",
            "5: destination.tls: has no meaning with an http URL",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicomweb\"\nurl = \"http://h/\"\nuser = \"u\"",
            "5: destination.user: needs password_file or password_variable",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicomweb\"\nurl = \"http://h/\"\ntoken_file = \"t\"\nuser = \"u\"\npassword_file = \"p\"",
            "6: destination.user: and password go with no token: one of the two",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"dicomweb\"\nurl = \"http://h/\"\n[[destination]]\nname = \"q\"\nkind = \"dicomweb\"\nurl = \"http://H:80/studies\"",
            "8: destination.url: destination \"p\" is the same: url and credentials",
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"folder\"\npath = \"./chrysalis-data/spool/x\"",
            "4: destination.path: is inside the part of node.data_dir that the queue keeps for itself",
        ),
        (
            "[[route]]\nto = [\n  \"archive\",\n  \"pasc\",\n]",
            "4: route.to: there is no destination \"pasc\"; there are \"archive\"",
        ),
        ("[[route]]\nto = []", "2: route.to: is empty"),
        ("[[route]]\nwhen = {}", "1: route.to: is required"),
        (
            "[[route]]\nto = [\"archive\"]\n[route.when]\nlistener = [\"x\"]",
            "4: route.when.listener: there is no listener \"x\"; there are \"modalities\"",
        ),
        ("[routing]\nmatch = \"any\"", "2: routing.match: \"any\" is not one of \"all\", \"first\""),
        (
            "[[route]]\nname = \"\"\nto = [\"archive\"]",
            "2: route.name: a name has 1 to 64 printable characters",
        ),
        (
            "[[route]]\naction = \"drop\"\nto = [\"archive\"]",
            "3: route.to: has no meaning with action = \"drop\"",
        ),
        ("[[route]]\naction = \"hold\"\nto = []", "3: route.to: is empty"),
        (
            "[[route]]\nto = [\"archive\"]\nwhen = { StudyDesciption = \"x\" }",
            "3: route.when.StudyDesciption: \"StudyDesciption\" is no attribute; did you mean StudyDescription?",
        ),
        (
            "[[route]]\nto = [\"archive\"]\nwhen = 7",
            "3: route.when: expected a table, or an expression such as 'modality = \"US\"', found 7",
        ),
        (
            "[[route]]\nto = [\"archive\"]\nwhen = 'modality = US'",
            "3: route.when: column 12: expected a text in double quotes, found US",
        ),
        (
            "[[route]]\nto = [\"archive\"]\nwhen = 'listener = \"x\"'",
            "3: route.when: there is no listener \"x\"; there are \"modalities\"",
        ),
        (
            "[[route]]\nto = [\"archive\"]\nwhen = { TransferSyntaxUID = \"x\" }",
            "3: route.when.TransferSyntaxUID: TransferSyntaxUID is not part of a data set",
        ),
        ("[[route]]\nto = [\"archive\"]\nwhen = { any = [] }", "3: route.when.any: is empty"),
        (
            "[[route]]\nto = [\"archive\"]\nwhen = { modality = \"ULTRASOUND-IMAGES\" }",
            "3: route.when.modality: can never match: modality has at most 16 characters, \"ULTRASOUND-IMAGES\" has 17",
        ),
        (
            "[[route]]\nto = [\"archive\"]\nwhen = 'calling_ae = \"A\" and calling_ae = \"B\"'",
            "3: route.when: can never match: calling_ae = \"A\" and calling_ae = \"B\" exclude each other",
        ),
        (
            "[[route]]\nto = [\"archive\"]\nwhen = { not = {} }",
            "3: route.when: can never match: nothing passes it",
        ),
        (
            "[[route]]\nname = \"a\"\nto = [\"archive\"]\n[[route]]\nto = [\"archive\"]\nname = \"a\"",
            "6: route.name: another rule is called \"a\"",
        ),
        (
            "[routing]\nmatch = \"first\"\n[[route]]\nto = [\"archive\"]\n[[route]]\nto = [\"archive\"]\nwhen = { modality = \"US\" }",
            "7: route.when: can never be reached: rule \"route 1\" before it matches all of it",
        ),
        (
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:8080\"",
            "3: listener.address: [admin] listens at 127.0.0.1:8080 already",
        ),
        (
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:104\"\ncalled_ae = [\"X\",\n\"X\"]",
            "5: listener.called_ae: \"X\" is listed twice",
        ),
        (
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:104\"\nuser_identity = [{ username = \"u\", passcode = 4711 }]",
            "4: listener.user_identity.passcode: expected a string",
        ),
        ("listener = []\n[admin]\naddress = \"127.0.0.1:11112\"", "1: listener: is empty"),
    ];
    for (text, expected) in table {
        assert_eq!(problems(text), [format!("chrysalis.toml:{expected}")], "{text}");
    }
}

#[test]
fn several_mistakes_of_one_rule_are_all_reported() {
    let text = "[[route]]\nname = 1\naction = \"keep\"\nto = [\"x\"]\n[route.when]\nlistener = \"y\"\nsource = [\"z\", \"10.0.0.1\", \"w\"]\n\
                Modalty = \"US\"\nany = ['a = 1 and b = 2', { PixelData = \"1\" }]\n";
    let starts = [
        "2: route.name: expected a string",
        "3: route.action: \"keep\"",
        "4: route.to: there is no destination \"x\"",
        "6: route.when.listener: there is no listener \"y\"",
        "7: route.when.source: \"w\"",
        "7: route.when.source: \"z\"",
        "8: route.when.Modalty: \"Modalty\" is no attribute; did you mean",
        "9: route.when.any: column 11: \"b\"",
        "9: route.when.any: column 1: \"a\"",
        "9: route.when.any.PixelData: PixelData cannot be compared",
    ];
    let lines = problems(text);
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(&format!("chrysalis.toml:{start}")), "{line} should be {start}");
    }
}

#[test]
fn long_lists_of_values_are_bounded_and_quickly_read() {
    let list = |count: usize| {
        let titles: Vec<_> = (0..count).map(|n| format!("\"C*{n}\"")).collect();
        let list = titles.join(",");
        format!(
            "[[route]]\nto = [\"archive\"]\n[route.when]\nall = [{{ calling_ae = [{list}] }}, {{ calling_ae = [{list}] }}]"
        )
    };
    assert!(Config::parse(&list(4096), "x").is_ok());
    assert!(problems(&list(4097))[0].ends_with(": route.when.all.calling_ae: more than 4096 values"));
}

#[test]
fn more_attributes_than_are_captured_are_refused() {
    let keywords: Vec<_> = dicom_tags().take(65).map(|keyword| format!("exists {keyword}")).collect();
    let rule =
        |count: usize| format!("[[route]]\nto = [\"archive\"]\nwhen = '{}'", keywords[..count].join(" or "));
    assert!(Config::parse(&rule(64), "x").is_ok());
    assert_eq!(problems(&rule(65)), ["chrysalis.toml:3: route.when: more than 64 attributes are asked for"]);
}

/// Keywords of attributes that are not captured anyway.
fn dicom_tags() -> impl Iterator<Item = &'static str> {
    use dicom_core::dictionary::DataDictionary;
    let entries = (0x0050..=0xFFFF).filter_map(|element| {
        dicom_dictionary_std::StandardDataDictionary.by_tag(crate::dicom::Tag(0x0018, element))
    });
    entries.map(|entry| entry.alias).filter(|name| crate::route::Field::named(name).is_ok())
}

#[test]
fn a_destination_that_is_one_of_our_listeners_is_a_loop() {
    for (own, target, loops) in [
        ("127.0.0.1:104", "127.0.0.1:104", true),
        ("127.0.0.1:104", "localhost:104", true),
        ("127.0.0.1:104", "LOCALHOST.:104", true),
        ("127.0.0.1:104", "0.0.0.0:104", true),
        ("0.0.0.0:104", "127.0.0.1:104", true),
        ("0.0.0.0:104", "localhost:104", true),
        ("[::]:104", "[::1]:104", true),
        ("10.0.0.1:104", "10.0.0.1:104", true),
        ("10.0.0.1:104", "[::ffff:10.0.0.1]:104", true),
        ("127.0.0.1:104", "127.0.0.1:105", false),
        ("127.0.0.1:104", "127.0.0.2:104", false),
        ("10.0.0.1:104", "localhost:104", false),
        ("0.0.0.0:104", "10.0.0.1:104", false),
        ("127.0.0.1:104", "pacs.example.org:104", false),
    ] {
        let text = format!(
            "[[listener]]\nname = \"a\"\naddress = \"{own}\"\n{}",
            PACS.replace("127.0.0.1:11113", target)
        );
        let expected = "chrysalis.toml:7: destination.address: is our own listener \"a\": a loop";
        match Config::parse(&text, "chrysalis.toml") {
            Ok(_) => assert!(!loops, "{own} {target}"),
            Err(error) => assert!(loops && error.to_string() == expected, "{own} {target}: {error}"),
        }
    }
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_their_lines() {
    let text = "[node]\nae_title = 7\ndata = \"x\"\n[[listener]]\nname = \"a b\"\naddress = \"x\"\nallow = [\"10.0.0.0/33\", \"1.2.3\"]\n\
                [[destination]]\nname = \"p\"\n[queue]\nretain = \"soon\"\n";
    let lines = problems(text);
    let starts = [
        "2: node.ae_title",
        "3: node.data",
        "5: listener.name",
        "6: listener.address",
        "7: listener.allow",
        "7: listener.allow",
        "8: destination.kind",
        "11: queue.retain",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(&format!("chrysalis.toml:{start}: ")), "{line} should be {start}");
    }
}

#[test]
fn one_mistake_in_a_table_hides_no_other() {
    let table: [(&str, &[&str]); 9] = [
        ("[node]\nae_title = \"\"\ndata_dir = \"/\"", &["2: node.ae_title", "3: node.data_dir"]),
        (
            "[[destination]]\nname = \"p\"\naddress = \"h:0\"\ncalled_ae = \"\"\nmax_associations = 0",
            &[
                "1: destination.kind: is required",
                "3: destination.port",
                "4: destination.called_ae",
                "5: destination.max_associations",
            ],
        ),
        (
            "[[destination]]\nname = \"p q\"\nkind = \"folder\"\npath = \"/\"",
            &["2: destination.name", "4: destination.path: is the root directory"],
        ),
        (
            "[[listener]]\nname = \"a\"\naddress = \"host:0\"",
            &["3: listener.address: \"host\" is not an IP address", "3: listener.port: 0 is not"],
        ),
        (
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:104\"\ncalled_ae = [\"X\", \"\",\n\"X\"]",
            &[
                "4: listener.called_ae: an AE title cannot be empty",
                "5: listener.called_ae: \"X\" is listed twice",
            ],
        ),
        (
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:104\"\nmax_pdu = 1\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:104\"\nmax_pdu = 2",
            &[
                "4: listener.max_pdu",
                "6: listener.name: another listener is called \"a\"",
                "7: listener.address: listener \"a\" is at 127.0.0.1:104 already",
                "8: listener.max_pdu",
            ],
        ),
        (
            "[[destination]]\nname = \"p\"\nkind = \"folder\"\npath = \"x\"\nbackoff = 1\n[[destination]]\nname = \"p\"\nkind = \"folder\"\npath = \"./x\"\nbackoff = 2",
            &[
                "5: destination.backoff",
                "7: destination.name: another destination is called \"p\"",
                "9: destination.path: destination \"p\" is the same: path",
                "10: destination.backoff",
            ],
        ),
        (
            "[node]\nae_title = \"\"\n[[destination]]\nname = \"p\"\nkind = \"folder\"\npath = \"./chrysalis-data/spool\"",
            &["2: node.ae_title", "6: destination.path: is inside the part of node.data_dir"],
        ),
        (
            "[node]\nae_title = \"\"\n[[route]]\nto = [\"archive\", \"pasc\"]",
            &["2: node.ae_title", "4: route.to: there is no destination \"pasc\"; there are \"archive\""],
        ),
    ];
    for (text, expected) in table {
        let found = problems(text);
        assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
        for (line, start) in found.iter().zip(expected) {
            assert!(line.starts_with(&format!("chrysalis.toml:{start}")), "{line} should be {start}");
        }
    }
}

#[test]
fn nothing_may_be_there_twice() {
    let listener =
        |name: &str, address: &str| format!("[[listener]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    let table = [
        (
            listener("a", "127.0.0.1:104") + &listener("a", "127.0.0.1:105"),
            "5: listener.name: another listener is called \"a\"",
        ),
        (
            listener("a", "127.0.0.1:104") + &listener("b", "127.0.0.1:104"),
            "6: listener.address: listener \"a\" is at 127.0.0.1:104 already",
        ),
        (
            listener("a", "0.0.0.0:104") + &listener("b", "127.0.0.1:104"),
            "6: listener.address: listener \"a\" is at 0.0.0.0:104 already",
        ),
        (
            PACS.to_owned() + &PACS.replace("PACS", "OTHER"),
            "7: destination.name: another destination is called \"pacs\"",
        ),
        (
            PACS.to_owned() + &PACS.replace("pacs", "again"),
            "10: destination.called_ae: destination \"pacs\" is the same: address, called_ae and calling_ae",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(problems(&text), [format!("chrysalis.toml:{expected}")], "{text}");
    }
}

#[test]
fn text_that_is_no_toml_is_reported_with_its_line() {
    let lines = problems("[node]\nae_title = \nx = = 1\n");
    assert!(lines.first().is_some_and(|line| line.starts_with("chrysalis.toml:2: ")), "{lines:?}");
}

#[test]
fn deep_nesting_is_refused_and_overflows_nothing() {
    let arrays = format!("x = {}", "[".repeat(1 << 18));
    let tables = format!("x = {}", "{a=".repeat(1 << 18));
    let dotted = format!("{} = 1", vec!["a"; 1 << 18].join("."));
    let inline =
        format!("x = {}", format!("{{{} = ", vec!["a"; 79].join(".")).repeat(79)) + "1" + &"}".repeat(79);
    for text in [arrays, tables, dotted, inline] {
        let outcome = std::thread::Builder::new()
            .stack_size(512 << 10)
            .spawn(move || problems(&text))
            .expect("a thread")
            .join();
        assert!(outcome.is_ok_and(|lines| !lines.is_empty()));
    }
}

#[test]
fn fifty_thousand_mistakes_are_reported_in_part() {
    let text: String = (0..50_000).map(|n| format!("k{n}=1\n")).collect();
    assert_eq!(problems(&text).len(), 100);
}

#[test]
fn control_characters_in_a_key_are_not_printed() {
    let lines = problems("\"a\\u001b[2J\\n\" = 1");
    assert!(lines.len() == 1 && !lines[0].contains('\u{1b}'), "{lines:?}");
}

#[test]
fn the_revision_follows_the_values_and_not_the_text() {
    let revision = |text: &str| Config::parse(text, "x").expect("a configuration").revision;
    let first = revision("[node]\nae_title = \"A\"\ngrace = \"1s\"\n");
    assert_eq!(first, revision("# why\n[node]\ngrace = '1s'   # because\nae_title = \"A\"\n"));
    assert_ne!(first, revision("[node]\nae_title = \"B\"\ngrace = \"1s\"\n"));
    assert_eq!(first.len(), 16);
}

#[test]
fn the_narrowest_network_decides_how_many_may_call() {
    let config = Config::parse(FULL, "x").expect("a configuration");
    for (address, max, network) in [
        ("10.1.2.3", 8, "10.1.2.0/24"),
        ("10.1.9.9", 64, "10.1.0.0/16"),
        ("10.9.9.9", 16, "10.9.9.9/32"),
        ("::ffff:10.1.2.3", 8, "10.1.2.0/24"),
    ] {
        let limit = config.listeners[0].limit_for(address.parse().expect("an address"));
        assert_eq!((limit.max, limit.network.to_string()), (max, network.to_owned()), "{address}");
    }
}

#[test]
fn a_named_file_is_loaded_and_its_directories_are_looked_at() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("site.toml");
    let data = dir.path().join("data");
    std::fs::write(&file, format!("[node]\ndata_dir = {:?}\n", data.display().to_string())).expect("a file");
    let loaded = Sources::file(Some(&file)).load().expect("a configuration");
    assert_eq!((loaded.config.node.data_dir, loaded.origin), (data.clone(), Origin::Named(file.clone())));
    std::fs::write(&data, "in the way").expect("a file");
    let error = Sources::file(Some(&file)).load().expect_err("a file is no directory").to_string();
    let expected = format!("{}:2: node.data_dir: {} is not a directory", file.display(), data.display());
    assert_eq!(error, expected);
}

#[test]
fn a_file_that_is_missing_too_large_or_no_text_is_said_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("missing.toml");
    assert!(matches!(Sources::file(Some(&missing)).load(), Err(ConfigError::Unreadable { .. })));
    let large: PathBuf = dir.path().join("large.toml");
    let length = usize::try_from(MAX_FILE_BYTES).expect("a length") + 1;
    std::fs::write(&large, vec![b'\n'; length]).expect("a file");
    assert!(matches!(Sources::file(Some(&large)).load(), Err(ConfigError::TooLarge { .. })));
    std::fs::write(&large, [0xFF, 0xFE]).expect("a file");
    assert!(matches!(Sources::file(Some(&large)).load(), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn the_embedded_text_is_readable_as_a_file() {
    assert!(DEFAULT_TEXT.lines().all(|line| line.len() < 80) && DEFAULT_TEXT.ends_with('\n'));
}

#[test]
fn where_the_node_is_can_be_read_from_a_file_that_is_wrong_elsewhere() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("site.toml");
    let place = "[node]\ndata_dir = \"/srv/node\"\n[admin]\naddress = \"127.0.0.1:9090\"\n";
    for mistake in ["[nodes]\n", "[[destination]]\nkind = 3\n", "[log]\nlevel = = 3\n"] {
        std::fs::write(&file, format!("{place}{mistake}")).expect("a file");
        let (config, wrong) = Sources::file(Some(&file)).whom_to_ask().expect("a readable file");
        assert_eq!(config.node.data_dir, Path::new("/srv/node"), "{mistake}");
        assert_eq!(config.admin.address.port(), 9090, "{mistake}");
        assert!(wrong.is_some(), "{mistake}");
    }
    std::fs::write(&file, place).expect("a file");
    assert!(Sources::file(Some(&file)).whom_to_ask().expect("a readable file").1.is_none());
}
