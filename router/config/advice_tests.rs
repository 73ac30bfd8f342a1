use crate::config::load::advice_of;

fn questions(text: &str) -> Vec<String> {
    advice_of(text).expect("a configuration").iter().map(ToString::to_string).collect()
}

fn destination(lines: &str) -> String {
    let address = if lines.contains("address") { "" } else { "address = \"10.0.0.2:104\"\n" };
    let called = if lines.contains("called_ae") { "" } else { "called_ae = \"PACS\"\n" };
    format!("[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\n{lines}\n{address}{called}")
}

fn listener(lines: &str) -> String {
    format!("[[listener]]\nname = \"carts\"\n{lines}\n")
}

#[test]
fn a_plain_configuration_raises_no_question() {
    assert_eq!(questions(""), [""; 0]);
    let text = listener("address = \"0.0.0.0:104\"\nallow = [\"10.0.0.0/8\"]")
        + &destination("max_associations = 4");
    assert_eq!(questions(&text), [""; 0]);
}

fn rules(lines: &str) -> Vec<String> {
    questions(&format!("[[destination]]\nname = \"pacs\"\nkind = \"folder\"\npath = \"/srv/a\"\n{lines}"))
}

#[test]
fn a_drop_that_always_gives_way_is_asked_about() {
    let send = "[[route]]\nname = \"all\"\nto = [\"pacs\"]\n";
    let drop = "[[route]]\nwhen = { modality = \"PR\" }\naction = \"drop\"\n";
    let found = rules(&format!("{send}{drop}"));
    let expected =
        "site.toml:10: route.action: drops nothing: rule \"all\" sends the same; use match = \"first\"";
    assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    assert_eq!(rules(&format!("{drop}{send}[routing]\nmatch = \"first\"\n")), [""; 0]);
    let not = "[[route]]\nwhen = { not = { modality = \"PR\" } }\nto = [\"pacs\"]\n";
    assert_eq!(rules(&format!("{not}{drop}")), [""; 0]);
}

#[test]
fn no_example_of_the_manual_drops_nothing() {
    let manual = include_str!("../../docs/OPERATIONS.md");
    let examples = manual.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let dropping: Vec<_> = examples.filter(|example| example.contains("action = \"drop\"")).collect();
    assert!(!dropping.is_empty());
    for example in dropping {
        assert_eq!(rules(example), [""; 0], "{example}");
    }
}

#[test]
fn stars_that_stand_for_themselves_and_titles_in_lower_case_are_asked_about() {
    let found = rules(
        "[[route]]\nto = [\"pacs\"]\nwhen = 'calling_ae = \"vivid*\" or StudyDescription ~ \"*echo*\"'\n",
    );
    assert_eq!(found.len(), 2, "{found:?}");
    let both = found.join("\n");
    assert!(
        both.contains("calling_ae \"vivid*\" has lower case letters: case counts; is it not \"VIVID*\"?"),
        "{both}"
    );
    assert!(
        both.contains(
            "~ takes no wildcards: it looks for the star itself; write StudyDescription ~ \"echo\""
        ),
        "{both}"
    );
}

#[test]
fn what_is_seldom_meant_is_asked_about_with_line_and_key() {
    let table: [(String, &str); 22] = [
        (destination("lossy_uid = \"keep\""), "4: destination.lossy_uid: is not conformant"),
        (
            destination("image = \"jpeg-lossless\"\nlossy_source = \"force\""),
            "5: destination.lossy_source: what came compressed with loss is compressed again",
        ),
        (destination("lossy_source = \"force\""), "4: destination.lossy_source: has no effect"),
        (destination("loop_quality = 80"), "4: destination.loop_quality: has no effect without loop ="),
        (
            destination("image = \"jpeg-lossy\"\nimage_quality = 50"),
            "5: destination.image_quality: 50 is low",
        ),
        (
            "[node]\nae_title = \"Ward\"".into(),
            "2: node.ae_title: has lower case letters: case counts; is it not \"WARD\"?",
        ),
        (
            "[node]\nae_title = \"WARD 3\"".into(),
            "2: node.ae_title: has spaces inside: some systems cut a title there",
        ),
        (
            listener("address = \"10.0.0.1:104\"\ncalled_ae = [\"WARD\",\n\"pacs\"]"),
            "5: listener.called_ae: has lower case letters",
        ),
        (
            listener("address = \"10.0.0.1:104\"\ncalling_ae = [\"Vivid\"]"),
            "4: listener.calling_ae: has lower",
        ),
        (destination("called_ae = \"pacs\""), "4: destination.called_ae: has lower case letters"),
        (destination("calling_ae = \"me too\"\n#"), "4: destination.calling_ae: has lower case letters"),
        (listener("address = \"0.0.0.0:104\""), "3: listener.address: listens on every interface"),
        (
            listener("address = \"10.0.0.1:104\"\ntrusted_proxies = [\"0.0.0.0/0\"]"),
            "4: listener.trusted_proxies: trusts everybody",
        ),
        (listener("address = \"[::]:104\""), "3: listener.address: listens on every interface"),
        (destination("calling_ae = \"passthrough\""), "4: destination.calling_ae: the peer has to know"),
        (destination("max_associations = 5"), "4: destination.max_associations: 5 associations at once"),
        (destination("address = \"192.0.2.1:104\""), "4: destination.address: plain DICOM (Unsecured)"),
        (destination("address = \"[2001:db8::1]:104\""), "4: destination.address: plain DICOM (Unsecured)"),
        (destination("timeouts = { dimse = \"500ms\" }"), "4: destination.timeouts.dimse: 500ms is short"),
        (
            listener("address = \"10.0.0.1:104\"\ntimeouts = { idle = \"1s\" }"),
            "4: listener.timeouts.idle: 1s is short",
        ),
        (
            "[queue]\nretain = \"0s\"".into(),
            "2: queue.retain: a study that was delivered cannot be sent again",
        ),
        (
            destination("") + &destination("called_ae = \"OTHER\"").replace("pacs", "again"),
            "11: destination.address: is the address of destination \"pacs\" too",
        ),
    ];
    for (text, expected) in table {
        let found = questions(&text);
        let begins = found.first().is_some_and(|first| first.starts_with(&format!("site.toml:{expected}")));
        let expected_count = if text.contains("me too") { 2 } else { 1 };
        assert!(begins && found.len() == expected_count, "{text}\n{found:#?}");
    }
}

