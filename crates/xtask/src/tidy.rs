//! The layer table of ARCHITECTURE.md against `cargo metadata`, and words that must not stay in the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Layer {
    number: u32,
    uses: BTreeSet<String>,
}

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("xtask is two folders deep").to_owned()
}

/// Everything that is not as it should be; empty when all is well.
pub fn complaints(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    let table = layers(&read(&root.join("ARCHITECTURE.md")));
    let real = dependencies(root);
    for (name, uses) in &real {
        let Some(layer) = table.get(name) else {
            complaints.push(format!("crate `{name}` is missing from the layer table of ARCHITECTURE.md"));
            continue;
        };
        if *uses != layer.uses {
            complaints.push(format!("`{name}` uses {uses:?}, but ARCHITECTURE.md says {:?}", layer.uses));
        }
        for used in uses {
            if table.get(used).is_some_and(|u| u.number >= layer.number) {
                complaints.push(format!(
                    "`{name}` (layer {}) may not use `{used}`: arrows point down",
                    layer.number
                ));
            }
        }
    }
    for name in table.keys().filter(|name| !real.contains_key(*name)) {
        complaints.push(format!("ARCHITECTURE.md names `{name}`, which is no crate"));
    }
    for file in sources(&root.join("crates")) {
        let text = read(&file);
        let shown = file.strip_prefix(root).unwrap_or(&file).display();
        let is_module = file.file_name().is_some_and(|n| n != "main.rs" || text.starts_with("//!"));
        if !text.trim_start().starts_with("//!") && is_module && !shown.to_string().contains("/tests/") {
            complaints.push(format!("{shown}: a module opens with why it exists (`//!`)"));
        }
        for word in
            [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("FIX", "ME"), concat!("XX", "X ")]
        {
            if text.contains(word) {
                complaints.push(format!("{shown}: contains {word}"));
            }
        }
        for bad in ["utils", "common", "helpers", "manager"] {
            if file.file_stem().is_some_and(|s| s == bad) {
                complaints.push(format!("{shown}: name it after its idea, not `{bad}`"));
            }
        }
    }
    let tests: Vec<String> =
        sources(&root.join("crates")).iter().filter_map(|file| test_code(file)).collect();
    for name in limits(&read(&root.join("crates/types/src/limits.rs"))) {
        if !tests.iter().any(|text| names(text, name)) {
            complaints.push(format!("no test names the limit {name}: probe it at its edges"));
        }
    }
    for page in [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "LICENSE",
        "docs/SHORTCOMINGS.md",
        "docs/glossary.md",
        "docs/plan.md",
    ] {
        if !root.join(page).is_file() {
            complaints.push(format!("{page} is missing"));
        }
    }
    complaints
}

#[allow(clippy::disallowed_methods)] // a development tool that looks at the source tree
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Names of the limits in `limits.rs`.
fn limits(text: &str) -> impl Iterator<Item = &str> {
    let is_name =
        |name: &&str| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    text.lines().filter_map(|line| Some(line.strip_prefix("    ")?.split_once(": ")?.0)).filter(is_name)
}

/// What a source file has of tests, if anything.
fn test_code(file: &Path) -> Option<String> {
    let text = read(file);
    let is_test = file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs");
    if is_test { Some(text) } else { text.split_once("#[cfg(test)]").map(|(_, tests)| tests.to_owned()) }
}

/// Whether a text holds the name as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part))
}

fn layers(page: &str) -> BTreeMap<String, Layer> {
    let mut table = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        if cells.len() < 5 {
            continue;
        }
        let (Ok(number), name) = (cells[0].parse(), cells[1].trim_matches('`')) else { continue };
        let uses = cells[2].split(',').map(|u| u.trim().to_owned()).filter(|u| !u.is_empty()).collect();
        table.insert(name.to_owned(), Layer { number, uses });
    }
    table
}

/// Crates of the workspace and the workspace crates they use outside tests.
fn dependencies(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata gives JSON");
    let short = |name: &str| name.strip_prefix("millpond-").unwrap_or(name).to_owned();
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    let names: BTreeSet<String> =
        packages.iter().map(|p| short(p["name"].as_str().unwrap_or_default())).collect();
    let mut all = BTreeMap::new();
    for package in packages {
        let uses = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|d| d["kind"].is_null() && d["path"].is_string())
            .map(|d| short(d["name"].as_str().unwrap_or_default()))
            .filter(|name| names.contains(name))
            .collect();
        all.insert(short(package["name"].as_str().unwrap_or_default()), uses);
    }
    all
}

#[allow(clippy::disallowed_methods)] // a development tool that looks at the source tree
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
