//! Tests of links over real sockets.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod faults;
mod strangers;
mod testbed;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use callboard_actors::peer_links::{PeerAsked, PeerQuery, PeerReply, PeerStatus, Query, QueryError};
use callboard_actors::transport::{PeerMessage, Transport as _};
use callboard_protocol::commit::{BatchId, Operation};
use callboard_protocol::config::{ConfigState, Version};
use callboard_protocol::content::Content;
use callboard_protocol::extent::{Extent, Fingerprint};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::link::Versions;
use callboard_protocol::member::{Ack, AckNo, Incarnation, Timeline};
use callboard_protocol::receiver::{CommittedChange, NotifyCommitEvent, NotifyEvent};
use callboard_protocol::write_request::RequestId;
use uuid::Uuid;

use crate::peer::key::{ClusterKey, ClusterKeys};
use crate::peer::links::tests::testbed::{DEADLINE, Plan, TestNode, abort, link, listener, node, number};

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

fn batch() -> BatchId {
    BatchId(Uuid::from_u128(1))
}

fn notify() -> NotifyEvent {
    NotifyEvent {
        timeline: Timeline(1),
        batch: batch(),
        publisher: node("a"),
        publisher_incarnation: Incarnation(Uuid::from_u128(2)),
        items: vec![(key("d"), RequestId::new("r").unwrap())],
        database: Fingerprint(7),
    }
}

fn commit(contents: &[usize]) -> NotifyCommitEvent {
    let change = |(at, bytes): (usize, &usize)| {
        let content = Content::new("x".repeat(*bytes).into()).unwrap();
        let absent = ConfigState::absent(key(&format!("d{at}")), Version(at as u64 + 1));
        CommittedChange {
            operation: Operation::Create,
            ..CommittedChange::found(Arc::new(ConfigState { formal: Some(content), ..absent }))
        }
    };
    NotifyCommitEvent {
        timeline: Timeline(1),
        batch: batch(),
        revision: Version(contents.len() as u64),
        changes: contents.iter().enumerate().map(change).collect(),
        database: Fingerprint(7),
    }
}

/// Notify, ack and commit between a publisher and a member.
async fn publish(publisher: &mut TestNode, member: &mut TestNode) {
    publish_in((Fingerprint(7), Extent::new(Timeline(1), Version(5))), publisher, member).await;
}

/// The same, where no more than this is told of the database.
async fn publish_in((database, known): (Fingerprint, Extent), publisher: &mut TestNode, member: &mut TestNode) {
    publisher.transport.send(&node(member.id), PeerMessage::Notify(notify()));
    let PeerMessage::Notify(heard) = member.next().await else { panic!("no notification") };
    assert_eq!(heard, NotifyEvent { database, ..notify() });
    let said = Extent::new(Timeline(1), Version(5));
    let ack =
        Ack { node: node(member.id), incarnation: Incarnation(Uuid::from_u128(3)), number: AckNo(4), known: said };
    member.transport.send(&node(publisher.id), PeerMessage::Ack { batch: batch(), ack: ack.clone() });
    let PeerMessage::Ack { ack: heard, .. } = publisher.next().await else { panic!("no ack") };
    assert_eq!(heard, Ack { known, ..ack });
    // Larger than a packet, and with one content that is too large to come along.
    let sent = commit(&[60_000, 40_000, 1, 65_537]);
    publisher.transport.broadcast(PeerMessage::Commit(sent.clone()));
    let PeerMessage::Commit(heard) = member.next().await else { panic!("no commit") };
    let mut expected = NotifyCommitEvent { database, ..sent };
    expected.changes[3].state = None;
    assert_eq!(heard, expected);
}

#[actix_rt::test]
async fn two_nodes_publish_and_ask_each_other() {
    let mut nodes = [Plan::of("a").start().await, Plan::of("b").start().await];
    link(&mut nodes).await;
    let [mut a, mut b] = nodes;
    publish(&mut a, &mut b).await;
    publish(&mut b, &mut a).await;
    let query = Query { node: node("b"), query: PeerQuery::Status, deadline: DEADLINE };
    let asking = a.links.send(query);
    let status = PeerReply::Status(PeerStatus {
        revision: Version(9),
        incarnation: Some(Incarnation(Uuid::from_u128(5))),
        version: "0.1.0".to_owned(),
        state: "member".to_owned(),
    });
    let answering = async {
        let PeerAsked { from, query, reply } = b.asked.recv().await.unwrap();
        assert_eq!(query, PeerQuery::Status);
        assert_eq!(from, node("a"));
        reply.send(status.clone()).unwrap();
    };
    let (answer, ()) = futures_util::future::join(asking, answering).await;
    assert_eq!(answer.unwrap(), Ok(status));
}

