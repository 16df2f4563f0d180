//! Queries between nodes: asked, answered, out of time, not understood.

use std::time::Duration;

use callboard_protocol::clients::{ClientFilter, ClientQuery};
use callboard_protocol::config::Version;
use tokio::time::Instant;

use super::super::wire::Frame;
use super::super::{PeerAsked, PeerQuery, PeerReply, PeerStatus, Query, QueryError, SubscribeQueries};
use super::testbed::{Testbed, inbox, node};

fn status(revision: u64) -> PeerReply {
    PeerReply::Status(PeerStatus {
        revision: Version(revision),
        incarnation: None,
        version: "0.1.0".to_owned(),
        state: "member".to_owned(),
    })
}

fn query(deadline: Duration) -> Query {
    Query { node: node("a"), query: PeerQuery::Status, deadline }
}

const LONG: Duration = Duration::from_secs(20);

#[actix_rt::test]
async fn a_query_is_answered_by_the_peer() {
    let mut testbed = Testbed::start();
    let mut wire = testbed.linked("a", 2).await;
    let asking = tokio::task::spawn_local(testbed.links.send(query(LONG)));
    let Frame::Request { id, query: PeerQuery::Status } = wire.next_word().await else { panic!("no query") };
    // An answer to another query is none to this one.
    wire.send(&Frame::Reply { id: id + 1, reply: Some(status(1)) }).await;
    wire.send(&Frame::Reply { id, reply: Some(status(2)) }).await;
    assert_eq!(asking.await.unwrap().unwrap(), Ok(status(2)));
}

#[actix_rt::test]
async fn a_query_without_an_answer_ends_with_its_reason() {
    let mut testbed = Testbed::start();
    assert_eq!(testbed.links.send(query(LONG)).await.unwrap(), Err(QueryError::NotLinked));
    let mut wire = testbed.linked("a", 2).await;
    let began = Instant::now();
    let deadline = Duration::from_millis(700);
    assert_eq!(testbed.links.send(query(deadline)).await.unwrap(), Err(QueryError::TimedOut));
    assert!(began.elapsed() >= deadline && began.elapsed() < deadline * 2);
    let late = wire.next_word().await;
    let asking = tokio::task::spawn_local(testbed.links.send(query(LONG)));
    let Frame::Request { id, .. } = wire.next_word().await else { panic!("no query") };
    let Frame::Request { id: late, .. } = late else { panic!("no query") };
    wire.send(&Frame::Reply { id: late, reply: Some(status(1)) }).await;
    wire.send(&Frame::Reply { id, reply: None }).await;
    assert_eq!(asking.await.unwrap().unwrap(), Err(QueryError::Unsupported));
    let asking = tokio::task::spawn_local(testbed.links.send(query(LONG)));
    wire.next_word().await;
    wire.close();
    assert_eq!(asking.await.unwrap().unwrap(), Err(QueryError::NotLinked));
}

#[actix_rt::test]
async fn a_peer_of_version_1_is_not_asked() {
    let mut testbed = Testbed::start();
    let _wire = testbed.linked("a", 1).await;
    assert_eq!(testbed.links.send(query(LONG)).await.unwrap(), Err(QueryError::Unsupported));
}

#[actix_rt::test]
async fn a_peer_of_version_2_is_not_asked_about_its_clients() {
    let mut testbed = Testbed::start();
    let _wire = testbed.linked("a", 2).await;
    let about = ClientQuery { filter: ClientFilter::default(), after: None, limit: 1, keys: 1 };
    let asked = Query { query: PeerQuery::Clients(Box::new(about)), ..query(LONG) };
    assert_eq!(testbed.links.send(asked).await.unwrap(), Err(QueryError::Unsupported));
}

#[actix_rt::test]
async fn only_so_many_queries_wait_for_one_peer() {
    let mut testbed = Testbed::start();
    let _wire = testbed.linked("a", 2).await;
    let asking: Vec<_> =
        (0..300).map(|_| tokio::task::spawn_local(testbed.links.send(query(Duration::from_secs(1))))).collect();
    let mut busy = 0;
    for asked in asking {
        busy += usize::from(asked.await.unwrap().unwrap() == Err(QueryError::Busy));
    }
    assert_eq!(busy, 300 - 256);
}

#[actix_rt::test]
async fn what_a_peer_asks_is_answered_by_the_subscriber_or_not_at_all() {
    let testbed = Testbed::start();
    let mut wire = testbed.accept("a");
    wire.send(&Frame::Request { id: 1, query: PeerQuery::Status }).await;
    assert!(matches!(wire.next().await, Frame::Reply { id: 1, reply: None }));
    let (recipient, mut asked) = inbox::<PeerAsked>();
    let _held = testbed.links.send(SubscribeQueries(recipient)).await.unwrap();
    wire.send(&Frame::Request { id: 2, query: PeerQuery::Status }).await;
    let PeerAsked { from, query, reply } = asked.recv().await.unwrap();
    assert_eq!(query, PeerQuery::Status);
    assert_eq!(from, node("a"));
    reply.send(status(5)).unwrap();
    let Frame::Reply { id: 2, reply: Some(answer) } = wire.next().await else { panic!("no answer") };
    assert_eq!(answer, status(5));
    // A question that is dropped has no answer.
    wire.send(&Frame::Request { id: 3, query: PeerQuery::Status }).await;
    drop(asked.recv().await.unwrap());
    assert!(matches!(wire.next().await, Frame::Reply { id: 3, reply: None }));
}
