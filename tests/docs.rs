//! Tables in `docs/` name the tests that show what they say: every one of them is there.

#![expect(
    clippy::unwrap_used,
    reason = "a test may; clippy sees only functions marked as one"
)]

use std::fs;
use std::path::Path;

/// Tables whose last column names tests.
const TABLES: [&str; 2] = ["docs/faults.md", "docs/layers.md"];

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

/// What stands between backticks in the last column of each row, where it looks like a test.
fn named(table: &str) -> Vec<String> {
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted
        .filter(|name| !name.contains(['/', '-', ' ']))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_test_that_a_table_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    read_all(root, &mut code);
    for table in TABLES {
        let names = named(&fs::read_to_string(root.join(table)).unwrap());
        assert!(names.len() > 20, "{table} names {} tests", names.len());
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "{table}: {name}");
        }
    }
}
