//! Which client commands are refused before anything is asked.

use clap::Parser;

use super::Request;

#[derive(Debug, Parser)]
#[command(name = "callboard")]
struct CommandLine {
    #[command(subcommand)]
    request: Request,
}

fn parsed(line: &str) -> Result<Request, clap::Error> {
    CommandLine::try_parse_from(["callboard"].into_iter().chain(line.split_whitespace())).map(|line| line.request)
}

#[test]
fn every_kind_of_client_can_be_asked_for() {
    for kind in callboard_protocol::session::client::ClientKind::ALL {
        assert!(parsed(&format!("clients --kind {}", kind.as_str())).is_ok(), "{kind:?}");
    }
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    for line in [
        "get",
        "get a b",
        "get a --timeout 0s",
        "get a --timeout 5",
        "get a --output yaml",
        "get a --nodes http://127.0.0.1:8848",
        "get a --nodes n1,,n2",
        "put a --if-version 0",
        "put a --if-version 1 --if-absent",
        "put a --if-md5 12",
        "put a --idempotency-key ü",
        "ls --limit 0",
        "ls a",
        "watch",
        "watch a --prefix b",
        "watch a --count 0",
        "history a --version 1 --limit 2",
        "clients id --kind tcp",
        "clients --kind pigeon",
        "clients -g shop",
        "pushes",
        "nodes n1",
        "actors a b",
    ] {
        let refused = parsed(line).err().map(|error| error.exit_code());
        assert_eq!(refused, Some(2), "{line}");
    }
}

#[test]
fn what_makes_sense_is_taken() {
    for line in [
        "get a --timeout 500ms",
        "put a -",
        "put a file --if-md5 0CC175B9C0F1B6A831C399E269772661",
        "rm a --if-version 3 --note why",
        "ls --prefix a -g shop --limit 7",
        "watch a b",
        "watch --prefix a --exec true --count 2",
        "history a --version 3",
        "clients id",
        "clients --data-id a -g shop --label zone=a",
        "pushes a --version 2 --state rejected",
        "nodes --nodes n1 --nodes n2:8850",
        "actors reader-0",
    ] {
        assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line));
    }
}

#[test]
fn a_digest_is_written_in_small_letters() {
    let Ok(Request::Put(put)) = parsed("put a --if-md5 0CC175B9C0F1B6A831C399E269772661") else { panic!("not taken") };
    assert_eq!(put.condition.if_md5.as_deref(), Some("0cc175b9c0f1b6a831c399e269772661"));
}
