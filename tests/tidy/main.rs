//! Holds ARCHITECTURE.md and the code to each other.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that bring a runtime, a clock or I/O with them; none of them may be used on level 0 or 1.
const IMPURE: [&str; 8] = [
    "tokio",
    "tokio-postgres",
    "redis",
    "rdkafka",
    "axum",
    "rand",
    "tokio-rustls",
    "mongodb",
];

/// The services of the shop.
const SERVICES: [&str; 11] = [
    "analytics",
    "fraud",
    "gateway",
    "inventory",
    "notification",
    "order",
    "payment",
    "product",
    "recommendation",
    "shipping",
    "user",
];

struct MapRow {
    folder: String,
    level: u8,
    may_use: BTreeSet<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// The rows of the table under "## Map", by package name.
fn map() -> BTreeMap<String, MapRow> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in page
        .lines()
        .skip_while(|l| *l != "## Map")
        .take_while(|l| !l.starts_with("## Life"))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [folder, level, may_use, ..] = cells.as_slice() else {
            continue;
        };
        let Ok(level) = level.parse() else { continue };
        let (folder, name) = folder
            .split_once(" as ")
            .unwrap_or((folder, folder.rsplit('/').next().unwrap_or(folder)));
        let may_use = may_use
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(str::to_string)
            .collect();
        rows.insert(
            name.to_string(),
            MapRow {
                folder: folder.to_string(),
                level,
                may_use,
            },
        );
    }
    rows
}

/// What cargo says of the workspace, asked with this word.
fn metadata(word: &str) -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", word, "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every package of the workspace with its folder and its ordinary dependencies.
fn packages() -> BTreeMap<String, (PathBuf, Vec<String>)> {
    let metadata = metadata("--no-deps");
    let mut all = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let folder = Path::new(package["manifest_path"].as_str().unwrap())
            .parent()
            .unwrap()
            .to_path_buf();
        let dependencies = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|d| d["kind"].is_null())
            .map(|d| d["name"].as_str().unwrap().to_string())
            .collect();
        all.insert(
            package["name"].as_str().unwrap().to_string(),
            (folder, dependencies),
        );
    }
    all
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target") {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn is_test(file: &Path) -> bool {
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.ends_with("tests.rs") || file.components().any(|c| c.as_os_str() == "tests")
}

#[test]
fn the_map_names_every_crate_and_no_other() {
    let map = map();
    let packages = packages();
    let mapped: BTreeSet<_> = map.keys().collect();
    let existing: BTreeSet<_> = packages.keys().collect();
    assert_eq!(mapped, existing, "ARCHITECTURE.md and the workspace differ");
    for (name, (folder, _)) in &packages {
        assert_eq!(folder, &root().join(&map[name].folder), "{name} is elsewhere");
    }
}

