//! Tables in `docs/` name the tests that show what they say: every one of them is there. And each
//! case of the project's lists of attacks, faults and weaknesses has its row.

#![expect(
    clippy::unwrap_used,
    reason = "a test may; clippy sees only functions marked as one"
)]

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

/// Heads of columns that name tests.
const SHOWN_BY: [&str; 2] = ["shown by", "test"];

/// Documents with such columns.
const TABLES: [&str; 13] = [
    "docs/certificates.md",
    "docs/executor.md",
    "docs/faults.md",
    "docs/fetch.md",
    "docs/isolation.md",
    "docs/launch.md",
    "docs/layers.md",
    "docs/mesos.md",
    "docs/network.md",
    "docs/pulling.md",
    "docs/report.md",
    "docs/runtime.md",
    "docs/store.md",
];

/// Cases that must be decided, by document, letter and numbers.
const CASES: [(&str, char, RangeInclusive<u32>); 8] = [
    ("docs/layers.md", 'L', 1..=120),
    ("docs/faults.md", 'P', 1..=27),
    ("docs/faults.md", 'P', 30..=42),
    ("docs/faults.md", 'P', 50..=77),
    ("docs/faults.md", 'C', 1..=29),
    ("docs/mesos.md", 'W', 1..=30),
    ("docs/isolation.md", 'S', 1..=35),
    ("docs/isolation.md", 'I', 1..=52),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read_all(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() && name != "target" && name != ".git" {
            read_all(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// The last cells of the tables whose head says that they name tests.
fn shown_by(document: &str) -> Vec<&str> {
    let mut cells = Vec::new();
    let mut head = None;
    for line in document.lines() {
        let row = line.trim_end_matches('|').rsplit('|').next();
        match row.filter(|_cell| line.starts_with('|')).map(str::trim) {
            None => head = None,
            Some(cell) if head.is_some_and(|head| SHOWN_BY.contains(&head)) => cells.push(cell),
            cell => head = head.or(cell),
        }
    }
    cells
}

/// What stands between backticks in those cells, where it looks like a test.
fn named(document: &str) -> Vec<&str> {
    let cells = shown_by(document).into_iter();
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted
        .filter(|name| !name.contains(['/', '-', ' ']))
        .collect()
}

/// The cases that the rows of a document's tables begin with.
fn decided(document: &str) -> BTreeSet<&str> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells.flat_map(|cell| cell.split(", ")).collect()
}

#[test]
fn every_case_has_its_row() {
    for (path, letter, numbers) in CASES {
        let document = fs::read_to_string(root().join(path)).unwrap();
        let decided = decided(&document);
        let cases = numbers.map(|number| format!("{letter}{number}"));
        let missing: Vec<_> = cases
            .filter(|case| !decided.contains(case.as_str()))
            .collect();
        assert!(missing.is_empty(), "{path} has no row for {missing:?}");
    }
}

#[test]
fn every_test_that_a_table_names_is_there() {
    let root = root();
    let mut code = String::new();
    read_all(root, &mut code);
    for table in TABLES {
        let document = fs::read_to_string(root.join(table)).unwrap();
        let names = named(&document);
        assert!(names.len() > 20, "{table} names {} tests", names.len());
        for name in names {
            let function = match name.strip_suffix('*') {
                Some(beginning) => format!("fn {beginning}"),
                None => format!("fn {name}("),
            };
            assert!(code.contains(&function), "{table}: {name}");
        }
    }
}
