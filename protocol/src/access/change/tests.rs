//! What changes write, what is refused, and that somebody is always left who may administer.

use std::collections::BTreeSet;

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::{Change, Refusal, Row, decide, put};
use crate::access::directory::{ADMIN_ROLE, Directory, External, Role, SigningKey, Token};
use crate::access::grant::{Action, Grant, Scope};
use crate::time::WallMillis;

const NOW: WallMillis = WallMillis(1_000);

fn make(directory: &mut Directory, change: Change) {
    let rows = decide(directory, change, NOW).expect("it is taken");
    rows.into_iter().for_each(|row| put(directory, row));
}

fn add(name: &str, roles: &[&str]) -> Change {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    Change::AddUser { name: name.to_owned(), password_hash: Some("hash".to_owned()), roles }
}

fn begun() -> Directory {
    let mut directory = Directory::default();
    make(&mut directory, Change::FirstAdministrator { name: "root".to_owned(), password_hash: "hash".to_owned() });
    directory
}

fn sign_on(name: &str, subject: &str, roles: &[&str]) -> Change {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    let external = External { issuer: "https://id".to_owned(), subject: subject.to_owned(), roles };
    Change::SignOn { name: name.to_owned(), external }
}

fn with_role(name: &str) -> Directory {
    let mut directory = begun();
    make(&mut directory, Change::SetRole { name: name.to_owned(), role: Role::default() });
    directory
}

fn everything(actions: &[Action]) -> Grant {
    Grant { scope: Scope::everything(), actions: actions.iter().copied().collect() }
}

#[test]
fn there_is_one_first_administrator() {
    let again = Change::FirstAdministrator { name: "other".to_owned(), password_hash: "hash".to_owned() };
    let refused = decide(&begun(), again, NOW);
    assert_eq!(refused, Err(Refusal::Exists { what: "administrator", name: "root".to_owned() }));
}

#[test]
fn the_last_administrator_stays() {
    let mut directory = begun();
    let last = Err(Refusal::LastAdministrator { name: "root".to_owned() });
    let name = || "root".to_owned();
    let ways = [
        Change::RemoveUser { name: name() },
        Change::Enable { name: name(), is_enabled: false },
        Change::Withdraw { user: Some(name()), role: ADMIN_ROLE.to_owned() },
    ];
    for way in &ways {
        assert_eq!(decide(&directory, way.clone(), NOW), last);
    }
    make(&mut directory, add("second", &[ADMIN_ROLE]));
    for way in ways {
        assert!(decide(&directory, way, NOW).is_ok());
    }
}

#[test]
fn the_role_of_administrators_is_built_in() {
    let directory = begun();
    let name = || ADMIN_ROLE.to_owned();
    let grant = everything(&[Action::Read]);
    for change in [
        Change::SetRole { name: name(), role: Role::default() },
        Change::Grant { role: name(), grant: grant.clone() },
        Change::Revoke { role: name(), grant },
        Change::Withdraw { user: None, role: name() },
    ] {
        assert_eq!(decide(&directory, change, NOW), Err(Refusal::BuiltIn));
    }
}

#[test]
fn a_new_password_and_being_shut_out_end_what_was_given_out() {
    let mut directory = begun();
    make(&mut directory, add("ann", &[]));
    let generation = |directory: &Directory| directory.users["ann"].generation;
    let first = generation(&directory);
    make(&mut directory, Change::SetPassword { name: "ann".to_owned(), password_hash: "new".to_owned() });
    make(&mut directory, Change::Enable { name: "ann".to_owned(), is_enabled: false });
    make(&mut directory, Change::Enable { name: "ann".to_owned(), is_enabled: true });
    make(&mut directory, Change::LogOut { name: "ann".to_owned() });
    assert_eq!(generation(&directory), first + 3);
}

#[test]
fn somebody_of_the_same_name_is_somebody_else() {
    let mut directory = begun();
    make(&mut directory, add("ann", &[]));
    let first = directory.users["ann"].generation;
    make(&mut directory, Change::RemoveUser { name: "ann".to_owned() });
    let rows = decide(&directory, add("ann", &[]), WallMillis(2_000)).expect("it is taken");
    assert!(matches!(&rows[..], [Row::User(_, Some(user))] if user.generation > first));
}

