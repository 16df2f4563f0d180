//! Tests of the links without sockets: the test is the one who dials.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod queries;
mod testbed;

use std::collections::BTreeSet;
use std::time::Duration;

use callboard_protocol::member::NodeId;
use tokio::time::Instant;

use self::testbed::{SOON, Testbed, abort, address, inbox, node, number};
use super::link_queue::MAX_FRAMES;
use super::wire::Frame;
use super::{ReachChanged, SubscribeMessages, SubscribeReach};
use crate::runtime::{Observe, Panic};
use crate::transport::{FromPeer, PeerMessage, Transport as _};

fn nodes(ids: &[&str]) -> ReachChanged {
    ReachChanged { nodes: ids.iter().map(|id| node(id)).collect::<BTreeSet<NodeId>>() }
}

#[actix_rt::test]
async fn every_peer_is_dialed_but_not_the_node_itself() {
    let mut testbed = Testbed::start();
    testbed.set_peers(&[("a", 1), ("b", 2), ("me", 3)]);
    let (one, two) = (testbed.next_call().await, testbed.next_call().await);
    assert_eq!((&one.link.peer, one.address), (&node("a"), address(1)));
    assert_eq!((&two.link.peer, two.address), (&node("b"), address(2)));
    testbed.open(one.link, 2);
    testbed.open(two.link, 2);
    // Known already, at the same address.
    testbed.set_peers(&[("a", 1), ("b", 2)]);
    assert!(testbed.is_quiet(Duration::from_secs(2)).await);
}

#[actix_rt::test]
async fn a_failed_dial_is_repeated_after_pauses_of_at_most_two_seconds() {
    let mut testbed = Testbed::start();
    testbed.set_peers(&[("a", 1)]);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let call = testbed.next_call().await;
        let failed = Instant::now();
        testbed.fail(&call);
        // Telling it twice changes nothing.
        testbed.fail(&call);
        let again = testbed.next_call().await;
        pauses.push(failed.elapsed());
        testbed.fail(&again);
    }
    assert!(pauses[0] <= Duration::from_millis(60), "{pauses:?}");
    assert!(pauses[8] >= Duration::from_secs(1) && pauses[8] <= Duration::from_millis(2_010), "{pauses:?}");
}

#[actix_rt::test]
async fn a_dial_that_tells_nothing_is_repeated() {
    let mut testbed = Testbed::start();
    testbed.set_peers(&[("a", 1)]);
    let lost = testbed.next_call().await;
    let call = testbed.next_call().await;
    assert_ne!(lost.link, call.link);
    // The link that came too late is not taken.
    testbed.open(lost.link, 2).ended().await;
}

#[actix_rt::test]
async fn a_new_address_is_dialed_at_once_and_the_old_link_ends() {
    let mut testbed = Testbed::start();
    let old = testbed.linked("a", 2).await;
    let before = Instant::now();
    testbed.set_peers(&[("a", 9)]);
    assert_eq!(testbed.next_call().await.address, address(9));
    assert!(before.elapsed() < Duration::from_millis(1));
    old.ended().await;
    assert_eq!(testbed.metrics.linked.get(), 0);
}

#[actix_rt::test]
async fn a_peer_that_is_left_out_is_not_linked_any_more() {
    let mut testbed = Testbed::start();
    let wire = testbed.linked("a", 2).await;
    testbed.set_peers(&[]);
    wire.ended().await;
    testbed.transport.send(&node("a"), abort(1));
    testbed.links.send(Observe).await.unwrap();
    assert_eq!((testbed.metrics.linked.get(), testbed.metrics.dropped.get()), (0, 1));
    assert!(testbed.is_quiet(Duration::from_secs(5)).await);
}

#[actix_rt::test]
async fn a_broadcast_is_encoded_once_for_all_peers_of_a_version() {
    let mut testbed = Testbed::start();
    testbed.set_peers(&[("a", 1), ("b", 2)]);
    let (one, two) = (testbed.next_call().await, testbed.next_call().await);
    let (mut one, mut two) = (testbed.open(one.link, 2), testbed.open(two.link, 2));
    assert!(matches!(one.next().await, Frame::Ping(0)));
    assert!(matches!(two.next().await, Frame::Ping(0)));
    testbed.transport.broadcast(abort(1));
    testbed.transport.send_each(&[node("a"), node("b")], abort(2));
    testbed.transport.send(&node("b"), abort(3));
    for expected in [1, 2] {
        let (here, there) = (one.next_bytes().await, two.next_bytes().await);
        assert_eq!(here.as_ptr(), there.as_ptr());
        assert_eq!(number(&Frame::decode(&here, 2).unwrap()), Some(expected));
    }
    assert_eq!(number(&two.next().await), Some(3));
}

