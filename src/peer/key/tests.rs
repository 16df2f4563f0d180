//! Tests of the key file and of what is derived from keys.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::peer::key::{ClusterKey, ClusterKeys, KeyError};

fn parse(text: &str) -> Result<ClusterKeys, KeyError> {
    ClusterKeys::parse(text, Path::new("keys"))
}

#[test]
fn a_new_key_is_read_back_from_its_line() {
    let (one, two) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
    assert_ne!(one, two);
    let keys = parse(&format!("# ours\n\n{}\n{}\n", one.to_line(), two.to_line())).unwrap();
    assert_eq!(keys.current(), &one);
    assert_eq!(keys.by_id(two.id()), Some(&two));
    assert_eq!(keys.by_id(ClusterKey::generate().unwrap().id()), None);
}

#[test]
fn what_is_no_key_is_refused_with_its_line() {
    let good = ClusterKey::of([7; 32]).to_line();
    for bad in ["callboard-key:12", "secret", &good[1..], &format!("{good}0"), &good.replace("07", "0g")] {
        assert!(matches!(parse(&format!("{good}\n{bad}")), Err(KeyError::Malformed { line: 2, .. })), "{bad}");
    }
    assert!(matches!(parse("# none\n"), Err(KeyError::Count { found: 0, .. })));
    assert!(matches!(parse(&format!("{good}\n{good}\n{good}")), Err(KeyError::Count { found: 3, .. })));
}

#[test]
fn derived_keys_differ_by_purpose_and_cluster_and_show_no_secret() {
    let key = ClusterKey::of([7; 32]);
    let derived = [key.derive("gossip", "a"), key.derive("link", "a"), key.derive("link", "b")];
    assert_eq!(derived[0], key.derive("gossip", "a"));
    assert!(derived[0] != derived[1] && derived[1] != derived[2]);
    assert!(!format!("{key:?}").contains("07070707"));
}

#[test]
fn a_file_that_everybody_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    assert!(matches!(ClusterKeys::load(&path), Err(KeyError::Unreadable { .. })));
    fs::write(&path, ClusterKey::of([7; 32]).to_line()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(ClusterKeys::load(&path), Err(KeyError::Exposed { .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(ClusterKeys::load(&path).unwrap().current(), &ClusterKey::of([7; 32]));
}
