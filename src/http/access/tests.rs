//! The table, the served routes and the description are the same.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use serde_json::Value;

use super::super::tests::{Rig, body};
use super::*;

/// A path of the row in which every part has a legal value.
fn path_of(row: &Row) -> String {
    ["{namespace}", "{group}", "{dataId}", "{version}", "{name}"]
        .iter()
        .fold(row.path.to_owned(), |path, part| path.replace(part, "1"))
}

#[actix_web::test]
async fn every_row_is_served_and_other_methods_and_spellings_are_refused() {
    let rig = Rig::start().await;
    for row in &TABLE {
        let path = path_of(row);
        let what = format!("{} {path}", row.method);
        // Every route refuses a parameter that it does not know: so it is the route that answers.
        let response = rig.call(row.method.clone(), &format!("{path}?surprise=1"), &[], "x").await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{what}");
        let answer = body(response).await;
        if row.method != Method::HEAD {
            assert_eq!(answer["parameter"], "surprise", "{what}: {answer}");
        }
        for method in ["TRACE", "PATCH", "OPTIONS", "MADE-UP"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let response = rig.call(method, &path, &[], "").await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{what}");
            let allow = response.headers().get("allow").unwrap().to_str().unwrap().to_owned();
            assert!(allow.split(", ").any(|allowed| allowed == row.method.as_str()), "{what}: {allow}");
            assert_eq!(body(response).await["code"], "method_not_allowed");
        }
        for other in [format!("{path}/"), format!("/{path}"), format!("{path}/more/of/it"), path.to_uppercase()] {
            let response = rig.call(row.method.clone(), &other, &[], "").await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{other}");
            assert_eq!(body(response).await["code"], "no_such_route", "{other}");
        }
    }
}

#[actix_web::test]
async fn the_description_lists_just_the_rows_with_every_answer() {
    let rig = Rig::start().await;
    let description = body(rig.call(Method::GET, "/openapi.json", &[], "").await).await;
    assert_eq!(description["openapi"], "3.1.0");
    let described: BTreeSet<(String, String)> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (path.clone(), method.to_uppercase()))
        })
        .collect();
    let rows: BTreeSet<(String, String)> =
        TABLE.iter().map(|row| (row.path.to_owned(), row.method.to_string())).collect();
    assert_eq!(described, rows);
    assert_eq!(rows.len(), TABLE.len(), "no row twice");
    for row in &TABLE {
        let operation = &description["paths"][row.path][row.method.as_str().to_lowercase()];
        for status in ["400", "404", "405", "408", "431", "500", "503"] {
            assert!(operation["responses"].get(status).is_some(), "{} {} has no {status}", row.method, row.path);
        }
        let named: BTreeSet<&str> = row.path.split('/').filter_map(|part| part.strip_prefix('{')).collect();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(in_path, named.len(), "{}", row.path);
        assert_ne!(operation["operationId"], Value::Null);
    }
    assert_references_resolve(&description, &description);
}

fn assert_references_resolve(part: &Value, whole: &Value) {
    if let Some(reference) = part.get("$ref").and_then(Value::as_str) {
        assert!(whole.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    match part {
        Value::Object(members) => members.values().for_each(|member| assert_references_resolve(member, whole)),
        Value::Array(items) => items.iter().for_each(|item| assert_references_resolve(item, whole)),
        _ => {}
    }
}
