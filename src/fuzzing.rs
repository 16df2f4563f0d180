//! What the targets under `fuzz/` reach: one function for each decoder that a stranger gets to. Owns nothing and is in
//! no server: it is present only with the feature `fuzzing`.

pub use callboard_actors::peer_links::fuzzing::message as peer_message;

pub use crate::api::auth::fuzzing::token;
pub use crate::http::fuzzing::requests as http;
pub use crate::nacos::grpc::fuzzing::{payload, requests as payload_body};
pub use crate::nacos::http::fuzzing::form;
pub use crate::peer::fuzzing::{datagram, handshake};
pub use crate::tls::fuzzing::certificate;

#[cfg(test)]
mod tests;