#[actix_rt::test]
async fn three_nodes_hear_what_is_said_to_all() {
    let mut nodes = [Plan::of("a").start().await, Plan::of("b").start().await, Plan::of("c").start().await];
    link(&mut nodes).await;
    for (at, node) in nodes.iter().enumerate() {
        (0..50).for_each(|word| node.transport.broadcast(abort((at * 100 + word) as u128)));
    }
    for (at, node) in nodes.iter_mut().enumerate() {
        let mut heard = Vec::new();
        for _ in 0..100 {
            heard.push(number(&node.next().await).unwrap());
        }
        // What one node says arrives in its order.
        for from in (0..3).filter(|from| *from != at) {
            let said: Vec<u128> = heard.iter().copied().filter(|word| word / 100 == from as u128).collect();
            assert_eq!(said, (0..50).map(|word| (from * 100 + word) as u128).collect::<Vec<_>>());
        }
        assert_eq!(node.metrics.dropped.get(), 0);
    }
}

#[actix_rt::test]
async fn a_commit_of_megabytes_arrives_whole() {
    let mut nodes = [Plan::of("a").start().await, Plan::of("b").start().await];
    link(&mut nodes).await;
    let [a, mut b] = nodes;
    let sent = commit(&[64 * 1024; 60]);
    a.transport.broadcast(PeerMessage::Commit(sent.clone()));
    let PeerMessage::Commit(heard) = b.next().await else { panic!("no commit") };
    assert_eq!(heard, sent);
}

#[actix_rt::test]
async fn a_node_of_one_version_less_publishes_and_is_not_asked() {
    let older = Plan { versions: Versions { min: 1, max: 1 }, ..Plan::of("b") };
    let mut nodes = [Plan::of("a").start().await, older.start().await];
    link(&mut nodes).await;
    let [mut a, mut b] = nodes;
    let nothing = (Fingerprint::UNKNOWN, Extent::default());
    publish_in(nothing, &mut a, &mut b).await;
    publish_in(nothing, &mut b, &mut a).await;
    for (asker, asked) in [(&a, "b"), (&b, "a")] {
        let query = Query { node: node(asked), query: PeerQuery::Status, deadline: DEADLINE };
        assert_eq!(asker.links.send(query).await.unwrap(), Err(QueryError::Unsupported));
    }
    // It was not even asked, and nothing was said that it does not understand.
    assert!(a.asked.try_recv().is_err() && b.asked.try_recv().is_err());
    assert_eq!((a.metrics.garbled.get(), b.metrics.garbled.get()), (0, 0));
}

#[actix_rt::test]
async fn nodes_without_a_common_version_do_not_link_and_say_why() {
    let newer = Plan { versions: Versions { min: 6, max: 7 }, ..Plan::of("b") };
    let (a, b) = (Plan::of("a").start().await, newer.start().await);
    a.set_peers(&[("b", b.address)]);
    b.set_peers(&[("a", a.address)]);
    a.fails_to_link("b", "node b (0.1.0) speaks versions 6 to 7, this one speaks 1 to 5").await;
    b.fails_to_link("a", "node a (0.1.0) speaks versions 1 to 5, this one speaks 6 to 7").await;
    assert_eq!((a.metrics.linked.get(), b.metrics.linked.get()), (0, 0));
}

#[actix_rt::test]
async fn keys_are_exchanged_without_a_cut() {
    let (old, new) = (ClusterKey::of([7; 32]), ClusterKey::of([8; 32]));
    let keys = |first: &ClusterKey, second: &ClusterKey| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}\n{}", first.to_line(), second.to_line()).unwrap();
        ClusterKeys::load(file.path()).unwrap()
    };
    let ahead = Plan { keys: keys(&new, &old), ..Plan::of("a") };
    let behind = Plan { keys: keys(&old, &new), ..Plan::of("b") };
    let mut nodes = [ahead.start().await, behind.start().await];
    link(&mut nodes).await;
    let [mut a, mut b] = nodes;
    publish(&mut a, &mut b).await;
    publish(&mut b, &mut a).await;
}

#[actix_rt::test]
async fn a_link_comes_from_the_address_that_the_node_listens_on() {
    let peer = listener("127.0.0.1");
    peer.set_nonblocking(true).unwrap();
    let peer_address = peer.local_addr().unwrap();
    let peer = tokio::net::TcpListener::from_std(peer).unwrap();
    let a = Plan::of("a").start_at(listener("127.0.0.2")).await;
    a.set_peers(&[("b", peer_address)]);
    let (_stream, from) = tokio::time::timeout(DEADLINE, peer.accept()).await.unwrap().unwrap();
    assert_eq!(from.ip(), a.address.ip());
}

#[actix_rt::test]
async fn another_node_at_the_address_of_a_peer_is_not_taken_for_it() {
    let (a, c) = (Plan::of("a").start().await, Plan::of("c").start().await);
    a.set_peers(&[("b", c.address)]);
    a.fails_to_link("b", "node c answers at its address").await;
    assert_eq!(a.metrics.linked.get(), 0);
}

#[actix_rt::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up() {
    let silent = listener("127.0.0.1");
    let a = Plan::of("a").start().await;
    a.set_peers(&[("b", silent.local_addr().unwrap())]);
    let began = tokio::time::Instant::now();
    a.fails_to_link("b", "it did not prove itself in time").await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
