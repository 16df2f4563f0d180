//! What is kept, for which nodes, and who can read it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Login, Logins};

fn login(user: &str, nodes: &[&str]) -> Login {
    let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
    Login { nodes, secure: false, user: user.to_owned(), token: "secret".into(), expires: 100 }
}

fn user_at(path: &Path, node: &str, now: u64) -> Option<String> {
    let logins = Logins::load(Some(path.to_owned())).unwrap();
    logins.find(&[node.to_owned()], false, now).map(|login| login.user.clone())
}

#[test]
fn each_cluster_has_a_log_in_until_it_expires_or_is_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("callboard/credentials.toml");
    let mut logins = Logins::load(Some(path.clone())).unwrap();
    logins.keep(login("ann", &["n1", "n2:8850"])).unwrap();
    logins.keep(login("bob", &["other:1"])).unwrap();
    assert_eq!(user_at(&path, "n1:8850", 99).as_deref(), Some("ann"));
    assert_eq!(user_at(&path, "n2", 99).as_deref(), Some("ann"));
    assert_eq!(user_at(&path, "n1:8851", 99), None);
    assert_eq!(user_at(&path, "other:1", 99).as_deref(), Some("bob"));
    assert_eq!(user_at(&path, "n1", 100), None);

    logins.keep(login("eve", &["n2"])).unwrap();
    assert_eq!(user_at(&path, "n1", 99), None, "ann is replaced");
    assert_eq!(logins.forget(&["n2".to_owned()]).unwrap().as_deref(), Some("eve"));
    assert_eq!(logins.forget(&["n2".to_owned()]).unwrap(), None);
    assert_eq!(user_at(&path, "other:1", 99).as_deref(), Some("bob"));
}

#[test]
fn what_came_by_tls_is_shown_by_tls_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut logins = Logins::load(Some(home.path().join("credentials.toml"))).unwrap();
    logins.keep(Login { secure: true, ..login("ann", &["n1"]) }).unwrap();
    assert!(logins.find(&["n1".to_owned()], true, 99).is_some());
    assert!(logins.find(&["n1".to_owned()], false, 99).is_none());
}

#[test]
fn its_owner_alone_can_read_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("callboard/credentials.toml");
    Logins::load(Some(path.clone())).unwrap().keep(login("ann", &["n1"])).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_broken_file_is_named_and_shows_no_token() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("credentials.toml");
    fs::write(&path, "[[login]]\ntoken = 'secret'\nnodes = 3\n").unwrap();
    let failure = Logins::load(Some(path)).unwrap_err();
    let said = failure.to_string();
    assert!(said.contains("credentials.toml") && said.contains("log in again") && !said.contains("secret"), "{said}");
    assert_eq!(failure.exit_code(), 2);
}
