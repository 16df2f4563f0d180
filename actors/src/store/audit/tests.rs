//! The form of events: part of what is stored for good, so that every name in it is held here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callboard_protocol::access::audit::chain::{Hash, Head};
use callboard_protocol::access::audit::{Body, Claims, Event, Outcome, Pruned, Target, What, Who};
use callboard_protocol::access::change::Change;
use callboard_protocol::access::directory::{Role, SigningKey, Token};
use callboard_protocol::access::grant::{Action, Area, Demand, Grant, Names, Pattern, Scope};
use callboard_protocol::commit::{ChangeRow, Operation};
use callboard_protocol::config::{ConfigState, Version};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::{Origin, RequestId, Source};

const NOON: WallMillis = WallMillis(1_800_000_000_000);

fn ann() -> Who {
    Who { user: Some("ann".to_owned()), address: Some("192.0.2.7".to_owned()), door: Source::Rest }
}

fn json(event: &Event) -> String {
    serde_json::to_string(event).unwrap()
}

#[test]
fn a_change_is_told_without_content_and_note() {
    let key = ConfigKey::new("public", "app", "a").unwrap();
    let origin = Origin {
        channel: Source::WebSocket,
        operator: Some("ann".to_owned()),
        source_address: Some("192.0.2.7".to_owned()),
        client_id: None,
        note: Some("a note".to_owned()),
    };
    let state = Arc::new(ConfigState::absent(key, Version(7)));
    let request_id = RequestId::new("r-1").unwrap();
    let change = ChangeRow { operation: Operation::Remove, state, origin, request_id };
    assert_eq!(
        json(&Event::of_change(&change, NOON)),
        "{\"at\":1800000000000,\"what\":\"remove\",\"user\":\"ann\",\"address\":\"192.0.2.7\",\"door\":\"websocket\",\
         \"target\":{\"namespace\":\"public\",\"group\":\"app\",\"dataId\":\"a\",\"version\":7},\"outcome\":\"done\",\
         \"request\":\"r-1\"}"
    );
}

#[test]
fn a_refusal_says_why_and_how_often() {
    let event = Event::done(NOON, What::LogInRefused, Who::SERVER, Target::default());
    let event = Event { count: 3, ..event.ended(Outcome::Refused, Some(ErrorCode::Unauthenticated)) };
    assert_eq!(
        json(&event),
        "{\"at\":1800000000000,\"what\":\"log_in_refused\",\"door\":\"system\",\"outcome\":\"refused\",\
         \"code\":\"unauthenticated\",\"count\":3}"
    );
}

#[test]
fn no_change_of_users_tells_a_secret() {
    let scope = Scope { namespace: Pattern::new("prod*").unwrap(), ..Scope::everything() };
    let grant = Grant { scope, actions: BTreeSet::from([Action::Read, Action::Write]) };
    let (name, secret) = ("bob".to_owned(), "a secret".to_owned());
    let token = Token {
        user: name.clone(),
        digest: secret.clone(),
        grants: Some(vec![grant.clone()]),
        expires: None,
        created: NOON,
        description: secret.clone(),
    };
    let key = SigningKey { sealed: secret.clone(), created: NOON, retires: None };
    let role = Role { grants: vec![grant.clone()], description: secret.clone() };
    let told = [
        (
            Change::AddUser { name: name.clone(), password_hash: Some(secret.clone()), roles: BTreeSet::new() },
            "user_made",
        ),
        (Change::FirstAdministrator { name: name.clone(), password_hash: secret.clone() }, "user_made"),
        (Change::SetPassword { name: name.clone(), password_hash: secret.clone() }, "password_set"),
        (Change::Enable { name: name.clone(), is_enabled: true }, "user_enabled"),
        (Change::Enable { name: name.clone(), is_enabled: false }, "user_disabled"),
        (Change::LogOut { name: name.clone() }, "log_out"),
        (Change::RemoveUser { name: name.clone() }, "user_removed"),
        (Change::Assign { user: name.clone(), role: "team".to_owned(), makes: true }, "role_given"),
        (Change::Withdraw { user: Some(name.clone()), role: "team".to_owned() }, "role_taken"),
        (Change::Withdraw { user: None, role: "team".to_owned() }, "role_removed"),
        (Change::SetRole { name: "team".to_owned(), role }, "role_set"),
        (Change::Grant { role: "team".to_owned(), grant: grant.clone() }, "granted"),
        (Change::Revoke { role: "team".to_owned(), grant }, "revoked"),
        (Change::AddToken { id: "t".to_owned(), token }, "token_made"),
        (Change::RemoveToken { id: "t".to_owned() }, "token_removed"),
        (Change::AddKey { id: "k".to_owned(), key, retire: NOON }, "key_made"),
    ];
    for (change, what) in told {
        let text = json(&Event::of_access(&change, ann(), NOON));
        assert!(text.contains(&format!("\"what\":\"{what}\",\"user\":\"ann\"")), "{text}");
        assert!(!text.contains(&secret), "{text}");
    }
    let granted = Change::Grant { role: "team".to_owned(), grant: Grant::of_everything() };
    assert_eq!(Event::of_access(&granted, ann(), NOON).target.grants, ["admin */*/*"]);
}

#[test]
fn a_body_tells_what_it_claims_of_chains() {
    let head = Head { seq: 5, hash: Hash::of(Hash::NONE, "two", 5, NOON, "{}") };
    let heads = BTreeMap::from([("two".to_owned(), head)]);
    let pruned = Pruned { node: "one".to_owned(), through: head };
    let body = serde_json::to_string(&Body { events: &[], heads: &heads, pruned: Some(&pruned) }).unwrap();
    let claims: Claims = serde_json::from_str(&body).unwrap();
    assert_eq!(claims, Claims { heads, pruned: Some(pruned) });
    let none = serde_json::to_string(&Body { events: &[], heads: &BTreeMap::new(), pruned: None }).unwrap();
    assert_eq!((none.as_str(), serde_json::from_str::<Claims>(&none).unwrap()), ("{\"events\":[]}", Claims::default()));
}

#[test]
fn what_was_demanded_is_named() {
    let key = ConfigKey::new("public", "app", "a").unwrap();
    assert_eq!(Target::demanded(&Demand::Key(Action::Write, &key)).action, Some("write"));
    let area = Area { namespace: "public", group: None, data_id: Some(Names::Beginning("x")) };
    assert_eq!(Target::demanded(&Demand::Area(Action::Read, area)).data_id.as_deref(), Some("x*"));
}
