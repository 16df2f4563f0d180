//! Reading and merging parameters.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use callboard_protocol::key::PUBLIC_NAMESPACE;
use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<Parameters<'_>, Fault> {
    let mut parameters = Parameters::default();
    parameters.add(text)?;
    parameters.check_names()?;
    Ok(parameters)
}

fn refusal(text: &str) -> String {
    let fault = parsed(text).unwrap_err();
    assert_eq!(fault.clone().into_response().status(), StatusCode::BAD_REQUEST);
    format!("{fault:?}")
}

#[test]
fn the_first_of_a_name_counts_and_a_plus_is_a_space() {
    let parameters = parsed("a=1+2%2B3&b&a=other&&c=%E5%80%BC&=x").unwrap();
    assert_eq!(parameters.get("a"), Some("1 2+3"));
    assert_eq!((parameters.get("b"), parameters.filled("b")), (Some(""), None));
    assert_eq!((parameters.get("c"), parameters.get("d")), (Some("值"), None));
}

#[test]
fn what_is_not_percent_encoded_utf8_or_breaks_a_rule_is_refused() {
    for bad in ["a=%zz", "a=%", "a=%ff%fe", "%f=1"] {
        assert!(refusal(bad).contains("percent-encoded"), "{bad}");
    }
    for (bad, name) in [
        ("dataId=a/b", "'dataId'"),
        ("dataId=a%00", "'dataId'"),
        ("group=a%20b", "'group'"),
        ("tenant=a.b", "'namespaceId/tenant'"),
        ("namespaceId=%E5%80%BC", "'namespaceId/tenant'"),
    ] {
        let told = refusal(bad);
        assert!(told.contains(name) && told.contains("illegal characters"), "{bad}: {told}");
    }
    for (name, most) in [("dataId", 256), ("group", 128), ("tenant", 64)] {
        parsed(&format!("{name}={}", "x".repeat(most))).unwrap();
        let told = refusal(&format!("{name}={}", "x".repeat(most + 1)));
        assert!(told.contains(&format!("should not exceed {most}.")), "{told}");
    }
    assert!(refusal("appName=%00").contains("NUL"));
    parsed("content=%00&dataId=&group=+").unwrap();
    assert!(refusal(&"a&".repeat(MAX_PARAMETERS + 1)).contains("10000"));
}

#[test]
fn blank_public_and_null_are_the_default_namespace_and_namespace_id_wins() {
    for text in ["", "tenant=", "tenant=public", "tenant=NULL", "namespaceId=&tenant=dev", "namespaceId=Public"] {
        assert_eq!(parsed(text).unwrap().namespace(), PUBLIC_NAMESPACE, "{text}");
    }
    assert_eq!(parsed("tenant=a&namespaceId=b").unwrap().namespace(), "b");
}

#[test]
fn a_body_without_a_type_is_a_form_in_any_charset() {
    let form = |declared: Option<&str>| {
        let request = TestRequest::default();
        let request = match declared {
            Some(declared) => request.insert_header((CONTENT_TYPE, declared)),
            None => request,
        };
        is_form(request.to_http_request().headers())
    };
    let forms =
        ["", "application/x-www-form-urlencoded;charset=GBK", "Application/X-WWW-Form-Urlencoded ; charset=utf8"];
    assert!(form(None) && forms.iter().all(|declared| form(Some(declared))));
    assert!(!form(Some("application/json")) && !form(Some("multipart/form-data; boundary=x")));
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn any_pairs_come_back_wherever_they_were_split(
        pairs in proptest::collection::vec(("[a-z]{1,8}", any::<String>()), 0..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        let cut = cut.index(pairs.len() + 1);
        let text = |pairs: &[(String, String)]| {
            pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
        };
        let (query, form) = (text(&pairs[..cut]), text(&pairs[cut..]));
        let mut parameters = Parameters::default();
        parameters.add(&query).unwrap();
        parameters.add_owned(&form).unwrap();
        for (name, _) in &pairs {
            let first = pairs.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
            prop_assert_eq!(parameters.get(name), first);
        }
        prop_assert_eq!(parameters.get("NOT THERE"), None);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        if let Ok(parameters) = parsed(&text) {
            let _key = parameters.key(true);
        }
    }
}