#[test]
fn addresses_of_ones_own_networks_are_not_asked_about() {
    for host in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.7.7",
        "169.254.1.1",
        "100.64.0.9",
        "[::1]",
        "[fd00::1]",
        "pacs.example.org",
    ] {
        assert_eq!(questions(&destination(&format!("address = \"{host}:104\""))), [""; 0], "{host}");
    }
}

#[test]
fn a_folder_on_the_disk_of_the_spool_is_asked_about_where_the_machine_is_looked_at() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, data, out) = (dir.path().join("site.toml"), dir.path().join("data"), dir.path().join("out"));
    let text = format!(
        "[node]\ndata_dir = {data:?}\n[[destination]]\nname = \"out\"\nkind = \"folder\"\npath = {out:?}\n"
    );
    std::fs::write(&file, text).expect("a file");
    let loaded = crate::config::Sources::file(Some(&file)).load().expect("a configuration");
    assert_eq!(loaded.advice.len(), 1, "{:?}", loaded.advice);
    assert_eq!(loaded.advice[0].key, "destination.path");
    let asked = crate::config::Sources::file(Some(&file)).load_to_ask().expect("a configuration");
    assert_eq!(asked.advice, []);
}

#[test]
fn an_overriding_value_is_asked_about_where_it_was_given() {
    let sources = crate::config::Sources {
        file: None,
        overrides: vec!["node.ae_title=ward".parse().expect("KEY=VALUE")],
    };
    let advice = sources.load_to_ask().expect("a configuration").advice;
    assert_eq!(advice.len(), 1);
    assert!(advice[0].to_string().starts_with("--set node.ae_title: has lower case letters"), "{advice:?}");
}

#[test]
fn proxies_that_are_whole_networks_and_relays_open_to_all_are_asked_about() {
    let about = |text: &str| {
        let found = questions(text);
        assert!(found.len() <= 1, "{found:?}");
        found.into_iter().next().unwrap_or_default()
    };
    let relay = |lines: &str| format!("[[relay]]\nname = \"ris\"\nconnect = \"ris:104\"\n{lines}\n");
    let home = "listen = \"127.0.0.1:104\"\n";
    for (proxies, words) in [
        ("::/0", "trusts everybody"),
        ("0.0.0.0/1", "trusts the whole of 0.0.0.0/1"),
        ("10.0.0.0/7", "trusts the whole of"),
        ("2001::/16", "trusts the whole of 2001::/16"),
        ("10.0.0.0/8", ""),
        ("10.0.0.1", ""),
    ] {
        let line = format!("trusted_proxies = [\"{proxies}\"]");
        let listener = about(&listener(&format!("address = \"127.0.0.1:104\"\n{line}")));
        let relay = about(&relay(&format!("{home}{line}")));
        for (found, key) in [(listener, "listener.trusted_proxies"), (relay, "relay.trusted_proxies")] {
            assert_eq!(found.contains(key), !words.is_empty(), "{proxies}: {found}");
            assert!(found.contains(words), "{proxies}: {found}");
        }
    }
    for address in ["0.0.0.0:104", "[::]:104"] {
        let open = format!("listen = \"{address}\"");
        assert!(
            about(&relay(&open)).contains("relay.listen: listens on every interface without TLS"),
            "{address}"
        );
        assert_eq!(about(&relay(&format!("{open}\nallow = [\"10.0.0.0/24\"]"))), "");
        let tls = "tls = { certificate = \"a.pem\", key = \"a.key\" }";
        assert_eq!(about(&relay(&format!("{open}\n{tls}"))), "");
    }
}
