use super::{AFAR, MAX_AFAR_BYTES, Overlay, judge_afar};
use crate::config::{Config, ConfigError, DestinationKind, KEYS, Verify};

const OWN: &str = r#"
[[listener]]
name = "wards"
address = "127.0.0.1:11112"
allow = ["10.0.0.0/8"]
timeouts = { request = "7s" }
[[listener]]
name = "links"
kind = "tunnel"
address = "127.0.0.1:8443"
[[destination]]
name = "pacs"
kind = "dicom"
address = "pacs:104"
called_ae = "PACS"
tls = { verify = "ca", ca = "ca.pem" }
timeouts = { connect = "9s" }
[[destination]]
name = "plain"
kind = "dicom"
address = "plain:104"
called_ae = "PLAIN"
[[destination]]
name = "archive"
kind = "folder"
path = "./archive"
[[destination]]
name = "cloud"
kind = "tunnel"
url = "ws://127.0.0.1:9/tunnel"
site = "north"
code_file = "code"
remote_configuration = true
[[route]]
name = "all"
to = ["pacs", "cloud"]
"#;

fn under(text: &str) -> Result<Config, ConfigError> {
    let over = Overlay { revision: "1-x".into(), text: text.into() };
    Config::parse_under(OWN, "own.toml", &over)
}

fn refused(text: &str) -> String {
    under(text).map(drop).expect_err(text).to_string()
}

#[test]
fn values_win_key_by_key_and_what_is_not_named_stays() {
    let config = under(
        r#"
        [[listener]]
        name = "wards"
        max_associations = 3
        timeouts = { idle = "11s" }
        [[destination]]
        name = "pacs"
        address = "pacs2:105"
        timeouts = { dimse = "13s" }
        image = "jpeg-lossless"
        "#,
    )
    .unwrap();
    let wards = &config.listeners[0];
    assert_eq!((wards.max_associations, wards.allow.len(), config.listeners.len()), (3, 1, 2));
    assert_eq!((wards.timeouts.request.as_secs(), wards.timeouts.idle.as_secs()), (7, 11));
    let DestinationKind::Dicom(pacs) = &config.destination("pacs").unwrap().kind else { panic!("dicom") };
    assert_eq!((pacs.address.to_string(), pacs.called_ae.as_str()), ("pacs2:105".into(), "PACS"));
    assert_eq!((pacs.timeouts.connect.as_secs(), pacs.timeouts.dimse.as_secs()), (9, 13));
    assert!(matches!(&pacs.tls.as_ref().unwrap().verify, Verify::Ca(Some(_))), "it stays verified");
    assert_eq!((config.routes.len(), config.afar.as_deref()), (1, Some("1-x")));
    let alone = Config::parse(OWN, "own.toml").unwrap();
    assert_eq!((alone.destinations.len(), alone.afar.clone()), (config.destinations.len(), None));
    assert_ne!(alone.revision, config.revision);
    assert_eq!(under("").unwrap().revision, alone.revision, "no sections change nothing");
}

#[test]
fn listeners_destinations_and_rules_are_added_and_a_rule_of_the_same_name_is_changed() {
    let config = under(
        r#"
        [[listener]]
        name = "lab"
        address = "127.0.0.1:11113"
        [[destination]]
        name = "new"
        kind = "dicom"
        address = "new:104"
        called_ae = "NEW"
        tls = { verify = "ca", server_name = "new.example.org" }
        [[route]]
        name = "all"
        when = { any = [{ modality = "US" }, { PatientID = "T*" }] }
        to = ["new"]
        [[route]]
        to = ["plain"]
        "#,
    )
    .unwrap();
    assert_eq!((config.listeners.len(), config.destinations.len(), config.routes.len()), (3, 5, 2));
    assert_eq!(config.routes[0].to.len(), 1);
    assert!(config.destination("new").unwrap().has_tls());
}

