//! Which source wins, what is shown, and that no secret is ever told.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::{Secret, Shown};
use crate::arguments::{Credentials, Format, NewPassword};
use crate::failure::Failure;
use crate::logins::{Login, Logins, now, path};
use crate::preferences::Preferences;

fn load(home: &Path, variables: &[(&str, &str)], given: &Credentials) -> Result<Shown, Failure> {
    let environment = |name: &str| match name {
        "HOME" => Some(home.as_os_str().to_owned()),
        _ => variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)),
    };
    let (nodes, namespace) = (vec!["n1".to_owned()], "public".to_owned());
    let preferences = Preferences { nodes, trust: None, namespace, output: Format::Table };
    Shown::load(given, &preferences, environment)
}

fn token(text: &str) -> Shown {
    Shown::Token(text.into())
}

#[test]
fn flags_win_over_variables_and_these_over_a_log_in_that_was_kept() {
    let home = tempfile::tempdir().unwrap();
    let none = Credentials::default();
    assert_eq!(load(home.path(), &[], &none).unwrap(), Shown::Nothing);

    let file = path(|name| (name == "HOME").then(|| home.path().into())).unwrap();
    let mut logins = Logins::load(Some(file)).unwrap();
    let kept = |expires| {
        let (nodes, user) = (vec!["n1:8850".to_owned()], "ann".to_owned());
        Login { nodes, secure: false, user, token: "kept".into(), expires }
    };
    logins.keep(kept(now() + 60)).unwrap();
    assert_eq!(load(home.path(), &[], &none).unwrap(), token("kept"));
    assert_eq!(load(home.path(), &[("CALLBOARD_CLIENT_TOKEN", "set")], &none).unwrap(), token("set"));
    assert_eq!(load(home.path(), &[("CALLBOARD_CLIENT_TOKEN", "")], &none).unwrap(), token("kept"));

    fs::write(home.path().join("token"), "from a file\n").unwrap();
    let of_file = Credentials { token_file: Some(home.path().join("token")), ..none.clone() };
    assert_eq!(load(home.path(), &[("CALLBOARD_CLIENT_TOKEN", "set")], &of_file).unwrap(), token("from a file"));
    let user = Credentials { user: Some("bob".to_owned()), ..none.clone() };
    let variables = [("CALLBOARD_CLIENT_TOKEN", "set"), ("CALLBOARD_CLIENT_PASSWORD", "secret")];
    let bob = Shown::Password { user: "bob".to_owned(), password: "secret".into() };
    assert_eq!(load(home.path(), &variables, &user).unwrap(), bob);

    logins.keep(kept(now())).unwrap();
    assert_eq!(load(home.path(), &[], &none).unwrap(), Shown::Nothing, "it has expired");
}

#[test]
fn what_is_shown_is_what_http_has() {
    assert_eq!(token("abc").text(), "Bearer abc");
    let ann = Shown::Password { user: "ann".to_owned(), password: "a:ü".into() };
    assert_eq!(ann.text(), "Basic YW5uOmE6w7w=");
    assert_eq!(Shown::Nothing.text(), "");
}

#[test]
fn no_secret_is_told() {
    assert!(!format!("{:?}", token("abc")).contains("abc"));
    assert!(!format!("{:?}", Secret::from("abc")).contains("abc"));
}

#[test]
fn a_file_with_a_secret_holds_one_line() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("secret");
    let given = Credentials { token_file: Some(file.clone()), ..Credentials::default() };
    let said = load(home.path(), &[], &given).unwrap_err().to_string();
    assert!(said.contains("cannot read"), "{said}");
    for text in ["", "\n", "first\nsecond\n"] {
        fs::write(&file, text).unwrap();
        let failure = load(home.path(), &[], &given).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{text:?}");
        assert!(!failure.to_string().contains("first"), "{failure}");
    }
}

#[test]
fn a_password_that_is_made_up_is_another_one_each_time() {
    let made = || NewPassword { new_password_file: None, generate: true }.choose("ann").unwrap();
    assert!(made().is_made_up && made().password.reveal().len() == 32);
    assert_ne!(made(), made());
}
