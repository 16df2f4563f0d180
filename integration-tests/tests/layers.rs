//! The layers hold: which crate may depend on which, and which words may not stand in which sources.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use callboard_integration_tests::binary::workspace;
use serde_json::Value;

fn package(name: &str) -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--offline", "--no-deps", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == name).unwrap().clone()
}

/// What a package depends on, its tests apart.
fn dependencies(name: &str) -> Vec<Value> {
    let all = package(name)["dependencies"].as_array().unwrap().clone();
    all.into_iter().filter(|dependency| dependency["kind"] != "dev").collect()
}

fn names(dependencies: &[Value]) -> BTreeSet<&str> {
    dependencies.iter().map(|dependency| dependency["name"].as_str().unwrap()).collect()
}

fn ours(dependencies: &[Value]) -> BTreeSet<&str> {
    names(dependencies).into_iter().filter(|name| name.starts_with("callboard")).collect()
}

/// The Rust sources under `directory`, without its tests.
fn sources(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// The lines of code in `text` that hold `word` as a whole word. Comments may name anything.
fn lines_with<'t>(text: &'t str, word: &str) -> Vec<&'t str> {
    let joins = |letter: char| letter.is_alphanumeric() || letter == '_';
    let holds = |line: &&str| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices(word).any(|(at, _)| {
            let (before, after) = (&code[..at], &code[at + word.len()..]);
            !before.ends_with(joins) && !after.starts_with(joins)
        })
    };
    text.lines().filter(holds).collect()
}

/// No source in `directory` has one of the words, besides those whose path begins as one of `except`.
#[track_caller]
fn none_of(words: &[&str], directory: &str, except: &[&str]) {
    let sources = sources(&workspace().join(directory));
    assert!(!sources.is_empty(), "{directory} has no sources");
    for (path, text) in sources {
        let name = path.strip_prefix(workspace()).unwrap().to_string_lossy().into_owned();
        if except.iter().any(|beginning| name.starts_with(beginning)) {
            continue;
        }
        for word in words {
            assert_eq!(lines_with(&text, word), [""; 0], "{word} in {}", path.display());
        }
    }
}

/// Which of `modules` a source imports, by paths that begin at its crate. Comments and tests at its end count for
/// nothing.
fn imports<'m>(text: &str, modules: &'m BTreeSet<String>) -> BTreeSet<&'m str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String = code.lines().filter_map(|line| line.split("//").next()).collect();
    let joins = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = BTreeSet::new();
    for (at, begin) in code.match_indices("crate::") {
        if code[..at].ends_with(|before| joins(before) || before == '$') {
            continue;
        }
        let path = &code[at + begin.len()..];
        // Of `crate::{a, b::{c, d}}` all four: nothing inside of a module is called like one at the top.
        let end = if path.starts_with('{') { path.find(';') } else { path.find(|letter| !joins(letter)) };
        let words = path[..end.unwrap_or(path.len())].split(|letter| !joins(letter));
        found.extend(words.filter_map(|word| modules.get(word)).map(String::as_str));
    }
    found
}

/// Those who import each other, directly or by way of others.
fn circles<'m>(imports: &BTreeMap<&'m str, BTreeSet<&'m str>>) -> BTreeSet<Vec<&'m str>> {
    let reached = |from: &'m str| {
        let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(next) = left.pop() {
            left.extend(imports[next].iter().filter(|import| reached.insert(**import)));
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|module| (*module, reached(module))).collect();
    let with = |module: &str| -> Vec<&str> {
        let is_in = |other: &&str| reached[module].contains(other) && reached[other].contains(module);
        imports.keys().copied().filter(is_in).collect()
    };
    imports.keys().map(|module| with(module)).filter(|circle| !circle.is_empty()).collect()
}

/// No modules at the top of the crate in `directory` import each other in a circle, those that are there for tests
/// apart.
#[track_caller]
fn no_circles(directory: &str) {
    let root = workspace().join(directory);
    let declared = fs::read_to_string(root.join("lib.rs")).unwrap();
    let mut files: Vec<(String, String)> = Vec::new();
    for (path, text) in sources(&root) {
        let path = path.strip_prefix(&root).unwrap().with_extension("");
        let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        let is_for_tests = parts.contains(&"tests") || declared.contains(&format!("#[cfg(test)]\nmod {};", parts[0]));
        if !is_for_tests && !["lib", "main"].contains(&parts[0]) {
            files.push((parts[0].to_owned(), text));
        }
    }
    let modules = files.iter().map(|(module, _)| module.clone()).collect();
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, text) in &files {
        let mut imports = imports(text, &modules);
        imports.remove(module.as_str());
        all.entry(module).or_default().extend(imports);
    }
    assert_eq!(circles(&all), BTreeSet::new(), "modules of {directory} import each other: {all:#?}");
}

#[test]
fn the_search_finds_imports_and_their_circles() {
    let modules = ["a", "b", "c", "d"].map(str::to_owned).into();
    let text =
        "use crate::a::Thing;\nuse crate::{c, other};\n// crate::b\n$crate::d!();\n#[cfg(test)]\nmod tests {\ncrate::d";
    assert_eq!(imports(text, &modules), BTreeSet::from(["a", "c"]));
    let imports = [("a", &["b"][..]), ("b", &["c"]), ("c", &["a", "d"]), ("d", &[])];
    let imports = imports.map(|(module, imports)| (module, imports.iter().copied().collect())).into();
    assert_eq!(circles(&imports), BTreeSet::from([vec!["a", "b", "c"]]));
}

