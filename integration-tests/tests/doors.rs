//! The house: doors stand side by side over one `api`, what is shared is listed, and error codes have one place.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::Path;

use callboard_integration_tests::binary::workspace;

/// The code of every source under `place`, a file or a folder, without tests and comments: path and lines.
fn sources(place: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    collect(&workspace().join(place), &mut found);
    assert!(!found.is_empty(), "{place} has no sources");
    found
}

fn collect(path: &Path, found: &mut Vec<(String, Vec<String>)>) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| collect(&entry.unwrap().path(), found));
        return;
    }
    let name = path.strip_prefix(workspace()).unwrap().to_string_lossy().into_owned();
    if !name.ends_with(".rs") || name.contains("/tests") || name.contains("/testbed") {
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    found.push((name, code.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned()).collect()));
}

/// A module of `src`: its file and its folder.
fn module(name: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for place in [format!("src/{name}.rs"), format!("src/{name}")] {
        let path = workspace().join(&place);
        if path.exists() {
            collect(&path, &mut found);
        }
    }
    assert!(!found.is_empty(), "there is no module {name}");
    found
}

/// Whether a line imports or names the module `name` of the crate.
fn names(line: &str, name: &str) -> bool {
    let rest = line.split("crate::").skip(1);
    let in_path = |path: &str| {
        path.strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    };
    rest.clone().any(in_path)
        || rest.filter_map(|path| path.strip_prefix('{')).any(|group| group.split([',', ' ', '}']).any(in_path))
}

fn nobody_names(modules: &[&str], forbidden: &[&str]) {
    for module_name in modules {
        for (path, lines) in module(module_name) {
            for (line, forbidden) in lines.iter().flat_map(|line| forbidden.iter().map(move |name| (line, name))) {
                assert!(module_name == forbidden || !names(line, forbidden), "{path} names {forbidden}: {line}");
            }
        }
    }
}

#[test]
fn doors_never_import_each_other() {
    nobody_names(&["rest", "nacos", "session", "peer"], &["rest", "nacos", "session", "peer", "listener", "serve"]);
}

#[test]
fn what_doors_share_imports_no_door() {
    nobody_names(&["api"], &["rest", "nacos", "session", "peer", "listener", "http", "serve"]);
    nobody_names(&["http"], &["rest", "nacos", "session", "peer", "listener", "serve"]);
    nobody_names(&["nacos/http"], &["nacos::grpc"]);
    nobody_names(&["nacos/grpc"], &["nacos::http"]);
}

#[test]
fn what_names_a_module_is_found() {
    assert!(names("use crate::rest::configs;", "rest") && names("use crate::{api, rest};", "rest"));
    assert!(names("crate::session::Door::new()", "session") && !names("use crate::restful::x;", "rest"));
    assert!(!names("use callboard_actors::session::native;", "session"));
}

/// The names of all error codes, read where they are made.
fn error_codes() -> Vec<String> {
    let text = fs::read_to_string(workspace().join("protocol/src/error_code.rs")).unwrap();
    let variants = text.lines().filter(|line| line.contains(" = \""));
    variants.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn no_error_code_is_text_anywhere_else() {
    let codes = error_codes();
    assert!(codes.len() > 30 && codes.iter().any(|code| code == "outcome_unknown"));
    for place in ["protocol/src", "actors/src", "src"] {
        for (path, lines) in sources(place) {
            if path == "protocol/src/error_code.rs" {
                continue;
            }
            for (line, code) in lines.iter().flat_map(|line| codes.iter().map(move |code| (line, code))) {
                // These are words of other things as well: outcomes in metrics, what is missing in a store.
                let is_word = ["rejected", "overloaded", "unavailable", "internal", "forbidden", "not_found"];
                if is_word.contains(&code.as_str()) {
                    continue;
                }
                assert!(!line.contains(&format!("\"{code}\"")), "{path} has the code {code} as text: {line}");
            }
        }
    }
}

#[test]
fn all_shared_state_is_listed() {
    let page = fs::read_to_string(workspace().join("docs/architecture.md")).unwrap();
    let listed = page.split("## Shared state").nth(1).expect("the page has the list");
    let kinds =
        ["Mutex<", "RwLock<", "AtomicUsize", "AtomicU64", "AtomicBool", "AtomicI64", "AtomicU32", "thread_local!"];
    let mut having = Vec::new();
    for (path, lines) in ["actors/src", "actor-runtime/src", "src"].into_iter().flat_map(sources) {
        let is_shared = |line: &String| !line.starts_with("use ") && kinds.iter().any(|kind| line.contains(kind));
        if lines.iter().any(is_shared) {
            assert!(
                listed.contains(&format!("`{path}`")),
                "{path} shares something that docs/architecture.md does not list"
            );
            having.push(path);
        }
    }
    for path in listed.split('`').filter(|text| text.ends_with(".rs")) {
        assert!(having.iter().any(|having| having == path), "{path} is listed and shares nothing");
    }
}

#[test]
fn comments_are_at_most_120_columns_wide() {
    fn look(directory: &Path, wide: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, wide);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let is_wide = |line: &&str| line.trim_start().starts_with("//") && line.chars().count() > 120;
                wide.extend(text.lines().filter(is_wide).map(|line| format!("{}: {line}", path.display())));
            }
        }
    }
    let mut wide = Vec::new();
    for place in
        ["actor-runtime", "actors", "bench", "cli", "client", "integration-tests", "migration", "protocol", "src"]
    {
        look(&workspace().join(place), &mut wide);
    }
    assert!(wide.is_empty(), "wider than 120 columns:\n{}", wide.join("\n"));
}
