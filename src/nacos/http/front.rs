//! What waits for a server, or looks whether one is there, before any client does: container probes, scripts and people
//! with a browser. Owns these few answers; none of them says anything of configurations.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use serde_json::json;

use crate::http::route::Call;
use crate::nacos::http::answer::bare;
use crate::nacos::http::{Answer, node};

/// The media type of the framework's health.
const ACTUATOR: &str = "application/vnd.spring-boot.actuator.v3+json";
const PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Callboard</title></head>\n\
    <body><h1>Callboard</h1><p>A configuration centre that Nacos's clients can use. Its own interface is described in \
    <a href=\"/openapi.json\">/openapi.json</a>.</p></body></html>\n";

/// `GET` of the context path without its slash.
pub(super) async fn root(_call: Call) -> Answer {
    Ok(HttpResponse::Found().insert_header((LOCATION, HeaderValue::from_static("/nacos/"))).finish())
}

/// `GET` of the page that Nacos has its console at.
pub(super) async fn page(_call: Call) -> Answer {
    let html = HeaderValue::from_static("text/html;charset=UTF-8");
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, html)).body(PAGE))
}

/// `GET` of the health as Nacos's framework tells it.
pub(super) async fn health(call: Call) -> Answer {
    let (code, status) = match node::unready(&call.state).await {
        None => (StatusCode::OK, "UP"),
        Some(_reason) => (StatusCode::SERVICE_UNAVAILABLE, "DOWN"),
    };
    let body = json!({ "status": status }).to_string();
    Ok(HttpResponse::build(code).insert_header((CONTENT_TYPE, HeaderValue::from_static(ACTUATOR))).body(body))
}

/// `GET` of the services: there are none, as there is no service discovery.
pub(super) async fn services(_call: Call) -> Answer {
    bare(&json!({ "count": 0, "doms": [] }))
}
