//! The lease keeper: owns the node's row in the membership table and the leave to answer from memory.
//!
//! On SQLite the row is the only one and the lease never ends. On a database that several nodes may share the node
//! takes no row yet: it answers nothing from memory, so that nobody has to wait for it.
//! Whoever lost state that acknowledgements rest on asks for [`Rejoin`]: a new life of the membership, in which old
//! acknowledgements count for nothing and the cache starts empty.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Handler, Message, MessageResult, Recipient, ResponseActFuture};
use callboard_protocol::config::Version;
use callboard_protocol::member::{Grant, Incarnation, LeaseEnd, NodeId, Timeline};
use serde_json::json;
use uuid::Uuid;

use crate::cache::keeper::{Keeper, SetGrant};
use crate::monitored;
use crate::runtime::{Context, Observable, ask};
use crate::store::{JoinRequest, Joined};
use crate::store_writer::{Join, LookLocked, Release, StoreWriter};
use crate::subscription::{Held, Holder, subscription};

const DEADLINE: Duration = Duration::from_secs(15);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// How the node takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Participation {
    /// The only node on this database, proven by the lock of its data directory.
    Single,
    /// Without a row: every read goes to the database.
    Direct,
}

/// Who the node is.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// The node.
    pub node: NodeId,
    /// Tells one start of the machine from another.
    pub boot_id: String,
    /// Where the node is reached, as stored in its row.
    pub address: String,
    /// How it takes part.
    pub participation: Participation,
}

/// The node's membership is now this.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct MembershipChanged {
    /// The node.
    pub node: NodeId,
    /// Its life as a member; `None` without a row.
    pub incarnation: Option<Incarnation>,
    /// The line of history.
    pub timeline: Timeline,
}

/// Subscribes to membership; the present one is told at once. The answer tells when the keeper forgot the subscriber.
#[derive(Debug, Message)]
#[rtype(result = "Held")]
pub struct Subscribe(pub Recipient<MembershipChanged>);

/// Ends the present life of the membership and begins another.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Rejoin;

/// Gives the row back before the node stops. Answers when it is done or can't be done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Leave;

/// Asks whether the node takes part.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct IsSettled;

#[derive(Debug)]
enum State {
    /// A join is under way or will be tried again.
    Joining,
    /// The membership that everybody was told.
    Settled(MembershipChanged),
    /// The node is stopping.
    Left,
}

#[derive(Debug)]
struct Subscriber {
    recipient: Recipient<MembershipChanged>,
    /// Its drop tells the subscriber to subscribe anew.
    _holder: Holder,
}

/// The lease keeper.
#[derive(Debug)]
pub struct LeaseKeeper {
    options: LeaseOptions,
    writer: Addr<StoreWriter>,
    cache: Addr<Keeper>,
    subscribers: Vec<Subscriber>,
    state: State,
    joins: u64,
    retry: Duration,
}

impl LeaseKeeper {
    /// Keeps the lease of the node that `options` names.
    #[must_use]
    pub fn new(options: LeaseOptions, writer: Addr<StoreWriter>, cache: Addr<Keeper>) -> Self {
        let (subscribers, state) = (Vec::new(), State::Joining);
        Self { options, writer, cache, subscribers, state, joins: 0, retry: FIRST_RETRY }
    }

    fn join(&mut self, context: &mut Context<Self>) {
        self.state = State::Joining;
        self.joins += 1;
        let attempt = self.joins;
        let (options, writer, cache) = (self.options.clone(), self.writer.clone(), self.cache.clone());
        context.spawn(wrap_future(take_part(options, writer, cache)).map(
            move |result, keeper: &mut Self, context: &mut Context<Self>| {
                if keeper.joins != attempt || matches!(keeper.state, State::Left) {
                    return;
                }
                match result {
                    Ok(membership) => keeper.settle(membership),
                    Err(reason) => {
                        tracing::warn!(%reason, retry.after = ?keeper.retry, "the node could not join");
                        context.run_later(keeper.retry, Self::join);
                        keeper.retry = (keeper.retry * 2).min(LONGEST_RETRY);
                    }
                }
            },
        ));
    }

