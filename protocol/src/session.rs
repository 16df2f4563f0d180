//! A native session: who the client is, what it is pushed and in which order, whether its connection lives, and how
//! fast it may ask. Owns these rules; opens nothing and reads no clock.
//!
//! Reading order: [`client`] (who) · [`conversation`] (what is said when) · [`pushes`] (what it is sent) ·
//! [`position`] (what it holds) · [`presence`], made of [`liveness`] and [`pace`] (how the connection does)

pub mod client;
pub mod conversation;
pub mod liveness;
pub mod pace;
pub mod position;
pub mod presence;
pub mod pushes;