#[actix_rt::test]
async fn a_peer_without_a_link_gets_the_newest_when_there_is_one() {
    let mut testbed = Testbed::start();
    testbed.set_peers(&[("a", 1)]);
    let call = testbed.next_call().await;
    (0..100).for_each(|number| testbed.transport.broadcast(abort(number)));
    testbed.links.send(Observe).await.unwrap();
    assert_eq!(testbed.metrics.dropped.get(), 100 - 64);
    let mut wire = testbed.open(call.link, 2);
    for expected in 36..100 {
        assert_eq!(number(&wire.next_word().await), Some(expected));
    }
    // After a few seconds, what waits is not worth sending.
    wire.close();
    let call = testbed.next_call().await;
    testbed.transport.broadcast(abort(200));
    testbed.links.send(Observe).await.unwrap();
    tokio::time::advance(Duration::from_millis(2_500)).await;
    testbed.transport.broadcast(abort(201));
    testbed.links.send(Observe).await.unwrap();
    let mut wire = testbed.open(call.link, 2);
    assert_eq!(number(&wire.next_word().await), Some(201));
    assert_eq!(testbed.metrics.reconnects.get(), 1);
}

#[actix_rt::test]
async fn a_peer_that_does_not_read_holds_no_more_than_the_bound() {
    let mut testbed = Testbed::start();
    let wire = testbed.linked("a", 2).await;
    for number in 0..2_000 {
        testbed.transport.broadcast(abort(number));
    }
    testbed.links.send(Observe).await.unwrap();
    assert_eq!(wire.end.frames.len(), MAX_FRAMES);
    // One frame is the first ping.
    assert_eq!(testbed.metrics.dropped.get(), 2_000 + 1 - MAX_FRAMES as u64);
}

#[test]
fn a_queue_is_bounded_in_bytes_until_they_are_written() {
    let (pipe, mut end) = super::pipe();
    let large = bytes::Bytes::from(vec![0; super::link_queue::MAX_BYTES / 2]);
    assert!(pipe.push(large.clone()) && pipe.push(large.clone()));
    assert!(!pipe.push(bytes::Bytes::from_static(b"x")));
    let taken = end.frames.try_recv().unwrap();
    assert!(!pipe.push(large.clone()));
    drop(taken);
    assert!(pipe.push(large));
}

#[actix_rt::test]
async fn a_link_is_pinged_every_second_and_dropped_without_an_answer() {
    let mut testbed = Testbed::start();
    let mut wire = testbed.linked("a", 2).await;
    for expected in 0..5 {
        assert!(matches!(wire.next().await, Frame::Ping(number) if number == expected));
        wire.send(&Frame::Pong(expected)).await;
    }
    assert!(matches!(wire.next().await, Frame::Ping(5)));
    let asked = Instant::now();
    wire.ended().await;
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(2_900) && took <= Duration::from_millis(3_500), "{took:?}");
    testbed.next_call().await;
}

#[actix_rt::test]
async fn a_peer_that_dials_is_dialed_at_once() {
    let mut testbed = Testbed::start();
    testbed.set_peers(&[("a", 1)]);
    for _ in 0..8 {
        let call = testbed.next_call().await;
        testbed.fail(&call);
    }
    testbed.links.send(Observe).await.unwrap();
    let before = Instant::now();
    let _wire = testbed.accept("a");
    testbed.next_call().await;
    assert!(before.elapsed() < Duration::from_millis(1));
}

