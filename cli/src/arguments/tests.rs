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
fn every_action_can_be_granted() {
    let known = callboard_protocol::access::grant::Action::ALL.map(|action| action.as_str());
    assert_eq!(known, super::access::ACTIONS);
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
        "get a --password secret",
        "get a --token t --token-file f",
        "get a --token t --user ann",
        "get a --password-file f",
        "get a --user ann:secret",
        "get a --token",
        "login ann",
        "login --sso --user ann",
        "login --sso --token t",
        "login --sso https://callboard.example",
        "logout ann",
        "user",
        "user add",
        "user add ann --generate --new-password-file f",
        "user add ann --generate --no-password",
        "user show",
        "role add",
        "role give ann",
        "grant shop",
        "grant shop everything",
        "revoke",
        "token add --days 0",
        "token rm",
        "key",
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
        "put a --secret file",
        "put a --secret=false file",
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
        "get a --token t",
        "get a --token-file f",
        "get a --user ann --password-file f",
        "login",
        "login --user ann",
        "login --sso",
        "login --sso=https://callboard.example",
        "logout --everywhere",
        "whoami",
        "user add ann --role shop --role app --generate",
        "user add ann --new-password-file f --user admin --password-file g",
        "user add robot --no-password",
        "user ls",
        "user show ann",
        "user rm ann",
        "user enable ann",
        "user disable ann",
        "user password",
        "user password ann --generate",
        "user logout ann",
        "role add shop --description why",
        "role ls",
        "role rm shop",
        "role give ann shop",
        "role take ann shop",
        "grant shop read write -n dev -g shop --data-id feature-*",
        "revoke shop -n dev",
        "revoke shop read",
        "token add",
        "token add read -n dev --for robot --days 30 --description ci",
        "token ls",
        "token rm 0011",
        "key ls",
        "key rotate",
    ] {
        assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line));
    }
}

#[test]
fn a_digest_is_written_in_small_letters() {
    let Ok(Request::Put(put)) = parsed("put a --if-md5 0CC175B9C0F1B6A831C399E269772661") else { panic!("not taken") };
    assert_eq!(put.condition.if_md5.as_deref(), Some("0cc175b9c0f1b6a831c399e269772661"));
}