    fn settle(&mut self, membership: MembershipChanged) {
        self.retry = FIRST_RETRY;
        tracing::debug!(
            node.id = %membership.node,
            node.incarnation = ?membership.incarnation,
            timeline = membership.timeline.0,
            "membership settled"
        );
        for subscriber in &self.subscribers {
            // A subscriber that is rebuilt subscribes anew and is told then.
            subscriber.recipient.do_send(membership.clone());
        }
        self.state = State::Settled(membership);
    }
}

/// Empties the cache, joins in a new life, and only then gives the leave to answer from memory.
async fn take_part(
    options: LeaseOptions,
    writer: Addr<StoreWriter>,
    cache: Addr<Keeper>,
) -> Result<MembershipChanged, String> {
    let no_grant = SetGrant { grant: None, timeline: Timeline::default(), revision: Version::ZERO };
    ask(&cache, no_grant, DEADLINE).await.map_err(|error| error.to_string())?;
    let node = options.node.clone();
    if options.participation == Participation::Direct {
        let look = LookLocked { request_ids: Vec::new() };
        let landed = ask(&writer, look, DEADLINE).await.map_err(|error| error.to_string())?;
        let timeline = landed.map_err(|error| error.to_string())?.timeline;
        return Ok(MembershipChanged { node, incarnation: None, timeline });
    }
    let incarnation = Incarnation(Uuid::new_v4());
    let request = JoinRequest {
        node: options.node,
        incarnation,
        boot_id: options.boot_id,
        address: options.address,
        replace: true,
    };
    let joined = ask(&writer, Join(request), DEADLINE).await.map_err(|error| error.to_string())?;
    let Joined { revision, timeline } = joined.map_err(|error| error.to_string())?;
    let grant = SetGrant { grant: Some(Grant { incarnation, ends: LeaseEnd::Never }), timeline, revision };
    ask(&cache, grant, DEADLINE).await.map_err(|error| error.to_string())?;
    Ok(MembershipChanged { node, incarnation: Some(incarnation), timeline })
}

impl Actor for LeaseKeeper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.join(context);
    }
}

monitored!(LeaseKeeper, "lease_keeper");

impl Observable for LeaseKeeper {
    fn observe(&self) -> serde_json::Value {
        let state = match &self.state {
            State::Joining => json!("joining"),
            State::Settled(membership) => json!({
                "incarnation": membership.incarnation.map(|life| life.0.to_string()),
                "timeline": membership.timeline.0,
            }),
            State::Left => json!("left"),
        };
        json!({ "node": self.options.node.to_string(), "state": state, "joins": self.joins })
    }
}

impl Handler<Subscribe> for LeaseKeeper {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, Subscribe(recipient): Subscribe, _: &mut Context<Self>) -> Self::Result {
        if let State::Settled(membership) = &self.state {
            // A subscriber that is rebuilt subscribes anew and is told then.
            recipient.do_send(membership.clone());
        }
        let (holder, held) = subscription();
        self.subscribers.push(Subscriber { recipient, _holder: holder });
        MessageResult(held)
    }
}

impl Handler<Rejoin> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, Rejoin: Rejoin, context: &mut Context<Self>) {
        if matches!(self.state, State::Settled(_)) {
            tracing::info!("the node begins a new life of its membership");
            self.join(context);
        }
    }
}

impl Handler<Leave> for LeaseKeeper {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Leave: Leave, _: &mut Context<Self>) -> Self::Result {
        let left = std::mem::replace(&mut self.state, State::Left);
        let (writer, cache, node) = (self.writer.clone(), self.cache.clone(), self.options.node.clone());
        Box::pin(wrap_future(async move {
            let State::Settled(MembershipChanged { incarnation: Some(incarnation), timeline, .. }) = left else {
                return;
            };
            if let Err(error) = ask(&cache, SetGrant { grant: None, timeline, revision: Version::ZERO }, DEADLINE).await {
                tracing::warn!(%error, "the cache could not be emptied before leaving; the row stays");
                return;
            }
            match ask(&writer, Release { node, incarnation }, DEADLINE).await {
                Ok(Ok(_was_there)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the row could not be given back"),
                Err(error) => tracing::warn!(%error, "the row could not be given back"),
            }
        }))
    }
}

impl Handler<IsSettled> for LeaseKeeper {
    type Result = bool;

    fn handle(&mut self, IsSettled: IsSettled, _: &mut Context<Self>) -> bool {
        matches!(self.state, State::Settled(_))
    }
}
