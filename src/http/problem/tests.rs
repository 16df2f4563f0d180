//! The form of problem documents.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use actix_web::body::to_bytes;
use callboard_actors::cache::ReadFailure;
use callboard_protocol::config::Version;
use callboard_protocol::key::check_group;
use serde_json::{Value, json};

use super::*;

async fn document(error: ApiError) -> (HttpResponse, Value) {
    let (response, body) = response(error).into_parts();
    let body = to_bytes(body).await.unwrap();
    (response.set_body(actix_web::body::BoxBody::new(())), serde_json::from_slice(&body).unwrap())
}

#[actix_web::test]
async fn every_code_has_a_name_of_its_own_and_a_status_of_a_refusal() {
    for code in ErrorCode::ALL {
        let (response, body) = document(ApiError::new(code, "why")).await;
        assert_eq!(response.headers().get("content-type").unwrap(), PROBLEM);
        assert_eq!(response.status(), status_of(code));
        assert!(status_of(code).as_u16() >= 400);
        let expected = json!({
            "type": format!("urn:callboard:problem:{}", code.as_str()),
            "title": entry_of(code).title,
            "status": status_of(code).as_u16(),
            "detail": "why",
            "code": code.as_str(),
        });
        assert_eq!(body, expected);
        let waits = entry_of(code).retry_after.is_some();
        assert_eq!(response.headers().contains_key("retry-after"), waits, "{code:?}");
    }
}

#[actix_web::test]
async fn members_and_headers_come_along() {
    let problem = ApiError::new(ErrorCode::ConditionFailed, "no").with("version", 7).with("md5", Value::Null);
    let (response, body) = document(problem.at(Version(7)).closing()).await;
    assert_eq!((&body["version"], &body["md5"]), (&json!(7), &Value::Null));
    assert_eq!(response.headers().get("x-callboard-version").unwrap(), "7");
    assert!(response.head().connection_type() == actix_web::http::ConnectionType::Close);
    let (response, _) = document(ApiError::method_not_allowed("GET, PUT".to_owned())).await;
    assert_eq!(response.headers().get("allow").unwrap(), "GET, PUT");
}

#[actix_web::test]
async fn a_problem_does_not_repeat_what_the_database_said() {
    let failures = [
        ReadFailure::Unavailable { reason: "password authentication failed".to_owned() },
        ReadFailure::Broken { what: "row 7".to_owned() },
    ];
    for failure in failures {
        let (_, body) = document(failure.into()).await;
        assert!(!body.to_string().contains("password") && !body.to_string().contains("row 7"), "{body}");
    }
    let (_, body) = document(check_group("a b").unwrap_err().into()).await;
    assert_eq!((&body["code"], &body["parameter"]), (&json!("invalid_name"), &json!("group")));
}
