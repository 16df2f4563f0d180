//! The way of a connection to its door: it needs a place, and is made ready. Owns the order of both; serves nothing.

use std::time::Duration;

use actix_web::rt::net::TcpStream;

use crate::api::places::{Places, Room};
use crate::http::connection;
use crate::settings::{Settings, TlsDoor};
use crate::socket::Socket;
use crate::tls::{Acceptor, Stream, Tls};
use crate::{nacos, open_files, session};

/// Files that a node needs besides its clients' connections.
const OWN_FILES: usize = 256;

/// What a client is told that is not served, in words of a door.
type Words = fn() -> Vec<u8>;

/// See the module.
#[derive(Debug)]
pub(super) struct Way {
    places: Places,
    acceptor: Acceptor,
    /// What a client is told for whom there is no place.
    full: Words,
    /// How long a client may take without reading anything.
    patience: Duration,
}

impl Way {
    /// The way to a door, with its own ones of the `places` of all.
    pub(super) fn new(door: TlsDoor, places: &[Places; 3], tls: &Tls, settings: &Settings) -> Self {
        let [http, tcp, grpc] = places;
        let (places, needs_tls, full): (_, Words, Words) = match door {
            TlsDoor::Http => (http, connection::needs_tls, connection::full),
            TlsDoor::Tcp => (tcp, session::tcp::needs_tls, session::tcp::full),
            TlsDoor::Grpc => (grpc, nacos::grpc::needs_tls, nacos::grpc::full),
        };
        let patience = match door {
            TlsDoor::Http => settings.http.write_timeout,
            TlsDoor::Tcp | TlsDoor::Grpc => settings.session.write_timeout,
        };
        Self { places: places.clone(), acceptor: tls.acceptor(door, needs_tls), full, patience }
    }

    /// Makes a connection ready to be served; `None` when it is not to be, and was told so if it could be.
    pub(super) async fn accept(&self, socket: TcpStream) -> Option<Stream> {
        let address = socket.peer_addr().ok()?.ip();
        let Some(place) = self.places.take(address) else {
            if !self.acceptor.needs_tls() {
                // As much of it as goes out at once: nobody who has no place is waited for.
                drop(socket.try_write(&(self.full)()));
            }
            return None;
        };
        self.acceptor.accept(Socket::new(socket, place, self.patience)).await
    }
}

/// How many connections each door takes: as many as the settings say, and no more than there are files for.
pub(super) fn rooms(settings: &Settings) -> [Room; 3] {
    let files = open_files::limit().saturating_sub(OWN_FILES);
    let room = |door: TlsDoor, max: usize, per_address: usize, part: usize| Room {
        door: door.name(),
        max: max.min(files / part),
        per_address,
        keeps_some: door == TlsDoor::Http,
    };
    let (http, session) = (&settings.http, &settings.session);
    // Some more than there are sessions: whoever gets none is told so on a connection.
    let (sessions, of_one) = (more(session.max_sessions), more(session.max_per_address));
    [
        room(TlsDoor::Http, http.max_connections, http.max_per_address, 2),
        room(TlsDoor::Tcp, sessions, of_one, 4),
        room(TlsDoor::Grpc, sessions, of_one, 4),
    ]
}

/// An eighth more, and some.
fn more(count: usize) -> usize {
    count.saturating_add(count / 8).saturating_add(16)
}
