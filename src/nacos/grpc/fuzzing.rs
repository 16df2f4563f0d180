//! What a fuzz target reaches of the messages of Nacos's clients. Present only with the feature `fuzzing`.

use callboard_proto::nacos::Payload;
use callboard_protocol::write_request::Origin;
use futures_util::FutureExt as _;

use super::request::{Body, origin};
use super::service::{parts, shown};
use crate::api::access::Principal;

/// A message, and its body as each of the requests that there are: read or refused.
pub fn payload(payload: Payload) {
    if let Some(metadata) = &payload.metadata {
        let _: crate::api::auth::Credentials<'_> = shown(&metadata.headers);
    }
    let (class, body, claimed) = parts(payload);
    requests(&class, &body, &claimed);
}

/// The body of a message of this class, as each of the requests that there are: read or refused.
pub fn requests(class: &str, body: &[u8], claimed: &str) {
    let read = || Body::read(body).ok();
    let Some(first) = read() else { return };
    let from: Origin = origin(&Principal::Anonymous, claimed);
    // Refused or taken; either is an answer.
    drop((first.key(), first.listened(), first.watched(), first.tag().map(str::len)));
    drop(first.publish(from.clone()).now_or_never());
    drop(read().map(|body| body.remove(from)));
    drop(read().map(Body::listens));
    drop(read().map(Body::watching));
    drop(read().map(|body| body.stream_message(class, "id", "127.0.0.1", claimed)));
}
