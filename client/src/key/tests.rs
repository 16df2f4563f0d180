//! Tests of names and selections.

use super::{ConfigKey, Prefix, Selection, Target};

#[test]
fn an_empty_namespace_stands_for_public_and_others_do() {
    for name in [" ", "PUBLIC", "Public", "null", "NULL"] {
        assert_eq!(ConfigKey::new(name, "shop", "a"), ConfigKey::public("shop", "a"), "{name}");
    }
    assert_eq!(ConfigKey::new("", "shop", "a"), ConfigKey::public("shop", "a"));
    assert!(Prefix::new("", "shop", "a").matches(&ConfigKey::public("shop", "a.yaml")));
}

#[test]
fn a_prefix_without_a_group_is_for_all_groups_of_its_namespace() {
    let prefix = Prefix::new("test", "", "a");
    assert!(prefix.matches(&ConfigKey::new("test", "one", "a")));
    assert!(prefix.matches(&ConfigKey::new("test", "two", "ab")));
    assert!(!prefix.matches(&ConfigKey::new("other", "two", "ab")));
    assert!(!prefix.matches(&ConfigKey::new("test", "two", "b")));
}

#[test]
fn a_selection_holds_each_target_once() {
    let key = ConfigKey::public("shop", "a");
    let selection = Selection::from(&key).and(&key).and(Prefix::new("", "shop", ""));
    assert_eq!(selection.targets(), [Target::Key(key), Target::Prefix(Prefix::new("", "shop", ""))]);
}

#[test]
fn names_from_a_node_that_no_node_allows_are_none() {
    assert_eq!(ConfigKey::from_wire(None), None);
    let mut key = ConfigKey::public("shop", "a").to_wire();
    assert!(ConfigKey::from_wire(Some(&key)).is_some());
    key.group = "g".repeat(2_000);
    assert_eq!(ConfigKey::from_wire(Some(&key)), None);
}
