//! The rules of the house that no compiler checks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrysalis::config::{AFAR, KEYS};

/// Who may depend on whom within the workspace; the leaves on nobody.
const ARROWS: [(&str, &[&str]); 4] = [
    ("Cargo.toml", &["chrysalis-queue", "chrysalis-codecs", "chrysalis-sizing"]),
    ("queue/Cargo.toml", &[]),
    ("codecs/Cargo.toml", &[]),
    ("sizing/Cargo.toml", &[]),
];

/// What may stand at the top, besides names that begin with a dot, `LICENSE` or `README`.
const TOP: [&str; 9] =
    ["Cargo.lock", "Cargo.toml", "benches", "codecs", "docs", "queue", "router", "sizing", "tests"];

#[test]
fn crates_depend_on_each_other_only_along_the_arrows() {
    for (manifest, allowed) in ARROWS {
        let manifest_text = read(&root().join(manifest));
        let table: toml::Table = manifest_text.parse().expect("a manifest");
        let own = table["package"]["name"].as_str().expect("a name").to_owned();
        for dependency in dependencies(&table).into_iter().filter(|name| name.starts_with("chrysalis")) {
            // A crate may name itself, to test with its own features on.
            let fine = dependency == own || allowed.contains(&dependency.as_str());
            assert!(fine, "{manifest}: {own} must not depend on {dependency}");
        }
    }
    let table: toml::Table = read(&root().join("Cargo.toml")).parse().expect("a manifest");
    assert!(table["dependencies"].get("chrysalis-queue").is_some(), "the router is built on the queue");
}

/// The dependencies of every kind and for every target, by the names of their packages.
fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if ["dependencies", "dev-dependencies", "build-dependencies"].contains(&key.as_str()) {
            let package = |(name, value): (&String, &toml::Value)| {
                value.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned()
            };
            names.extend(table.iter().map(package));
        } else if key == "target" {
            names.extend(table.values().filter_map(toml::Value::as_table).flat_map(dependencies));
        }
    }
    names
}

#[test]
fn the_top_level_is_the_listing_of_the_design() {
    for file in files() {
        let top = file.iter().next().map(|name| name.to_string_lossy().into_owned()).expect("a name");
        let dressed = [".", "LICENSE", "README"].iter().any(|start| top.starts_with(start));
        assert!(dressed || TOP.contains(&top.as_str()), "{top} has no place at the top level");
    }
}

#[test]
fn nothing_is_left_to_be_done_or_ignored() {
    // Put together here, so that this file may be looked at as well.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!"),
        concat!("unimpl", "emented!"),
        concat!("#[ig", "nore"),
    ];
    for file in files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
    {
        for (number, line) in read(&root().join(&file)).lines().enumerate() {
            let mark = marks.iter().find(|mark| line.contains(*mark));
            assert!(mark.is_none(), "{}:{}: {}", file.display(), number + 1, mark.unwrap_or(&""));
        }
    }
}

#[test]
fn no_file_knows_somebodys_folders() {
    let folders =
        [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    for file in files() {
        // What is not text has no lines to look at.
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let folder = folders.iter().find(|folder| names_folder(line, folder));
            assert!(folder.is_none(), "{}:{}: {}", file.display(), number + 1, folder.unwrap_or(&""));
        }
    }
}

/// Whether `folder` stands in `line` as the beginning of a path, not within one or within an address.
fn names_folder(line: &str, folder: &str) -> bool {
    let begins = |(at, _): (usize, &str)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|character| !character.is_alphanumeric() && !"._-~*}/".contains(character))
    };
    line.match_indices(folder).any(begins)
}

#[test]
fn every_key_of_the_configuration_is_in_the_manual_as_the_code_has_it() {
    let manual = read(&root().join("docs/OPERATIONS.md"));
    for key in KEYS {
        // What stands in no table stands at the top of the file.
        let heading = match key.section {
            "" => "### At the top of the file\n".to_owned(),
            section => format!("### `{section}`\n"),
        };
        let chapter = manual.split_once(&heading).map(|(_, rest)| rest.split("\n#").next().unwrap_or(rest));
        let chapter = chapter.unwrap_or_else(|| panic!("docs/OPERATIONS.md has no {heading}"));
        assert!(
            chapter.contains(&key.row()),
            "docs/OPERATIONS.md, {} should have:\n{}",
            key.dotted(),
            key.row()
        );
    }
}

#[test]
fn what_can_be_set_from_afar_is_in_the_manual_as_the_code_has_it() {
    let manual = read(&root().join("docs/OPERATIONS.md"));
    for (section, keys) in AFAR {
        let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
        let row = format!("| `{section}` | {} |", keys.join(", "));
        assert!(manual.contains(&row), "docs/OPERATIONS.md should have:\n{row}");
    }
}

#[test]
fn every_metric_is_in_the_manual() {
    let manual = read(&root().join("docs/OPERATIONS.md"));
    let parts = ["", "/relay", "/transcode", "/tunnel"];
    let source = parts.map(|part| read(&root().join(format!("router/metrics{part}.rs")))).concat();
    let word = |start: &str| {
        start.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
    };
    for (at, _) in source.match_indices("\"chrysalis_") {
        let metric = word(source.get(at + 1..).unwrap_or_default());
        assert!(manual.contains(&format!("`{metric}`")), "docs/OPERATIONS.md does not mention {metric}");
    }
}

#[test]
fn every_case_of_hostile_input_has_a_test_with_its_number() {
    let mut tested = BTreeSet::new();
    for file in files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
    {
        let text = read(&root().join(file));
        for (at, _) in text.match_indices("case_") {
            let rest = text.get(at + 5..).unwrap_or_default();
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let has_words = rest.get(digits.len()..).is_some_and(|after| after.starts_with('_'));
            tested.extend(digits.parse::<u16>().ok().filter(|_| has_words));
        }
    }
    let missing: Vec<_> = (1..=106).filter(|number| !tested.contains(number)).collect();
    assert!(missing.is_empty(), "there is no test for {missing:?}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The project's files, relative to its root: what git has or would take, else everything but what is built or spooled.
fn files() -> Vec<PathBuf> {
    let git = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    match git {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            let names = String::from_utf8(output.stdout).expect("names that are text");
            let there = |file: &PathBuf| root().join(file).is_file();
            names.split_terminator('\0').map(PathBuf::from).filter(there).collect()
        }
        _ => walk(Path::new("")),
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, kind) = (folder.join(entry.file_name()), entry.file_type().expect("a kind"));
        let skipped =
            ["target", "chrysalis-data", "chrysalis.toml", ".git"].iter().any(|name| path == Path::new(name));
        if kind.is_dir() && !skipped {
            found.extend(walk(&path));
        } else if kind.is_file() && !skipped {
            found.push(path);
        }
    }
    found
}