#[test]
fn tokens_go_with_their_user_and_need_one() {
    let mut directory = begun();
    let token = |user: &str| Token {
        user: user.to_owned(),
        digest: String::new(),
        grants: None,
        expires: None,
        created: NOW,
        description: String::new(),
    };
    let nobody = Change::AddToken { id: "t".to_owned(), token: token("nobody") };
    assert!(matches!(decide(&directory, nobody, NOW), Err(Refusal::Missing { what: "user", .. })));
    make(&mut directory, add("ann", &[]));
    make(&mut directory, Change::AddToken { id: "t".to_owned(), token: token("ann") });
    make(&mut directory, Change::RemoveUser { name: "ann".to_owned() });
    assert!(directory.tokens.is_empty());
}

#[test]
fn who_comes_from_a_provider_becomes_a_user_and_is_written_only_when_something_changed() {
    let mut directory = with_role("readers");
    make(&mut directory, sign_on("eve", "7", &["readers", "none such"]));
    assert_eq!(directory.users["eve"].all_roles(), BTreeSet::from(["readers"]));
    assert_eq!(directory.users["eve"].password_hash, None);
    assert_eq!(decide(&directory, sign_on("eve", "7", &["readers"]), NOW), Ok(Vec::new()));
    let generation = directory.users["eve"].generation;
    make(&mut directory, Change::Assign { user: "eve".to_owned(), role: "by hand".to_owned(), makes: true });
    make(&mut directory, sign_on("renamed", "7", &[]));
    assert_eq!(directory.users["eve"].all_roles(), BTreeSet::from(["by hand"]), "the group is lost, the rest stays");
    assert_eq!(directory.users["eve"].generation, generation, "other log-ins go on, with what is allowed now");
    assert!(!directory.users.contains_key("renamed"));
}

#[test]
fn nobody_from_a_provider_takes_a_user_over() {
    let mut directory = with_role("readers");
    make(&mut directory, add("ann", &[]));
    let taken = |name: &str| Err(Refusal::Taken { name: name.to_owned() });
    for name in ["root", "ann"] {
        assert_eq!(decide(&directory, sign_on(name, "7", &["readers"]), NOW), taken(name));
    }
    make(&mut directory, sign_on("eve", "7", &["readers"]));
    assert_eq!(decide(&directory, sign_on("eve", "8", &["readers"]), NOW), taken("eve"));
    assert!(matches!(decide(&directory, add("eve", &[]), NOW), Err(Refusal::Exists { .. })));
}

#[test]
fn who_has_no_role_or_is_shut_out_does_not_come_in_from_a_provider() {
    let mut directory = with_role("readers");
    let nobody = decide(&directory, sign_on("eve", "7", &["none such"]), NOW);
    assert_eq!(nobody, Err(Refusal::NoRole { name: "eve".to_owned() }));
    make(&mut directory, sign_on("eve", "7", &["readers"]));
    make(&mut directory, Change::Enable { name: "eve".to_owned(), is_enabled: false });
    let again = decide(&directory, sign_on("eve", "7", &["readers"]), NOW);
    assert_eq!(again, Err(Refusal::ShutOut { name: "eve".to_owned() }));
}

#[test]
fn what_a_provider_gives_is_taken_there_and_who_logs_in_there_has_no_password() {
    let mut directory = with_role("readers");
    make(&mut directory, sign_on("eve", "7", &["readers"]));
    let withdraw = Change::Withdraw { user: Some("eve".to_owned()), role: "readers".to_owned() };
    assert!(matches!(decide(&directory, withdraw, NOW), Err(Refusal::GivenElsewhere { .. })));
    let set = Change::SetPassword { name: "eve".to_owned(), password_hash: "hash".to_owned() };
    assert_eq!(decide(&directory, set, NOW), Err(Refusal::NoPassword { name: "eve".to_owned() }));
    make(&mut directory, Change::Withdraw { user: None, role: "readers".to_owned() });
    assert!(directory.users["eve"].all_roles().is_empty(), "a role that goes leaves all its holders");
}

