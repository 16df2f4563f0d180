//! The command line: commands, flags of every setting, wrong usage.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use callboard_cli::{Format, Request};

use super::{Command, Invocation, Shell, WithSettings, completions, grammar, manual, parse};
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
fn authentication_has_short_flags() {
    for (flag, path) in [
        ("--auth", "auth.mode"),
        ("--auth-mode", "auth.mode"),
        ("--admin-password-file", "auth.admin_password_file"),
        ("--auth-admin-password-file", "auth.admin_password_file"),
    ] {
        assert_eq!(given(&parsed(&format!("callboard serve {flag} on"))), [(path, "on")], "{flag}");
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

fn refusal(line: &str) -> clap::Error {
    match parse(line.split_whitespace()) {
        Ok(invocation) => panic!("{line} is taken: {invocation:?}"),
        Err(error) => error,
    }
}

fn asked(line: &str) -> Request {
    match parsed(line).command {
        Command::Client(request) => *request,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_grammar_is_sound() {
    for with in [WithSettings::Everywhere, WithSettings::AtTheTop] {
        grammar(with).debug_assert();
    }
}

#[test]
fn an_inner_setting_wins_over_an_outer_one() {
    let invocation = parsed("callboard --http-workers 3 --config a.toml serve --http-workers 4 --config b.toml");
    assert_eq!(given(&invocation), [("http.workers", "3"), ("http.workers", "4")]);
    assert_eq!(invocation.flags.config.unwrap().to_str(), Some("b.toml"));
}

#[test]
fn client_commands_have_their_own_flags_and_none_of_the_settings() {
    let help = refusal("callboard get --help").to_string();
    for flag in ["--group", "--namespace", "--nodes", "--timeout", "--output", "CALLBOARD_CLIENT_NODES", "Exit codes"] {
        assert!(help.contains(flag), "{flag} is missing: {help}");
    }
    for key in Key::all() {
        assert!(!help.contains(&format!("--{} ", key.flag())), "{}", key.path());
    }
    for line in ["callboard get a --http-addr x", "callboard --http-addr x get a", "callboard --config x get a"] {
        assert_eq!(refusal(line).exit_code(), 2, "{line}");
    }
    for line in ["callboard --http-addr x man", "callboard --http-addr x cluster key", "callboard --config x bench get"]
    {
        assert!(refusal(line).to_string().contains("do not apply"), "{line}");
    }
}

#[test]
fn a_client_command_is_read_with_its_nodes_and_its_output() {
    let Request::Put(put) = asked("callboard put a - --nodes n1,n2:1 -o json --if-version 3 -g shop -n dev") else {
        panic!("not a put")
    };
    assert_eq!(put.common.nodes, ["n1", "n2:1"]);
    assert_eq!((put.common.output, put.condition.if_version), (Some(Format::Json), Some(3)));
    assert_eq!((put.named.group.as_str(), put.named.namespace.namespace.as_deref()), ("shop", Some("dev")));
    assert_eq!(put.file.as_deref().and_then(std::path::Path::to_str), Some("-"));
}

#[test]
fn the_top_help_lists_every_command() {
    let help = refusal("callboard -h").to_string();
    for command in grammar(WithSettings::Everywhere).get_subcommands() {
        assert!(help.contains(&format!("\n  {} ", command.get_name())), "{}", command.get_name());
    }
}

#[test]
fn completions_know_every_command_in_every_shell() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
        let script = String::from_utf8(completions(shell)).unwrap();
        for word in ["pushes", "if-version", "http-addr", "longpoll"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(refusal("callboard completions csh").exit_code(), 2);
}

#[test]
fn the_manual_has_a_section_for_every_command_and_the_settings_once() {
    let page = String::from_utf8(manual().unwrap()).unwrap();
    for heading in ["CALLBOARD GET", "CALLBOARD WATCH", "CALLBOARD NODE RM", "CALLBOARD BENCH PUBLISH", "EXIT STATUS"] {
        assert_eq!(page.matches(&format!(".SH \"{heading}\"\n")).count(), 1, "{heading}");
    }
    assert_eq!(page.matches("\\-\\-http\\-addr\\fR \\fI").count(), 1);
}
