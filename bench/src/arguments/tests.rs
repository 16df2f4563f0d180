//! Arguments: defaults, and values that are refused.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use clap::FromArgMatches as _;

use super::{Measure, grammar};

fn parsed(line: &str) -> Result<Measure, clap::Error> {
    let words = ["bench"].into_iter().chain(line.split_whitespace());
    Measure::from_arg_matches(&grammar().try_get_matches_from(words)?)
}

#[test]
fn the_grammar_is_sound() {
    grammar().debug_assert();
}

#[test]
fn servers_are_taken_with_and_without_scheme() {
    for line in ["get --url http://localhost:80/", "get --url localhost:80", "get --addr=http://localhost:80"] {
        let Measure::Get(options) = parsed(line).unwrap() else { panic!("{line}") };
        assert_eq!(options.target.url.authority(), "localhost:80");
    }
}

#[test]
fn times_are_seconds_or_have_a_unit() {
    let Measure::Longpoll(options) = parsed("longpoll --settle 0.25 --wait 1m --listeners 10").unwrap() else {
        panic!("another measure")
    };
    assert_eq!(
        (options.listening.settle, options.listening.wait),
        (Duration::from_millis(250), Duration::from_secs(60))
    );
    assert_eq!((options.listening.listeners, options.listening.rounds), (10, 3));
}

#[test]
fn wrong_values_are_wrong_usage() {
    for line in [
        "",
        "put",
        "get --url https://localhost:80",
        "get --url localhost",
        "get --url localhost:0",
        "get --url http://localhost:80/nacos",
        "get --conns 0",
        "get --keys 0",
        "get --keys 10000001",
        "get --size 63",
        "get --secs 0",
        "get --secs -1",
        "get --secs soon",
        "get --secs NaN",
        "get --secs 1e300",
        "get --group a&b",
        "get --namespace %00",
        "publish --pid x",
        "longpoll --rounds 0",
        "longpoll --warmup 1s",
        "static --url localhost:80",
    ] {
        let error = parsed(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(!error.to_string().is_empty(), "{line}");
    }
}
