//! The native session protocol on real sockets: what `docs/protocol.md` promises, over TCP byte by byte and over
//! WebSocket, to clients that behave and to clients that do not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

mod sessions {
    mod arriving;
    mod changes;
    mod garbage;
    mod leaving;
    mod life;
    mod limits;
    mod pushes;
    mod requests;
    mod socket;
    mod stalled;
    mod websocket;
    mod websocket_client;
    mod websocket_limits;
    mod words;
}
