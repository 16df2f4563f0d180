//! Who is at the other end of a connection. Owns that no header of a request changes it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::share::ClientNetwork;

use crate::api::access::Principal;

/// Who reads, for the choice among contents: at this end of the connection, and with the rights of `principal`.
pub(crate) fn identity<'a>(request: &'a HttpRequest, principal: &Principal) -> Cow<'a, ClientIdentity> {
    let client = match request.conn_data::<ClientIdentity>() {
        Some(client) => Cow::Borrowed(client),
        None => Cow::Owned(ClientIdentity { address: address(request).unwrap_or_default(), ..Default::default() }),
    };
    let secrets = principal.secrets();
    // As it is for each request of a connection where nobody has to be known.
    if client.secrets == secrets {
        return client;
    }
    Cow::Owned(ClientIdentity { secrets, ..client.into_owned() })
}

/// The address of the other end of the connection, or nothing.
pub(crate) fn address_or_none(request: &HttpRequest) -> String {
    address(request).unwrap_or_default()
}

/// The address of the other end of the connection. No header can change it.
pub(crate) fn address(request: &HttpRequest) -> Option<String> {
    request.peer_addr().map(|peer| peer.ip().to_string())
}

/// Whose share the request is part of.
pub(crate) fn network(request: &HttpRequest) -> ClientNetwork {
    ClientNetwork::of(request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip()))
}