#[test]
fn grants_for_the_same_scope_are_one() {
    let mut directory = begun();
    let role = || "role".to_owned();
    make(&mut directory, Change::SetRole { name: role(), role: Role::default() });
    make(&mut directory, Change::Grant { role: role(), grant: everything(&[Action::Read]) });
    make(&mut directory, Change::Grant { role: role(), grant: everything(&[Action::Write]) });
    assert_eq!(directory.roles["role"].grants, [everything(&[Action::Read, Action::Write])]);
    make(&mut directory, Change::Revoke { role: role(), grant: everything(&[Action::Read]) });
    assert_eq!(directory.roles["role"].grants, [everything(&[Action::Write])]);
    make(&mut directory, Change::Revoke { role: role(), grant: everything(&[Action::Write]) });
    assert!(directory.roles["role"].grants.is_empty());
}

#[test]
fn a_role_that_goes_leaves_its_holders() {
    let mut directory = begun();
    make(&mut directory, add("ann", &[]));
    make(&mut directory, Change::Assign { user: "ann".to_owned(), role: "new".to_owned(), makes: true });
    assert!(directory.users["ann"].roles.contains("new") && directory.roles.contains_key("new"));
    make(&mut directory, Change::Withdraw { user: None, role: "new".to_owned() });
    assert!(directory.users["ann"].roles.is_empty() && directory.roles.is_empty());
    let missing = Change::Assign { user: "ann".to_owned(), role: "new".to_owned(), makes: false };
    assert!(matches!(decide(&directory, missing, NOW), Err(Refusal::Missing { what: "role", .. })));
}

#[test]
fn keys_overlap_and_go_when_they_retired() {
    let mut directory = begun();
    let key = || SigningKey { sealed: String::new(), created: NOW, retires: None };
    let add = |id: &str, retire| Change::AddKey { id: id.to_owned(), key: key(), retire: WallMillis(retire) };
    make(&mut directory, add("1", 0));
    make(&mut directory, add("2", 1_500));
    assert_eq!(directory.keys["1"].retires, Some(WallMillis(1_500)));
    let rows = decide(&directory, add("3", 9_000), WallMillis(2_000)).expect("it is taken");
    rows.into_iter().for_each(|row| put(&mut directory, row));
    assert_eq!(directory.keys.keys().collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!(directory.keys["2"].retires, Some(WallMillis(9_000)));
}

fn changes() -> impl Strategy<Value = Change> {
    let name = || prop_oneof![Just("root".to_owned()), Just("ann".to_owned()), Just("bob".to_owned())];
    let role = || prop_oneof![Just(ADMIN_ROLE.to_owned()), Just("role".to_owned())];
    prop_oneof![
        (name(), any::<bool>()).prop_map(|(name, admin)| {
            let roles = if admin { BTreeSet::from([ADMIN_ROLE.to_owned()]) } else { BTreeSet::new() };
            Change::AddUser { name, password_hash: None, roles }
        }),
        name().prop_map(|name| Change::RemoveUser { name }),
        (name(), any::<bool>()).prop_map(|(name, is_enabled)| Change::Enable { name, is_enabled }),
        (name(), role(), any::<bool>()).prop_map(|(user, role, makes)| Change::Assign { user, role, makes }),
        (proptest::option::of(name()), role()).prop_map(|(user, role)| Change::Withdraw { user, role }),
        name().prop_map(|name| Change::LogOut { name }),
        (name(), any::<bool>()).prop_map(|(name, admin)| sign_on(
            &name,
            &name,
            if admin { &[ADMIN_ROLE] } else { &[] }
        )),
    ]
}

proptest! {
    #[test]
    fn somebody_may_always_administer(changes in proptest::collection::vec(changes(), 0..40)) {
        let mut directory = begun();
        for change in changes {
            if let Ok(rows) = decide(&directory, change, NOW) {
                rows.into_iter().for_each(|row| put(&mut directory, row));
            }
            assert!(directory.administrators().next().is_some());
        }
    }
}
