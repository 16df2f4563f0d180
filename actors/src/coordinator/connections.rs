//! The clients of one worker thread that are connected: who they are, since when, and what they report. Owns their
//! connections; what a client holds is its session's, which is asked when somebody wants to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext as _, Handler, Message, MessageResult, Recipient, ResponseFuture};
use callboard_protocol::clients::{ClientQuery, ClientSeen, Page, Place, PrefixSeen, key_seen};
use callboard_protocol::key::ConfigKey;
use callboard_protocol::member::NodeId;
use callboard_protocol::push_ledger::{PushEvent, SessionNumber};
use callboard_protocol::session::client::Client;
use callboard_protocol::session::position::Position;
use callboard_protocol::time::WallMillis;
use futures_util::future::join_all;

use super::{Coordinator, SessionEvent, WatchId, WatchRefused};
use crate::event_bus::{PublishPushes, PushNews};
use crate::runtime::{Context, ask};
use crate::subscription::{Subscription, SubscriptionGuard, subscription};

/// How long reports wait for others, so that they are passed on together: long enough that a change has reached
/// thousands of clients before anything is written down about it.
const GATHER: Duration = Duration::from_millis(50);
/// Reports that are passed on at once.
const MAX_GATHERED: usize = 4_096;
/// How long a session may take to say what it holds.
const ASK: Duration = Duration::from_secs(1);

/// Connects a client: from the answer on, the client is known to be connected. The answer tells when the coordinator
/// forgot.
#[derive(Debug, Message)]
#[rtype(result = "Result<Subscription, WatchRefused>")]
pub struct Connect {
    /// The number of the connection.
    pub number: SessionNumber,
    /// Who it is.
    pub client: Arc<Client>,
    /// Since when it is connected.
    pub since: WallMillis,
    /// Who is told to look again, and to end.
    pub events: Recipient<SessionEvent>,
    /// Who says what the client holds.
    pub inquiries: Recipient<GetWatched>,
}

/// Ends a connection, and its watches.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Disconnect(pub SessionNumber);

/// A client has been silent for a while, or is heard again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetIdle {
    /// Whose connection.
    pub number: SessionNumber,
    /// True when it is silent.
    pub is_idle: bool,
}

/// Something happened to a push.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Report(pub PushEvent);

/// Asks a session what its client watches and holds.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Watched")]
pub struct GetWatched {
    /// Only this key.
    pub key: Option<ConfigKey>,
    /// How many keys at most.
    pub limit: usize,
}

/// What a client watches and holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watched {
    /// Keys, the first of them.
    pub keys: Vec<(ConfigKey, Position)>,
    /// How many there are.
    pub count: usize,
    /// Prefixes.
    pub prefixes: Vec<PrefixSeen>,
}

impl Watched {
    /// The answer of a session that says how far its client is with `one` key, and with the first of `all`.
    pub(crate) fn of(
        GetWatched { key, limit }: GetWatched,
        one: impl FnOnce(&ConfigKey) -> Option<Position>,
        all: impl FnOnce(usize) -> (Vec<(ConfigKey, Position)>, usize),
        prefixes: Vec<PrefixSeen>,
    ) -> Self {
        let (keys, count) = match key {
            Some(key) => {
                let keys: Vec<_> = one(&key).map(|position| (key, position)).into_iter().collect();
                let count = keys.len();
                (keys, count)
            }
            None => all(limit),
        };
        Self { keys, count, prefixes }
    }
}

/// Asks for a page of the clients that are connected here.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Page<ClientSeen>")]
pub struct ListClients(pub ClientQuery);

/// Asks how far the clients are that watch a key.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<(SessionNumber, Arc<Client>, Position)>")]
pub struct ListWatchers(pub ConfigKey);

/// Passes on what was gathered.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct GatheredTick;

/// Whose a watch is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) number: SessionNumber,
    /// It is that of a native session. The connection may be gone when the watch ends.
    is_session: bool,
}

#[derive(Debug)]
struct Connection {
    client: Arc<Client>,
    since: WallMillis,
    events: Recipient<SessionEvent>,
    inquiries: Recipient<GetWatched>,
    is_idle: bool,
    watches: BTreeSet<WatchId>,
    /// Its drop tells the session to connect again.
    _holder: SubscriptionGuard,
}

