//! Names: what is taken, what is refused, and that taking a key apart gives back what went in.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

#[test]
fn parts_come_back_as_they_went_in() {
    let key = ConfigKey::new("dev", "DEFAULT_GROUP", "a:b.yaml").unwrap();
    assert_eq!((key.namespace(), key.group(), key.data_id()), ("dev", "DEFAULT_GROUP", "a:b.yaml"));
    assert_eq!(key.to_string(), "dev/DEFAULT_GROUP/a:b.yaml");
}

#[test]
fn each_rule_names_its_part() {
    assert_eq!(ConfigKey::new("n", " ", "d").unwrap_err(), KeyError::Blank(Part::Group));
    assert!(matches!(ConfigKey::new("a.b", "g", "d").unwrap_err(), KeyError::Illegal { part: Part::Namespace, .. }));
    assert!(matches!(ConfigKey::new("n", "g/h", "d").unwrap_err(), KeyError::Illegal { part: Part::Group, .. }));
    for data_id in ["a b", "a\0b", "a\u{1}b", "../x", "名"] {
        assert_eq!(ConfigKey::new("n", "g", data_id).unwrap_err().part(), Part::DataId, "{data_id:?}");
    }
    assert!(matches!(
        ConfigKey::new("n", "g", &"d".repeat(257)).unwrap_err(),
        KeyError::TooLong { part: Part::DataId, length: 257, max: 256 }
    ));
    assert!(ConfigKey::new(&"n".repeat(64), &"g".repeat(128), &"d".repeat(256)).is_ok());
}

#[test]
fn the_namespace_that_everybody_has_goes_by_several_names() {
    for name in ["", " ", "public", "PUBLIC", "Public", "null", "NULL", "Null "] {
        assert_eq!(ConfigKey::new(name, "g", "d").unwrap().namespace(), "public", "{name:?}");
        assert_eq!(namespace(name), Ok("public"), "{name:?}");
        assert_eq!(namespace_of(Some(name)), "public", "{name:?}");
    }
    assert_eq!(namespace_of(None), "public");
    for name in ["publick", "nul", "dev"] {
        assert_eq!(namespace(name), Ok(name));
    }
    assert_eq!(namespace("a.b").unwrap_err().part(), Part::Namespace);
}

#[test]
fn names_that_a_path_leaves_out_are_refused_and_can_be_read_where_they_are_stored() {
    for dots in [".", ".."] {
        assert_eq!(ConfigKey::new("n", dots, "d").unwrap_err(), KeyError::Dots(Part::Group));
        assert_eq!(ConfigKey::new("n", "g", dots).unwrap_err(), KeyError::Dots(Part::DataId));
        assert!(ConfigKey::new(dots, "g", "d").is_err());
        assert!(check_prefix(dots).is_ok(), "names may begin so");
        let stored = ConfigKey::stored("NULL", dots, dots).unwrap();
        assert_eq!((stored.namespace(), stored.group(), stored.data_id()), ("NULL", dots, dots));
        let again: (String, String, String) = stored.clone().into();
        assert_eq!(ConfigKey::try_from(again), Ok(stored));
    }
    assert!(ConfigKey::new("n", "...", ".env").is_ok());
    assert!(ConfigKey::stored("n", "g", "a/b").is_err());
}

proptest! {
    #[test]
    fn any_three_texts_are_taken_whole_or_refused(namespace in ".*", group in ".*", data_id in ".*") {
        if let Ok(key) = ConfigKey::new(&namespace, &group, &data_id) {
            prop_assert_eq!(key.namespace(), namespace_of(Some(&namespace)));
            prop_assert_eq!(key.group(), group);
            prop_assert_eq!(key.data_id(), data_id);
        }
    }

    #[test]
    fn keys_sort_as_their_parts(a in "[a-c-]{1,3}", b in "[a-c.]{1,3}", c in "[a-c:]{1,3}", d in "[a-c-]{1,3}", e in "[a-c.]{1,3}", f in "[a-c:]{1,3}") {
        let (left, right) = (ConfigKey::stored(&a, &b, &c).unwrap(), ConfigKey::stored(&d, &e, &f).unwrap());
        prop_assert_eq!(left.cmp(&right), (a, b, c).cmp(&(d, e, f)));
    }
}
