//! What a pattern matches, and what a client that watches it is told.

use super::super::notices::{Notices, Policy};
use super::*;
use crate::config::{Metadata, Version};
use crate::content::Content;
use crate::gray::GrayRules;
use crate::time::WallMillis;

fn now() -> Mono {
    Mono(std::time::Duration::from_secs(1))
}

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "shop", data_id).expect("it is a legal name")
}

fn keys(data_ids: &[&str]) -> BTreeSet<ConfigKey> {
    data_ids.iter().map(|data_id| key(data_id)).collect()
}

fn found(began: Moment, keys: BTreeSet<ConfigKey>) -> Found {
    Found { keys, is_complete: true, began }
}

fn state(data_id: &str, is_there: bool) -> ConfigState {
    ConfigState {
        key: key(data_id),
        version: Version(1),
        formal: is_there.then(|| Content::new("x".into()).expect("it is a content")),
        gray: GrayRules::default(),
        metadata: Metadata::default(),
        created_at: WallMillis(0),
        modified_at: WallMillis(0),
    }
}

fn outbox() -> Outbox {
    Notices::new(Policy::default())
}

/// Sends and acknowledges what is due, as a client that is quick.
fn told(fuzzy: &mut Fuzzy, outbox: &mut Outbox) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(sending) = outbox.next(now()) {
        match &sending.subject {
            Subject::Sync(text, part) => {
                let sync = fuzzy.sync(text, *part).expect("it is still to be said");
                let (all, added) = (sync.keys.len(), sync.keys.iter().filter(|(_, is_there)| *is_there).count());
                let name = if let Part::Batch(batch) = part { batch.to_string() } else { "finish".to_owned() };
                told.push(format!("{name}/{}: {added} of {all}, first {}", sync.total, sync.is_initial));
            }
            Subject::Match(key) => told.push(format!("{} {:?}", key.data_id(), fuzzy.is_there(key))),
            Subject::Config(_) => panic!("no configuration is listened to"),
        }
        outbox.acknowledge(now(), sending.number, true).expect("it was sent");
        if let Subject::Sync(text, part) = &sending.subject {
            fuzzy.acknowledged(now(), outbox, text, *part);
        }
    }
    told
}

#[test]
fn patterns_match_as_their_stars_say() {
    let matches = |text: &str, data_id: &str| Pattern::parse(text).expect("it is a pattern").matches(&key(data_id));
    for (text, yes, no) in [
        ("public>>shop>>*", "anything", ""),
        (">>shop>>app*", "app.yaml", "myapp"),
        ("PUBLIC>>*>>*.yaml", "app.yaml", "app.yml"),
        ("public>>sh*>>*mid*", "amidst", "mad"),
        ("public>>*op>>app", "app", "app2"),
    ] {
        assert!(matches(text, yes), "{text} {yes}");
        assert!(no.is_empty() || !matches(text, no), "{text} {no}");
    }
    assert!(!matches("other>>shop>>*", "a") && !matches("public>>bar>>*", "a"));
    for text in ["", "a", "a>>b", "a>>b>>c>>d", "a>>>>c", "a>>b>> "] {
        assert_eq!(Pattern::parse(text), Err(InvalidPattern), "{text:?}");
    }
    assert_eq!(Pattern::parse(&format!("a>>b>>{}", "c".repeat(MAX_PATTERN))), Err(InvalidPattern));
}

#[test]
fn names_are_written_and_read() {
    assert_eq!(group_key(&key("a.yaml")), "a.yaml+shop+public");
    for data_id in ["a", "a:b", "x.y_z-"] {
        assert_eq!(key_of(&group_key(&key(data_id))), Some(key(data_id)));
    }
    assert_eq!(key_of("a+shop"), Some(key("a")));
    for text in ["", "a", "a+b+c+d", "a b+shop+public"] {
        assert_eq!(key_of(text), None, "{text}");
    }
}

#[test]
fn a_new_pattern_is_told_in_batches_and_then_that_it_was_all() {
    let (mut fuzzy, mut outbox) = (Fuzzy::default(), outbox());
    let all: BTreeSet<ConfigKey> = (0..45).map(|number| key(&format!("a{number}"))).collect();
    let began = fuzzy.watch("p", Pattern::parse("public>>shop>>a*").expect("it is one"), true, BTreeSet::new());
    fuzzy.matched(now(), &mut outbox, "p", found(began, all));
    let expected = [
        "1/3: 20 of 20, first true",
        "2/3: 20 of 20, first true",
        "3/3: 5 of 5, first true",
        "finish/0: 0 of 0, first true",
    ];
    assert_eq!(told(&mut fuzzy, &mut outbox), expected);
}