/// The connections of one coordinator.
#[derive(Debug)]
pub(super) struct Connections {
    node: NodeId,
    by_number: BTreeMap<SessionNumber, Connection>,
    /// Watches of all connections.
    watches: usize,
    /// Those of native sessions.
    session_watches: usize,
    gathered: Vec<PushEvent>,
    is_scheduled: bool,
}

impl Connections {
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            node,
            by_number: BTreeMap::new(),
            watches: 0,
            session_watches: 0,
            gathered: Vec::new(),
            is_scheduled: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Watches of all connections.
    pub(super) fn watches(&self) -> usize {
        self.watches
    }

    /// Watches of native sessions.
    pub(super) fn session_watches(&self) -> usize {
        self.session_watches
    }

    /// True for the connection of a native session.
    pub(super) fn is_session(&self, number: SessionNumber) -> bool {
        self.by_number.get(&number).is_some_and(|connection| connection.client.kind.is_session())
    }

    pub(super) fn tell_all(&self, event: &SessionEvent) {
        for connection in self.by_number.values() {
            // A session is on this thread, and gone when this is lost.
            connection.events.do_send(event.clone());
        }
    }

    /// A new watch of a connection; `None` when there is no such connection.
    pub(super) fn watched(&mut self, number: SessionNumber, watch: WatchId) -> Option<Owner> {
        let connection = self.by_number.get_mut(&number)?;
        let is_session = connection.client.kind.is_session();
        connection.watches.insert(watch);
        self.watches += 1;
        self.session_watches += usize::from(is_session);
        Some(Owner { number, is_session })
    }

    /// A watch that was of a connection has ended.
    pub(super) fn unwatched(&mut self, owner: Owner, watch: WatchId) {
        self.watches -= 1;
        self.session_watches -= usize::from(owner.is_session);
        if let Some(connection) = self.by_number.get_mut(&owner.number) {
            connection.watches.remove(&watch);
        }
    }

    fn take(&mut self, Connect { number, client, since, events, inquiries }: Connect) -> Subscription {
        let (holder, held) = subscription();
        let connection =
            Connection { client, since, events, inquiries, is_idle: false, watches: BTreeSet::new(), _holder: holder };
        self.by_number.insert(number, connection);
        held
    }

    /// The clients that a query is about, as far as their connections tell.
    fn matching(&self, query: &ClientQuery, watchers: Option<&BTreeSet<SessionNumber>>) -> Page<ClientSeen> {
        let fits = |(number, connection): &(&SessionNumber, &Connection)| {
            query.filter.fits(&connection.client) && watchers.is_none_or(|watchers| watchers.contains(number))
        };
        let seen = self.by_number.iter().filter(fits).map(|(number, connection)| ClientSeen {
            place: Place { client: connection.client.id.clone(), node: Arc::clone(&self.node.0), session: *number },
            client: Client::clone(&connection.client),
            since: connection.since,
            is_idle: connection.is_idle,
            keys: Vec::new(),
            watched: 0,
            prefixes: Vec::new(),
        });
        Page::of(seen, query.after.as_ref(), query.limit)
    }
}

impl Coordinator {
    /// The connections of those who watch a key.
    fn connections_watching(&self, key: &ConfigKey) -> BTreeSet<SessionNumber> {
        let exact = self.exact.get(key).into_iter().flatten();
        let prefixes = self.prefixes.get(key.namespace()).into_iter().flatten();
        let watches = exact.chain(prefixes).filter_map(|id| self.watches.get(id));
        watches.filter(|watch| watch.selector.matches(key)).filter_map(|watch| Some(watch.connection?.number)).collect()
    }

    /// Forgets a connection, and ends its watches.
    fn leave(&mut self, number: SessionNumber, context: &mut Context<Self>) {
        if let Some(connection) = self.connections.by_number.remove(&number) {
            self.end_all(connection.watches, context);
        }
    }

