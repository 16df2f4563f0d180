//! What a fuzz target reaches of the way between nodes. Present only with the feature `fuzzing`.

use std::sync::LazyLock;

use callboard_actors::gossip::MAX_DATAGRAM;
use callboard_actors::peer_links::PEER_VERSIONS;
use callboard_protocol::member::NodeId;
use futures_util::FutureExt as _;
use tokio::io::{AsyncWriteExt as _, duplex};

use super::datagram::Sealing;
use super::handshake::{Identity, respond};
use super::key::{ClusterKey, ClusterKeys};

/// More than a handshake sends.
const ROOM: usize = 16 * 1024;

static KEYS: LazyLock<ClusterKeys> = LazyLock::new(|| ClusterKeys::single(ClusterKey::of([7; 32])));
static SEALING: LazyLock<Sealing> = LazyLock::new(|| Sealing::new(&KEYS, "cluster"));

/// A stranger who sends `bytes` after he has connected, and hangs up: he gets no further.
///
/// # Panics
/// He does, or something is waited for that can't come.
pub fn handshake(bytes: &[u8]) {
    let identity = Identity {
        node: NodeId("here".into()),
        cluster: "cluster".to_owned(),
        keys: KEYS.clone(),
        versions: PEER_VERSIONS,
        software: "0".to_owned(),
    };
    let (mut stranger, mut node) = duplex(ROOM);
    let said = bytes.get(..bytes.len().min(ROOM)).unwrap_or_default();
    let told = async {
        drop(stranger.write_all(said).await);
        drop(stranger.shutdown().await);
    };
    told.now_or_never().expect("there is room");
    let met = respond(&mut node, &identity).now_or_never().expect("the stranger has hung up");
    assert!(met.is_err(), "a stranger was taken for a node");
}

/// Arbitrary bytes as a datagram, which nobody takes; and as the content of one, which comes out as it went in.
///
/// # Panics
/// It does not.
pub fn datagram(bytes: &[u8]) {
    assert_eq!(SEALING.open(bytes.to_vec()), None, "a stranger's datagram was taken");
    let content = bytes.get(..bytes.len().min(MAX_DATAGRAM)).unwrap_or_default();
    let sealed = SEALING.seal(content).expect("it is short enough");
    assert_eq!(SEALING.open(sealed).as_deref(), Some(content));
    callboard_actors::gossip::fuzzing::datagram(content);
}
