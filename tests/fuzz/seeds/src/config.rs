//! For `config`: the examples of the manual, each key by itself, and the JSON of what comes from afar.

use crate::Seeds;

const MANUAL: &str = include_str!("../../../../docs/OPERATIONS.md");

const OWN: u8 = 0;
const AFAR: u8 = 1;
const JSON: u8 = 2;
const ANNOUNCED: u8 = 3;

pub fn add(seeds: &mut Seeds) {
    let examples = || {
        let fenced = MANUAL.split("```toml\n").skip(1);
        fenced.filter_map(|after| after.split("```").next())
    };
    let texts = examples().map(str::to_owned).chain(keys()).chain(odd());
    for text in texts {
        seeds.add("config", [&[OWN][..], text.as_bytes()].concat());
        seeds.add("config", [&[AFAR][..], text.as_bytes()].concat());
    }
    for text in AFAR_TEXTS {
        seeds.add("config", [&[AFAR][..], text.as_bytes()].concat());
    }
    for text in JSON_TEXTS {
        seeds.add("config", [&[JSON][..], text.as_bytes()].concat());
    }
    let announced = [&[ANNOUNCED, 0, 3][..], b"3-0", &[0, 0, 0, 40], &[7; 32]].concat();
    seeds.add("config", announced);
}

/// Every row of a table of the manual that is about a key: the key with its default.
fn keys() -> Vec<String> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in MANUAL.lines() {
        if let Some(heading) = line.strip_prefix("### `").and_then(|rest| rest.strip_suffix('`')) {
            section = heading.to_owned();
        }
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        if let ["", key, default, ..] = cells[..]
            && line.starts_with("| `")
        {
            let value = if default.is_empty() || default.contains(' ') { "\"x\"" } else { default };
            let is_list = ["listener", "destination", "route", "relay"].contains(&section.as_str());
            let (open, close) = if is_list { ("[[", "]]") } else { ("[", "]") };
            found.push(format!("{open}{section}{close}\nname = \"a\"\n{key} = {value}\n"));
        }
    }
    found
}

fn odd() -> Vec<String> {
    vec![
        String::new(),
        format!("a = {}{}", "[".repeat(79), "]".repeat(79)),
        format!("{}b = 1", "a.".repeat(79)),
        "[log]\nlevel = ".to_owned() + &format!("{:?}", "x".repeat(5000)),
        "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:70000\"\n".to_owned(),
        "[[route]]\nwhen = \"modality = 'US' and (0008,103E) contains 'x'\"\nto = [\"archive\"]\n".to_owned(),
        "[[route]]\nwhen = { modality = [\"US\"], calling_ae = \"VIVID*\" }\naction = \"hold\"\n".to_owned(),
        "x = 9223372036854775808\ny = 0xFFFFFFFFFFFFFFFF\nz = 1e999\nd = 1979-05-27T07:32:00Z\n".to_owned(),
    ]
}

const AFAR_TEXTS: [&str; 6] = [
    "[[destination]]\nname = \"pacs\"\naddress = \"10.0.0.6:104\"\ntimeouts = { dimse = \"60s\" }\n",
    "[[destination]]\nname = \"new\"\nkind = \"dicom\"\naddress = \"a:104\"\ncalled_ae = \"NEW\"\ntls = { verify = \"ca\" }\n",
    "[[destination]]\nname = \"cloud\"\nimage = \"jpeg-lossless\"\n",
    "[[listener]]\nname = \"modalities\"\nmax_associations = 3\nallow = [\"10.0.0.0/8\"]\n",
    "[[route]]\nname = \"all\"\nto = [\"pacs\", \"cloud\"]\n",
    "[node]\nae_title = \"OTHER\"\n",
];

const JSON_TEXTS: [&str; 6] = [
    r#"{"revision":"3-0011aabb","text":"[[route]]\nto = [\"pacs\"]\n"}"#,
    r#"{"state":"wanted"}"#,
    r#"{"state":"refused","problems":["line 1: no"]}"#,
    r#"{"state":"gone-back","why":"nobody answered"}"#,
    r#"{"gateway":"ws://a","good":{"revision":"1","text":""},"candidate":null}"#,
    r#"{"good":null}"#,
];
