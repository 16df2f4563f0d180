//! Media types.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Option<ConfigType>, ContentTypeError> {
    parse(Some(text.as_bytes()))
}

#[test]
fn the_table() {
    let table = [
        ("", None),
        ("application/octet-stream", None),
        ("application/x-www-form-urlencoded", None),
        ("text/plain", Some(ConfigType::Text)),
        ("application/json", Some(ConfigType::Json)),
        ("application/problem+json", Some(ConfigType::Json)),
        ("application/xml", Some(ConfigType::Xml)),
        ("text/xml", Some(ConfigType::Xml)),
        ("image/svg+xml", Some(ConfigType::Xml)),
        ("text/html", Some(ConfigType::Html)),
        ("application/yaml", Some(ConfigType::Yaml)),
        ("application/x-yaml", Some(ConfigType::Yaml)),
        ("text/yaml", Some(ConfigType::Yaml)),
        ("text/x-yaml", Some(ConfigType::Yaml)),
        ("application/toml", Some(ConfigType::Toml)),
        ("text/x-toml", Some(ConfigType::Toml)),
        ("text/x-java-properties", Some(ConfigType::Properties)),
        ("text/x-properties", Some(ConfigType::Properties)),
    ];
    assert_eq!(parse(None), Ok(None));
    for (text, kind) in table {
        assert_eq!(read(text), Ok(kind), "{text}");
        assert_eq!(read(&text.to_uppercase()), Ok(kind), "{text}");
    }
    for text in ["multipart/form-data; boundary=x", "image/png", "application/pdf", "multipart/a+json", "text/+jso"] {
        assert_eq!(read(text), Err(ContentTypeError::UnsupportedType), "{text}");
    }
}

#[test]
fn parameters_are_read_and_only_the_charset_matters() {
    for good in [
        "text/plain;charset=utf-8",
        "text/plain ; charset=UTF-8 ;",
        "text/plain;; charset=\"us-ascii\"; x=\"a;\\\"b=\"",
        "text/plain; format=flowed",
        "text/plain;",
    ] {
        assert_eq!(read(good), Ok(Some(ConfigType::Text)), "{good}");
    }
    for charset in ["gbk", "utf8", "iso-8859-1", "\"\"", "\"utf-8 \""] {
        let text = format!("text/plain; charset={charset}");
        assert_eq!(read(&text), Err(ContentTypeError::UnsupportedCharset), "{text}");
    }
    for bad in [
        "text",
        "/",
        "text/",
        "/plain",
        "te xt/plain",
        "text/plain/x",
        "text/plain; charset",
        "text/plain; charset=",
        "text/plain; charset= utf-8",
        "text/plain; =utf-8",
        "text/plain; charset=\"utf-8",
        "text/plain; charset=\"utf-8\"x",
        "text/plain; charset=utf-8 x",
        "text/plain, text/html",
        "text/plain; a=\"\\",
        ";",
        "té/plain",
    ] {
        assert_eq!(read(bad), Err(ContentTypeError::Malformed), "{bad:?}");
    }
    assert_eq!(parse(Some(b"text/plain\xff")), Err(ContentTypeError::Malformed));
}

#[test]
fn an_answer_says_the_type() {
    for kind in
        [ConfigType::Text, ConfigType::Json, ConfigType::Xml, ConfigType::Html, ConfigType::Yaml, ConfigType::Toml]
    {
        assert_eq!(read(of(kind)), Ok(Some(kind)));
    }
    assert_eq!(of(ConfigType::Properties), "text/plain; charset=utf-8");
    assert_eq!(of(ConfigType::Unset), "text/plain; charset=utf-8");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(value: Vec<u8>) {
        if parse(Some(&value)).is_ok() {
            prop_assert!(std::str::from_utf8(&value).is_ok());
        }
    }

    #[test]
    fn texts_made_of_the_right_parts_are_read_or_refused(
        parts in prop::collection::vec(prop::sample::select(vec![
            "text", "application", "/", "plain", "json", "+", ";", "=", "\"", "\\", " ", "\t", "charset", "utf-8", "gbk", "é",
        ]), 0..16),
    ) {
        let text = parts.concat();
        if read(&text).is_ok() && text.contains(';') {
            prop_assert!(!text.ends_with('='));
        }
    }
}
