//! Who is let in by what, and that a change of users ends what was found right before.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use callboard_actors::access_directory::Known;
use callboard_actors::audit::Trail;
use callboard_actors::clock::SystemClock;
use callboard_protocol::access::change::{Change, decide, put};
use callboard_protocol::access::directory::{Directory, SigningKey, Token};
use callboard_protocol::access::grant::{Action, Demand};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::Source;
use tokio::sync::watch;

use super::{Authenticator, Credentials, Principal, Secrets, Whence, new_token};
use crate::api::error::ApiError;

const HERE: Whence<'_> = Whence { address: "10.0.0.1", door: Source::Rest };
const RIGHT: &str = "correct horse";

struct Desk {
    auth: Authenticator,
    known: watch::Sender<Known>,
}

impl Desk {
    async fn begin() -> Self {
        let secrets = Secrets::new(vec![[1; 32]]);
        let sealed = secrets.seal("k", &[2; 32]).unwrap();
        let (known, receiver) = watch::channel(None);
        let how = (true, Duration::from_secs(60));
        let auth = Authenticator::new(how, receiver, secrets, (Arc::new(SystemClock), Trail::off())).unwrap();
        let password_hash = auth.hash(RIGHT).await.unwrap();
        let desk = Self { auth, known };
        let key = SigningKey { sealed, created: WallMillis(0), retires: None };
        desk.change(Change::AddKey { id: "k".to_owned(), key, retire: WallMillis(0) });
        desk.change(Change::FirstAdministrator { name: "root".to_owned(), password_hash });
        desk
    }

    fn change(&self, change: Change) {
        self.known.send_modify(|known| {
            let mut directory = known.as_deref().cloned().unwrap_or_default();
            let rows = decide(&directory, change, WallMillis(1)).unwrap();
            rows.into_iter().for_each(|row| put(&mut directory, row));
            directory.revision += 1;
            *known = Some(Arc::new(directory));
        });
    }

    async fn shows(&self, credentials: Credentials<'_>) -> Result<Principal, ErrorCode> {
        self.auth.authenticate(credentials, HERE).await.map_err(|error| error.code())
    }
}

fn is_root(principal: &Result<Principal, ErrorCode>) -> bool {
    matches!(principal, Ok(Principal::User(identity)) if identity.name == "root" && identity.rights.are_all())
}

#[actix_rt::test]
async fn a_password_and_what_a_log_in_gives_are_taken() {
    let desk = Desk::begin().await;
    assert!(is_root(&desk.shows(Credentials::Password("root", RIGHT)).await));
    let login = desk.auth.log_in("root", RIGHT, HERE).await.unwrap();
    assert!(login.is_administrator);
    assert!(is_root(&desk.shows(Credentials::Token(&login.token)).await));
    assert!(desk.auth.recall(Credentials::Token(&login.token)).is_some(), "it is remembered");
    for wrong in [
        Credentials::Password("root", "wrong horse"),
        Credentials::Password("nobody", RIGHT),
        Credentials::Password("", ""),
        Credentials::Token("rubbish"),
        Credentials::Token(""),
        Credentials::Token("cbt_1_2"),
        Credentials::Token(&format!("{}0", login.token)),
    ] {
        assert_eq!(desk.shows(wrong).await, Err(ErrorCode::Unauthenticated), "{wrong:?}");
    }
    assert_eq!(desk.shows(Credentials::None).await, Ok(Principal::Anonymous));
}

#[actix_rt::test]
async fn a_new_password_ends_what_was_given_out() {
    let desk = Desk::begin().await;
    let login = desk.auth.log_in("root", RIGHT, HERE).await.unwrap();
    let principal = desk.shows(Credentials::Token(&login.token)).await.unwrap();
    let password_hash = desk.auth.hash("another horse").await.unwrap();
    let ends = desk.auth.until_changed(&principal);
    desk.change(Change::SetPassword { name: "root".to_owned(), password_hash });
    tokio::time::timeout(Duration::from_secs(5), ends).await.unwrap();
    assert_eq!(desk.auth.again(&principal), None);
    assert_eq!(desk.shows(Credentials::Token(&login.token)).await, Err(ErrorCode::Unauthenticated));
    assert_eq!(desk.shows(Credentials::Password("root", RIGHT)).await, Err(ErrorCode::Unauthenticated));
    assert!(is_root(&desk.shows(Credentials::Password("root", "another horse")).await));
}

