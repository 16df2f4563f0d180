//! How two nodes begin a connection: each proves that it holds the cluster key, and says who it is and what it speaks.
//!
//! ```text
//! dialer → acceptor   magic, 1, key id · Noise NNpsk0 message 1      57 bytes, the same for everybody
//! acceptor → dialer   Noise NNpsk0 message 2                         only to one who holds the key
//! dialer → acceptor   hello, sealed                                  only this proves that message 1 was no repetition
//! acceptor → dialer   hello, sealed
//! ```
//!
//! The key is derived for links in the cluster of this name, and the name stands in the prologue, too. Owns the form of
//! these messages. Until the peer has proved itself, nothing of it is held but buffers of fixed size, and it is told
//! nothing.

use std::sync::Arc;

use callboard_actors::peer_links::{Hello, MAX_HELLO, WireError};
use callboard_protocol::link::Versions;
use callboard_protocol::member::NodeId;
use snow::params::NoiseParams;
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::peer::frame::{Opener, Sealer};
use crate::peer::key::{ClusterKey, ClusterKeys, KeyId};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// Where NNpsk0 mixes the key in.
const PSK: u8 = 0;
const MAGIC: [u8; 4] = *b"CBPL";
/// The version of the form above.
const FORM: u8 = 1;
/// Magic, form and key id.
const PREAMBLE: usize = 9;
/// Either message of the handshake: a public key and a tag.
const MESSAGE: usize = 48;
const TAG: usize = 16;
/// Longest sealed hello.
const MAX_SEALED_HELLO: usize = MAX_HELLO + TAG;

/// Who a node is on its links.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// The name of its cluster.
    pub cluster: String,
    /// The keys of its cluster.
    pub keys: ClusterKeys,
    /// The versions it speaks.
    pub versions: Versions,
    /// The version of its program, for people.
    pub software: String,
}

/// A peer that has proved itself.
pub(super) struct Authenticated {
    /// What it said.
    pub(super) hello: Hello,
    /// The version that both speak.
    pub(super) version: u16,
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
}

/// Why a connection is not opened. The peer was told nothing but what the form says.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The connection ended.
    #[error("the peer ended the connection; it does that to whoever has another key or cluster name")]
    Ended(#[source] std::io::Error),
    /// The peer does not hold the key, or belongs to another cluster, or is no node at all.
    #[error("the peer has another key or cluster name, or is no node of Callboard")]
    NotAuthentic,
    /// The hello makes no sense.
    #[error("the peer's hello makes no sense: {0}")]
    Hello(#[from] WireError),
    /// The two speak no common version.
    #[error("node {peer} ({software}) speaks versions {theirs}, this one speaks {ours}: upgrade the older one first")]
    NoCommonVersion {
        /// Who.
        peer: NodeId,
        /// Its program.
        software: String,
        /// What it speaks.
        theirs: Versions,
        /// What this node speaks.
        ours: Versions,
    },
    /// The peer has the id of this node.
    #[error("the peer has this node's own id {0}: no two nodes may share a data directory or node.id")]
    OwnId(NodeId),
}

impl From<std::io::Error> for HandshakeError {
    fn from(error: std::io::Error) -> Self {
        Self::Ended(error)
    }
}

impl From<snow::Error> for HandshakeError {
    fn from(_: snow::Error) -> Self {
        Self::NotAuthentic
    }
}

impl Identity {
    fn hello(&self) -> Hello {
        Hello { node: self.node.clone(), versions: self.versions, software: self.software.clone() }
    }

    /// The peer, once its hello was read.
    fn meet(&self, hello: Hello, noise: Arc<StatelessTransportState>) -> Result<Authenticated, HandshakeError> {
        if hello.node == self.node {
            return Err(HandshakeError::OwnId(hello.node));
        }
        let Some(version) = self.versions.common(hello.versions) else {
            let Hello { node: peer, versions: theirs, software } = hello;
            return Err(HandshakeError::NoCommonVersion { peer, software, theirs, ours: self.versions });
        };
        // Packet 0 was the hello.
        let (sealer, opener) = (Sealer::new(Arc::clone(&noise), 1), Opener::new(noise, 1));
        Ok(Authenticated { hello, version, sealer, opener })
    }
}

/// Begins a connection that this node dialed.
pub(super) async fn initiate<S>(stream: &mut S, identity: &Identity) -> Result<Authenticated, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let key = identity.keys.current();
    let preamble = preamble(key.id());
    let mut noise = handshake(key, &identity.cluster, &preamble, true)?;
    let mut first = [0; PREAMBLE + MESSAGE];
    let (head, message) = first.split_at_mut(PREAMBLE);
    head.copy_from_slice(&preamble);
    noise.write_message(&[], message)?;
    stream.write_all(&first).await?;
    let mut second = [0; MESSAGE];
    stream.read_exact(&mut second).await?;
    noise.read_message(&second, &mut [])?;
    let noise = Arc::new(noise.into_stateless_transport_mode()?);
    send_hello(stream, &noise, &identity.hello()).await?;
    let hello = read_hello(stream, &noise).await?;
    identity.meet(hello, noise)
}

