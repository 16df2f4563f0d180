//! Tests of what the client knows between its sessions.

mod stories;
mod world;
