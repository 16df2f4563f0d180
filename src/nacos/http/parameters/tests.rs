//! Reading and merging parameters.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use actix_web::http::StatusCode;
use callboard_protocol::key::PUBLIC_NAMESPACE;
use futures_util::FutureExt as _;
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
    assert_eq!(fault.clone().into_response("").status(), StatusCode::BAD_REQUEST);
    format!("{fault:?}")
}

#[test]
fn the_first_of_a_name_counts_and_a_plus_is_a_space() {
    let parameters = parsed("a=1+2%2B3&b&a=other&&c=%E5%80%BC&=x").unwrap();
    assert_eq!(parameters.get("a"), Some("1 2+3"));
    assert_eq!((parameters.get("b"), parameters.filled("b")), (Some(""), None));
    assert_eq!((parameters.get("c"), parameters.get("d")), (Some("值"), None));
}

/// What a form in parts says, and the refusal of one that can't be read.
fn in_parts(body: &[u8]) -> Result<Parameters<'static>, Fault> {
    let mut parameters = Parameters::default();
    let adding = parameters.add_form(Form::Parts("zz".to_owned()), Bytes::copy_from_slice(body));
    // Nothing of it waits.
    adding.now_or_never().unwrap()?;
    parameters.check_names()?;
    Ok(parameters)
}

#[test]
fn the_fields_of_a_form_in_parts_are_taken_as_they_are() {
    let content = "a: 1\r\nb: %41+&=\r\n--z\r\n\u{0}\u{feff}值 ";
    let body = format!(
        "--zz\r\nContent-Disposition: form-data; name=\"dataId\"\r\n\r\na.b\r\n\
         --zz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nno parameter\r\n\
         --zz\r\nContent-Disposition: form-data; name=\"content\"\r\nContent-Type: text/plain; charset=GBK\r\n\r\n\
         {content}\r\n--zz--\r\n"
    );
    let parameters = in_parts(body.as_bytes()).unwrap();
    assert_eq!((parameters.get("dataId"), parameters.get("content")), (Some("a.b"), Some(content)));
    assert_eq!((parameters.get("file"), parameters.given.len()), (None, 2));
    assert!(in_parts(body.replace("a.b", "a b").as_bytes()).is_err(), "names are checked");
    for broken in [&b""[..], b"--zz", b"--zz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx", b"dataId=a"] {
        assert!(in_parts(broken).is_err(), "{broken:?}");
    }
    assert!(in_parts(b"--zz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--zz--").is_err());
}

#[test]
fn a_form_is_known_by_what_it_says_of_itself() {
    let declared = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, value.parse().unwrap());
        Form::declared(&headers)
    };
    assert_eq!(Form::declared(&HeaderMap::new()), Ok(Form::Encoded), "who says nothing");
    for encoded in
        ["", "application/x-www-form-urlencoded;charset=GBK", "Application/X-WWW-Form-Urlencoded ; charset=utf8"]
    {
        assert_eq!(declared(encoded), Ok(Form::Encoded), "{encoded}");
    }
    assert_eq!(declared("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""), Ok(Form::Parts("a b".to_owned())));
    assert!(declared("multipart/form-data").is_err());
    assert_eq!(declared("application/json"), Ok(Form::None));
}

proptest! {
    #[test]
    fn any_bytes_are_no_form_or_one(body in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(in_parts(&body));
        drop(in_parts(&[b"--zz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n", &body[..]].concat()));
    }
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
fn parameters_are_counted_wherever_they_stand_and_as_they_are_read() {
    let read = |query: usize, form: Form, body: String| {
        let query = "a&".repeat(query);
        let mut parameters = Parameters::default();
        parameters.add(&query)?;
        parameters.add_form(form, body.into()).now_or_never().unwrap()?;
        Ok::<_, Fault>(parameters.given.len())
    };
    let encoded = |many: usize| (Form::Encoded, "b&".repeat(many));
    let parts = |many: usize, disposition: &str| {
        let part = format!("--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n\r\n");
        (Form::Parts("x".to_owned()), part.repeat(many) + "--x--\r\n")
    };
    let files = |many| parts(many, "name=\"c\"; filename=\"c\"");
    for (query, (form, body), expected) in [
        (MAX_PARAMETERS - 1, encoded(1), Some(MAX_PARAMETERS)),
        (MAX_PARAMETERS - 1, encoded(2), None),
        (MAX_PARAMETERS - 1, parts(1, "name=\"c\""), Some(MAX_PARAMETERS)),
        (MAX_PARAMETERS - 1, parts(2, "name=\"c\""), None),
        (MAX_PARAMETERS - 1, files(1), Some(MAX_PARAMETERS - 1)),
        (MAX_PARAMETERS - 1, files(2), None),
    ] {
        assert_eq!(read(query, form, body).ok(), expected);
    }
}

#[tokio::test]
async fn a_long_form_is_read_as_a_short_one() {
    let long = "x".repeat(100_000);
    for (form, body) in [
        (Form::Encoded, format!("dataId=a&content={long}&group=b")),
        (Form::Encoded, format!("dataId=a&content={long}%&group=b")),
        (
            Form::Parts("x".to_owned()),
            format!("--x\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\n{long}\r\n--x--\r\n"),
        ),
    ] {
        let is_good = !body.contains('%');
        let mut parameters = Parameters::default();
        let read = parameters.add_form(form, body.into()).await;
        assert_eq!((read.is_ok(), parameters.get("content")), (is_good, Some(long.as_str()).filter(|_| is_good)));
    }
}

#[test]
fn blank_public_and_null_are_the_default_namespace_and_namespace_id_wins() {
    for text in ["", "tenant=", "tenant=public", "tenant=NULL", "namespaceId=&tenant=dev", "namespaceId=Public"] {
        assert_eq!(parsed(text).unwrap().namespace(), PUBLIC_NAMESPACE, "{text}");
    }
    assert_eq!(parsed("tenant=a&namespaceId=b").unwrap().namespace(), "b");
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
        parameters.add_form(Form::Encoded, form.into()).now_or_never().unwrap().unwrap();
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
