//! `callboard bench` against small servers of the test's own: one that does what it should, and some that lie.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod peer;

use std::process::{Command, Output};

use peer::{Manner, Peer};
use serde_json::Value;

fn bench(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callboard")).arg("bench").args(line.split_whitespace()).output().unwrap()
}

/// The report of a measure of a server with these manners.
fn report(manner: Manner, line: &str) -> Value {
    let peer = Peer::start(manner);
    let line = format!("{line} --url http://{} --pid {} --json", peer.address, std::process::id());
    let output = bench(&line);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{line}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn figure(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[track_caller]
fn rises(report: &Value, names: &[&str]) {
    let figures: Vec<f64> = names.iter().map(|name| figure(report, name)).collect();
    assert!(figures[0] > 0.0 && figures.is_sorted(), "{names:?} in {report}");
}

const LOAD: &str = "--secs 0.2 --warmup 0.05 --conns 4 --keys 10 --size 100";

#[test]
fn reads_are_counted_and_timed() {
    let report = report(Manner::Honest, &format!("get {LOAD} --threads 2"));
    assert!(figure(&report, "rate") > 10.0, "{report}");
    assert_eq!(figure(&report, "errors"), 0.0, "{report}");
    rises(&report, &["p50_ms", "p99_ms", "p999_ms"]);
    assert!(figure(&report, "server_cpu_us_per_op") >= 0.0);
    assert!(report.get("lost").is_none() && report.get("missed").is_none(), "{report}");
}

#[test]
fn wrong_contents_are_errors_although_their_length_is_right() {
    let report = report(Manner::AnswersWrongly, "get --secs 0.5 --warmup 0 --conns 2 --keys 10 --size 100");
    assert!(figure(&report, "errors") > 0.0 && figure(&report, "operations") > 0.0, "{report}");
}

#[test]
fn publishes_of_an_honest_server_are_all_there() {
    for names in ["", "--namespace elsewhere --group other"] {
        let report = report(Manner::Honest, &format!("publish {LOAD} {names}"));
        assert!(figure(&report, "rate") > 10.0, "{report}");
        assert_eq!((figure(&report, "errors"), figure(&report, "lost")), (0.0, 0.0), "{report}");
    }
}

#[test]
fn publishes_acknowledged_and_dropped_are_lost() {
    let report = report(Manner::DropsPublishes, &format!("publish {LOAD}"));
    assert_eq!(figure(&report, "errors"), 0.0, "{report}");
    assert!(figure(&report, "lost") > 0.0, "{report}");
}

#[test]
fn refused_publishes_are_errors_and_not_lost() {
    let report = report(Manner::RefusesPublishes, &format!("publish {LOAD}"));
    assert!(figure(&report, "errors") > 0.0, "{report}");
    assert_eq!((figure(&report, "operations"), figure(&report, "lost")), (0.0, 0.0), "{report}");
}

#[test]
fn listeners_of_an_honest_server_all_hear() {
    for names in ["", "--namespace elsewhere"] {
        let report = report(Manner::Honest, &format!("longpoll --listeners 20 --rounds 3 --settle 50ms {names}"));
        assert_eq!((figure(&report, "missed"), figure(&report, "errors")), (0.0, 0.0), "{report}");
        assert_eq!((figure(&report, "operations"), figure(&report, "connections")), (60.0, 20.0), "{report}");
        rises(&report, &["first_ms", "last_ms"]);
        rises(&report, &["publisher_ms"]);
        assert!(report["bytes_per_listener"].is_f64(), "{report}");
    }
}

#[test]
fn listeners_that_never_hear_are_missed() {
    let report = report(Manner::NeverTells, "longpoll --listeners 5 --rounds 2 --settle 10ms --wait 300ms");
    assert_eq!(figure(&report, "missed"), 10.0, "{report}");
    assert!(report.get("last_ms").is_none(), "{report}");
}

#[test]
fn polls_answered_before_the_publish_are_missed() {
    let report = report(Manner::HoldsNothing, "longpoll --listeners 5 --rounds 1 --settle 200ms --wait 300ms");
    assert_eq!((figure(&report, "missed"), figure(&report, "errors")), (5.0, 5.0), "{report}");
}

#[test]
fn the_fixed_answer_is_served_and_measured() {
    let output = bench("static --secs 0.2 --warmup 0 --conns 4");
    assert_eq!(output.status.code(), Some(0));
    let table = String::from_utf8(output.stdout).unwrap();
    for row in ["rate", "p99", "server processor per operation"] {
        assert!(table.contains(row), "{table}");
    }
}

#[test]
fn wrong_usage_is_exit_code_two_and_says_why() {
    for line in ["", "put", "get --conns 0", "get --url nowhere", "--http-workers 3 get", "get --http-workers 3"] {
        let output = bench(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{line}");
    }
    let help = bench("get --help");
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("--conns") && !help.contains("--http-workers"), "{help}");
}

#[test]
fn a_server_that_is_not_there_is_exit_code_one() {
    let peer = Peer::start(Manner::Honest);
    let address = peer.address;
    drop(peer);
    for measure in ["get", "publish", "longpoll"] {
        let output = bench(&format!("{measure} --url {address}"));
        assert_eq!(output.status.code(), Some(1), "{measure}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(&address.to_string()), "{message}");
    }
}

#[test]
fn a_process_that_is_not_there_is_exit_code_one() {
    let peer = Peer::start(Manner::Honest);
    let output = bench(&format!("get --url {} --pid 4294967295", peer.address));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("4294967295"));
}
