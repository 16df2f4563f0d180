//! A native session: who the client is, what it is pushed and in which order, whether its connection lives, and how
//! fast it may ask. Owns these rules; opens nothing and reads no clock.
//!
//! Reading order: [`client`] (who) · [`pushes`] (what it is sent) · [`liveness`], [`pace`] (how the connection does)

pub mod client;
pub mod liveness;
pub mod pace;
pub mod pushes;
