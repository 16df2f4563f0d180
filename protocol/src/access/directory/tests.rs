//! Who has which rights.

use std::collections::BTreeSet;

use super::{ADMIN_ROLE, Directory, External, Role, Token, User, check_name};
use crate::access::grant::{Action, Demand, Grant, Pattern, Scope};
use crate::key::ConfigKey;
use crate::time::WallMillis;

fn user(roles: &[&str]) -> User {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    User { password_hash: None, roles, is_enabled: true, generation: 0, created: WallMillis(0), external: None }
}

fn directory() -> Directory {
    let scope = Scope { namespace: Pattern::new("prod").expect("a pattern"), ..Scope::everything() };
    let grants = vec![Grant { scope, actions: BTreeSet::from([Action::Read]) }];
    let mut directory = Directory::default();
    directory.roles.insert("readers".to_owned(), Role { grants, ..Role::default() });
    directory.users.insert("root".to_owned(), user(&[ADMIN_ROLE]));
    directory.users.insert("ann".to_owned(), user(&["readers", "gone"]));
    directory
}

fn token(user: &str, expires: Option<i64>) -> Token {
    let expires = expires.map(WallMillis);
    let (digest, description) = (String::new(), String::new());
    Token { user: user.to_owned(), digest, grants: None, expires, created: WallMillis(0), description }
}

#[test]
fn roles_give_rights_and_those_that_are_gone_give_none() {
    let directory = directory();
    let key = ConfigKey::new("prod", "g", "d").expect("a key");
    let ann = directory.rights_of("ann").expect("she is there");
    assert!(ann.allow(&Demand::Key(Action::Read, &key)) && !ann.allow(&Demand::Key(Action::Write, &key)));
    assert!(directory.rights_of("root").is_some_and(|rights| rights.are_all()));
    assert_eq!(directory.rights_of("nobody"), None);
    assert_eq!(directory.administrators().collect::<Vec<_>>(), ["root"]);
}

#[test]
fn who_is_shut_out_has_no_rights_and_no_token_has() {
    let mut directory = directory();
    directory.tokens.insert("t".to_owned(), token("ann", None));
    assert!(directory.rights_of_token("t", WallMillis(5)).is_some());
    if let Some(ann) = directory.users.get_mut("ann") {
        ann.is_enabled = false;
    }
    assert_eq!(directory.rights_of("ann"), None);
    assert_eq!(directory.rights_of_token("t", WallMillis(5)), None);
}

#[test]
fn a_token_ends_at_its_time() {
    let mut directory = directory();
    directory.tokens.insert("t".to_owned(), token("ann", Some(10)));
    assert!(directory.rights_of_token("t", WallMillis(9)).is_some());
    assert_eq!(directory.rights_of_token("t", WallMillis(10)), None);
}

#[test]
fn a_group_elsewhere_gives_rights_beside_those_given_by_hand() {
    let mut directory = directory();
    let external = |role: &str| External {
        issuer: "https://id".to_owned(),
        subject: "7".to_owned(),
        roles: BTreeSet::from([role.to_owned()]),
    };
    directory.users.insert("eve".to_owned(), User { external: Some(external("readers")), ..user(&["gone"]) });
    let key = ConfigKey::new("prod", "g", "d").expect("a key");
    assert!(directory.rights_of("eve").is_some_and(|rights| rights.allow(&Demand::Key(Action::Read, &key))));
    directory.users.insert("eve".to_owned(), User { external: Some(external(ADMIN_ROLE)), ..user(&[]) });
    assert!(directory.rights_of("eve").is_some_and(|rights| rights.are_all()));
    assert_eq!(directory.administrators().collect::<Vec<_>>(), ["root"], "only who needs no provider");
    assert_eq!(directory.signed_on("https://id", "7").map(|(name, _)| name), Some("eve"));
    assert_eq!(directory.signed_on("https://other", "7"), None);
}

#[test]
fn names_have_a_rule() {
    for fit in ["a", "Ann Lee", "名前", "x@example.org"] {
        assert!(check_name(fit).is_ok(), "{fit:?}");
    }
    for wrong in ["", " a", "a ", "a\nb", &"a".repeat(129)] {
        assert!(check_name(wrong).is_err(), "{wrong:?}");
    }
}
