//! Tests of the seal: whoever lacks the key or the name of the cluster neither reads nor writes a datagram.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;
use crate::peer::key::ClusterKey;

fn sealing(secret: u8, cluster: &str) -> Sealing {
    Sealing::new(&ClusterKeys::single(ClusterKey::of([secret; 32])), cluster)
}

/// Several keys, as a key file has them.
fn holding(secrets: &[u8]) -> Sealing {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let lines: Vec<String> = secrets.iter().map(|secret| ClusterKey::of([*secret; 32]).to_line()).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Sealing::new(&ClusterKeys::load(&path).unwrap(), "one")
}

#[test]
fn what_is_sealed_opens_with_the_same_key_and_name() {
    for content in [b"".as_slice(), b"hello", &[7; MAX_DATAGRAM]] {
        let sealed = sealing(1, "one").seal(content).unwrap();
        assert_eq!(sealed.len(), content.len() + OVERHEAD);
        assert!(sealed.len() <= MAX_SEALED);
        assert_eq!(sealing(1, "one").open(sealed).as_deref(), Some(content));
    }
    assert_eq!(sealing(1, "one").seal(&[7; MAX_DATAGRAM + 1]), Err(SealError::TooLong));
}

#[test]
fn the_same_content_is_never_sealed_alike_and_does_not_show() {
    let sealing = sealing(1, "one");
    let (one, other) = (sealing.seal(b"a secret").unwrap(), sealing.seal(b"a secret").unwrap());
    assert_ne!(one, other);
    assert!(!one.windows(8).any(|window| window == b"a secret"));
}

#[test]
fn another_key_or_another_cluster_opens_nothing() {
    let sealed = sealing(1, "one").seal(b"hello").unwrap();
    assert_eq!(sealing(2, "one").open(sealed.clone()), None);
    // The same secret in a cluster of another name: what one sends is of no use to the other.
    assert_eq!(sealing(1, "two").open(sealed.clone()), None);
    assert_eq!(sealing(1, "one").open(sealed).as_deref(), Some(b"hello".as_slice()));
}

#[test]
fn a_key_is_exchanged_without_a_break() {
    let (old, both, turned, new) = (holding(&[1]), holding(&[1, 2]), holding(&[2, 1]), holding(&[2]));
    for (from, to) in
        [(&old, &both), (&both, &old), (&both, &turned), (&turned, &both), (&turned, &new), (&new, &turned)]
    {
        assert_eq!(to.open(from.seal(b"hello").unwrap()).as_deref(), Some(b"hello".as_slice()));
    }
    assert_eq!(new.open(old.seal(b"hello").unwrap()), None);
}

#[test]
fn every_tampered_bit_and_every_cut_is_noticed() {
    let sealing = sealing(1, "one");
    let sealed = sealing.seal(b"hello").unwrap();
    for index in 0..sealed.len() {
        for bit in 0..8 {
            let mut tampered = sealed.clone();
            tampered[index] ^= 1 << bit;
            assert_eq!(sealing.open(tampered), None, "byte {index}, bit {bit}");
        }
        assert_eq!(sealing.open(sealed[..index].to_vec()), None, "cut to {index}");
    }
    let longer = [sealed, vec![0]].concat();
    assert_eq!(sealing.open(longer), None);
}

proptest! {
    #[test]
    fn any_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..MAX_SEALED + 20), looks_right in any::<bool>()) {
        let id = ClusterKey::of([1; 32]).id();
        if looks_right && bytes.len() > HEADER_LEN {
            bytes[0] = VERSION;
            bytes[1..HEADER_LEN].copy_from_slice(&id.0);
        }
        prop_assert_eq!(sealing(1, "one").open(bytes), None);
    }
}
