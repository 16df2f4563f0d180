//! Cuts, black holes, broken and impossible frames.

use std::net::SocketAddr;
use std::time::Duration;

use callboard_actors::transport::Transport as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::peer::frame::Sealer;
use crate::peer::handshake;
use crate::peer::links::tests::testbed::{
    DEADLINE, Plan, TestNode, abort, link, listener, node, number, send_until_received,
};

#[actix_rt::test]
async fn a_node_that_was_killed_is_linked_again_when_it_is_back() {
    let mut nodes = [Plan::of("a").start().await, Plan::of("b").start().await];
    link(&mut nodes).await;
    let [mut a, b] = nodes;
    let address = b.address;
    b.kill();
    a.reaches(&[]).await;
    let mut b = Plan::of("b").start_at(std::net::TcpListener::bind(address).unwrap()).await;
    b.set_peers(&[("a", a.address)]);
    a.reaches(&["b"]).await;
    send_until_received(&a, &mut b, 2).await;
    assert_eq!(a.metrics.reconnects.get(), 1);
}

/// Carries bytes to `to` while `open` says so; then holds them back.
async fn proxy(listener: TcpListener, to: SocketAddr, open: watch::Receiver<bool>) {
    while let Ok((from, _)) = listener.accept().await {
        let mut open = open.clone();
        actix_rt::spawn(async move {
            let Ok(mut to) = TcpStream::connect(to).await else { return };
            let mut from = from;
            let mut closed = open.clone();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                _ = closed.wait_for(|open| !open) => {}
            }
            // Both ends stay connected, and nothing passes.
            drop(open.wait_for(|open| *open).await);
        });
    }
}

#[actix_rt::test]
async fn a_black_hole_is_noticed_within_seconds() {
    let (mut a, mut b) = (Plan::of("a").start().await, Plan::of("b").start().await);
    let hole = listener("127.0.0.1");
    hole.set_nonblocking(true).unwrap();
    let way = hole.local_addr().unwrap();
    let (switch, open) = watch::channel(true);
    actix_rt::spawn(proxy(TcpListener::from_std(hole).unwrap(), b.address, open));
    a.set_peers(&[("b", way)]);
    b.set_peers(&[("a", a.address)]);
    a.reaches(&["b"]).await;
    b.reaches(&["a"]).await;
    switch.send(false).unwrap();
    let cut = Instant::now();
    a.reaches(&[]).await;
    // The other way is open: b hears nothing, but a still hears b.
    b.reaches(&[]).await;
    assert!(cut.elapsed() < Duration::from_secs(6), "{:?}", cut.elapsed());
    switch.send(true).unwrap();
    a.reaches(&["b"]).await;
    b.reaches(&["a"]).await;
    send_until_received(&a, &mut b, 1).await;
}

/// A peer that holds the key and does what it likes.
async fn rogue(to: &TestNode) -> (TcpStream, Sealer) {
    let plan = Plan::of("rogue");
    let mut stream = TcpStream::connect(to.address).await.unwrap();
    let config = plan.config(to.address);
    let peer = handshake::initiate(&mut stream, &config.identity).await.unwrap();
    assert_eq!(peer.hello.node, node(to.id));
    (stream, peer.sealer)
}

/// A frame as the first version writes it.
fn word(number: u8) -> Vec<u8> {
    [&[1, 2, 4, 16][..], &[0; 15], &[number]].concat()
}

#[actix_rt::test]
async fn half_a_frame_is_not_heard() {
    let mut a = Plan::of("a").start().await;
    let (mut stream, mut sealer) = rogue(&a).await;
    sealer.add(&word(1)).unwrap();
    sealer.finish().unwrap();
    let first = sealer.sealed().len();
    sealer.add(&word(2)).unwrap();
    sealer.finish().unwrap();
    stream.write_all(&sealer.sealed()[..first + 20]).await.unwrap();
    drop(stream);
    assert_eq!(number(&a.next().await), Some(1));
    let (mut stream, mut sealer) = rogue(&a).await;
    sealer.add(&word(3)).unwrap();
    sealer.finish().unwrap();
    for byte in sealer.sealed() {
        stream.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(number(&a.next().await), Some(3));
}

/// Reads until the node ends the connection.
async fn ended(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let reading = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    // A reset is an end as well.
    drop(reading.expect("the connection stays open"));
}

#[actix_rt::test]
async fn a_frame_that_is_too_long_ends_the_link() {
    let mut a = Plan::of("a").start().await;
    let (mut stream, mut sealer) = rogue(&a).await;
    sealer.claim(u32::MAX);
    sealer.finish().unwrap();
    stream.write_all(sealer.sealed()).await.unwrap();
    ended(stream).await;
    // The node is none the worse for it.
    let (mut stream, mut sealer) = rogue(&a).await;
    sealer.add(&word(3)).unwrap();
    sealer.finish().unwrap();
    stream.write_all(sealer.sealed()).await.unwrap();
    assert_eq!(number(&a.next().await), Some(3));
}

#[actix_rt::test]
async fn bytes_that_were_changed_on_the_way_end_the_link() {
    let mut a = Plan::of("a").start().await;
    let (mut stream, mut sealer) = rogue(&a).await;
    sealer.add(&word(1)).unwrap();
    sealer.finish().unwrap();
    let mut changed = sealer.sealed().to_vec();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    stream.write_all(&changed).await.unwrap();
    ended(stream).await;
    assert!(a.heard.try_recv().is_err());
}

#[actix_rt::test]
async fn a_peer_that_reads_nothing_costs_no_more_than_the_bound() {
    let peer = listener("127.0.0.1");
    peer.set_nonblocking(true).unwrap();
    let address = peer.local_addr().unwrap();
    let peer = TcpListener::from_std(peer).unwrap();
    let a = Plan::of("a").start().await;
    a.set_peers(&[("b", address)]);
    let (mut stream, _) = tokio::time::timeout(DEADLINE, peer.accept()).await.unwrap().unwrap();
    let config = Plan::of("b").config(address);
    let _met = handshake::respond(&mut stream, &config.identity).await.unwrap();
    let large = super::commit(&[60_000; 60]);
    let flooding = async {
        while a.metrics.dropped.get() == 0 {
            a.transport.broadcast(callboard_actors::transport::PeerMessage::Commit(large.clone()));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, flooding).await.expect("the queue has no bound");
    // It does not answer pings either: the link is given up, and with it what waited.
    let (_again, _) = tokio::time::timeout(DEADLINE, peer.accept()).await.unwrap().unwrap();
    a.transport.broadcast(abort(1));
}
