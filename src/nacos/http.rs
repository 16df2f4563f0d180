//! Nacos over HTTP, version 1, as its SDKs speak it: configurations, long polling, namespaces, and what clients look
//! at before they trust a server.
//!
//! Reading order: `routes` (every route, one row each) · `parameters` (reading a request) · `fault` (every refusal) ·
//! `client` (who asks) · `configs`, `publishing` (one configuration) · `search`, `pages` · `listener` (long polling) ·
//! `namespaces`, `node`, `front`, `login` · `access` (users, roles, permissions; also version 3) · `answer` (forms that
//! answers have in common).
//!
//! It owns the forms of Nacos and nothing else: names, contents and versions follow the same rules, and go to the same
//! actors, as those of the native interface. `""`, `public` and `null` are one namespace everywhere.

mod access;
mod answer;
mod client;
mod configs;
mod fault;
mod front;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod listener;
mod login;
mod namespaces;
mod node;
mod pages;
mod parameters;
mod publishing;
mod routes;
mod search;

use actix_web::HttpResponse;
pub(crate) use routes::ROUTES;

/// What a handler gives.
type Answer = Result<HttpResponse, fault::Fault>;
