//! The long polls of one worker thread.

use std::time::Duration;

use actix::{Actor, Handler, Message};
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::long_poll::Watched;
use serde_json::json;
use tokio::sync::oneshot;

use crate::cache::ReadFailure;
use crate::coordinator::WatchRefused;
use crate::monitored;
use crate::runtime::{Context, Observable};

/// Holds a poll until one of its records differs from what is stored, or its time is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Hold {
    /// What the client watches; at least one record, at most 10,000.
    pub records: Vec<Watched>,
    /// Who asks.
    pub client: ClientIdentity,
    /// How long to hold it; `None` compares once and answers at once.
    pub wait: Option<Duration>,
    /// Whom to answer. A poll whose answer is dropped unsent is to be treated as [`PollAnswer::Quiet`].
    pub answer: oneshot::Sender<PollAnswer>,
}

/// How a poll ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollAnswer {
    /// The records, by their place in [`Hold::records`], that differ.
    Changed(Vec<usize>),
    /// Nothing differs: the time is over, or the node stops.
    Quiet,
    /// The poll was not taken.
    Refused(WatchRefused),
    /// The keys could not be read.
    Failed(ReadFailure),
}

/// Answers every poll and takes no new ones. Answers how many there were.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct Drain;

/// The long polls of one worker.
#[derive(Debug)]
pub struct LongPoll;

impl Actor for LongPoll {
    type Context = Context<Self>;
}

monitored!(LongPoll, "long_poll");

impl Observable for LongPoll {
    fn observe(&self) -> serde_json::Value {
        json!({})
    }
}

impl Handler<Hold> for LongPoll {
    type Result = ();

    fn handle(&mut self, hold: Hold, _: &mut Context<Self>) {
        drop(hold.answer.send(PollAnswer::Quiet));
    }
}

impl Handler<Drain> for LongPoll {
    type Result = usize;

    fn handle(&mut self, Drain: Drain, _: &mut Context<Self>) -> usize {
        0
    }
}
