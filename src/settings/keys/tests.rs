//! The manual and the defaults say the same; every setting has its names and texts.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use super::{Key, MANUAL, nearest};
use crate::settings::Settings;

fn paths(table: &toml::Table) -> BTreeSet<String> {
    let of_section = |(section, values): (&String, &toml::Value)| -> Vec<String> {
        values.as_table().unwrap().keys().map(|name| format!("{section}.{name}")).collect()
    };
    table.iter().flat_map(of_section).collect()
}

#[test]
fn the_manual_equals_the_defaults_both_ways() {
    let defaults = toml::Table::try_from(Settings::default()).unwrap();
    let manual: toml::Table = MANUAL.parse().unwrap();
    assert_eq!(paths(&manual), paths(&defaults));
    assert_eq!(toml::from_str::<Settings>(MANUAL).unwrap(), Settings::default());
}

#[test]
fn every_setting_is_in_the_table_with_texts() {
    let defaults = toml::Table::try_from(Settings::default()).unwrap();
    let in_table: BTreeSet<String> = Key::all().iter().map(|key| key.path().to_owned()).collect();
    assert_eq!(in_table, paths(&defaults));
    for key in Key::all() {
        assert!(key.meaning().len() > 20, "{} has no meaning", key.path());
        assert!(!key.allowed().is_empty(), "{} does not say what is allowed", key.path());
        assert!(!key.meaning().contains("Allowed:"), "{}", key.path());
    }
}

#[test]
fn names_follow_the_key_and_are_unique() {
    let key = Key::all().iter().find(|key| key.path() == "http.max_held").unwrap();
    assert_eq!((key.variable(), key.flag()), ("CALLBOARD_HTTP_MAX_HELD", "http-max-held"));
    assert_eq!(
        key.summary(),
        "Waiting reads and long polls held at the same time on this node, and as many event streams"
    );
    let variables: BTreeSet<&str> = Key::all().iter().map(Key::variable).collect();
    assert_eq!(variables.len(), Key::all().len());
}

#[test]
fn the_nearest_name_is_the_one_with_fewest_changes() {
    assert_eq!(nearest("http.adr", ["http.workers", "http.addr", "data.dir"].into_iter()), "http.addr");
    assert_eq!(nearest("", ["abc", "d"].into_iter()), "d");
}
