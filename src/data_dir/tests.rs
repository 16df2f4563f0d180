//! The data directory: lock, identity, addresses.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::{DataDir, DatabaseLock, Error};

#[test]
fn a_missing_directory_is_made_for_its_owner_only() {
    let parent = TempDir::new().unwrap();
    let data_dir = DataDir::open(&parent.path().join("a/b")).unwrap();
    assert_eq!(fs::metadata(data_dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(data_dir.path().is_absolute());
}

#[test]
fn a_second_holder_is_refused_with_directory_and_pid() {
    let parent = TempDir::new().unwrap();
    let first = DataDir::open(parent.path()).unwrap();
    let refusal = DataDir::open(parent.path()).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(refusal, Error::Held { holder: Some(holder), .. } if holder == pid), "{refusal:?}");
    let message = refusal.to_string();
    assert!(message.contains(first.path().to_str().unwrap()), "{message}");
    assert!(message.contains(&format!("pid {pid}")) && message.contains("--data-dir"), "{message}");
    first.close().unwrap();
    DataDir::open(parent.path()).unwrap();
}

#[test]
fn a_path_that_is_a_file_is_refused_by_name() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("file");
    fs::write(&path, "").unwrap();
    let message = DataDir::open(&path).unwrap_err().to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
}

#[test]
fn the_node_id_is_kept_over_restarts() {
    let parent = TempDir::new().unwrap();
    let open = || DataDir::open(parent.path()).unwrap();
    let first = open().node_id("").unwrap();
    assert_eq!(uuid::Uuid::parse_str(&first).unwrap().get_version_num(), 4);
    assert_eq!(open().node_id("").unwrap(), first);
    assert_eq!(open().node_id("chosen").unwrap(), "chosen");
    assert_eq!(open().node_id("").unwrap(), first);
}

#[test]
fn a_garbled_node_id_is_refused_and_left_alone() {
    let parent = TempDir::new().unwrap();
    let data_dir = DataDir::open(parent.path()).unwrap();
    for garbled in [&b""[..], b"0123", b"\xff\xfe"] {
        fs::write(parent.path().join("node-id"), garbled).unwrap();
        let refusal = data_dir.node_id("").unwrap_err();
        assert!(matches!(refusal, Error::GarbledNodeId { .. }), "{refusal:?}");
        assert!(refusal.to_string().contains("node-id does not hold a UUID"), "{refusal}");
        assert_eq!(fs::read(parent.path().join("node-id")).unwrap(), garbled);
    }
}

#[test]
fn addresses_are_written_whole_and_removed_on_a_clean_stop() {
    let parent = TempDir::new().unwrap();
    let file = parent.path().join("addresses.json");
    let data_dir = DataDir::open(parent.path()).unwrap();
    let addresses = BTreeMap::from([("http".to_owned(), SocketAddr::from(([127, 0, 0, 1], 1234)))]);
    data_dir.write_addresses(&addresses).unwrap();
    data_dir.write_addresses(&addresses).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), r#"{"http":"127.0.0.1:1234"}"#);
    assert!(!parent.path().join("addresses.json.tmp").exists());
    data_dir.close().unwrap();
    assert!(!file.exists());
}

#[test]
fn addresses_of_a_killed_process_are_removed_at_the_next_start() {
    let parent = TempDir::new().unwrap();
    fs::write(parent.path().join("addresses.json"), "{}").unwrap();
    DataDir::open(parent.path()).unwrap();
    assert!(!parent.path().join("addresses.json").exists());
}

#[test]
fn a_database_file_serves_one_node_whatever_its_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("shared.db");
    let held = DatabaseLock::take(&database).unwrap();
    let refused =
        DatabaseLock::take(&directory.path().join("../").join(directory.path().file_name().unwrap()).join("shared.db"));
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("shared.db") && message.contains(&std::process::id().to_string()), "{message}");
    drop(held);
    DatabaseLock::take(&database).unwrap();
}

#[test]
fn a_database_file_serves_one_node_by_whatever_name_it_is_called() {
    let directory = tempfile::tempdir().unwrap();
    let [database, symbolic, hard] = ["cc.db", "symbolic.db", "hard.db"].map(|name| directory.path().join(name));
    let held = DatabaseLock::take(&database).unwrap();
    std::os::unix::fs::symlink(&database, &symbolic).unwrap();
    fs::hard_link(&database, &hard).unwrap();
    let refused = DatabaseLock::take(&symbolic).unwrap_err().to_string();
    assert!(refused.contains("symbolic.db") && refused.contains(&std::process::id().to_string()), "{refused}");
    let refused = DatabaseLock::take(&hard).unwrap_err();
    assert!(matches!(refused, Error::Held { holder: None, .. }), "{refused}");
    drop(held);
    DatabaseLock::take(&hard).unwrap();
}

#[test]
fn room_is_kept_beside_a_database_file() {
    let directory = tempfile::tempdir().unwrap();
    drop(DatabaseLock::take(&directory.path().join("cc.db")).unwrap());
    assert_eq!(fs::metadata(directory.path().join("cc.db.reserve")).unwrap().len(), 1024 * 1024);
}
