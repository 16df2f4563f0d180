//! Tests of the snapshots.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::files::{load, store};
use super::{decode, encode, file_name};
use crate::config::Config;
use crate::key::ConfigKey;

fn config(data_id: &str, content: Option<&str>) -> Config {
    let key = ConfigKey::new("test", "..", data_id);
    Config { key, version: 7, md5: "aa".into(), kind: "yaml".into(), content: content.map(Into::into) }
}

#[test]
fn what_is_stored_is_loaded_and_only_its_owner_can_read_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let inner = directory.path().join("inner");
    let states = [config("a", Some("x: 1")), config("../b", None)];
    store(&inner, &states);
    store(&inner, &states);
    let mut loaded: Vec<Config> = load(&inner).into_iter().map(|(config, _)| config).collect();
    loaded.sort_by(|one, other| other.key.cmp(&one.key));
    assert_eq!(loaded, states);
    #[cfg(unix)]
    for file in fs::read_dir(&inner).expect("a directory") {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = file.and_then(|file| file.metadata()).expect("a file");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_broken_file_is_left_out_and_the_others_are_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    store(directory.path(), &[config("a", Some("x"))]);
    fs::write(directory.path().join("broken.json"), b"{\"format\": 1, ").expect("written");
    fs::write(directory.path().join("notes.txt"), b"none").expect("written");
    assert_eq!(load(directory.path()).len(), 1);
}

#[test]
fn a_directory_that_is_not_there_keeps_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(load(&directory.path().join("absent")).is_empty());
}

#[test]
fn names_of_files_differ_where_keys_do_and_stay_in_the_directory() {
    let long = "x".repeat(256);
    let names = [config("a", None), config("../a", None), config(&long, None)].map(|config| file_name(&config.key));
    assert_eq!(names[0], "e9068c7d988a5e8a-a.json");
    assert!(names[1].ends_with("-.._a.json"));
    assert!(names.iter().all(|name| name.len() < 200 && !name.contains('/')));
}

#[test]
fn an_unknown_form_is_refused() {
    let bytes = encode(&config("a", None), UNIX_EPOCH).expect("encoded");
    let other = String::from_utf8(bytes).expect("text").replace("\"format\":1", "\"format\":2");
    assert!(decode(other.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(data_id in "\\PC{1,20}", content in prop::option::of(".{0,50}"), ms in 0_u64..1 << 50) {
        let saved_at = UNIX_EPOCH + Duration::from_millis(ms);
        let config = config(&data_id, content.as_deref());
        let bytes = encode(&config, saved_at).expect("encoded");
        prop_assert_eq!(decode(&bytes).expect("decoded"), (config, saved_at));
    }

    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(decode(&bytes));
    }

    #[test]
    fn no_time_panics(ms in any::<u64>()) {
        let text = format!(r#"{{"format":1,"savedAtMs":{ms},"namespace":"","group":"g","dataId":"d","version":1,"md5":"","type":"","content":null}}"#);
        drop(decode(text.as_bytes()).map(|(config, saved_at)| encode(&config, saved_at.max(SystemTime::UNIX_EPOCH))));
    }
}
