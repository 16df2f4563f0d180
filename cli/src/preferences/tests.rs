//! Which source wins, and what is said about a wrong one.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Preferences, Trust, node, parse};
use crate::arguments::{Common, Format, Namespace};
use crate::failure::Failure;

fn common(nodes: &[&str], output: Option<Format>) -> Common {
    let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
    Common { nodes, ca: None, client_certificate: None, client_key: None, timeout: Duration::from_secs(1), output }
}

fn load(home: &Path, variable: Option<&str>, common: &Common, namespace: Option<&str>) -> Result<Preferences, Failure> {
    let namespace = Namespace { namespace: namespace.map(str::to_owned) };
    let environment = |name: &str| match name {
        "HOME" => Some(home.as_os_str().to_owned()),
        "CALLBOARD_CLIENT_NODES" => variable.map(OsString::from),
        _ => None,
    };
    Preferences::load(common, Some(&namespace), environment)
}

fn home_with(text: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".config")).unwrap();
    fs::write(home.path().join(".config/callboard.toml"), text).unwrap();
    home
}

#[test]
fn without_anything_it_is_the_node_of_this_machine() {
    let home = tempfile::tempdir().unwrap();
    let preferences = load(home.path(), None, &common(&[], None), None).unwrap();
    assert_eq!(preferences.nodes, ["127.0.0.1:8850"]);
    assert_eq!((preferences.namespace.as_str(), preferences.output), ("public", Format::Table));
}

#[test]
fn flags_win_over_the_variable_and_this_over_the_file() {
    let home = home_with("nodes = ['n1', 'n2:1']\nnamespace = 'dev'\noutput = 'json'");
    let preferences = load(home.path(), None, &common(&[], None), None).unwrap();
    assert_eq!(preferences.nodes, ["n1", "n2:1"]);
    assert_eq!((preferences.namespace.as_str(), preferences.output), ("dev", Format::Json));

    let preferences = load(home.path(), Some("n3, n4"), &common(&[], None), None).unwrap();
    assert_eq!(preferences.nodes, ["n3", "n4"]);

    let given = common(&["n5"], Some(Format::Table));
    let preferences = load(home.path(), Some("n3"), &given, Some("test")).unwrap();
    assert_eq!(preferences.nodes, ["n5"]);
    assert_eq!((preferences.namespace.as_str(), preferences.output), ("test", Format::Table));
}

#[test]
fn an_empty_variable_counts_as_none() {
    let home = home_with("nodes = ['n1']");
    assert_eq!(load(home.path(), Some(""), &common(&[], None), None).unwrap().nodes, ["n1"]);
}

#[test]
fn the_directory_for_such_files_can_be_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("callboard.toml"), "nodes = ['n9']").unwrap();
    let named = |name: &str| (name == "XDG_CONFIG_HOME").then(|| directory.path().as_os_str().to_owned());
    assert_eq!(Preferences::load(&common(&[], None), None, named).unwrap().nodes, ["n9"]);
}

#[test]
fn a_wrong_file_is_named_with_its_key() {
    for (text, said) in [
        ("nods = ['n1']", "nods: unknown key; known are nodes, ca, namespace and output"),
        ("nodes = 'n1'", "nodes: expected texts"),
        ("nodes = []", "nodes: expected at least one node"),
        ("nodes = ['http://n1']", "nodes: http://n1 is a URL"),
        ("namespace = 3", "namespace: expected a text"),
        ("output = 'yaml'", "output: expected \"table\" or \"json\""),
        ("output = ", "line 1"),
    ] {
        let home = home_with(text);
        let failure = load(home.path(), None, &common(&["n1"], None), None).unwrap_err();
        let message = failure.to_string();
        assert!(message.contains(".config/callboard.toml: ") && message.contains(said), "{text}: {message}");
        assert_eq!(failure.exit_code(), 2);
    }
}

#[test]
fn a_wrong_variable_is_named() {
    let home = tempfile::tempdir().unwrap();
    let failure = load(home.path(), Some("n1,,n2"), &common(&[], None), None).unwrap_err();
    assert!(failure.to_string().starts_with("CALLBOARD_CLIENT_NODES: "), "{failure}");
}

#[test]
fn addresses_are_hosts_with_or_without_a_port() {
    for address in ["n1", "n1:8850", "10.0.0.1", "[::1]:8850", "::1"] {
        assert_eq!(node(address).as_deref(), Ok(address));
    }
    for address in ["", " ", "http://n1", "n1/", "n 1"] {
        assert!(node(address).is_err(), "{address:?}");
    }
    assert_eq!(parse("").unwrap(), super::Kept::default());
}

#[test]
fn a_scheme_or_an_authority_connects_to_all_nodes_by_tls() {
    let home = tempfile::tempdir().unwrap();
    let preferences = load(home.path(), None, &common(&["n1", "n2:1"], None), None).unwrap();
    assert_eq!(preferences.trust, None);
    let preferences = load(home.path(), None, &common(&["callboards://n1", "n2:1"], None), None).unwrap();
    assert_eq!(
        (preferences.nodes, preferences.trust),
        (vec!["n1".to_owned(), "n2:1".to_owned()], Some(Trust::default()))
    );
    let home = home_with("ca = '/etc/ca.pem'");
    let preferences = load(home.path(), None, &common(&["n1"], None), None).unwrap();
    let trust = preferences.trust.unwrap();
    assert_eq!(trust, Trust { ca: Some("/etc/ca.pem".into()), identity: None });
    assert!(trust.tls().unwrap_err().to_string().contains("cannot read /etc/ca.pem"));
}
