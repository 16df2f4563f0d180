//! Metadata rules.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

#[test]
fn an_edit_keeps_clears_and_sets() {
    let stored = Metadata {
        kind: ConfigType::Yaml,
        description: Some("old".into()),
        application: Some("shop".into()),
        tags: vec!["a".into()],
        ..Metadata::default()
    };
    let edit = MetadataEdit { description: Some(String::new()), schema: Some("s".into()), ..MetadataEdit::default() };
    let made = edit.applied_to(&stored, false);
    assert_eq!(made.kind, ConfigType::Yaml);
    assert_eq!(made.description, None);
    assert_eq!(made.application.as_deref(), Some("shop"));
    assert_eq!(made.schema.as_deref(), Some("s"));
    assert_eq!(made.tags, ["a"]);
}

#[test]
fn a_data_key_belongs_to_its_content() {
    let stored = Metadata { encrypted_data_key: Some("old".into()), ..Metadata::default() };
    let made = |key: Option<&str>, is_same_content| {
        let edit = MetadataEdit { encrypted_data_key: key.map(str::to_owned), ..MetadataEdit::default() };
        edit.applied_to(&stored, is_same_content).encrypted_data_key
    };
    assert_eq!(made(None, false), None, "another content came without one");
    assert_eq!(made(None, true).as_deref(), Some("old"));
    for is_same_content in [false, true] {
        assert_eq!(made(Some("new"), is_same_content).as_deref(), Some("new"));
        assert_eq!(made(Some(""), is_same_content), None);
    }
}

#[test]
fn tags_are_brought_into_one_form() {
    let tags = ["b ", "", "a", "b"].map(str::to_owned).to_vec();
    let edit = MetadataEdit { tags: Some(tags), ..MetadataEdit::default() }.checked().unwrap();
    assert_eq!(edit.tags.unwrap(), ["a", "b"]);
}

#[test]
fn limits_count_characters_and_name_the_field() {
    let edit =
        |description: &str| MetadataEdit { description: Some(description.to_owned()), ..MetadataEdit::default() };
    assert!(edit(&"名".repeat(128)).checked().is_ok());
    assert_eq!(
        edit(&"名".repeat(129)).checked().unwrap_err(),
        MetadataError::TooLong { field: "description", length: 129, max: 128 }
    );
    assert_eq!(edit("a\0").checked().unwrap_err(), MetadataError::Nul { field: "description" });
    let tags = (0..6).map(|n| n.to_string()).collect();
    assert_eq!(
        MetadataEdit { tags: Some(tags), ..MetadataEdit::default() }.checked().unwrap_err(),
        MetadataError::TooManyTags { count: 6 }
    );
}

#[test]
fn every_type_reads_back() {
    for kind in ConfigType::ALL {
        assert_eq!(kind.as_str().parse::<ConfigType>().unwrap(), kind);
    }
    assert!("JSON5".parse::<ConfigType>().is_err());
}