    fn pass_on(&mut self) {
        let gathered = std::mem::take(&mut self.connections.gathered);
        if !gathered.is_empty() {
            // Lost only when the bus is rebuilt; its subscribers are told that they missed something then.
            self.bus.do_send(PublishPushes(PushNews::Happened(gathered.into())));
        }
    }
}

impl Handler<Connect> for Coordinator {
    type Result = MessageResult<Connect>;

    fn handle(&mut self, attend: Connect, context: &mut Context<Self>) -> Self::Result {
        if self.stopping {
            return MessageResult(Err(WatchRefused::Stopping));
        }
        self.leave(attend.number, context);
        MessageResult(Ok(self.connections.take(attend)))
    }
}

impl Handler<Disconnect> for Coordinator {
    type Result = ();

    fn handle(&mut self, Disconnect(number): Disconnect, context: &mut Context<Self>) {
        self.leave(number, context);
    }
}

impl Handler<SetIdle> for Coordinator {
    type Result = ();

    fn handle(&mut self, SetIdle { number, is_idle }: SetIdle, _: &mut Context<Self>) {
        if let Some(connection) = self.connections.by_number.get_mut(&number) {
            connection.is_idle = is_idle;
        }
    }
}

impl Handler<Report> for Coordinator {
    type Result = ();

    fn handle(&mut self, Report(event): Report, context: &mut Context<Self>) {
        self.connections.gathered.push(event);
        if self.connections.gathered.len() >= MAX_GATHERED {
            self.pass_on();
        } else if !self.connections.is_scheduled {
            self.connections.is_scheduled = true;
            context.notify_later(GatheredTick, GATHER);
        }
    }
}

impl Handler<GatheredTick> for Coordinator {
    type Result = ();

    fn handle(&mut self, GatheredTick: GatheredTick, _: &mut Context<Self>) {
        self.connections.is_scheduled = false;
        self.pass_on();
    }
}

impl Handler<ListClients> for Coordinator {
    type Result = ResponseFuture<Page<ClientSeen>>;

    fn handle(&mut self, ListClients(query): ListClients, _: &mut Context<Self>) -> Self::Result {
        let watchers = query.filter.key.as_ref().map(|key| self.connections_watching(key));
        let mut page = self.connections.matching(&query, watchers.as_ref());
        let inquiry = GetWatched { key: query.filter.key, limit: usize::try_from(query.keys).unwrap_or(usize::MAX) };
        let inquiries = page.items.iter().map(|seen| {
            let session =
                self.connections.by_number.get(&seen.place.session).map(|connection| connection.inquiries.clone());
            inquire(session, inquiry.clone())
        });
        let inquiries = join_all(inquiries.collect::<Vec<_>>());
        Box::pin(async move {
            for (seen, watched) in page.items.iter_mut().zip(inquiries.await) {
                seen.watched = watched.count as u64;
                seen.keys = watched.keys.into_iter().map(|(key, position)| key_seen(key, &position)).collect();
                seen.prefixes = watched.prefixes;
            }
            page
        })
    }
}

/// What a session says; nothing when it has ended meanwhile.
async fn inquire(session: Option<Recipient<GetWatched>>, inquiry: GetWatched) -> Watched {
    match session {
        Some(session) => ask(&session, inquiry, ASK).await.unwrap_or_default(),
        None => Watched::default(),
    }
}

impl Handler<ListWatchers> for Coordinator {
    type Result = ResponseFuture<Vec<(SessionNumber, Arc<Client>, Position)>>;

    fn handle(&mut self, ListWatchers(key): ListWatchers, _: &mut Context<Self>) -> Self::Result {
        let watching = self.connections_watching(&key).into_iter().filter_map(|number| {
            let connection = self.connections.by_number.get(&number)?;
            let inquiry = GetWatched { key: Some(key.clone()), limit: 1 };
            let (client, asked) =
                (Arc::clone(&connection.client), inquire(Some(connection.inquiries.clone()), inquiry));
            Some(async move {
                let position = asked.await.keys.first().map(|(_, position)| *position).unwrap_or_default();
                (number, client, position)
            })
        });
        Box::pin(join_all(watching.collect::<Vec<_>>()))
    }
}
