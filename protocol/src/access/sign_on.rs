//! Whom a provider of OpenID Connect says somebody is: which of its statements are believed, which roles groups give,
//! and where a browser may be sent afterwards. Reads no token and checks no signature; the time is an argument.
//!
//! What is checked is what OpenID Connect Core 1.0 asks of a client in 3.1.3.7.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::time::WallMillis;

/// How far the clock of a provider may be from ours, in milliseconds.
const LEEWAY: i64 = 60_000;
/// Longest subject; the standard has it end here.
const MAX_SUBJECT: usize = 255;
/// Longest path that a browser is sent to.
const MAX_RETURN: usize = 512;

/// What an ID token states. Whoever made it, its signature was looked at before.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct IdToken {
    /// Who states it.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// Of whom: unique there, and the same for ever.
    #[serde(rename = "sub")]
    pub subject: String,
    /// For which clients.
    #[serde(rename = "aud")]
    pub audience: Audience,
    /// Which of them asked.
    #[serde(rename = "azp")]
    pub authorized: Option<String>,
    /// Until when, in seconds since 1970.
    #[serde(rename = "exp")]
    pub expires: i64,
    /// From when on, in seconds since 1970.
    #[serde(rename = "nbf")]
    pub begins: Option<i64>,
    /// What the client had sent.
    pub nonce: Option<String>,
}

/// One client or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// Just this one.
    One(String),
    /// All of these.
    Many(Vec<String>),
}

/// What an ID token has to state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    /// Who states it.
    pub issuer: &'a str,
    /// Who asked.
    pub client: &'a str,
    /// What was sent; `None` where nothing can be.
    pub nonce: Option<&'a str>,
}

/// Why an ID token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Somebody else states it.
    #[error("it is from another issuer")]
    Issuer,
    /// It is for somebody else.
    #[error("it is for another client")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time is to come.
    #[error("it is not valid yet")]
    Early,
    /// It belongs to another log-in.
    #[error("it belongs to another log-in")]
    Nonce,
    /// It says of nobody anything.
    #[error("it names nobody")]
    Subject,
}

impl IdToken {
    /// Whether it is believed as of `now`.
    ///
    /// # Errors
    /// [`Untrusted`]: the first thing that is wrong.
    pub fn check(&self, expected: &Expected<'_>, now: WallMillis) -> Result<(), Untrusted> {
        let (is_ours, are_many) = match &self.audience {
            Audience::One(client) => (client == expected.client, false),
            Audience::Many(clients) => (clients.iter().any(|client| client == expected.client), clients.len() > 1),
        };
        let authorized = self.authorized.as_deref();
        // Among several clients it has to be said which of them asked.
        let is_authorized = authorized.map_or(!are_many, |client| client == expected.client);
        let millis = |seconds: i64| seconds.saturating_mul(1_000);
        if self.issuer != expected.issuer {
            Err(Untrusted::Issuer)
        } else if !is_ours || !is_authorized {
            Err(Untrusted::Audience)
        } else if now.0 >= millis(self.expires).saturating_add(LEEWAY) {
            Err(Untrusted::Expired)
        } else if self.begins.is_some_and(|begins| now.0.saturating_add(LEEWAY) < millis(begins)) {
            Err(Untrusted::Early)
        } else if expected.nonce.is_some_and(|nonce| self.nonce.as_deref() != Some(nonce)) {
            Err(Untrusted::Nonce)
        } else if !(1..=MAX_SUBJECT).contains(&self.subject.len()) {
            Err(Untrusted::Subject)
        } else {
            Ok(())
        }
    }
}

/// Which roles groups give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleMap {
    /// By group.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    /// To everybody.
    pub default: BTreeSet<String>,
}

impl RoleMap {
    /// What somebody in `groups` gets. A group that is not mapped gives nothing.
    #[must_use]
    pub fn of<'a>(&self, groups: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        let mapped = groups.into_iter().filter_map(|group| self.roles.get(group)).flatten();
        mapped.chain(&self.default).cloned().collect()
    }
}

/// Where a browser goes after a log-in: `path` if it is one on the host that it comes from, whatever a browser makes of
/// it.
#[must_use]
pub fn return_path(path: &str) -> Option<&str> {
    let is_here = path.starts_with('/') && !path.starts_with("//");
    // A browser takes a backslash for a slash, and leaves out what is no visible letter.
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (is_here && is_plain && path.len() <= MAX_RETURN).then_some(path)
}