#[test]
fn the_search_finds_words_in_code_only() {
    let text = "use std::time::Instant;\n// Instant in words\nlet x = Instant::now();\nInstantaneous(MyInstant);";
    assert_eq!(lines_with(text, "Instant").len(), 2);
    assert_eq!(lines_with(text, "Instant::now"), ["let x = Instant::now();"]);
}

#[test]
fn the_protocol_depends_on_nothing_that_could_do_io() {
    let dependencies = dependencies("callboard-protocol");
    let allowed = BTreeSet::from(["serde", "bytes", "thiserror", "md-5", "sha2", "uuid"]);
    let names = names(&dependencies);
    assert!(names.is_subset(&allowed), "{:?}", names.difference(&allowed));
    for dependency in dependencies.iter().filter(|dependency| dependency["name"] == "uuid") {
        let features: BTreeSet<&str> =
            dependency["features"].as_array().unwrap().iter().map(|feature| feature.as_str().unwrap()).collect();
        assert!(features.is_subset(&BTreeSet::from(["std", "serde"])), "uuid with {features:?} can draw random ids");
        assert_eq!(dependency["uses_default_features"], false);
    }
}

#[test]
fn the_protocol_reads_no_clock_and_draws_no_chance() {
    let words = [
        "Instant::now",
        "SystemTime",
        "async fn",
        "async move",
        "rand",
        "fastrand",
        "new_v4",
        "now_v7",
        "RandomState",
        "thread::sleep",
        "thread::spawn",
        "std::fs",
        "std::process",
        "tokio",
        "actix",
    ];
    none_of(&words, "protocol/src", &[]);
    // The simulator, a test, is told by variables how much to try.
    none_of(&["std::env"], "protocol/src", &["protocol/src/simulation"]);
}

#[test]
fn actors_open_no_socket() {
    let sockets = [
        "TcpStream",
        "TcpListener",
        "TcpSocket",
        "UdpSocket",
        "UnixStream",
        "UnixListener",
        "UnixDatagram",
        "actix_web",
        "reqwest",
    ];
    // Tests of the store cut its connections by a proxy of their own.
    none_of(&sockets, "actors/src", &["actors/src/store/tests"]);
    none_of(&sockets, "actor-runtime/src", &[]);
    let names: BTreeSet<String> = names(&dependencies("callboard-actors")).into_iter().map(str::to_owned).collect();
    for socket in ["actix-web", "reqwest", "hyper", "tonic"] {
        assert!(!names.contains(socket), "actors depends on {socket}");
    }
}

#[test]
fn only_the_store_sees_the_database() {
    let words = ["sea_orm", "sqlx", "sea_query", "sea_orm_migration"];
    none_of(&words, "actors/src", &["actors/src/store"]);
    none_of(&words, "protocol/src", &[]);
    none_of(&words, "src", &[]);
    let names: BTreeSet<String> = names(&dependencies("callboard")).into_iter().map(str::to_owned).collect();
    assert!(!names.contains("sea-orm"), "the root package depends on sea-orm");
}

#[test]
fn sockets_encrypt_and_actors_gossip() {
    for (directory, package, words) in
        [("actors/src", "callboard-actors", &["snow", "ring"][..]), ("src", "callboard", &["foca"])]
    {
        none_of(words, directory, &[]);
        let dependencies = dependencies(package);
        let names = names(&dependencies);
        for word in words {
            assert!(!names.contains(word), "{package} depends on {word}");
        }
    }
}

#[test]
fn imports_run_one_way() {
    assert_eq!(ours(&dependencies("callboard-protocol")), BTreeSet::new());
    assert_eq!(ours(&dependencies("callboard-migration")), BTreeSet::new());
    assert_eq!(ours(&dependencies("callboard-actor-runtime")), BTreeSet::new());
    let actors = dependencies("callboard-actors");
    let below_actors = BTreeSet::from(["callboard-protocol", "callboard-migration", "callboard-actor-runtime"]);
    assert!(ours(&actors).is_subset(&below_actors), "{:?}", ours(&actors));
    assert!(ours(&dependencies("callboard")).contains("callboard-actors"));
    assert_eq!(ours(&dependencies("callboard-proto")), BTreeSet::new());
    assert_eq!(ours(&dependencies("callboard-client")), BTreeSet::from(["callboard-proto"]));
    assert_eq!(ours(&dependencies("callboard-cli")), BTreeSet::from(["callboard-client", "callboard-protocol"]));
    assert_eq!(ours(&dependencies("callboard-bench")), BTreeSet::from(["callboard-proto"]));
    let below_tests = BTreeSet::from(["callboard-protocol", "callboard-proto", "callboard-client"]);
    assert!(ours(&dependencies("callboard-integration-tests")).is_subset(&below_tests));
}

#[test]
fn modules_do_not_import_each_other_in_circles() {
    for directory in ["actors/src", "src"] {
        no_circles(directory);
    }
}

#[test]
fn the_server_knows_none_of_its_clients() {
    let clients = ["callboard_bench", "callboard_cli", "callboard_client"];
    none_of(&clients, "src", &["src/main.rs", "src/cli"]);
    none_of(&clients, "actors/src", &[]);
}

#[test]
fn no_module_is_called_after_nothing() {
    for directory in [
        "protocol/src",
        "proto/src",
        "actor-runtime/src",
        "actors/src",
        "migration/src",
        "client/src",
        "cli/src",
        "bench/src",
        "src",
        "integration-tests/src",
    ] {
        for (path, _) in sources(&workspace().join(directory)) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(!["mod", "utils", "common", "core", "helper", "model"].contains(&name), "{}", path.display());
        }
    }
}
