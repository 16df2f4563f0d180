//! The table, the served routes and the description are the same.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use actix_web::http::{Method, StatusCode};
use serde_json::Value;

use super::{ROUTES, Rig, body};
use crate::http::route::Route;

/// A path of the row in which every part has a legal value.
fn path_of(row: &Route) -> String {
    ["{namespace}", "{group}", "{dataId}", "{version}", "{name}"]
        .iter()
        .fold(row.path.to_owned(), |path, part| path.replace(part, "1"))
}

#[actix_web::test]
async fn every_row_is_served_and_other_methods_and_spellings_are_refused() {
    let rig = Rig::start().await;
    // What a provider of single sign-on adds is overlooked.
    let is_ours = |row: &&Route| row.describe.is_some() && !row.path.ends_with("/oidc/callback");
    for row in ROUTES.routes().filter(is_ours) {
        let path = path_of(row);
        let what = format!("{} {path}", row.method);
        // Every route refuses a parameter that it does not know: so it is the route that answers.
        let response = rig.call(row.method.clone(), &format!("{path}?surprise=1"), &[], "x").await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{what}");
        let answer = body(response).await;
        assert_eq!(answer["parameter"], "surprise", "{what}: {answer}");
        for method in ["TRACE", "PATCH", "MADE-UP"] {
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
async fn every_row_of_nacos_is_served_and_what_is_not_there_is_told_in_its_words() {
    let rig = Rig::start().await;
    for row in ROUTES.routes().filter(|row| row.describe.is_none()) {
        let what = format!("{} {}", row.method, row.path);
        let response = rig.call(row.method.clone(), row.path, &[], "").await;
        let refused = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::INTERNAL_SERVER_ERROR];
        assert!(!refused.contains(&response.status()), "{what}: {}", response.status());
        let response = rig.call(Method::PATCH, row.path, &[], "").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{what}");
        let allow = response.headers().get("allow").unwrap().to_str().unwrap().to_owned();
        assert!(allow.split(", ").any(|allowed| allowed == row.method.as_str()), "{what}: {allow}");
        let document = body(response).await;
        assert_eq!((&document["error"], &document["path"]), (&"Method Not Allowed".into(), &row.path.into()));
    }
    for path in ["/nacos/nope", "/nacos/v1/cs/nope", "/nacos/v1/cs/configs/"] {
        let response = rig.call(Method::GET, path, &[], "").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let document = body(response).await;
        assert_eq!(
            (&document["status"], &document["error"], &document["path"]),
            (&404.into(), &"Not Found".into(), &path.into())
        );
    }
    assert_eq!(body(rig.call(Method::GET, "/nacosx", &[], "").await).await["code"], "no_such_route");
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
    let native = || ROUTES.routes().filter(|row| row.describe.is_some());
    let name = |row: &Route| (row.path.to_owned(), row.method.to_string());
    let names = |row: &'static Route| row.methods().into_iter().map(|method| (row.path.to_owned(), method.to_string()));
    assert_eq!(described, native().flat_map(names).collect::<BTreeSet<_>>());
    assert_eq!(ROUTES.routes().map(name).collect::<BTreeSet<_>>().len(), ROUTES.routes().count(), "no row twice");
    for row in native() {
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