#[actix_rt::test]
async fn a_change_of_others_ends_nothing() {
    let desk = Desk::begin().await;
    let principal = desk.shows(Credentials::Password("root", RIGHT)).await.unwrap();
    let mut ends = Box::pin(desk.auth.until_changed(&principal));
    let add = |name: &str| Change::AddUser { name: name.to_owned(), password_hash: None, roles: Default::default() };
    for name in ["ann", "bob"] {
        desk.change(add(name));
        assert!(futures_util::poll!(&mut ends).is_pending());
        assert!(desk.auth.again(&principal).is_some());
    }
}

#[actix_rt::test]
async fn what_is_open_by_a_password_goes_on_until_that_changes() {
    let desk = Desk::begin().await;
    let principal = desk.shows(Credentials::Password("root", RIGHT)).await.unwrap();
    let Principal::User(identity) = &principal else { unreachable!("it is somebody") };
    assert_eq!(identity.expires, WallMillis(i64::MAX));
    let mut ends = Box::pin(desk.auth.until_changed(&principal));
    assert!(futures_util::poll!(&mut ends).is_pending());
    desk.change(Change::LogOut { name: "root".to_owned() });
    tokio::time::timeout(Duration::from_secs(5), ends).await.unwrap();
}

#[actix_rt::test]
async fn a_token_is_taken_until_it_is_removed() {
    let desk = Desk::begin().await;
    let (id, digest, shown) = new_token().unwrap();
    let token = Token {
        user: "root".to_owned(),
        digest,
        grants: Some(Vec::new()),
        expires: None,
        created: WallMillis(0),
        description: String::new(),
    };
    desk.change(Change::AddToken { id: id.clone(), token });
    let principal = desk.shows(Credentials::Token(&shown)).await.unwrap();
    assert!(!principal.may(&Demand::Cluster(Action::Read)), "it may do nothing that its user may");
    desk.change(Change::RemoveToken { id });
    assert_eq!(desk.shows(Credentials::Token(&shown)).await, Err(ErrorCode::Unauthenticated));
}

#[actix_rt::test]
async fn who_is_wrong_too_often_waits_and_nobody_else_does() {
    let desk = Desk::begin().await;
    let mut last = Ok(Principal::Anonymous);
    for _ in 0..7 {
        last = desk.shows(Credentials::Password("root", "wrong horse")).await;
    }
    assert_eq!(last, Err(ErrorCode::TooManyAttempts));
    let elsewhere =
        desk.auth.authenticate(Credentials::Password("root", RIGHT), Whence { address: "10.0.0.2", ..HERE }).await;
    assert!(elsewhere.is_ok_and(|principal| matches!(principal, Principal::User(_))));
}

#[actix_rt::test]
async fn nothing_is_let_in_before_users_are_known() {
    let (_known, receiver) = watch::channel(None);
    let how = (true, Duration::from_secs(60));
    let auth =
        Authenticator::new(how, receiver, Secrets::new(vec![[1; 32]]), (Arc::new(SystemClock), Trail::off())).unwrap();
    let refused = auth.authenticate(Credentials::Token("any"), HERE).await;
    assert_eq!(refused.map_err(|error: ApiError| error.code()), Err(ErrorCode::Unavailable));
    let off = Authenticator::new(
        (false, how.1),
        auth.known.clone(),
        Secrets::new(vec![[1; 32]]),
        (Arc::new(SystemClock), Trail::off()),
    );
    let anybody = off.unwrap().authenticate(Credentials::Token("any"), HERE).await;
    assert_eq!(anybody, Ok(Principal::Unrestricted));
    assert_eq!(Directory::default().administrators().count(), 0);
}
