//! The beginning of a session: connecting, hello and welcome.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use callboard_proto::SESSION_VERSIONS;
use callboard_proto::frame::FrameError;
use callboard_proto::session as wire;
use callboard_proto::session::Envelope;
use callboard_proto::session::envelope::Kind;
use tokio::time::{Instant, timeout};

use super::Session;
use crate::connection::{Broken, connect};
use crate::error::text;
use crate::heartbeat::Heartbeat;
use crate::registry::Registry;
use crate::shared::Shared;

/// The number of the hello.
const HELLO_ID: u64 = 1;
/// What the client calls itself, for people.
const SOFTWARE: &str = concat!("callboard-client/", env!("CARGO_PKG_VERSION"), " (Rust)");

/// Why no session began.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// It took too long.
    #[error("the node did not answer in time")]
    TimedOut,
    /// The connection failed.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The hello is longer than a frame can be.
    #[error("the hello can't be sent: {0}")]
    Hello(#[from] FrameError),
    /// The node refused.
    #[error("the node refused the session ({code}): {message}")]
    Refused { code: String, message: String },
    /// The node speaks another version than it was asked for.
    #[error("the node speaks version {0} of the protocol")]
    Version(u32),
    /// The node said something else.
    #[error("the node answered hello by something else")]
    Unexpected,
}

/// Connects to a node and says hello with everything that is held.
pub(crate) async fn open(shared: &Arc<Shared>, address: &str) -> Result<(Session, wire::Welcome), OpenError> {
    match timeout(shared.options.connect_timeout, greet(shared, address)).await {
        Ok(opened) => opened,
        Err(_elapsed) => Err(OpenError::TimedOut),
    }
}

async fn greet(shared: &Arc<Shared>, address: &str) -> Result<(Session, wire::Welcome), OpenError> {
    let (mut reader, mut writer) = connect(address, shared.options.tls.as_ref()).await?;
    writer.push(&Envelope { id: HELLO_ID, kind: Some(Kind::Hello(hello(shared))) })?;
    writer.flush().await?;
    let welcome = loop {
        match reader.next().await?.kind {
            Some(Kind::Welcome(welcome)) => break welcome,
            Some(Kind::Error(error)) => {
                return Err(OpenError::Refused { code: text(&error.code), message: text(&error.message) });
            }
            // The node may ask whether the client is there; what it does not know of is to be skipped.
            Some(Kind::Ping(wire::Ping { number })) => {
                writer.push(&Envelope { id: 0, kind: Some(Kind::Pong(wire::Pong { number })) })?;
                writer.flush().await?;
            }
            None => {}
            Some(_) => return Err(OpenError::Unexpected),
        }
    };
    if !(SESSION_VERSIONS.0..=SESSION_VERSIONS.1).contains(&welcome.version) {
        return Err(OpenError::Version(welcome.version));
    }
    let session = Session {
        shared: Arc::clone(shared),
        reader,
        writer,
        pending: HashMap::new(),
        last_id: HELLO_ID,
        heartbeat: Heartbeat::new(welcome.idle_timeout_ms, Instant::now()),
        later: BTreeMap::new(),
    };
    Ok((session, welcome))
}

fn hello(shared: &Shared) -> wire::Hello {
    let options = &shared.options;
    wire::Hello {
        client_id: options.client_id.clone(),
        application: options.application.clone(),
        labels: options.labels.clone(),
        credentials: options.credentials.reveal().to_owned(),
        min_version: SESSION_VERSIONS.0,
        max_version: SESSION_VERSIONS.1,
        held: shared.look(Registry::compose_hello),
        software: SOFTWARE.to_owned(),
    }
}
