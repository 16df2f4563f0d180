//! The walk of a publish that `docs/algorithm-publish.md` describes leads through files and functions that exist, and
//! is not long.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::fs;

use callboard_integration_tests::binary::workspace;

/// Most files that one publish to a socket on another node may walk through.
const MOST: usize = 35;

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The rows of the table: a file, and the functions or messages in it.
fn steps(text: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`"));
    let cells = rows.map(|row| row.trim_matches('|').split('|').collect::<Vec<_>>());
    cells.map(|cells| (quoted(cells[cells.len() - 2])[0], quoted(cells[cells.len() - 1]))).collect()
}

/// Whether `name` is a function, or a message that is handled, in these sources.
fn stands_in(name: &str, sources: &str) -> bool {
    let is_function = sources.contains(&format!("fn {name}(")) || sources.contains(&format!("fn {name}<"));
    is_function || sources.contains(&format!("impl Handler<{name}>"))
}

#[test]
fn every_step_of_a_publish_exists_and_there_are_few_files() {
    let text = fs::read_to_string(workspace().join("docs/algorithm-publish.md")).unwrap();
    let steps = steps(&text);
    assert!(steps.len() > 30, "the table was not found");
    for (file, names) in &steps {
        let sources = fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(!names.is_empty(), "{file} has no function");
        for name in names {
            assert!(stands_in(name, &sources), "{name} is not in {file}");
        }
    }
    let files: BTreeSet<&str> = steps.iter().map(|(file, _)| *file).collect();
    assert!(files.len() <= MOST, "{} files: {files:?}", files.len());
    println!("{} files", files.len());
}

#[test]
fn every_file_that_the_map_names_is_there() {
    let page = fs::read_to_string(workspace().join("docs/architecture.md")).unwrap();
    let roots = ["protocol/", "proto/", "client/", "cli/", "bench/", "migration/", "actor-runtime/", "actors/", "src/"];
    let roots = roots.iter().chain(&["integration-tests/", "config/", "docs/", "scripts/"]);
    let named = quoted(&page).into_iter().filter(|name| !name.contains(['{', ' ']));
    let named: Vec<&str> = named.filter(|name| roots.clone().any(|root| name.starts_with(root))).collect();
    assert!(named.len() > 60, "{} files named", named.len());
    for name in named {
        assert!(workspace().join(name).exists(), "{name} is not there");
    }
}

#[test]
fn what_is_missing_is_found_out() {
    let table = "| # | step | file | function |\n| 1 | **A** `b` | `src/x.rs` | `put`, `Notify` |\n";
    assert_eq!(steps(table), [("src/x.rs", vec!["put", "Notify"])]);
    assert!(stands_in("put", "pub fn put(self)") && stands_in("Notify", "impl Handler<Notify> for X"));
    assert!(!stands_in("put", "fn puts()") && !stands_in("Notify", "struct Notify;"));
}
