//! The command line: commands, flags of every setting, wrong usage.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{Command, Invocation, parse};
use crate::settings::Key;

fn parsed(line: &str) -> Invocation {
    parse(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn given(invocation: &Invocation) -> Vec<(&str, &str)> {
    invocation.flags.values.iter().map(|(key, value)| (key.path(), value.as_str())).collect()
}

#[test]
fn serving_is_the_default_command() {
    assert_eq!(parsed("callboard").command, Command::Serve);
    assert_eq!(parsed("callboard serve").command, Command::Serve);
    assert_eq!(parsed("callboard migrate").command, Command::Migrate);
    assert_eq!(parsed("callboard config show").command, Command::ShowConfig { with_origin: false });
    assert_eq!(parsed("callboard config show --origin").command, Command::ShowConfig { with_origin: true });
}

#[test]
fn a_cluster_is_prepared_and_its_nodes_are_looked_after() {
    assert_eq!(parsed("callboard cluster key").command, Command::ClusterKey);
    let remove = parsed("callboard node rm n1 --database-url postgres://db/conf");
    assert_eq!(remove.command, Command::RemoveNode { id: "n1".to_owned() });
    assert_eq!(given(&remove), [("database.url", "postgres://db/conf")]);
    for line in ["callboard cluster", "callboard node", "callboard node rm", "callboard node rm n1 n2"] {
        assert_eq!(parse(line.split_whitespace()).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn seeds_have_a_short_flag() {
    for flag in ["--seeds", "--cluster-seeds"] {
        let invocation = parsed(&format!("callboard serve {flag} 10.0.0.1:9848,10.0.0.2:9848"));
        assert_eq!(given(&invocation), [("cluster.seeds", "10.0.0.1:9848,10.0.0.2:9848")], "{flag}");
    }
}

#[test]
fn flags_are_taken_before_and_after_every_command() {
    for line in [
        "callboard --http-workers 3 --config a.toml",
        "callboard --http-workers 3 serve --config a.toml",
        "callboard --http-workers 3 migrate --config a.toml",
        "callboard --http-workers=3 config --config a.toml show",
        "callboard config show --http-workers=3 --config=a.toml",
    ] {
        let invocation = parsed(line);
        assert_eq!(given(&invocation), [("http.workers", "3")], "{line}");
        assert_eq!(invocation.flags.config.unwrap().to_str(), Some("a.toml"), "{line}");
    }
}

#[test]
fn a_switch_may_stand_bare_or_with_a_value() {
    assert_eq!(given(&parsed("callboard --insecure-no-auth serve")), [("insecure.no_auth", "true")]);
    assert_eq!(given(&parsed("callboard --insecure-no-auth=false")), [("insecure.no_auth", "false")]);
}

#[test]
fn every_setting_has_a_flag_and_stands_in_the_help() {
    let help = parse(["callboard", "--help"]).unwrap_err().to_string();
    for key in Key::all() {
        assert_eq!(given(&parsed(&format!("callboard --{}=x", key.flag()))), [(key.path(), "x")]);
        assert!(help.contains(&format!("--{}", key.flag())), "{}", key.path());
        assert!(help.contains(key.variable()), "{}", key.path());
    }
}

#[test]
fn wrong_usage_has_exit_code_two_and_help_zero() {
    for line in
        ["callboard --http-adr x", "callboard start", "callboard config", "callboard --http-addr a --http-addr b"]
    {
        assert_eq!(parse(line.split_whitespace()).unwrap_err().exit_code(), 2, "{line}");
    }
    for line in ["callboard --version", "callboard --help", "callboard migrate --help"] {
        assert_eq!(parse(line.split_whitespace()).unwrap_err().exit_code(), 0, "{line}");
    }
}
