//! Tests of what the client knows between its sessions.

mod random_walk;
mod stories;
