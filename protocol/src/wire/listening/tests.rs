//! Long-polling questions and answers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

fn record(data_id: &str, group: &str, md5: &str, tenant: Option<&str>) -> Record {
    Record {
        data_id: data_id.into(),
        group: group.into(),
        md5: Some(md5.to_owned()).filter(|md5| !md5.is_empty()),
        tenant: tenant.map(str::to_owned),
    }
}

#[test]
fn records_of_three_and_of_four_fields() {
    let md5 = "91f4a7bb25cd3347fcc9821061b42d2a";
    let value = format!("a.yaml\u{2}DEFAULT_GROUP\u{2}{md5}\u{2}dev\u{1}b.json\u{2}G2\u{2}\u{1}c\u{2}G\u{2}\u{2}\u{1}");
    let records = parse(&value).unwrap();
    assert_eq!(
        records,
        [
            record("a.yaml", "DEFAULT_GROUP", md5, Some("dev")),
            record("b.json", "G2", "", None),
            record("c", "G", "", Some("")),
        ]
    );
    assert_eq!(encode_changed(&records[..1]), "a.yaml%02DEFAULT_GROUP%02dev%01");
    assert_eq!(encode_changed(&records[1..]), "b.json%02G2%01c%02G%01");
    assert_eq!(encode_changed(&[]), "");
}

#[test]
fn a_value_that_is_still_encoded_is_decoded() {
    assert_eq!(parse("a%3Ab%02G%02%02dev%01").unwrap(), [record("a:b", "G", "", Some("dev"))]);
    assert_eq!(parse("a\u{2}G%zz\u{2}%\u{1}").unwrap(), [record("a", "G%zz", "%", None)]);
    assert_eq!(parse("a\u{2}G%ff\u{2}\u{1}").unwrap(), [record("a", "G%ff", "", None)]);
    assert_eq!(parse("a+b\u{2}G\u{2}%4\u{1}").unwrap(), [record("a b", "G", "%4", None)]);
}

#[test]
fn what_is_no_list_of_records_is_refused() {
    for bad in [
        "",
        " ",
        "\u{1}",
        " \u{1}",
        "a\u{1}",
        "a\u{2}G\u{1}",
        "a\u{2}G",
        "a\u{2}G\u{2}\u{2}\u{2}\u{1}",
        "a\u{2}G\u{2}\u{1}\u{1}",
        "\u{1}a\u{2}G\u{2}\u{1}",
        "a,G",
    ] {
        assert_eq!(parse(bad), Err(InvalidProbe), "{bad:?}");
    }
    assert_eq!(InvalidProbe.to_string(), "invalid probeModify");
}

#[test]
fn a_record_without_its_end_is_ignored() {
    for unended in ["a\u{2}G\u{2}", "a\u{2}G\u{2}00", "a\u{2}G\u{2}\u{2}dev", "a%02G%02"] {
        assert_eq!(parse(unended), Ok(Vec::new()), "{unended:?}");
        let parsed = parse(&format!("b\u{2}G\u{2}\u{1}{unended}")).unwrap();
        assert_eq!(parsed.iter().map(|record| record.data_id.as_str()).collect::<Vec<_>>(), ["b"]);
    }
}

#[test]
fn there_is_a_limit_of_records() {
    let one = "a\u{2}G\u{2}\u{1}";
    assert_eq!(parse(&one.repeat(MAX_RECORDS)).unwrap().len(), MAX_RECORDS);
    assert_eq!(parse(&one.repeat(MAX_RECORDS + 1)), Err(InvalidProbe));
}

#[test]
fn the_default_namespace_has_many_names_and_each_is_echoed_as_it_came() {
    for tenant in [None, Some(""), Some("  "), Some("public"), Some("PUBLIC"), Some("null"), Some("Null")] {
        assert_eq!(record("d", "g", "", tenant).key().unwrap().namespace(), "public", "{tenant:?}");
    }
    assert_eq!(record("d", "g", "", Some("dev")).key().unwrap().namespace(), "dev");
    assert_eq!(record("", "g", "", None).key().unwrap_err().part(), crate::key::Part::DataId);
    let echoed = |tenant| encode_changed(&[record("d", "g", "", tenant)]);
    assert_eq!(echoed(Some("Public")), "d%02g%02Public%01");
    assert_eq!(echoed(Some("null")), "d%02g%02null%01");
    assert_eq!(echoed(Some(" ")), "d%02g%01");
    assert_eq!(echoed(None), "d%02g%01");
}

