//! Where HTTP is asked, how pages go on, and what refusals mean.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use reqwest::Url;
use serde_json::{Value, json};

use super::{Rest, authority, refused, take_page};

#[test]
fn http_is_asked_where_the_node_says_unless_that_is_everywhere() {
    assert_eq!(authority("10.0.0.1:8848", "n1:8850"), "10.0.0.1:8848");
    assert_eq!(authority("0.0.0.0:8848", "n1:8850"), "n1:8848");
    assert_eq!(authority("[::]:8848", "[fd00::1]:8850"), "[fd00::1]:8848");
    assert_eq!(authority("n1.example:80", "n1:8850"), "n1.example:80");
}

#[test]
fn names_in_a_path_are_escaped_and_never_another_path() {
    let base = Url::parse("http://n1:8848/").unwrap();
    let rest = Rest { http: reqwest::Client::new(), base, own_id: String::new(), nodes: Vec::new() };
    let url = rest.url(&["actors", "a/b?c"], &[("limit", "3".to_owned())]).unwrap();
    assert_eq!(url.as_str(), "http://n1:8848/api/v1/actors/a%2Fb%3Fc?limit=3");
    for name in ["", ".", ".."] {
        assert_eq!(rest.url(&["actors", name], &[]).unwrap_err().exit_code(), 2, "{name:?}");
    }
}

#[test]
fn a_page_gives_its_items_and_its_place() {
    let page = |next: Value| take_page(&mut json!({"items": [1, 2], "next": next}));
    assert_eq!(page(json!("abc")), (vec![json!(1), json!(2)], Some("abc".to_owned())));
    assert_eq!(page(json!(7)).1, Some("7".to_owned()));
    assert_eq!(page(Value::Null).1, None);
    assert_eq!(take_page(&mut json!("no page")), (vec![], None));
}

#[test]
fn refusals_have_exit_codes() {
    let code = |code: &str, status| refused(&json!({"code": code, "detail": "so"}), status).exit_code();
    assert_eq!(code("not_found", 404), 3);
    assert_eq!(code("no_such_route", 404), 1);
    assert_eq!(code("invalid_name", 400), 2);
    assert_eq!(code("unavailable", 503), 1);
    assert_eq!(code("access_exists", 409), 4);
    assert_eq!(code("outcome_unknown", 503), 5);
    assert_eq!(code("unauthenticated", 401), 6);
    assert_eq!(code("forbidden", 403), 6);
    assert_eq!(code("foreign_origin", 403), 1);
    assert_eq!(refused(&Value::Null, 502).exit_code(), 1);
}