#[test]
fn nothing_that_matches_is_told_as_well() {
    let (mut fuzzy, mut outbox) = (Fuzzy::default(), outbox());
    let began = fuzzy.watch("p", Pattern::parse("public>>shop>>a*").expect("it is one"), true, BTreeSet::new());
    fuzzy.matched(now(), &mut outbox, "p", found(began, BTreeSet::new()));
    assert_eq!(told(&mut fuzzy, &mut outbox), ["finish/0: 0 of 0, first true"]);
}

#[test]
fn who_comes_again_is_told_the_difference() {
    let (mut fuzzy, mut outbox) = (Fuzzy::default(), outbox());
    let pattern = || Pattern::parse("public>>shop>>*").expect("it is one");
    let began = fuzzy.watch("p", pattern(), false, keys(&["a", "b"]));
    fuzzy.matched(now(), &mut outbox, "p", found(began, keys(&["b", "c"])));
    assert_eq!(told(&mut fuzzy, &mut outbox), ["1/1: 1 of 2, first false"]);
    let began = fuzzy.watch("p", pattern(), false, keys(&["b", "c"]));
    fuzzy.matched(now(), &mut outbox, "p", found(began, keys(&["b", "c"])));
    assert_eq!(told(&mut fuzzy, &mut outbox), [""; 0]);
}

#[test]
fn what_comes_and_goes_is_told_once_and_changes_of_content_are_not() {
    let (mut fuzzy, mut outbox) = (Fuzzy::default(), outbox());
    let began = fuzzy.watch("p", Pattern::parse("public>>shop>>a*").expect("it is one"), false, BTreeSet::new());
    fuzzy.changed(now(), &mut outbox, &state("a1", true));
    fuzzy.changed(now(), &mut outbox, &state("a2", false));
    // The read is older than what happened while it ran.
    fuzzy.matched(now(), &mut outbox, "p", found(began, keys(&["a2"])));
    assert_eq!(told(&mut fuzzy, &mut outbox), ["1/1: 1 of 1, first false"]);
    fuzzy.changed(now(), &mut outbox, &state("a1", true));
    fuzzy.changed(now(), &mut outbox, &state("b", true));
    assert_eq!(told(&mut fuzzy, &mut outbox), [""; 0]);
    fuzzy.changed(now(), &mut outbox, &state("a1", false));
    assert_eq!(told(&mut fuzzy, &mut outbox), ["a1 Some(false)"]);
    fuzzy.changed(now(), &mut outbox, &state("a3", true));
    let began = fuzzy.recheck();
    fuzzy.matched(now(), &mut outbox, "p", found(began, keys(&["a4"])));
    assert_eq!(told(&mut fuzzy, &mut outbox), ["a3 Some(false)", "a4 Some(true)"]);
    assert!(fuzzy.cancel("p", &mut outbox) && !fuzzy.cancel("p", &mut outbox));
    assert_eq!(fuzzy.is_there(&key("a4")), None);
}

#[test]
fn a_read_that_is_not_complete_takes_nobody_for_gone() {
    let (mut fuzzy, mut outbox) = (Fuzzy::default(), outbox());
    let pattern = || Pattern::parse("public>>shop>>*").expect("it is one");
    let began = fuzzy.watch("p", pattern(), false, keys(&["a", "z"]));
    let first = |began| Found { is_complete: false, ..found(began, keys(&["a", "b"])) };
    fuzzy.matched(now(), &mut outbox, "p", first(began));
    assert_eq!(told(&mut fuzzy, &mut outbox), ["1/1: 1 of 1, first false"]);
    let began = fuzzy.recheck();
    fuzzy.matched(now(), &mut outbox, "p", first(began));
    assert_eq!(told(&mut fuzzy, &mut outbox), [""; 0]);
    assert_eq!(fuzzy.is_there(&key("z")), Some(true));
    fuzzy.changed(now(), &mut outbox, &state("z", false));
    assert_eq!(told(&mut fuzzy, &mut outbox), ["z Some(false)"]);
}

#[test]
fn an_older_read_undoes_nothing_that_was_told_since() {
    let (mut fuzzy, mut outbox) = (Fuzzy::default(), outbox());
    let pattern = || Pattern::parse("public>>shop>>*").expect("it is one");
    let older = fuzzy.watch("p", pattern(), false, BTreeSet::new());
    let newer = fuzzy.recheck();
    fuzzy.changed(now(), &mut outbox, &state("a", true));
    fuzzy.matched(now(), &mut outbox, "p", found(newer, keys(&[])));
    fuzzy.changed(now(), &mut outbox, &state("b", true));
    fuzzy.matched(now(), &mut outbox, "p", found(older, keys(&[])));
    told(&mut fuzzy, &mut outbox);
    assert_eq!([fuzzy.is_there(&key("a")), fuzzy.is_there(&key("b"))], [Some(true); 2]);
    fuzzy.recheck();
    fuzzy.not_found("p");
    fuzzy.changed(now(), &mut outbox, &state("c", true));
    assert_eq!(told(&mut fuzzy, &mut outbox), ["c Some(true)"], "no read is under way any more");
}