#[test]
fn answers_are_encoded_as_java_does() {
    let odd = record("a:b/c d*~", "名", "", Some("x+y%"));
    assert_eq!(encode_changed(&[odd]), "a%3Ab%2Fc+d*%7E%02%E5%90%8D%02x%2By%25%01");
}

#[test]
fn a_poll_is_held_half_a_second_less_than_its_client_waits_but_ten_seconds_at_least() {
    let held = [
        ("30000", 29_500),
        ("11000", 10_500),
        ("10400", 10_000),
        ("10000", 10_000),
        ("1000", 10_000),
        ("0", 10_000),
        ("-5", 10_000),
        (" 45000 ", 44_500),
        ("60000", 59_500),
        ("9223372036854775807", 59_500),
    ];
    for (value, millis) in held {
        assert_eq!(hang(value.as_bytes()), Ok(Duration::from_millis(millis)), "{value}");
    }
    for value in ["", "abc", "1e9", "30 000", "99999999999999999999", "３０"] {
        assert!(hang(value.as_bytes()).is_err(), "{value}");
    }
    assert!(hang(b"\xff30000").is_err());
    assert_eq!(hang(b"abc").unwrap_err().to_string(), "For input string: \"abc\"");
}

#[test]
fn clients_before_2_0_4_look_into_headers() {
    for old in ["2.0.3", "1.4.6", "0.9.9", "v1.0.0", "2.0.3-RC"] {
        assert!(wants_headers(Some(old)), "{old}");
    }
    assert!(wants_headers(None));
    for new in ["2.0.4", "2.1.0", "3.0.0", "", "Nacos", "nodejs-diamond-client/2.6.3", "2.0", "1"] {
        assert!(!wants_headers(Some(new)), "{new}");
    }
}

#[test]
fn encoding_leaves_letters_digits_and_four_signs() {
    assert_eq!(url_encoded("aZ09.-_*: \u{2}值\r\n%"), "aZ09.-_*%3A+%02%E5%80%BC%0D%0A%25");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).*") {
        if let Ok(records) = parse(&text) {
            prop_assert!(records.len() <= text.len());
        }
    }

    #[test]
    fn texts_made_of_the_right_signs_are_read_or_refused(text in "[a%+0-2fF\u{1}\u{2}]{0,60}") {
        if let Ok(records) = parse(&text) {
            prop_assert!(records.len() <= 60);
        }
    }

    #[test]
    fn records_are_read_back_encoded_or_not(
        fields in prop::collection::vec(
            ("[a-z.:_-]{1,9}", "[A-Z_]{1,9}", "[0-9a-f]{0,32}", prop::option::of("[a-z-]{0,9}")),
            1..20,
        ),
    ) {
        let records: Vec<Record> =
            fields.iter().map(|(data_id, group, md5, tenant)| record(data_id, group, md5, tenant.as_deref())).collect();
        let mut text = String::new();
        for (data_id, group, md5, tenant) in &fields {
            text.push_str(&[&data_id[..], group, md5].join("\u{2}"));
            if let Some(tenant) = tenant {
                text.push('\u{2}');
                text.push_str(tenant);
            }
            text.push('\u{1}');
        }
        let mut encoded = String::new();
        push_encoded(&mut encoded, &text);
        prop_assert_eq!(parse(&encoded).unwrap(), &records[..]);
        prop_assert_eq!(parse(&text).unwrap(), records);
    }

    #[test]
    fn decoding_undoes_encoding(text in "(?s).*") {
        let mut encoded = String::new();
        push_encoded(&mut encoded, &text);
        prop_assert_eq!(decode_again(&encoded), text);
    }
}
