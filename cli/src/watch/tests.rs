//! What is printed of a change, what counts as one, and what a command is told.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::{Duration, UNIX_EPOCH};

use callboard_client::{Config, ConfigKey};
use serde_json::{Value, json};

use super::{Seen, exec, line};
use crate::arguments::Format;

fn config(version: u64, content: Option<&str>) -> Config {
    let key = ConfigKey::public("shop", "prices");
    Config { key, version, md5: "ab".to_owned(), kind: "yaml".to_owned(), content: content.map(Into::into) }
}

#[test]
fn a_change_is_a_line() {
    let at = UNIX_EPOCH + Duration::from_secs(1);
    let shown = |config: &Config| line(config, Format::Table, at);
    let (time, key) = ("1970-01-01T00:00:01Z", "public/shop/prices");
    assert_eq!(shown(&config(3, Some("abc"))), format!("{time}  {key}  version 3  published  3 bytes\n"));
    assert_eq!(shown(&config(4, None)), format!("{time}  {key}  version 4  removed\n"));
    let document: Value = serde_json::from_str(&line(&config(3, Some("a\nb")), Format::Json, at)).unwrap();
    let expected = json!({
        "at": time, "namespace": "public", "group": "shop", "dataId": "prices", "version": 3, "removed": false,
        "md5": "ab", "type": "yaml", "content": "a\nb",
    });
    assert_eq!(document, expected);
}

#[test]
fn what_never_existed_has_not_changed() {
    let mut seen = Seen::default();
    assert!(!seen.is_change(&config(0, None)));
    assert!(!seen.is_change(&config(2, None)));
    assert!(seen.is_change(&config(3, Some("a"))));
    assert!(seen.is_change(&config(4, None)));
}

#[tokio::test]
async fn a_command_is_told_of_the_change_and_judged_by_its_end() {
    let command = r#"test "$CONFIG_NAMESPACE/$CONFIG_GROUP/$CONFIG_DATA_ID" = public/shop/prices \
        && test "$CONFIG_VERSION $CONFIG_TYPE $CONFIG_MD5 $CONFIG_REMOVED" = "3 yaml ab false" \
        && test "$(cat)" = abc"#;
    assert_eq!(exec::run(command, &config(3, Some("abc"))).await, Ok(()));
    let removed = r#"test "$CONFIG_REMOVED" = true && test -z "$(cat)""#;
    assert_eq!(exec::run(removed, &config(4, None)).await, Ok(()));
    assert_eq!(exec::run("exit 7", &config(3, Some("abc"))).await, Err("the command ended with 7".to_owned()));
    assert_eq!(exec::run("kill -9 $$", &config(3, None)).await, Err("the command was ended by signal 9".to_owned()));
}

#[tokio::test]
async fn a_command_need_not_read_its_input() {
    let long = "a".repeat(4 * 1024 * 1024);
    assert_eq!(exec::run("true", &config(3, Some(&long))).await, Ok(()));
    assert_eq!(exec::run("test $(wc -c) = 4194304", &config(3, Some(&long))).await, Ok(()));
}