#[test]
fn whatever_is_not_on_the_list_is_refused_by_its_name() {
    for section in ["node", "admin", "queue", "log", "transcode", "routing"] {
        let key = KEYS.iter().find(|key| key.section == section).expect("a key");
        let said = refused(&format!("[{section}]\n{} = \"x\"\n", key.name));
        assert_eq!(said, format!("from afar, line 1: {section}: may not be set from afar"));
    }
    let said = refused("profile = \"high\"\n");
    assert_eq!(said, "from afar, line 1: profile: may not be set from afar");
    for list in ["listener", "destination", "route"] {
        let forbidden = |key: &&crate::config::Key| key.section == list && !key.may_come_from_afar();
        for key in KEYS.iter().filter(forbidden) {
            let said = refused(&format!("[[{list}]]\nname = \"pacs\"\n{} = \"x\"\n", key.name));
            let expected = format!("from afar, line 3: {list}.{}: may not be set from afar", key.name);
            assert!(said.contains(&expected), "{said}");
        }
    }
    for key in ["ca", "pins", "certificate", "key"] {
        let said = refused(&format!("[[destination]]\nname = \"plain\"\n[destination.tls]\n{key} = \"x\"\n"));
        assert!(said.contains(&format!("destination.tls.{key}: may not be set from afar")), "{said}");
    }
    assert!(refused("[elsewhere]\n").contains("unknown key"));
    assert!(
        refused("[[listener]]\nname = \"wards\"\nadress = \"x\"\n").contains("listener.adress: unknown key")
    );
}

#[test]
fn every_key_on_the_list_is_one_and_none_names_a_file_or_a_secret() {
    for (section, names) in AFAR {
        for name in *names {
            let key = KEYS.iter().find(|key| key.section == *section && key.name == *name);
            let key = key.unwrap_or_else(|| panic!("{section}.{name} is no key"));
            assert!(!key.range.contains("path") && !key.about.contains("passcode"), "{}", key.dotted());
        }
    }
    let allowed: Vec<_> = KEYS.iter().filter(|key| key.may_come_from_afar()).collect();
    assert_eq!(allowed.len(), AFAR.iter().map(|(_, names)| names.len()).sum::<usize>());
}

