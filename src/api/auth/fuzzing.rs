//! What a fuzz target reaches of what callers show. Present only with the feature `fuzzing`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use callboard_actors::audit::Trail;
use callboard_actors::clock::SystemClock;
use callboard_protocol::access::change::{Change, decide, put};
use callboard_protocol::access::directory::{Directory, SigningKey, Token};
use callboard_protocol::time::WallMillis;
use callboard_protocol::write_request::Source;
use futures_util::FutureExt as _;
use tokio::sync::watch;

use super::shown::Shown;
use super::signing::Claims;
use super::{Authenticator, Credentials, Principal, Secrets, Whence, digest_of};

/// The secret of the one token.
const SECRET: &str = "secret";

struct Desk {
    auth: Authenticator,
    /// What the one user's log-in gave.
    log_in: String,
    _known: watch::Sender<Option<Arc<Directory>>>,
}

static DESK: LazyLock<Desk> = LazyLock::new(|| {
    let secrets = Secrets::new(vec![[1; 32]]);
    let key =
        SigningKey { sealed: secrets.seal("k", &[2; 32]).expect("it seals"), created: WallMillis(0), retires: None };
    let token = Token {
        user: "root".to_owned(),
        digest: digest_of(SECRET),
        grants: None,
        expires: None,
        created: WallMillis(0),
        description: String::new(),
    };
    let mut directory = Directory::default();
    for change in [
        Change::AddKey { id: "k".to_owned(), key, retire: WallMillis(0) },
        Change::FirstAdministrator { name: "root".to_owned(), password_hash: String::new() },
        Change::AddToken { id: "t".to_owned(), token },
    ] {
        let rows = decide(&directory, change, WallMillis(1)).expect("it is right");
        rows.into_iter().for_each(|row| put(&mut directory, row));
    }
    let generation = directory.users.get("root").expect("it was added").generation;
    let directory = Arc::new(directory);
    let (known, receiver) = watch::channel(Some(Arc::clone(&directory)));
    let how = (true, Duration::from_secs(60));
    let auth = Authenticator::new(how, receiver, secrets, (Arc::new(SystemClock), Trail::off()))
        .expect("the system is random");
    let claims = Claims { user: "root".to_owned(), generation, expires: WallMillis(i64::MAX) };
    let log_in = auth.key_ring(&directory).sign(&claims, WallMillis(1)).expect("there is a key");
    Desk { auth, log_in, _known: known }
});

/// Any text as the header `Authorization` and as a token: nobody is let in but by what was given out.
///
/// # Panics
/// Somebody is.
pub fn token(text: &str) {
    let shown = match Shown::read(text) {
        Some(Shown::Token(token)) => token.into_owned(),
        // Passwords are not looked at: that takes its time, on purpose.
        _ => text.to_owned(),
    };
    // What the one log-in gave stands for `$`, so that what is nearly right is tried, too.
    let shown = shown.replace('$', &DESK.log_in);
    let whence = Whence { address: "127.0.0.1", door: Source::Rest };
    let told = DESK.auth.authenticate(Credentials::Token(&shown), whence).now_or_never();
    let told = told.expect("no password has to be looked at");
    let is_right = shown.eq_ignore_ascii_case(&DESK.log_in) || shown == format!("cbt_t_{SECRET}");
    let is_let_in = matches!(told, Ok(Principal::User(_)));
    assert!(is_right || !is_let_in, "{shown} was taken");
}