#[test]
fn crates_use_each_other_only_as_the_map_allows() {
    let map = map();
    let mut wrong = Vec::new();
    for (name, (_, dependencies)) in packages() {
        for used in dependencies.iter().filter(|d| map.contains_key(*d)) {
            if !map[&name].may_use.contains(used) {
                wrong.push(format!("{name} -> {used}"));
            }
            if map[used].level > map[&name].level {
                wrong.push(format!("{name} (level {}) looks up to {used}", map[&name].level));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the map doesn't allow: {wrong:?}");
}

#[test]
fn levels_0_and_1_are_pure() {
    let map = map();
    let mut wrong = Vec::new();
    for (name, (folder, dependencies)) in packages() {
        if map[&name].level > 1 {
            continue;
        }
        wrong.extend(
            dependencies
                .iter()
                .filter(|d| IMPURE.contains(&d.as_str()))
                .map(|d| format!("{name} -> {d}")),
        );
        let mut files = Vec::new();
        rust_files(&folder.join("src"), &mut files);
        // Tests may look at the clock; what is shipped may not.
        for file in files.iter().filter(|f| !is_test(f)) {
            let text = fs::read_to_string(file).unwrap();
            for call in [
                "Instant::now",
                "SystemTime::now",
                "TcpStream",
                "UdpSocket",
                "std::fs::",
            ] {
                if text.contains(call) {
                    wrong.push(format!("{} has {call}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "impure: {wrong:?}");
}

/// The licences that deny.toml allows.
fn allowed_licences() -> BTreeSet<String> {
    let policy = fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = policy
        .split_once("allow = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .unwrap()
        .0;
    list.split(',')
        .map(|l| l.trim().trim_matches('"').to_string())
        .filter(|l| !l.is_empty())
        .collect()
}

/// The licences that deny.toml allows one package: `{ allow = ["LICENCE"], crate = "NAME" }`.
fn exceptional_licences() -> BTreeSet<(String, String)> {
    let policy = fs::read_to_string(root().join("deny.toml")).unwrap();
    let exceptions = policy.split("{ allow = [\"").skip(1);
    let parts = exceptions.filter_map(|rest| {
        let (licence, rest) = rest.split_once("\"], crate = \"")?;
        let (name, _) = rest.split_once('"')?;
        Some((name.to_owned(), licence.to_owned()))
    });
    parts.collect()
}

/// Whether an SPDX expression can be met by allowed licences: one side of an OR, every side of an AND.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let conjunctions: Vec<&str> = expression.split(" AND ").collect();
    conjunctions
        .iter()
        .all(|part| part.split(" OR ").any(|licence| allowed.contains(licence.trim())))
}

#[test]
fn every_dependency_is_permissively_licensed_and_from_the_registry() {
    let metadata = metadata("--locked");
    let (allowed, own) = (allowed_licences(), packages());
    let exceptional = exceptional_licences();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if own.contains_key(name) {
            continue;
        }
        let licence = package["license"].as_str().unwrap_or("none");
        let is_exceptional = exceptional.contains(&(name.to_owned(), licence.to_owned()));
        if !is_exceptional && !is_met(licence, &allowed) {
            wrong.push(format!("{name}: {licence}"));
        }
        if !package["source"]
            .as_str()
            .unwrap_or_default()
            .starts_with("registry+")
        {
            wrong.push(format!("{name} is not from the registry"));
        }
    }
    assert!(
        wrong.is_empty(),
        "dependencies that deny.toml doesn't allow: {wrong:#?}"
    );
}

#[test]
fn every_module_says_what_it_is() {
    let mut files = Vec::new();
    for (folder, _) in packages().values() {
        rust_files(folder, &mut files);
    }
    let silent: BTreeSet<_> = files
        .into_iter()
        .filter(|f| f.file_name().is_some_and(|n| n != "build.rs"))
        .filter(|f| !fs::read_to_string(f).unwrap().trim_start().starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "modules without a //! line: {silent:?}");
}

/// The lines of code of each service of the shop: without blank lines, comments, tests, and the programs that play its partners or fill its tables.
fn service_lines() -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    for service in SERVICES {
        let mut files = Vec::new();
        rust_files(&root().join("app-services").join(service).join("src"), &mut files);
        let handlers = files.iter().filter(|file| {
            let name = file
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            !is_test(file) && !name.starts_with("local") && name != "seed.rs"
        });
        let count = handlers.map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let counts = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
            code.lines().filter(counts).count()
        });
        lines.insert(service.to_owned(), count.sum());
    }
    lines
}

#[test]
fn the_readme_says_how_long_the_services_are() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let stated = readme
        .lines()
        .find_map(|line| line.strip_prefix("Lines of code by service: "))
        .unwrap();
    let stated: BTreeMap<String, usize> = stated
        .trim_end_matches('.')
        .split(", ")
        .map(|one| {
            let (service, lines) = one.split_once(' ').unwrap();
            (service.to_owned(), lines.parse().unwrap())
        })
        .collect();
    let counted = service_lines();
    assert!(
        counted.keys().eq(stated.keys()),
        "README.md names other services: {stated:?}"
    );
    // A few lines more or less change nothing for who reads it.
    let differs = counted
        .iter()
        .any(|(service, lines)| lines.abs_diff(stated[service]) * 20 > *lines);
    assert!(!differs, "README.md says {stated:?}, and counted are {counted:?}");
}

/// What begins a text, up to the parenthesis that ends it.
fn call(text: &str) -> &str {
    let mut open = 0;
    let end = text.find(|c| {
        open += i32::from(c == '(') - i32::from(c == ')');
        c == ')' && open == 0
    });
    &text[..end.unwrap_or(text.len())]
}

/// Statements are constants; what depends on input goes into parameters. (The SDK fills the names of a service's own tables in, once.)
#[test]
fn services_build_no_sql() {
    const BUILDING: [&str; 3] = ["format!(", "push_str(", "write!("];
    const SQL: [&str; 6] = [
        "SELECT ",
        "INSERT INTO",
        "UPDATE ",
        "DELETE FROM",
        " WHERE ",
        " VALUES ",
    ];
    let mut wrong = Vec::new();
    for service in SERVICES {
        let mut files = Vec::new();
        rust_files(&root().join("app-services").join(service).join("src"), &mut files);
        for file in files.iter().filter(|file| !is_test(file)) {
            let text = fs::read_to_string(file).unwrap();
            for building in BUILDING {
                for (at, _) in text.match_indices(building) {
                    let call = call(&text[at..]);
                    if SQL.iter().any(|word| call.contains(word)) {
                        wrong.push(format!("{}: {call}", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "SQL is built: {wrong:#?}");
}