#[test]
fn what_is_verified_stays_so_and_tunnels_and_folders_are_left_alone() {
    for (text, expected) in [
        (
            "[[destination]]\nname = \"cloud\"\nimage = \"jpeg-lossless\"\nbackoff = { first = \"1s\" }\n",
            "from afar, line 4: destination.backoff: is of kind \"tunnel\"",
        ),
        (
            "[[destination]]\nname = \"cloud\"\nkind = \"dicom\"\naddress = \"a:1\"\ncalled_ae = \"A\"\n",
            "is of kind \"tunnel\"",
        ),
        (
            "[[destination]]\nname = \"cloud\"\nurl = \"ws://127.0.0.1:1/t\"\n",
            "url: may not be set from afar",
        ),
        (
            "[[destination]]\nname = \"archive\"\nimage = \"uncompressed\"\n",
            "destination.name: is of kind \"folder\"",
        ),
        ("[[listener]]\nname = \"links\"\nmax_associations = 1\n", "listener.name: is of kind \"tunnel\""),
        ("[[destination]]\nname = \"pacs\"\ntls = { verify = \"ca\" }\n", "which alone says who is believed"),
        (
            "[[destination]]\nname = \"plain\"\ntls = { verify = \"none\" }\n",
            "destination.tls.verify: only \"ca\"",
        ),
        (
            "[[destination]]\nname = \"plain\"\ntls = { verify = \"pin\" }\n",
            "destination.tls.verify: only \"ca\"",
        ),
        ("[[destination]]\nname = \"x\"\nkind = \"folder\"\n", "destination.kind: only \"dicom\""),
        ("[[destination]]\nname = \"x\"\nkind = \"tunnel\"\n", "destination.kind: only \"dicom\""),
        ("[[destination]]\nname = \"pacs\"\nkind = 7\n", "destination.kind: only \"dicom\""),
        ("[[destination]]\nkind = \"dicom\"\n", "destination.name: is required"),
        ("[[listener]]\nname = \"a\"\n[[listener]]\nname = \"a\"\n", "listener.name: is there twice"),
        ("[listener]\nname = \"a\"\n", "write [[listener]]"),
        ("listener = [1]\n", "expected a table"),
        ("[[listener\n", "from afar, line 1"),
    ] {
        let said = refused(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
    let large = format!("#{}", "x".repeat(MAX_AFAR_BYTES));
    assert!(refused(&large).contains("is larger than"));
}

#[test]
fn how_what_goes_through_a_tunnel_is_compressed_can_be_set_and_nothing_else_of_it() {
    let config = under(
        "[[destination]]\nname = \"cloud\"\nimage = \"jpeg-lossless\"\nloop = \"jpeg-lossy\"\nloop_quality = 80\n",
    );
    let (config, alone) = (config.unwrap(), Config::parse(OWN, "own.toml").unwrap());
    let (cloud, own) = (config.destination("cloud").unwrap(), alone.destination("cloud").unwrap());
    assert_eq!(cloud.kind, own.kind);
    assert_ne!(cloud.compression, own.compression);
}

#[test]
fn what_the_whole_does_not_bear_is_told_with_the_line_from_afar() {
    for (text, expected) in [
        ("[[route]]\nto = [\"nobody\"]\n", "from afar, line 2: route.to: there is no destination \"nobody\""),
        (
            "\n[[listener]]\nname = \"x\"\naddress = \"127.0.0.1:11112\"\n",
            "from afar, line 4: listener.address: listener \"wards\"",
        ),
        ("[[listener]]\nname = \"wards\"\nmax_pdu = 1\n", "from afar, line 3: listener.max_pdu"),
        ("[[listener]]\nname = \"wards\"\naddress = { x = 1 }\n", "listener.address: expected a string"),
        ("[[destination]]\nname = \"x\"\n", "destination.kind: is required"),
        (
            "[[destination]]\nname = \"x\"\nkind = \"dicom\"\naddress = \"127.0.0.1:11112\"\ncalled_ae = \"X\"\n",
            "is our own listener",
        ),
    ] {
        let said = refused(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn a_gateway_is_told_what_it_cannot_set_without_knowing_the_file() {
    assert!(judge_afar("", "x").is_ok());
    assert!(judge_afar("[[destination]]\nname = \"pacs\"\nmax_associations = 4\n", "x").is_ok());
    let wrong = judge_afar("[[destination]]\nname = \"pacs\"\npath = \"/\"\n", "x").expect_err("a path");
    assert!(wrong.to_string().contains("destination.path: may not be set from afar"), "{wrong}");
}

#[test]
fn no_text_from_afar_panics() {
    let deep = format!("[[route]]\nwhen = {}{}\n", "{ not = ".repeat(90), "}".repeat(90));
    let dotted = format!("[[route]]\nwhen.{} = 1\n", "not.".repeat(79) + "x");
    for text in
        [deep.as_str(), &dotted, "\0", "[[listener]]\n\u{feff}", "listener = [[]]", "route = [{ when = [] }]"]
    {
        let _ = under(text);
    }
}

#[test]
fn of_several_gateways_only_one_may_set_anything() {
    let second = OWN.to_owned()
        + "[[destination]]\nname = \"cloud2\"\nkind = \"tunnel\"\nurl = \"ws://127.0.0.1:8/t\"\nsite = \"n\"\ncode_file = \"c\"\nremote_configuration = true\n";
    let said = Config::parse(&second, "own.toml").map(drop).expect_err("two").to_string();
    assert!(said.contains("remote_configuration: is true for \"cloud\" already"), "{said}");
}
