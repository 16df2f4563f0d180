//! Reading a key for a request, and the mark of an answer that may be old.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use callboard_actors::cache::reading::{self, Reading, Unread};
use callboard_protocol::key::ConfigKey;

use crate::api::READ_DEADLINE;
use crate::api::state::State;

/// Says that an answer may be old, and for how long nothing newer could be known, such as `12s`.
const STALE: HeaderName = HeaderName::from_static("x-callboard-stale");

/// Marks the answer when what was read may be old.
pub(crate) fn mark(reading: &Reading, mut response: HttpResponse) -> HttpResponse {
    if let Some(age) = reading.age {
        let text = format!("{}s", age.as_secs());
        // Digits and a letter are legal in any header.
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(STALE, value);
        }
    }
    response
}

/// Reads `key`; the newest state, unless nothing but an old one can be had and the settings allow that.
pub(crate) async fn read(state: &State, key: ConfigKey) -> Result<Reading, Unread> {
    let reader = &state.worker.reader;
    reading::read((reader, reader), key, READ_DEADLINE, state.shared.options.serve_stale).await
}