#[actix_rt::test]
async fn a_peer_can_be_reached_when_it_is_linked_both_ways() {
    let mut testbed = Testbed::start();
    let mut reach = testbed.reach().await;
    assert_eq!(reach.recv().await.unwrap(), nodes(&[]));
    let mut dialed = testbed.linked("a", 2).await;
    let accepted = testbed.accept("a");
    accepted.send(&Frame::Ping(0)).await;
    assert_eq!(reach.recv().await.unwrap(), nodes(&["a"]));
    // Whoever subscribes later is told at once.
    assert_eq!(testbed.reach().await.recv().await.unwrap(), nodes(&["a"]));
    // Its own link lives on, but it is not heard any more.
    let answering = async {
        loop {
            if let Frame::Ping(number) = dialed.next().await {
                dialed.send(&Frame::Pong(number)).await;
            }
        }
    };
    let silent = Instant::now();
    tokio::select! {
        told = reach.recv() => assert_eq!(told.unwrap(), nodes(&[])),
        () = answering => {}
    }
    let took = silent.elapsed();
    assert!(took >= Duration::from_secs(3) && took <= Duration::from_millis(3_500), "{took:?}");
    accepted.send(&Frame::Ping(1)).await;
    assert_eq!(reach.recv().await.unwrap(), nodes(&["a"]));
    dialed.close();
    assert_eq!(reach.recv().await.unwrap(), nodes(&[]));
}

#[actix_rt::test]
async fn what_peers_say_is_passed_on_and_pings_are_answered() {
    let testbed = Testbed::start();
    let (recipient, mut heard) = inbox::<FromPeer>();
    let _held = testbed.links.send(SubscribeMessages(recipient)).await.unwrap();
    let mut wire = testbed.accept("a");
    wire.send(&Frame::Message(abort(7))).await;
    wire.send(&Frame::Ping(3)).await;
    assert!(matches!(wire.next().await, Frame::Pong(3)));
    let FromPeer(message) = heard.recv().await.unwrap();
    assert!(matches!(message, PeerMessage::Abort(batch) if batch.0.as_u128() == 7));
}

#[actix_rt::test]
async fn what_can_not_be_understood_ends_no_link() {
    let testbed = Testbed::start();
    let mut wire = testbed.accept("a");
    for garbage in [&b""[..], b"\x09", b"\x01\xff\xff", b"\x01\x00\x01\x02"] {
        wire.say_bytes(bytes::Bytes::copy_from_slice(garbage)).await;
    }
    assert_eq!(testbed.metrics.garbled.get(), 4);
    wire.send(&Frame::Ping(1)).await;
    assert!(matches!(wire.next().await, Frame::Pong(1)));
}

#[actix_rt::test]
async fn an_accepted_link_ends_in_silence_or_by_a_newer_one() {
    let testbed = Testbed::start();
    let mut older = testbed.accept("a");
    older.send(&Frame::Ping(0)).await;
    older.next().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    let newer = testbed.accept("a");
    older.ended().await;
    newer.send(&Frame::Ping(1)).await;
    let heard = Instant::now();
    newer.ended().await;
    assert!(heard.elapsed() >= Duration::from_secs(4) && heard.elapsed() <= Duration::from_millis(4_500));
}

#[actix_rt::test]
async fn a_link_that_lives_is_not_displaced_by_one_that_claims_to_be_the_same_peer() {
    let testbed = Testbed::start();
    let mut first = testbed.accept("a");
    for number in 0..5 {
        testbed.accept("a").ended().await;
        first.send(&Frame::Ping(number)).await;
        assert!(matches!(first.next().await, Frame::Pong(answered) if answered == number));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    first.close();
    let mut second = testbed.accept("a");
    second.send(&Frame::Ping(9)).await;
    assert!(matches!(second.next().await, Frame::Pong(9)));
}

#[actix_rt::test]
async fn a_rebuilt_actor_has_ended_its_links_and_its_subscribers_know() {
    let mut testbed = Testbed::start();
    let wire = testbed.linked("a", 2).await;
    let (recipient, _heard) = inbox();
    let held = testbed.links.send(SubscribeReach(recipient)).await.unwrap();
    let (recipient, mut heard) = inbox::<FromPeer>();
    let listening = testbed.transport.listen(recipient.clone()).await.unwrap();
    let peer = testbed.accept("b");
    while heard.try_recv().is_err() {
        peer.send(&Frame::Message(abort(1))).await;
        tokio::task::yield_now().await;
    }
    testbed.links.do_send(Panic);
    wire.ended().await;
    tokio::time::timeout(SOON, held.lost()).await.unwrap();
    tokio::time::timeout(SOON, listening.lost()).await.unwrap();
    // A link from before says nothing to the new life.
    while heard.try_recv().is_ok() {}
    peer.send(&Frame::Message(abort(2))).await;
    assert!(heard.try_recv().is_err());
    testbed.linked("a", 2).await;
}
