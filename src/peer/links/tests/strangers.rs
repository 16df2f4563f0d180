//! Whoever does not hold the key learns nothing and holds nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::peer::key::{ClusterKey, ClusterKeys};
use crate::peer::links::pending_handshakes::{PendingHandshakes, SLOTS};
use crate::peer::links::tests::testbed::{DEADLINE, Plan, TestNode, link, send_until_received};

/// What a stranger reads until the connection ends.
async fn told(stream: &mut TcpStream) -> usize {
    let mut answer = Vec::new();
    match tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the connection stays open") {
        Ok(_) => answer.len(),
        // What was sent and not read makes the system reset the connection.
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            answer.len()
        }
    }
}

async fn stranger(address: SocketAddr, says: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(says).await.unwrap();
    stream
}

#[actix_rt::test]
async fn garbage_is_told_nothing() {
    let node = Plan::of("a").start().await;
    for garbage in [vec![0; 57], vec![0xff; 100_000], [&b"CBPL\x01abcd"[..], &[7; 48]].concat()] {
        assert_eq!(told(&mut stranger(node.address, &garbage).await).await, 0);
    }
    let mut half = stranger(node.address, b"GET / HTTP/1.1\r\n").await;
    half.shutdown().await.unwrap();
    assert_eq!(told(&mut half).await, 0);
    assert_eq!(node.metrics.frames_in.get(), 0);
}

#[actix_rt::test]
async fn silence_and_half_a_handshake_are_told_nothing_and_end() {
    let node = Plan::of("a").start().await;
    let (mut silent, mut half) = (stranger(node.address, b"").await, stranger(node.address, b"CBPL\x01abcd").await);
    let began = Instant::now();
    assert_eq!(told(&mut silent).await, 0);
    assert_eq!(told(&mut half).await, 0);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2_500) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(node.metrics.refused.get(), 2);
}

/// Two nodes that try to link, in vain.
async fn do_not_link(a: &TestNode, b: &TestNode) {
    a.set_peers(&[(b.id, b.address)]);
    b.set_peers(&[(a.id, a.address)]);
    a.fails_to_link(b.id, "another key or cluster name").await;
    b.fails_to_link(a.id, "another key or cluster name").await;
    for node in [a, b] {
        assert!(node.metrics.refused.get() > 0);
        assert_eq!((node.metrics.linked.get(), node.metrics.frames_in.get()), (0, 0));
    }
}

#[actix_rt::test]
async fn a_node_with_another_key_is_turned_away() {
    let other = Plan { keys: ClusterKeys::single(ClusterKey::of([8; 32])), ..Plan::of("b") };
    do_not_link(&Plan::of("a").start().await, &other.start().await).await;
}

#[actix_rt::test]
async fn a_node_of_another_cluster_with_the_same_key_is_turned_away() {
    let other = Plan { cluster: "other", ..Plan::of("b") };
    do_not_link(&Plan::of("a").start().await, &other.start().await).await;
}

#[actix_rt::test]
async fn strangers_in_large_numbers_keep_no_peer_out() {
    let (a, mut b) = (Plan::of("a").start().await, Plan::of("b").start().await);
    let mut crowd = Vec::new();
    for _ in 0..SLOTS + 20 {
        crowd.push(stranger(b.address, b"").await);
    }
    // The first ones had to make room, long before their time was over.
    let began = Instant::now();
    assert_eq!(told(&mut crowd[0]).await, 0);
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    a.set_peers(&[("b", b.address)]);
    send_until_received(&a, &mut b, 1).await;
}

#[actix_rt::test]
async fn the_lobby_has_so_many_seats_and_a_leaver_gives_his_back() {
    let (lobby, mut tasks) = (PendingHandshakes::default(), Vec::new());
    for _ in 0..SLOTS + 10 {
        let (ended, end) = tokio::sync::oneshot::channel::<()>();
        lobby.admit(|slot| async move {
            // Ends when the test lets go of the other half.
            drop(end.await);
            drop(slot);
        });
        tasks.push(ended);
    }
    assert_eq!(lobby.waiting(), SLOTS);
    // The ten that waited longest had to go.
    for mut ended in tasks.drain(..10) {
        tokio::time::timeout(DEADLINE, ended.closed()).await.unwrap();
    }
    assert!(tasks.iter().all(|ended| !ended.is_closed()));
    tasks.truncate(3);
    let emptied = async {
        while lobby.waiting() > 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, emptied).await.unwrap();
}

#[actix_rt::test]
async fn strangers_do_not_disturb_a_link() {
    let mut nodes = [Plan::of("a").start().await, Plan::of("b").start().await];
    link(&mut nodes).await;
    let [a, mut b] = nodes;
    let _crowd = [stranger(b.address, b"").await, stranger(b.address, &[0; 57]).await];
    send_until_received(&a, &mut b, 1).await;
    assert_eq!(a.metrics.reconnects.get(), 0);
}
