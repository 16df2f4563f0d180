//! What permissions come to, and that they are told as they were written.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::*;
use crate::access::grant::{Demand, covers};
use crate::key::ConfigKey;

fn allows(resource: &str, action: &str, demand: Action, (namespace, group, data_id): (&str, &str, &str)) -> bool {
    let key = ConfigKey::new(namespace, group, data_id).unwrap();
    covers(&[grant_of(resource, action).unwrap()], &Demand::Key(demand, &key))
}

#[test]
fn a_permission_is_for_what_its_resource_names() {
    for (resource, fits, not) in [
        ("dev:*:*", ("dev", "G", "a"), ("prod", "G", "a")),
        ("dev:G:*", ("dev", "G", "a"), ("dev", "H", "a")),
        ("dev:G:config/*", ("dev", "G", "a"), ("dev", "H", "a")),
        ("dev:G:config/a*", ("dev", "G", "ab"), ("dev", "G", "b")),
        ("dev:*:config/a.yaml", ("dev", "G", "a.yaml"), ("dev", "G", "a-yaml")),
        (":*:*", ("public", "G", "a"), ("dev", "G", "a")),
        ("public:*:*", ("public", "G", "a"), ("dev", "G", "a")),
        ("dev:a:b:config/c:d", ("dev", "a:b", "c:d"), ("dev", "a", "c:d")),
    ] {
        assert!(allows(resource, "r", Action::Read, fits), "{resource}");
        assert!(!allows(resource, "r", Action::Read, not), "{resource}");
        assert!(!allows(resource, "r", Action::Write, fits), "{resource}");
        assert!(!allows(resource, "w", Action::Read, fits), "{resource}");
        assert!(allows(resource, "rw", Action::Write, fits), "{resource}");
    }
}

#[test]
fn what_is_not_about_configurations_is_refused() {
    for resource in [
        "",
        "*",
        "dev",
        "dev:*",
        "dev:G:d",
        "dev:G:naming/s",
        "console/users",
        "dev::*",
        "dev:G:config/",
        "dev:G/x:*",
        "dev:G:config/a/b",
        "d v:G:*",
    ] {
        assert_eq!(grant_of(resource, "r"), Err(InvalidPermission::Resource), "{resource}");
    }
    for action in ["", "R", "wr", "x", "r,w"] {
        assert_eq!(grant_of("dev:*:*", action), Err(InvalidPermission::Action), "{action}");
    }
}

#[test]
fn the_namespace_that_everybody_has_is_told_as_the_caller_writes_it() {
    for resource in [":G:*", "public:G:*", "null:G:config/*"] {
        let grant = grant_of(resource, "rw").unwrap();
        for (default, told) in [("", ":G:*"), ("public", "public:G:*")] {
            assert_eq!(permission_of(&grant, default).unwrap().resource, told);
        }
    }
}

#[test]
fn a_grant_that_nacos_has_no_words_for_is_left_out() {
    let scope = |namespace: &str| Scope { namespace: Pattern::new(namespace).unwrap(), ..Scope::everything() };
    let told = |namespace, actions: &[Action]| {
        permission_of(&Grant { scope: scope(namespace), actions: actions.iter().copied().collect() }, "")
    };
    assert_eq!(told("dev", &[Action::Admin]), None);
    assert_eq!(told("dev", &[Action::Gray, Action::Manage]), None);
    assert_eq!(told("dev", &[Action::Gray, Action::Read]).unwrap().action, "r");
    assert_eq!(told("a:b", &[Action::Read]), None);
    assert_eq!(told("null", &[Action::Read]), None);
}

fn patterns() -> impl Strategy<Value = String> {
    "[ab:*._-]{1,6}"
}

proptest! {
    #[test]
    fn what_was_added_is_listed_as_it_was_added(
        namespace in "(\\*|[a-z*-]{1,6}|)", group in patterns(), data_id in prop_oneof![Just(None), patterns().prop_map(Some)],
        action in prop_oneof![Just("r"), Just("w"), Just("rw")],
    ) {
        prop_assume!(!namespace.eq_ignore_ascii_case("null") && namespace != "public");
        prop_assume!(data_id.as_deref() != Some("*"));
        let data_id = data_id.map_or_else(|| "*".to_owned(), |data_id| format!("config/{data_id}"));
        let resource = format!("{namespace}:{group}:{data_id}");
        let grant = grant_of(&resource, action).unwrap();
        prop_assert_eq!(permission_of(&grant, ""), Some(Permission { resource, action }));
    }

    #[test]
    fn what_is_listed_grants_no_more_than_is_granted(
        namespace in patterns(), group in patterns(), data_id in patterns(),
        actions in proptest::collection::btree_set(proptest::sample::select(Action::ALL.to_vec()), 0..5),
        default in prop_oneof![Just(""), Just("public")],
    ) {
        let pattern = |text: &str| Pattern::new(text).unwrap();
        let scope = Scope { namespace: pattern(&namespace), group: pattern(&group), data_id: pattern(&data_id) };
        let grant = Grant { scope, actions };
        if let Some(Permission { resource, action }) = permission_of(&grant, default) {
            let read = grant_of(&resource, action).unwrap();
            prop_assert_eq!(&read.scope, &grant.scope);
            prop_assert!(read.actions.is_subset(&grant.actions));
        }
    }

    #[test]
    fn any_text_is_read_without_harm(resource in ".{0,40}", action in "[rwx]{0,3}") {
        if let Ok(grant) = grant_of(&resource, &action) {
            prop_assert!(permission_of(&grant, "").is_some());
        }
    }
}