/// Begins a connection that was accepted.
pub(super) async fn respond<S>(stream: &mut S, identity: &Identity) -> Result<Authenticated, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Everybody is heard to the end of the first message: who has no key does not learn which part of it was wrong.
    let mut first = [0; PREAMBLE + MESSAGE];
    stream.read_exact(&mut first).await?;
    let (preamble, message) = first.split_at(PREAMBLE);
    let key = key_of(preamble).and_then(|id| identity.keys.by_id(id)).ok_or(HandshakeError::NotAuthentic)?;
    let mut noise = handshake(key, &identity.cluster, preamble, false)?;
    noise.read_message(message, &mut [])?;
    let mut second = [0; MESSAGE];
    noise.write_message(&[], &mut second)?;
    stream.write_all(&second).await?;
    let noise = Arc::new(noise.into_stateless_transport_mode()?);
    let hello = read_hello(stream, &noise).await?;
    // Also to one that speaks no common version: its log is to name both ranges.
    send_hello(stream, &noise, &identity.hello()).await?;
    identity.meet(hello, noise)
}

fn preamble(KeyId(id): KeyId) -> [u8; PREAMBLE] {
    let mut preamble = [0; PREAMBLE];
    let parts = MAGIC.into_iter().chain([FORM]).chain(id);
    preamble.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    preamble
}

/// The key that a preamble names; `None` when it is no preamble of this form.
fn key_of(preamble: &[u8]) -> Option<KeyId> {
    let id = preamble.strip_prefix(&MAGIC)?.strip_prefix(&[FORM])?;
    Some(KeyId(id.try_into().ok()?))
}

fn handshake(
    key: &ClusterKey,
    cluster: &str,
    preamble: &[u8],
    is_dialer: bool,
) -> Result<HandshakeState, HandshakeError> {
    let params: NoiseParams = PATTERN.parse()?;
    let psk = key.derive("link", cluster);
    let prologue = [preamble, cluster.as_bytes()].concat();
    let builder = Builder::new(params).psk(PSK, &psk)?.prologue(&prologue)?;
    Ok(if is_dialer { builder.build_initiator()? } else { builder.build_responder()? })
}

/// Sends the hello: packet 0 of this direction, after its length in two bytes.
async fn send_hello<S>(stream: &mut S, noise: &StatelessTransportState, hello: &Hello) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin,
{
    let plain = hello.encode()?;
    let mut packet = [0; 2 + MAX_SEALED_HELLO];
    let (header, sealed) = packet.split_at_mut(2);
    let length = noise.write_message(0, &plain, sealed)?;
    // At most MAX_SEALED_HELLO, which is far below u16::MAX.
    header.copy_from_slice(&(length as u16).to_be_bytes());
    stream.write_all(packet.get(..2 + length).unwrap_or_default()).await?;
    Ok(())
}

/// Reads the peer's hello.
async fn read_hello<S>(stream: &mut S, noise: &StatelessTransportState) -> Result<Hello, HandshakeError>
where
    S: AsyncRead + Unpin,
{
    let mut header = [0; 2];
    stream.read_exact(&mut header).await?;
    let mut sealed = [0; MAX_SEALED_HELLO];
    let length = usize::from(u16::from_be_bytes(header));
    let sealed = sealed.get_mut(..length).ok_or(HandshakeError::NotAuthentic)?;
    stream.read_exact(sealed).await?;
    let mut plain = [0; MAX_SEALED_HELLO];
    let length = noise.read_message(0, sealed, &mut plain)?;
    Ok(Hello::decode(plain.get(..length).unwrap_or_default())?)
}

#[cfg(test)]
mod tests;
