//! The program as a user starts it: exit codes and what stands on which stream.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::process::{Command, Output};

fn callboard(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn config_show_prints_the_settings_in_force() {
    let environment = [("CALLBOARD_DATABASE_URL", "postgres://u:hunter2@db/conf")];
    let output = callboard(&["config", "show", "--origin", "--http-workers", "3"], &environment);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(shown.contains("workers = 3  # flag --http-workers"), "{shown}");
    assert!(shown.contains("postgres://u:***@db/conf") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn refused_settings_are_one_line_on_standard_error_and_exit_code_two() {
    let output = callboard(&["serve"], &[("CALLBOARD_HTTP_ADR", "x")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let message = text(&output.stderr);
    assert!(message.starts_with("callboard: unknown environment variable CALLBOARD_HTTP_ADR"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn wrong_usage_is_exit_code_two_and_version_zero() {
    assert_eq!(callboard(&["--no-such-flag"], &[]).status.code(), Some(2));
    let version = callboard(&["--version"], &[]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(text(&version.stdout), format!("callboard {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_data_directory_that_cannot_be_used_is_exit_code_one() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = callboard(&["serve", "--data-dir", file.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(file.to_str().unwrap()), "{}", text(&output.stderr));
}
