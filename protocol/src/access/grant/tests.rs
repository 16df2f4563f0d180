//! What is covered and what is not; nothing is covered by chance.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::{Just, Strategy, prop_oneof, proptest};

use super::{Action, Area, Demand, Grant, InvalidPattern, Names, Pattern, Rights, Scope, covers, is_like};
use crate::key::ConfigKey;

fn grant(namespace: &str, group: &str, data_id: &str, actions: &[Action]) -> Grant {
    let pattern = |text| Pattern::new(text).expect("a pattern");
    let scope = Scope { namespace: pattern(namespace), group: pattern(group), data_id: pattern(data_id) };
    Grant { scope, actions: actions.iter().copied().collect() }
}

fn key(namespace: &str, group: &str, data_id: &str) -> ConfigKey {
    ConfigKey::new(namespace, group, data_id).expect("a key")
}

#[test]
fn nothing_is_allowed_without_a_grant() {
    let key = key("a", "g", "d");
    for action in Action::ALL {
        assert!(!covers(&[], &Demand::Key(action, &key)));
        assert!(!covers(&[], &Demand::Cluster(action)));
        assert!(!covers(&[grant("*", "*", "*", &[])], &Demand::Key(action, &key)));
    }
    assert!(!covers(&[], &Demand::Namespace("a")));
    assert!(!covers(&[grant("*", "*", "*", &[])], &Demand::Namespace("a")));
}

#[test]
fn an_action_is_allowed_where_it_was_granted_and_no_other_one() {
    let grants = [grant("prod", "orders", "db*", &[Action::Read])];
    assert!(covers(&grants, &Demand::Key(Action::Read, &key("prod", "orders", "db.url"))));
    assert!(!covers(&grants, &Demand::Key(Action::Write, &key("prod", "orders", "db.url"))));
    assert!(!covers(&grants, &Demand::Key(Action::Read, &key("prod", "orders", "web"))));
    assert!(!covers(&grants, &Demand::Key(Action::Read, &key("prod", "orders2", "db"))));
    assert!(!covers(&grants, &Demand::Key(Action::Read, &key("test", "orders", "db"))));
    assert!(covers(&grants, &Demand::Namespace("prod")));
    assert!(!covers(&grants, &Demand::Namespace("test")));
}

#[test]
fn an_area_is_covered_only_as_a_whole() {
    let grants = [grant("prod", "orders", "db*", &[Action::Read])];
    let area = |group, data_id| Demand::Area(Action::Read, Area { namespace: "prod", group, data_id });
    let orders = Some(Names::One("orders"));
    assert!(covers(&grants, &area(orders, Some(Names::Beginning("db.")))));
    assert!(covers(&grants, &area(orders, Some(Names::One("db")))));
    assert!(!covers(&grants, &area(orders, Some(Names::Beginning("d")))));
    assert!(!covers(&grants, &area(orders, None)));
    assert!(!covers(&grants, &area(None, Some(Names::One("db")))));
    assert!(!covers(&grants, &area(Some(Names::Beginning("orders")), Some(Names::One("db")))));
    assert!(!covers(&[grant("prod", "*", "db", &[Action::Read])], &area(None, Some(Names::Beginning("db")))));
}

#[test]
fn administering_a_place_is_not_administering_the_cluster() {
    let grants = [grant("prod", "*", "*", &[Action::Admin])];
    assert!(covers(&grants, &Demand::Key(Action::Write, &key("prod", "g", "d"))));
    assert!(covers(&grants, &Demand::Area(Action::Manage, Area::of_namespace("prod"))));
    assert!(!covers(&grants, &Demand::Cluster(Action::Admin)));
    assert!(!covers(&grants, &Demand::Cluster(Action::Read)));
    assert!(covers(&[Grant::of_everything()], &Demand::Cluster(Action::Admin)));
}

#[test]
fn a_token_is_limited_by_its_user_and_by_itself() {
    let granted: Arc<[Grant]> = Arc::from([grant("prod", "*", "*", &[Action::Read, Action::Write])]);
    let limit: Arc<[Grant]> = Arc::from([grant("*", "orders", "*", &[Action::Read])]);
    let rights = Rights { granted, limit: Some(limit) };
    assert!(rights.allow(&Demand::Key(Action::Read, &key("prod", "orders", "d"))));
    assert!(!rights.allow(&Demand::Key(Action::Write, &key("prod", "orders", "d"))));
    assert!(!rights.allow(&Demand::Key(Action::Read, &key("test", "orders", "d"))));
    assert!(!rights.allow(&Demand::Key(Action::Read, &key("prod", "other", "d"))));
}

#[test]
fn patterns_hold_what_names_can() {
    for wrong in ["", "a b", "a/b", "ä", "a\0"] {
        assert_eq!(Pattern::new(wrong), Err(InvalidPattern), "{wrong:?}");
    }
    assert_eq!(Pattern::new(&"a".repeat(257)), Err(InvalidPattern));
    assert!(Pattern::new("*").is_ok_and(|pattern| pattern.is_any()));
}

#[test]
fn what_a_search_asks_for_is_all_that_begins_so() {
    assert_eq!(Names::of_pattern("db*x"), Some(Names::Beginning("db")));
    assert_eq!(Names::of_pattern("*x"), None);
    assert_eq!(Names::of_pattern("db"), Some(Names::One("db")));
}

#[test]
fn a_hard_pattern_is_compared_quickly() {
    let pattern = "*a".repeat(128);
    assert!(!is_like(pattern.as_bytes(), "a".repeat(127).as_bytes()));
    assert!(!is_like(format!("{}b", "*a".repeat(100)).as_bytes(), "a".repeat(256).as_bytes()));
}

/// The same by trying everything.
fn naive(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|at| naive(rest, &text[at..])),
        Some((byte, rest)) => text.split_first().is_some_and(|(first, more)| first == byte && naive(rest, more)),
    }
}

fn texts(stars: bool) -> impl Strategy<Value = String> {
    let sign = if stars {
        prop_oneof![Just('a'), Just('b'), Just('*')].boxed()
    } else {
        prop_oneof![Just('a'), Just('b')].boxed()
    };
    proptest::collection::vec(sign, 0..10).prop_map(|signs| signs.into_iter().collect())
}

proptest! {
    #[test]
    fn a_pattern_fits_what_it_fits_when_everything_is_tried(pattern in texts(true), text in texts(false)) {
        assert_eq!(is_like(pattern.as_bytes(), text.as_bytes()), naive(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn what_covers_a_beginning_fits_all_that_begins_so(pattern in texts(true), begin in texts(false), end in texts(false)) {
        if let Ok(pattern) = Pattern::new(&pattern) && pattern.covers_prefix(&begin) {
            assert!(pattern.matches(&format!("{begin}{end}")));
        }
    }

    #[test]
    fn what_covers_an_area_covers_each_key_in_it(pattern in texts(true), begin in texts(false), end in texts(false)) {
        let Ok(pattern) = Pattern::new(&pattern) else { return Ok(()) };
        let scope = Scope { namespace: Pattern::any(), group: pattern, data_id: Pattern::any() };
        let grants = [Grant { scope, actions: BTreeSet::from([Action::Read]) }];
        let area = Area { namespace: "n", group: Some(Names::Beginning(&begin)), data_id: None };
        let group = format!("{begin}{end}");
        if covers(&grants, &Demand::Area(Action::Read, area)) && !group.is_empty() {
            assert!(covers(&grants, &Demand::Key(Action::Read, &key("n", &group, "d"))));
        }
    }
}
