//! Carries frames between an authenticated connection and the actor, until one of the two ends it. Owns the buffers of
//! a connection and their bounds; never looks into a frame.

use std::io;

use actix::Addr;
use bytes::BytesMut;
use callboard_actors::peer_links::{Closed, Link, LinkQueueReader, PeerLinks, Queued, Received};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::peer::frame::{FrameError, Opener, Sealer};

/// Frames that are taken from the queue at once.
const BATCH: usize = 64;
/// Sealed bytes that are gathered before they are written.
const WRITE: usize = 256 * 1024;
/// Room that is made for a read.
const READ: usize = 16 * 1024;

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the peer ended it")]
    Peer,
    #[error("it was given up")]
    GivenUp,
    #[error("the node stops")]
    Stopping,
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Carries frames until the connection ends, and tells the actor.
pub(super) async fn run(
    stream: TcpStream,
    (sealer, opener): (Sealer, Opener),
    end: LinkQueueReader,
    link: Link,
    links: Addr<PeerLinks>,
) {
    let (input, output) = stream.into_split();
    let ended = tokio::select! {
        ended = read(input, opener, &link, &links) => ended,
        ended = write(output, sealer, end.frames) => ended,
        () = end.open.lost() => Ok(End::GivenUp),
    };
    let reason = ended.unwrap_or_else(|end| end);
    // An actor that does not hear of it misses the pings, or gave the link up itself.
    links.do_send(Closed { link, reason: reason.to_string() });
}

/// Reads until the connection ends. Does not read on before the actor has handled what came.
async fn read(
    mut input: impl AsyncRead + Unpin,
    mut opener: Opener,
    link: &Link,
    links: &Addr<PeerLinks>,
) -> Result<End, End> {
    let mut sealed = BytesMut::new();
    loop {
        sealed.reserve(READ);
        if input.read_buf(&mut sealed).await? == 0 {
            return Ok(End::Peer);
        }
        let mut frames = Vec::new();
        opener.open(&mut sealed, &mut frames)?;
        if !frames.is_empty() {
            // An error says that the actor failed on the frames: it has forgotten the link.
            links.send(Received { link: link.clone(), frames }).await.map_err(|_closed| End::Stopping)?;
        }
    }
}

/// Writes whatever is queued, all of it at once, until the queue ends.
async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut sealer: Sealer,
    mut queue: mpsc::Receiver<Queued>,
) -> Result<End, End> {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        for queued in &batch {
            sealer.add(&queued.frame)?;
            if sealer.sealed().len() >= WRITE {
                output.write_all(sealer.sealed()).await?;
                sealer.clear();
            }
        }
        sealer.finish()?;
        output.write_all(sealer.sealed()).await?;
        sealer.clear();
        // Only now is there room for more.
        batch.clear();
    }
    Ok(End::GivenUp)
}
