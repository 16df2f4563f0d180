//! Two requests share a fingerprint only when they ask for the same.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::config::{ConfigType, Version};
use crate::content::Content;
use crate::key::ConfigKey;
use bytes::Bytes;

use super::*;

fn put(content: &'static str, edit: MetadataEdit, condition: Condition) -> KeyWrite {
    let key = ConfigKey::new("public", "g", "d").unwrap();
    let content = Content::new(Bytes::from_static(content.as_bytes())).unwrap();
    KeyWrite { key, condition, change: Change::Put { content, edit: Box::new(edit) } }
}

#[test]
fn every_difference_shows() {
    let plain = || put("x", MetadataEdit::default(), Condition::None);
    let edited = |edit| put("x", edit, Condition::None);
    let text = |text: &str| Some(text.to_owned());
    let tags = |tags: &[&str]| Some(tags.iter().map(|tag| (*tag).to_owned()).collect());
    let key = |group, data_id| KeyWrite { key: ConfigKey::new("public", group, data_id).unwrap(), ..plain() };
    let matches = |expected| put("x", MetadataEdit::default(), Condition::Matches(expected));
    let version = |version| Expected::Version(Version(version));
    let items = [
        (plain(), None),
        (plain(), Some("")),
        (plain(), Some("why")),
        (put("y", MetadataEdit::default(), Condition::None), None),
        (KeyWrite { change: Change::Remove, ..plain() }, None),
        (key("g", "dd"), None),
        (key("gd", "d"), None),
        (edited(MetadataEdit { kind: Some(ConfigType::Json), ..MetadataEdit::default() }), None),
        (edited(MetadataEdit { description: text("a"), ..MetadataEdit::default() }), None),
        (edited(MetadataEdit { description: text(""), ..MetadataEdit::default() }), None),
        (edited(MetadataEdit { application: text("a"), ..MetadataEdit::default() }), None),
        (edited(MetadataEdit { tags: tags(&[]), ..MetadataEdit::default() }), None),
        (edited(MetadataEdit { tags: tags(&["a", "b"]), ..MetadataEdit::default() }), None),
        (edited(MetadataEdit { tags: tags(&["ab"]), ..MetadataEdit::default() }), None),
        (put("x", MetadataEdit::default(), Condition::Absent), None),
        (put("x", MetadataEdit::default(), Condition::Exists), None),
        (matches(vec![version(1)]), None),
        (matches(vec![version(1), version(2)]), None),
        (matches(vec![Expected::Md5(Md5::of(b"x"))]), None),
        (put("x", MetadataEdit::default(), Condition::NacosCas("x".to_owned())), None),
    ];
    for (one, (item, note)) in items.iter().enumerate() {
        assert_eq!(of(item, *note), of(&item.clone(), *note));
        for (other, (another, other_note)) in items.iter().enumerate() {
            assert_eq!(one == other, of(item, *note) == of(another, *other_note), "{one} and {other}");
        }
    }
}

#[test]
fn the_form_does_not_change_from_one_version_to_the_next() {
    // A client may repeat its request across an upgrade of the node.
    let item = put("x", MetadataEdit::default(), Condition::None);
    assert_eq!(of(&item, Some("why")).0.hex(), "0fc9dfec7c24c732ba65d0ae6b0c078b");
}
