//! The client of Callboard: reads, publishes and follows configurations over a session of the native protocol, which
//! `docs/protocol.md` describes.
//!
//! ```no_run
//! use callboard_client::{Client, Condition, Options, Publish};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(Options::new(["10.0.0.1", "10.0.0.2:8850"]))?;
//! let prices = client.key("shop", "prices.yaml");
//!
//! // From a node, and from memory.
//! let config = client.get(&prices).await?;
//! let cached = client.get_cached(&prices).await?;
//! println!("version {}, {:?}", cached.config.version, cached.freshness);
//!
//! // Only if nobody else was faster.
//! let publish = Publish::new(&prices, "apple: 2").kind("yaml").condition(Condition::IfVersion(config.version));
//! println!("now at {}", client.publish(publish).await?.version);
//!
//! // As a stream: asking for the next one says that this one is applied.
//! let mut watch = client.watch(&prices);
//! while let Some(change) = watch.next().await {
//!     match change.config.content.clone() {
//!         Some(content) if content.is_empty() => change.reject("no prices at all"),
//!         Some(content) => println!("{content}"),
//!         None => println!("removed"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! As a callback, whose result operators see:
//!
//! ```no_run
//! # async fn example(client: callboard_client::Client) {
//! let prices = client.key("shop", "prices.yaml");
//! let subscription = client.on_change(prices, async |state| match state.config.content.as_deref() {
//!     Some(content) => content.parse::<u32>().map(|price| println!("{price}")),
//!     None => Ok(()),
//! });
//! # drop(subscription);
//! # }
//! ```
//!
//! # What it promises
//! - One session at a time, with one of the nodes at random. When the node goes away, or falls silent for its idle
//!   time, the client pauses for a moment at random, and goes to another one. What it holds it says there, so that only
//!   what is newer comes.
//! - For each key, a watch and a cached read only ever move forward. A version that is not newer is refused, unless the
//!   node says that the database lost what was told before.
//! - A publish is carried out once at most, however often it has to be repeated.
//! - With [`Options::snapshot`], what is watched is kept on the disk. A program that starts while no node is reachable
//!   gets it from there; [`Freshness::Snapshot`] says so. Publishing and [`Client::get`] need a node.
//! - Neither contents nor credentials are ever logged.
//!
//! # Reading order
//! Rules, without I/O: `held` (what is newer) · `mailbox`, `acknowledgements` (what a watch gets and answers) ·
//! `registry` (all of these together) · `nodes`, `backoff`, `heartbeat` (which node, when, and whether it lives) ·
//! `snapshot` (the form on the disk). Around them: `tls`, `connection` (frames) · `session` (one node) · `driver` (one
//! node after another) · `request` (repeating) · `client`, `watch`, `subscription` (what programs see).

mod acknowledgements;
mod backoff;
mod change;
mod client;
mod config;
mod connection;
mod driver;
mod error;
mod heartbeat;
mod held;
mod key;
mod mailbox;
mod node;
mod nodes;
mod options;
mod registry;
mod request;
mod session;
mod shared;
mod snapshot;
mod subscription;
mod tls;
mod watch;

pub use backoff::BackOff;
pub use change::{Condition, Delete, Effect, Publish, Published};
pub use client::Client;
pub use config::{Cached, Config, Freshness, List, Page, Summary};
pub use error::Error;
pub use key::{ConfigKey, Prefix, Selection, Target};
pub use node::{Connection, Node};
pub use options::{Credentials, Options, OptionsError};
pub use subscription::Subscription;
pub use tls::{Tls, TlsError};
pub use watch::{Change, Watch};
