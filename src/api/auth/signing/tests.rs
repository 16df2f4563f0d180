//! What was signed is taken until its time is over, and nothing else is.

use std::collections::BTreeMap;

use callboard_protocol::access::directory::SigningKey;
use callboard_protocol::time::WallMillis;
use proptest::prelude::proptest;

use super::{Claims, KeyRing, Secrets, Untaken};

const NOW: WallMillis = WallMillis(1_000_000);

fn secrets() -> Secrets {
    Secrets::new(vec![[7; 32]])
}

fn ring(keys: &[(&str, i64, Option<i64>)]) -> KeyRing {
    let keys: BTreeMap<String, SigningKey> = keys
        .iter()
        .map(|(id, created, retires)| {
            let sealed = secrets().seal(id, id.repeat(16).as_bytes()).expect("it is sealed");
            let retires = retires.map(WallMillis);
            ((*id).to_owned(), SigningKey { sealed, created: WallMillis(*created), retires })
        })
        .collect();
    KeyRing::of(&keys, &secrets())
}

fn claims() -> Claims {
    Claims { user: "Ann 名前".to_owned(), generation: 3, expires: WallMillis(NOW.0 + 10) }
}

#[test]
fn what_was_signed_is_taken_until_its_time_is_over() {
    let ring = ring(&[("k1", 0, None)]);
    let token = ring.sign(&claims(), NOW).expect("there is a key");
    assert_eq!(ring.check(&token, NOW), Ok(claims()));
    assert_eq!(ring.check(&token, WallMillis(NOW.0 + 10)), Err(Untaken::Expired));
}

#[test]
fn no_part_can_be_changed() {
    let ring = ring(&[("k1", 0, None)]);
    let token = ring.sign(&claims(), NOW).expect("there is a key");
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
        let other = String::from_utf8(bytes).expect("ASCII");
        assert!(ring.check(&other, NOW).is_err(), "{other}");
    }
}

#[test]
fn keys_overlap() {
    let before = ring(&[("k1", 0, None)]);
    let token = before.sign(&claims(), NOW).expect("there is a key");
    let fresh = ring(&[("k1", 0, Some(NOW.0 + 5)), ("k2", NOW.0 - 1_000, None)]);
    assert_eq!(fresh.check(&token, NOW), Ok(claims()));
    assert_eq!(fresh.check(&token, WallMillis(NOW.0 + 6)), Err(Untaken::Expired));
    let signed = fresh.sign(&claims(), NOW).expect("there is a key");
    assert!(signed.starts_with("cbs1.k1."), "not every node may have read the new key: {signed}");
    let signed = fresh.sign(&claims(), WallMillis(NOW.0 + 5_000)).expect("there is a key");
    assert!(signed.starts_with("cbs1.k2."), "{signed}");
}

#[test]
fn a_key_that_another_secret_sealed_is_none() {
    let sealed = secrets().seal("k", &[1; 32]).expect("it is sealed");
    let keys = BTreeMap::from([("k".to_owned(), SigningKey { sealed, created: NOW, retires: None })]);
    assert!(!KeyRing::of(&keys, &Secrets::new(vec![[8; 32]])).can_sign());
    assert!(KeyRing::of(&keys, &Secrets::new(vec![[8; 32], [7; 32]])).can_sign());
    let moved = BTreeMap::from([("other".to_owned(), keys["k"].clone())]);
    assert!(!KeyRing::of(&moved, &secrets()).can_sign(), "it was sealed under another id");
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(text in "\\PC{0,80}") {
        let ring = ring(&[("k1", 0, None)]);
        assert!(ring.check(&text, NOW).is_err());
        assert!(ring.check(&format!("cbs1.k1.{text}"), NOW).is_err());
    }
}
