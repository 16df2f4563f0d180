//! Tests of how a connection begins, without sockets.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callboard_actors::peer_links::PEER_VERSIONS;
use callboard_protocol::link::Versions;
use callboard_protocol::member::NodeId;
use proptest::prelude::{any, proptest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use crate::peer::handshake::{
    Authenticated, FORM, HandshakeError, Identity, MAGIC, MESSAGE, PREAMBLE, initiate, key_of, respond,
};
use crate::peer::key::{ClusterKey, ClusterKeys};

fn identity(node: &str) -> Identity {
    Identity {
        node: NodeId(node.into()),
        cluster: "test".to_owned(),
        keys: ClusterKeys::single(ClusterKey::of([7; 32])),
        versions: PEER_VERSIONS,
        software: "0.1.0".to_owned(),
    }
}

async fn meet(dialer: &Identity, acceptor: &Identity) -> [Result<Authenticated, HandshakeError>; 2] {
    let (mut one, mut two): (DuplexStream, DuplexStream) = duplex(4_096);
    // Each end is dropped when it is done, as a connection is.
    let dialing = async { initiate(&mut one, dialer).await.inspect_err(|_| ()) };
    let accepting = async move { respond(&mut two, acceptor).await };
    let (dialed, accepted) = futures_util::future::join(dialing, accepting).await;
    [dialed, accepted]
}

#[actix_rt::test]
async fn two_nodes_of_a_cluster_meet() {
    let older = Identity { versions: Versions { min: 1, max: 1 }, ..identity("b") };
    for (acceptor, version) in [(identity("b"), PEER_VERSIONS.max), (older, 1)] {
        let [dialed, accepted] = meet(&identity("a"), &acceptor).await.map(Result::unwrap);
        assert_eq!((&*dialed.hello.node.0, &*accepted.hello.node.0), ("b", "a"));
        assert_eq!((dialed.version, accepted.version), (version, version));
    }
}

#[actix_rt::test]
async fn another_key_and_another_cluster_name_do_not_meet() {
    let other_key = Identity { keys: ClusterKeys::single(ClusterKey::of([8; 32])), ..identity("b") };
    let other_name = Identity { cluster: "other".to_owned(), ..identity("b") };
    for acceptor in [other_key, other_name] {
        let [dialed, accepted] = meet(&identity("a"), &acceptor).await.map(Result::err);
        assert!(matches!(dialed, Some(HandshakeError::Ended(_))), "{dialed:?}");
        assert!(matches!(accepted, Some(HandshakeError::NotAuthentic)), "{accepted:?}");
    }
}

#[actix_rt::test]
async fn without_a_common_version_both_ends_can_name_both_ranges() {
    let newer = Identity { versions: Versions { min: 6, max: 7 }, ..identity("b") };
    let errors = meet(&identity("a"), &newer).await.map(|met| met.err().unwrap().to_string());
    assert!(errors[0].contains("node b (0.1.0) speaks versions 6 to 7, this one speaks 1 to 5"), "{}", errors[0]);
    assert!(errors[1].contains("node a (0.1.0) speaks versions 1 to 5, this one speaks 6 to 7"), "{}", errors[1]);
}

#[actix_rt::test]
async fn a_node_does_not_link_with_its_own_id() {
    let [dialed, accepted] = meet(&identity("a"), &identity("a")).await.map(Result::err);
    assert!(matches!(dialed, Some(HandshakeError::OwnId(_))), "{dialed:?}");
    assert!(matches!(accepted, Some(HandshakeError::OwnId(_))), "{accepted:?}");
}

/// What a node of the cluster answers to these bytes.
async fn answer_to(bytes: &[u8]) -> Vec<u8> {
    let (mut stranger, mut node) = duplex(4_096);
    stranger.write_all(bytes).await.unwrap();
    stranger.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let responding = async move { drop(respond(&mut node, &identity("a")).await) };
    futures_util::future::join(responding, async { stranger.read_to_end(&mut answer).await.unwrap() }).await;
    answer
}

#[actix_rt::test]
async fn who_has_no_key_is_told_nothing() {
    let id = ClusterKey::of([7; 32]).id().0;
    let named = [&MAGIC[..], &[FORM], &id, &[9; MESSAGE]].concat();
    let cases = [vec![], b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 200], named.clone(), named[..20].to_vec()];
    for bytes in cases {
        assert_eq!(answer_to(&bytes).await, [0_u8; 0], "{} bytes", bytes.len());
    }
}

#[actix_rt::test]
async fn a_repeated_first_message_opens_nothing() {
    let (mut dialer, mut wire) = duplex(4_096);
    let mut first = [0; PREAMBLE + MESSAGE];
    let identity_a = identity("b");
    let recording = async {
        wire.read_exact(&mut first).await.unwrap();
        drop(wire);
    };
    futures_util::future::join(async { drop(initiate(&mut dialer, &identity_a).await) }, recording).await;
    // It is answered by the second message, which says nothing; nothing that can be said next is understood.
    let (mut stranger, mut node) = duplex(4_096);
    let responding = async move { respond(&mut node, &identity("a")).await.err() };
    let repeating = async {
        stranger.write_all(&first).await.unwrap();
        let mut second = [0; MESSAGE];
        stranger.read_exact(&mut second).await.unwrap();
        stranger.write_all(&[&[0, 40][..], &[1; 40]].concat()).await.unwrap();
        stranger.read_to_end(&mut Vec::new()).await.unwrap()
    };
    let (refused, told) = futures_util::future::join(responding, repeating).await;
    assert!(matches!(refused, Some(HandshakeError::NotAuthentic)), "{refused:?}");
    assert_eq!(told, 0);
}

proptest! {
    #[test]
    fn any_preamble_names_a_key_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
        let is_ours = bytes.len() == PREAMBLE && bytes.starts_with(&[&MAGIC[..], &[FORM]].concat());
        assert_eq!(key_of(&bytes).is_some(), is_ours);
    }
}
