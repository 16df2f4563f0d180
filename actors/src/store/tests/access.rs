//! Users, roles, tokens and keys on every database.

use std::collections::BTreeSet;
use std::sync::Arc;

use callboard_protocol::access::audit::Who;
use callboard_protocol::access::change::{Change, Refusal};
use callboard_protocol::access::directory::{ADMIN_ROLE, External, Role, SigningKey, Token, User};
use callboard_protocol::access::grant::{Action, Grant, Pattern, Scope};
use callboard_protocol::time::WallMillis;

use super::on_every_database;
use super::testbed::{NOON, Testbed};
use crate::store::WriteError;

on_every_database!(
    what_was_changed_is_read,
    what_is_refused_writes_nothing,
    names_are_told_apart_by_every_byte,
    changes_at_the_same_time_are_made_one_after_the_other,
);

fn add(name: &str) -> Change {
    Change::AddUser { name: name.to_owned(), password_hash: Some("hash".to_owned()), roles: BTreeSet::new() }
}

fn first() -> Change {
    Change::FirstAdministrator { name: "root".to_owned(), password_hash: "hash".to_owned() }
}

async fn what_was_changed_is_read(testbed: Arc<Testbed>) {
    assert_eq!(testbed.reader.access_revision().await.unwrap(), 0);
    assert_eq!(testbed.writer.change_access(first(), NOON, Who::SERVER).await.unwrap(), 1);
    let scope = Scope { namespace: Pattern::new("prod*").unwrap(), ..Scope::everything() };
    let grant = Grant { scope, actions: BTreeSet::from([Action::Read, Action::Gray]) };
    let role = Role { grants: vec![grant.clone()], description: "für alle 名前".to_owned() };
    let token = Token {
        user: "root".to_owned(),
        digest: "d".repeat(64),
        grants: Some(vec![grant]),
        expires: Some(WallMillis(5)),
        created: NOON,
        description: String::new(),
    };
    let key = SigningKey { sealed: "s".repeat(128), created: NOON, retires: None };
    for change in [
        Change::SetRole { name: "role".to_owned(), role: role.clone() },
        Change::SetRole { name: "role".to_owned(), role: role.clone() },
        Change::AddToken { id: "t".to_owned(), token: token.clone() },
        Change::AddKey { id: "k".to_owned(), key: key.clone(), retire: NOON },
    ] {
        testbed.writer.change_access(change, NOON, Who::SERVER).await.unwrap();
    }
    let read = testbed.reader.directory().await.unwrap();
    assert_eq!((read.revision, testbed.reader.access_revision().await.unwrap()), (5, 5));
    assert_eq!(read.administrators().collect::<Vec<_>>(), ["root"]);
    assert_eq!((&read.roles["role"], &read.tokens["t"], &read.keys["k"]), (&role, &token, &key));
    let roles = BTreeSet::from(["role".to_owned()]);
    let external = External { issuer: "https://id".to_owned(), subject: "7".to_owned(), roles };
    let sign_on = Change::SignOn { name: "eve".to_owned(), external: external.clone() };
    testbed.writer.change_access(sign_on, NOON, Who::SERVER).await.unwrap();
    let read = testbed.reader.directory().await.unwrap();
    assert_eq!(read.users["eve"].external, Some(external));
    testbed.writer.change_access(Change::RemoveToken { id: "t".to_owned() }, NOON, Who::SERVER).await.unwrap();
    assert!(testbed.reader.directory().await.unwrap().tokens.is_empty());
}

#[test]
fn a_user_of_before_there_were_providers_is_read() {
    let row = r#"{"passwordHash":"hash","roles":["admin"],"isEnabled":true,"generation":3,"created":5}"#;
    let user: User = serde_json::from_str(row).unwrap();
    assert!(user.external.is_none() && user.all_roles().contains(ADMIN_ROLE));
    assert_eq!(serde_json::to_string(&user).unwrap(), row, "and a node of before reads him");
}

async fn what_is_refused_writes_nothing(testbed: Arc<Testbed>) {
    testbed.writer.change_access(first(), NOON, Who::SERVER).await.unwrap();
    let before = testbed.reader.directory().await.unwrap();
    let withdraw = Change::Withdraw { user: Some("root".to_owned()), role: ADMIN_ROLE.to_owned() };
    let refused = testbed.writer.change_access(withdraw, NOON, Who::SERVER).await;
    assert!(matches!(refused, Err(WriteError::AccessRefused(Refusal::LastAdministrator { .. }))));
    assert_eq!(testbed.reader.directory().await.unwrap(), before);
}

async fn names_are_told_apart_by_every_byte(testbed: Arc<Testbed>) {
    let names = ["ann", "Ann", "änn", "名前", &"😀".repeat(32)];
    for name in names {
        testbed.writer.change_access(add(name), NOON, Who::SERVER).await.unwrap();
    }
    let read = testbed.reader.directory().await.unwrap();
    assert_eq!(read.users.len(), names.len());
    assert!(names.iter().all(|name| read.users.contains_key(*name)));
}

async fn changes_at_the_same_time_are_made_one_after_the_other(testbed: Arc<Testbed>) {
    let changes = (0..8).map(|at| {
        let testbed = Arc::clone(&testbed);
        tokio::spawn(async move { testbed.writer.change_access(add(&format!("user-{at}")), NOON, Who::SERVER).await })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.unwrap().unwrap();
    }
    let read = testbed.reader.directory().await.unwrap();
    assert_eq!((read.revision, read.users.len()), (8, 8));
}
