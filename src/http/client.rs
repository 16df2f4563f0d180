//! Who is at the other end of a connection. Owns that no header of a request changes it.

use std::borrow::Cow;

use actix_web::HttpRequest;
use callboard_protocol::gray::ClientIdentity;

/// Who reads, for the choice among gray contents.
pub(crate) fn identity(request: &HttpRequest) -> Cow<'_, ClientIdentity> {
    match request.conn_data::<ClientIdentity>() {
        Some(client) => Cow::Borrowed(client),
        None => Cow::Owned(ClientIdentity { address: address(request).unwrap_or_default(), ..Default::default() }),
    }
}

/// The address of the other end of the connection, or nothing.
pub(crate) fn address_or_none(request: &HttpRequest) -> String {
    address(request).unwrap_or_default()
}

/// The address of the other end of the connection. No header can change it.
pub(crate) fn address(request: &HttpRequest) -> Option<String> {
    request.peer_addr().map(|peer| peer.ip().to_string())
}
