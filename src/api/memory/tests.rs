//! What is taken is given back, who waits gets what others give back, and what is sent to many is counted once.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use callboard_protocol::share::ClientNetwork;

use super::{Memory, MemoryBudget, PATIENCE, UNCOUNTED};
use crate::settings::{ByteSize, MemoryOptions};

fn budget(bytes: u64) -> MemoryBudget {
    let size = ByteSize::from_bytes(bytes);
    Memory::new(&MemoryOptions { requests: size, answers: size }).requests
}

fn network(last: u8) -> ClientNetwork {
    ClientNetwork::of(IpAddr::from([10, 0, 0, last]))
}

#[test]
fn what_is_taken_is_given_back() {
    let budget = budget(1 << 20);
    let (mut one, mut other) = (budget.reserve(network(1)), budget.reserve(network(2)));
    assert!(one.take(500_000).is_ok() && one.take(100_000).is_err());
    assert!(other.take(200_000).is_ok() && other.take(200_000).is_err());
    drop(one);
    assert!(other.take(200_000).is_ok());
    drop(other);
    assert_eq!(budget.taken(), 0);
}

#[test]
fn short_ones_take_nothing() {
    let budget = budget(1 << 20);
    let mut all: Vec<_> = (0..1000).map(|_| budget.reserve(network(1))).collect();
    assert!(all.iter_mut().all(|one| one.take(UNCOUNTED).is_ok()));
    assert_eq!(budget.taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_what_is_given_back_and_is_refused_when_nothing_is() {
    let budget = budget(1 << 20);
    let (mut one, mut other) = (budget.reserve(network(1)), budget.reserve(network(2)));
    assert!(one.take(500_000).is_ok());
    assert!(other.wait_for(400_000, PATIENCE).await.is_err());
    let releasing = async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(one);
    };
    let (waited, ()) = tokio::join!(other.wait_for(400_000, PATIENCE), releasing);
    assert!(waited.is_ok());
    assert_eq!(other.asked(), 400_000);
}

#[tokio::test(start_paused = true)]
async fn a_content_that_many_are_sent_is_counted_once() {
    let (budget, content) = (budget(1 << 20), Bytes::from(vec![0; 400_000]));
    let mut sent = Vec::new();
    for last in 0..100 {
        sent.push(budget.share(network(last), &content).await.unwrap());
    }
    assert_eq!(budget.taken(), content.len());
    assert!(budget.share(network(1), &Bytes::from(vec![0; 400_000])).await.is_err());
    drop(sent);
    assert_eq!(budget.taken(), 0);
}
