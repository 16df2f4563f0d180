//! Settings from all sources: who wins, what is refused and how it is said.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::{Flags, InForce, Key, Origin, load};

/// Sources of one test.
#[derive(Default)]
struct Sources {
    file: Option<&'static str>,
    environment: Vec<(&'static str, &'static str)>,
    flags: Vec<(&'static str, &'static str)>,
}

impl Sources {
    fn load(self) -> Result<InForce, String> {
        let directory = TempDir::new().unwrap();
        let config = self.file.map(|text| {
            let path = directory.path().join("callboard.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let key = |name: &str| Key::all().iter().find(|key| key.flag() == name).unwrap();
        let values = self.flags.into_iter().map(|(name, value)| (key(name), value.to_owned())).collect();
        let environment = self.environment.into_iter().map(|(name, value)| (name.into(), value.into()));
        load(Flags { config, values }, environment).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    }

    fn refusal(self) -> String {
        self.load().unwrap_err()
    }
}

fn from_file(text: &'static str) -> Sources {
    Sources { file: Some(text), ..Sources::default() }
}

fn from_environment(name: &'static str, value: &'static str) -> Sources {
    Sources { environment: vec![(name, value)], ..Sources::default() }
}

fn from_flag(name: &'static str, value: &'static str) -> Sources {
    Sources { flags: vec![(name, value)], ..Sources::default() }
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

#[test]
fn without_sources_the_defaults_are_in_force() {
    let in_force = Sources::default().load().unwrap();
    assert_eq!(in_force.settings, super::Settings::default());
    assert_eq!(in_force.origin("http.addr"), &Origin::Default);
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let sources = Sources {
        file: Some("[publish]\nmax_queued = 1\nmax_batch_items = 2\ntimeout = \"3s\""),
        environment: vec![("CALLBOARD_PUBLISH_MAX_QUEUED", "10"), ("CALLBOARD_PUBLISH_MAX_BATCH_ITEMS", "20")],
        flags: vec![("publish-max-queued", "100")],
    };
    let in_force = sources.load().unwrap();
    let publish = &in_force.settings.publish;
    assert_eq!(publish.max_queued, 100);
    assert_eq!(publish.max_batch_items, 20);
    assert_eq!(publish.timeout, Duration::from_secs(3));
    assert_eq!(publish.max_batch_bytes.bytes(), 1 << 20);
    assert_eq!(in_force.origin("publish.max_queued"), &Origin::Flag("--publish-max-queued".to_owned()));
    let variable = Origin::Environment("CALLBOARD_PUBLISH_MAX_BATCH_ITEMS".to_owned());
    assert_eq!(in_force.origin("publish.max_batch_items"), &variable);
    assert!(matches!(in_force.origin("publish.timeout"), Origin::File(_)));
    assert_eq!(in_force.origin("publish.max_batch_bytes"), &Origin::Default);
}

#[test]
fn the_environment_names_the_file_unless_a_flag_does() {
    let directory = TempDir::new().unwrap();
    let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
    std::fs::write(&one, "[node]\nid = \"one\"").unwrap();
    std::fs::write(&two, "[node]\nid = \"two\"").unwrap();
    let environment = || [(OsString::from("CALLBOARD_CONFIG"), one.clone().into_os_string())];
    assert_eq!(load(Flags::default(), environment()).unwrap().settings.node.id, "one");
    let flags = Flags { config: Some(two), ..Flags::default() };
    assert_eq!(load(flags, environment()).unwrap().settings.node.id, "two");
}

#[test]
fn byte_sizes_are_numbers_or_texts() {
    let number = from_file("[cache]\nmax_bytes = 4096").load().unwrap();
    assert_eq!(number.settings.cache.max_bytes.bytes(), 4096);
    let digits = from_environment("CALLBOARD_CACHE_MAX_BYTES", "4096").load().unwrap();
    assert_eq!(digits.settings.cache.max_bytes.bytes(), 4096);
    let text = from_flag("cache-max-bytes", "4KiB").load().unwrap();
    assert_eq!(text.settings.cache.max_bytes.bytes(), 4096);
}

#[test]
fn variables_of_tests_simulations_clients_and_others_are_no_settings() {
    let environment = vec![
        ("CALLBOARD_TEST_POSTGRES", "x"),
        ("CALLBOARD_SIM_SEED", "7"),
        ("CALLBOARD_CLIENT_NODES", "n1"),
        ("HTTP_ADDR", "y"),
    ];
    let in_force = Sources { environment, ..Sources::default() }.load().unwrap();
    assert_eq!(in_force.settings, super::Settings::default());
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_one() {
    let message = from_environment("CALLBOARD_HTTP_ADR", "127.0.0.1:1").refusal();
    assert_says(&message, &["CALLBOARD_HTTP_ADR;", "did you mean CALLBOARD_HTTP_ADDR?"]);
    let message = from_environment("CALLBOARD_CONFG", "x").refusal();
    assert_says(&message, &["did you mean CALLBOARD_CONFIG?"]);
}

#[test]
fn an_unknown_key_in_the_file_is_refused_with_the_nearest_one() {
    let message = from_file("[http]\nadress = \"127.0.0.1:1\"").refusal();
    assert_says(&message, &["`http.adress`", "callboard.toml", "did you mean `http.addr`?"]);
    let message = from_file("[htttp]\nworkers = 1").refusal();
    assert_says(&message, &["`htttp.workers`", "did you mean `http.workers`?"]);
    assert_says(&from_file("http = 1").refusal(), &["unknown key `http`"]);
}

#[test]
fn a_bad_value_names_key_source_and_what_is_allowed() {
    let message = from_environment("CALLBOARD_HTTP_WORKERS", "many").refusal();
    assert_says(&message, &["http.workers = \"many\"", "variable CALLBOARD_HTTP_WORKERS", "whole number", "0 to 1024"]);
    let message = from_flag("http-addr", "localhost:8848").refusal();
    assert_says(&message, &["http.addr = \"localhost:8848\"", "flag --http-addr", "an IP address and a port"]);
    let message = from_file("[http]\nread_timeout = 10").refusal();
    assert_says(&message, &["http.read_timeout = 10", "file ", "callboard.toml", "10ms to 1h"]);
    let message = from_flag("insecure-no-auth", "yes").refusal();
    assert_says(&message, &["insecure.no_auth", "expected true or false"]);
    let message = from_flag("log-format", "xml").refusal();
    assert_says(&message, &["log.format = \"xml\"", "text or json"]);
    let message = from_flag("cache-max-bytes", "64MB").refusal();
    assert_says(&message, &["cache.max_bytes = \"64MB\"", "KiB, MiB"]);
    let message = from_flag("publish-max-queued", "-1").refusal();
    assert_says(&message, &["publish.max_queued = -1", "1 to 1000000"]);
}

#[test]
fn a_bad_value_is_refused_even_if_a_stronger_source_replaces_it() {
    let sources = Sources {
        environment: vec![("CALLBOARD_HTTP_ADDR", "nowhere")],
        flags: vec![("http-addr", "127.0.0.1:1")],
        ..Sources::default()
    };
    assert_says(&sources.refusal(), &["http.addr = \"nowhere\"", "variable CALLBOARD_HTTP_ADDR"]);
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    let cases = [
        ("http-workers", "1025", "from 0 to 1024"),
        ("http-max-connections", "0", "from 1 to"),
        ("http-max-held", "0", "from 1 to"),
        ("http-read-timeout", "0s", "from 10ms to 1h"),
        ("http-body-timeout", "2h", "from 10ms to 1h"),
        ("database-read-connections", "0", "from 1 to 1000"),
        ("database-connect-timeout", "0s", "from 10ms to 1h"),
        ("database-statement-timeout", "1ms", "from 10ms to 1h"),
        ("cache-max-bytes", "0", "at least 1B"),
        ("cache-refresh-interval", "0s", "from 10ms to 1day"),
        ("cache-mark-wait", "2s", "from 0s to 1s"),
        ("publish-max-queued", "0", "from 1 to"),
        ("publish-max-batch-items", "0", "from 1 to"),
        ("publish-max-batch-bytes", "0B", "at least 1B"),
        ("publish-timeout", "0s", "from 10ms to 1h"),
        ("watch-heartbeat", "0s", "from 10ms to 1h"),
        ("watch-max-keys", "0", "from 1 to"),
        ("history-retention", "0s", "from 1s to"),
        ("shutdown-grace", "2h", "from 0s to 1h"),
        ("log-filter", "callboard=loud", "MODULE=LEVEL"),
        ("node-id", "a b", "characters A-Z"),
        ("data-dir", "", "must name a directory"),
        ("database-url", "oracle://db", "postgres://"),
    ];
    for (flag, value, range) in cases {
        let path = flag.replacen('-', ".", 1).replace('-', "_");
        assert_says(&from_flag(flag, value).refusal(), &[&format!("{path} = "), &format!("flag --{flag}"), range]);
    }
}

#[test]
fn an_address_that_others_can_reach_needs_the_insecure_flag() {
    let message = from_flag("http-addr", "0.0.0.0:8848").refusal();
    assert_says(&message, &["http.addr", "flag --http-addr", "authentication is off", "--insecure-no-auth"]);
    let flags = vec![("http-addr", "0.0.0.0:8848"), ("insecure-no-auth", "true")];
    assert!(Sources { flags, ..Sources::default() }.load().is_ok());
    assert!(from_flag("http-addr", "[::1]:0").load().is_ok());
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_refused_by_name_without_showing_its_text() {
    let flags = Flags { config: Some(PathBuf::from("/nowhere/callboard.toml")), ..Flags::default() };
    let error = anyhow::Error::from(load(flags, []).unwrap_err());
    assert_says(&format!("{error:#}"), &["/nowhere/callboard.toml", "No such file"]);
    let message = from_file("[database]\nurl = \"postgres://u:hunter2@db/conf").refusal();
    assert_says(&message, &["callboard.toml", "line 2"]);
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_refused_database_url_is_shown_masked() {
    let message = from_flag("database-url", "oracle://u:hunter2@db/conf").refusal();
    assert_says(&message, &["database.url = \"oracle://u:***@db/conf\""]);
    let message = from_file("[database]\nurl = [\"postgres://u:hunter2@db\"]").refusal();
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_variable_that_is_not_utf8_is_refused() {
    let environment = [(OsString::from("CALLBOARD_NODE_ID"), OsString::from_vec(vec![0xff]))];
    let message = load(Flags::default(), environment).unwrap_err().to_string();
    assert_says(&message, &["node.id", "CALLBOARD_NODE_ID", "UTF-8"]);
}

#[test]
fn the_settings_in_force_print_as_a_file_with_origins_and_no_password() {
    let mut sources = from_flag("database-url", "postgres://u:hunter2@db/conf");
    sources.environment.push(("CALLBOARD_LOG_FORMAT", "json"));
    let in_force = sources.load().unwrap();
    let text = in_force.to_toml(true).unwrap();
    assert_says(
        &text,
        &[
            "[database]\nurl = \"postgres://u:***@db/conf\"  # flag --database-url\n",
            "format = \"json\"  # environment variable CALLBOARD_LOG_FORMAT\n",
            "max_bytes = \"64MiB\"  # default\n",
        ],
    );
    assert!(!text.contains("hunter2") && !format!("{in_force:?}").contains("hunter2"), "{text}");
    assert!(!in_force.to_toml(false).unwrap().contains('#'));
}

#[test]
fn what_is_printed_reads_back_as_the_same_settings() {
    let in_force = from_flag("history-retention", "45d").load().unwrap();
    let text = in_force.to_toml(false).unwrap();
    assert_eq!(toml::from_str::<super::Settings>(&text).unwrap(), in_force.settings);
}

proptest! {
    #[test]
    fn arbitrary_values_never_panic(index in any::<prop::sample::Index>(), value in any::<String>()) {
        let key = index.get(Key::all());
        let flags = Flags { config: None, values: vec![(key, value)] };
        drop(load(flags, []));
    }
}

#[test]
fn a_filter_of_other_letters_is_refused_and_does_not_panic() {
    let key = Key::all().iter().find(|key| key.path() == "log.filter").unwrap();
    for filter in [" A\u{1ee42}=", "\u{e4}=debug", " \u{4e2d}[x]"] {
        let flags = Flags { config: None, values: vec![(key, filter.to_owned())] };
        assert!(load(flags, []).is_err(), "{filter:?}");
    }
}
