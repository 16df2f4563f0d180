//! What is sealed opens for its purpose alone, by nodes that have the key, whichever master key it is sealed by now.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use callboard_actors::clock::SystemClock;
use callboard_actors::store::{SEAL, Seals as _};
use callboard_protocol::access::change::{Change, decide, put};
use callboard_protocol::access::directory::{DataKey, Directory};
use callboard_protocol::time::WallMillis;
use proptest::prelude::*;
use tokio::sync::watch;

use super::{ContentKeys, Secrets, purpose};

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

/// A data key of this id and age, sealed by a master key.
fn data_key(id: &str, created: i64, master: [u8; 32]) -> Change {
    let secret = [id.as_bytes()[0]; 32];
    let sealed = Secrets::new(vec![master]).seal(&purpose(id), &secret).unwrap();
    Change::AddDataKey { id: id.to_owned(), key: DataKey { sealed, created: WallMillis(created) } }
}

/// A node with these master keys where those changes were made.
fn node(masters: &[[u8; 32]], changes: Vec<Change>) -> ContentKeys {
    let mut directory = Directory::default();
    for change in changes {
        let rows = decide(&directory, change, WallMillis(1)).unwrap();
        rows.into_iter().for_each(|row| put(&mut directory, row));
    }
    let master = Some(masters).filter(|masters| !masters.is_empty()).map(|masters| Secrets::new(masters.to_vec()));
    let keys = ContentKeys::new(master, Arc::new(SystemClock));
    let (_, known) = watch::channel(Some(Arc::new(directory)));
    keys.known.set(known).unwrap();
    keys
}

const FIRST: &str = "aaaaaaaaaaaaaaaa";
const SECOND: &str = "bbbbbbbbbbbbbbbb";

#[test]
fn the_newest_key_that_everybody_has_read_seals_and_all_of_them_open() {
    let before = node(&[OLD], vec![data_key(FIRST, 0, OLD)]);
    let sealed = before.seal(b"p", b"text").unwrap();
    let after = node(&[OLD], vec![data_key(FIRST, 0, OLD), data_key(SECOND, 1, OLD)]);
    assert_eq!(after.open(b"p", &sealed).unwrap(), b"text");
    let by_second = after.seal(b"p", b"text").unwrap();
    assert_eq!((&sealed[1..3], &by_second[1..3]), (&[0xaa, 0xaa][..], &[0xbb, 0xbb][..]));
    assert_eq!(before.open(b"p", &by_second), None, "it has not read that key");
    let fresh = node(&[OLD], vec![data_key(FIRST, 0, OLD), data_key(SECOND, i64::MAX, OLD)]);
    assert_eq!(fresh.seal(b"p", b"text").unwrap()[1], 0xaa, "others may not have read the second");
}

#[test]
fn a_master_key_can_be_changed_while_both_are_there() {
    let sealed = node(&[OLD], vec![data_key(FIRST, 0, OLD)]).seal(b"p", b"text").unwrap();
    // Appended everywhere, then moved to the front, and the data key sealed by it; then the old one is gone.
    for (masters, by) in [(&[OLD, NEW][..], OLD), (&[NEW, OLD], OLD), (&[OLD, NEW], NEW), (&[NEW], NEW)] {
        let now = node(masters, vec![data_key(FIRST, 0, by)]);
        assert_eq!(now.open(b"p", &sealed).as_deref(), Some(&b"text"[..]));
    }
    assert_eq!(node(&[NEW], vec![data_key(FIRST, 0, OLD)]).open(b"p", &sealed), None);
}

#[test]
fn without_a_master_key_nothing_is_sealed() {
    let none = node(&[], vec![data_key(FIRST, 0, OLD)]);
    assert!(!none.can_seal());
    assert_eq!(none.seal(b"p", b"text"), None);
    assert!(!node(&[OLD], vec![]).can_seal());
}

proptest! {
    #[test]
    fn what_was_sealed_opens_as_it_was_for_its_purpose_alone(text: Vec<u8>, bit in 0..4_096_usize) {
        let node = node(&[OLD], vec![data_key(FIRST, 0, OLD)]);
        let mut sealed = node.seal(b"this", &text).unwrap();
        prop_assert_eq!(sealed.len(), text.len() + SEAL);
        prop_assert_eq!(node.open(b"this", &sealed), Some(text));
        prop_assert_eq!(node.open(b"that", &sealed), None);
        let place = bit % (sealed.len() * 8);
        sealed[place / 8] ^= 1 << (place % 8);
        prop_assert_eq!(node.open(b"this", &sealed), None);
        prop_assert_eq!(node.open(b"this", &sealed[..place / 8]), None);
    }
}
