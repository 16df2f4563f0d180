//! Carries NotifyEvent, ack 1, NotifyCommitEvent and ack 2 between nodes, the local one included.
//!
//! Owns the receiver machine (`callboard_protocol::receiver`) with its pending deque, and the way to the peers. The
//! node is a peer of itself: what it notifies and commits reaches it on the same path as what comes from others.
//! Decides nothing: when a mark may go, and what a time-out means, is decided in the protocol crate.

mod transport;

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, MessageResult, Recipient, SpawnHandle};
use callboard_protocol::commit::{BatchId, ChangeRow};
use callboard_protocol::config::Version;
use callboard_protocol::feed::Span;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::{Ack, Incarnation, NodeId, NodeRow, Timeline};
use callboard_protocol::publish::Resolution;
use callboard_protocol::receiver::{Effect, Event, NotifyEvent, Options, Receiver};
use callboard_protocol::time::Mono;
use callboard_protocol::unit::RequestId;
use serde_json::json;

pub use transport::{NoPeers, PeerMessage, Transport};

use crate::cache::keeper::{Apply, Keeper, Mark, Unmark};
use crate::change_feed::{self, ChangeFeed, Heard};
use crate::clock::SharedClock;
use crate::conf_manager::{Acked, Resolved};
use crate::lease_keeper::{self, LeaseKeeper, MembershipChanged, Rejoin};
use crate::monitored;
use crate::runtime::{Context, Observable};
use crate::store_reader::StoreReader;
use crate::store_writer::{LookLocked, RaiseFloor, StoreWriter};
use crate::subscription::{Held, Holder, subscription, until_forgotten};