#[cfg(test)]
mod tests {
    //! What is believed, what groups give, and where nobody is sent.

    use std::collections::{BTreeMap, BTreeSet};

    use super::{Audience, Expected, IdToken, RoleMap, Untrusted, return_path};
    use crate::time::WallMillis;

    const EXPECTED: Expected<'_> = Expected { issuer: "https://id", client: "callboard", nonce: Some("n") };
    const NOW: WallMillis = WallMillis(1_000_000);

    fn token() -> IdToken {
        IdToken {
            issuer: "https://id".to_owned(),
            subject: "7".to_owned(),
            audience: Audience::One("callboard".to_owned()),
            authorized: None,
            expires: 1_000,
            begins: None,
            nonce: Some("n".to_owned()),
        }
    }

    fn many(clients: &[&str]) -> Audience {
        Audience::Many(clients.iter().map(|client| (*client).to_owned()).collect())
    }

    #[test]
    fn what_is_stated_is_checked_one_thing_after_the_other() {
        let checked = |edit: fn(&mut IdToken)| {
            let mut token = token();
            edit(&mut token);
            token.check(&EXPECTED, NOW)
        };
        assert_eq!(checked(|_| {}), Ok(()));
        assert_eq!(checked(|token| token.issuer.push('/')), Err(Untrusted::Issuer));
        assert_eq!(checked(|token| token.audience = Audience::One("other".to_owned())), Err(Untrusted::Audience));
        assert_eq!(checked(|token| token.audience = many(&[])), Err(Untrusted::Audience));
        assert_eq!(checked(|token| token.audience = many(&["callboard"])), Ok(()));
        assert_eq!(checked(|token| token.audience = many(&["callboard", "other"])), Err(Untrusted::Audience));
        assert_eq!(checked(|token| token.authorized = Some("other".to_owned())), Err(Untrusted::Audience));
        let both = |token: &mut IdToken| {
            token.audience = many(&["other", "callboard"]);
            token.authorized = Some("callboard".to_owned());
        };
        assert_eq!(checked(both), Ok(()));
        assert_eq!(checked(|token| token.nonce = None), Err(Untrusted::Nonce));
        assert_eq!(checked(|token| token.nonce = Some("another".to_owned())), Err(Untrusted::Nonce));
        assert_eq!(checked(|token| token.subject.clear()), Err(Untrusted::Subject));
        assert_eq!(checked(|token| token.subject = "x".repeat(256)), Err(Untrusted::Subject));
    }

    #[test]
    fn clocks_may_be_a_minute_apart() {
        let at = |millis| token().check(&EXPECTED, WallMillis(millis));
        assert_eq!((at(1_059_999), at(1_060_000)), (Ok(()), Err(Untrusted::Expired)));
        let early = IdToken { begins: Some(2_000), expires: 3_000, ..token() };
        let at = |millis| early.check(&EXPECTED, WallMillis(millis));
        assert_eq!((at(1_939_999), at(1_940_000)), (Err(Untrusted::Early), Ok(())));
        let endless = IdToken { expires: i64::MAX, begins: Some(i64::MIN), ..token() };
        assert_eq!(endless.check(&EXPECTED, NOW), Ok(()));
    }

    #[test]
    fn a_group_that_is_not_mapped_gives_nothing() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let roles =
            BTreeMap::from([("ops".to_owned(), set(&["admin"])), ("dev".to_owned(), set(&["reader", "writer"]))]);
        let map = RoleMap { roles, default: set(&["guest"]) };
        assert_eq!(map.of(["dev", "unknown"]), set(&["guest", "reader", "writer"]));
        assert_eq!(map.of([]), set(&["guest"]));
        assert_eq!(RoleMap::default().of(["ops"]), set(&[]));
    }

    #[test]
    fn nobody_is_sent_to_another_host() {
        for fit in ["/", "/console?x=1#y", "/a//b", "/@evil.example"] {
            assert_eq!(return_path(fit), Some(fit));
        }
        let long = format!("/{}", "x".repeat(512));
        for wrong in ["", "console", "//evil.example", "/\\evil.example", "/\t/evil", "https://evil", "/ä", &long] {
            assert_eq!(return_path(wrong), None, "{wrong:?}");
        }
    }
}
