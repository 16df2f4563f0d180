//! Who is connected, what each client watches and holds, and who got which version: over all nodes of the cluster. A
//! node that does not answer is named; what it knows is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use callboard_actors::cache::reader::Get;
use callboard_actors::peer_links::{PeerQuery, PeerReply, Query as PeerAsk};
use callboard_actors::push_ledger::{GetClients, GetPushes};
use callboard_actors::runtime::ask;
use callboard_actors::wiring::Node;
use callboard_protocol::access::grant::{Action, Demand};
use callboard_protocol::clients::{
    ClientFilter, ClientQuery, ClientSeen, MAX_PAGE, NodePushes, Page, Place, PushQuery, PushSeen,
};
use callboard_protocol::config::{Version, check_text};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::gray::ClientIdentity;
use callboard_protocol::key::{ConfigKey, PUBLIC_NAMESPACE};
use callboard_protocol::membership_view::NodeState;
use callboard_protocol::push_ledger::PushState;
use callboard_protocol::session::client::{ClientKind, MAX_CLIENT_ID};
use callboard_protocol::wire::cursor::{FilterDigest, decode_place, encode_place};
use futures_util::future::{join, join_all};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::READ_DEADLINE;
use crate::api::cluster::view;
use crate::api::error::ApiError;
use crate::http::answer;
use crate::http::openapi::{Described, schema};
use crate::http::query::Query;
use crate::http::route::{Answer, Call};

/// How long another node may take to say who is connected to it.
const PEER_DEADLINE: Duration = Duration::from_secs(3);
/// How long the own account may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Items of a page when nobody says.
const PAGE: u32 = 100;
/// Keys that are shown of a client in a list, and of one client.
const KEYS: (u32, u32) = (20, 10_000);
/// Longest text of a filter, in characters.
const MAX_TEXT: usize = 256;

/// A page of clients.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Clients {
    items: Vec<ConnectedClient>,
    /// How many there are on all pages.
    total: u64,
    /// For the next page; null on the last one.
    next: Option<String>,
    /// Nodes that did not say who is connected to them.
    unreachable: Vec<String>,
}

/// The connections of one client.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OneClient {
    client: String,
    connections: Vec<ConnectedClient>,
    /// Nodes that did not say who is connected to them.
    unreachable: Vec<String>,
}

/// A connected client.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectedClient {
    #[serde(flatten)]
    who: Who,
    /// Since when; null for a long poll.
    since: Option<String>,
    /// Nothing was heard of it for a while.
    idle: bool,
    /// How many keys it watches.
    watched: u64,
    /// The first of them.
    keys: Vec<WatchedKey>,
    prefixes: Vec<WatchedPrefix>,
}

/// Who a client is, and where it is connected.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Who {
    /// Its id.
    client: String,
    /// The node it is connected to.
    node: String,
    /// The number of its connection there.
    session: String,
    /// `tcp`, `websocket`, `stream`, `long_poll` or `grpc`.
    kind: &'static str,
    application: Option<String>,
    address: String,
    labels: BTreeMap<String, String>,
    /// Its program and version.
    software: String,
}

/// A watched configuration.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WatchedKey {
    namespace: String,
    group: String,
    data_id: String,
    /// The version that the client holds; null when that is not known.
    version: Option<u64>,
    md5: Option<String>,
    /// What became of the last push: `sent`, `received`, `applied` or `rejected`; null when there was none.
    state: Option<&'static str>,
}

/// A watched prefix.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WatchedPrefix {
    namespace: String,
    group: Option<String>,
    prefix: String,
}

/// What became of one version.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pushes {
    namespace: String,
    group: String,
    data_id: String,
    version: u64,
    /// How many clients stand in each state.
    counts: BTreeMap<&'static str, u64>,
    items: Vec<Push>,
    /// For the next page; null on the last one.
    next: Option<String>,
    /// False when some node may have pushed this version to others and does not know of it: it was restarted, or does
    /// not answer.
    complete: bool,
    nodes: Vec<NodeKnows>,
}

/// What became of a version at one client.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Push {
    #[serde(flatten)]
    who: Who,
    /// `pending`, `sent`, `applied`, `rejected`, `superseded`, `lost` or `held`.
    state: &'static str,
    /// Why the client can't use it.
    reason: Option<String>,
    /// When that came to be; null when nothing has happened yet.
    at: Option<String>,
    /// The client is connected.
    connected: bool,
}

/// What a node knows of the pushes of a version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeKnows {
    node: String,
    /// `all`, `part` (what it pushed before its restart is unknown) or `unreachable`.
    knows: &'static str,
}

/// `GET` of the clients.
pub(super) async fn list(call: Call) -> Answer {
    let query = call.query(&[
        "client",
        "application",
        "address",
        "label",
        "kind",
        "namespace",
        "group",
        "dataId",
        "limit",
        "cursor",
    ])?;
    let limit = query.count("limit", PAGE, MAX_PAGE)?;
    let filter = filter(&query)?;
    let parts = ["client", "application", "address", "label", "kind", "namespace", "group", "dataId"];
    let digest = FilterDigest::of(&parts.map(|part| query.get(part)));
    let after = after(&query, &digest)?;
    let (few, _) = KEYS;
    let asked = ClientQuery { filter, after, limit, keys: few };
    let (page, unreachable) = clients_of_all(&call.state.worker.node, asked).await?;
    let next = next(&page, &digest);
    let items = page.items.into_iter().map(ConnectedClient::from).collect();
    answer::json(StatusCode::OK, &Clients { items, total: page.total, next, unreachable })
}

/// `GET` of one client.
pub(super) async fn one(call: Call) -> Answer {
    call.query(&[])?;
    let id = call.part("client").to_owned();
    let (_, all) = KEYS;
    let filter = ClientFilter { id: Some(id.clone()), ..ClientFilter::default() };
    let asked = ClientQuery { filter, after: None, limit: MAX_PAGE, keys: all };
    let (page, unreachable) = clients_of_all(&call.state.worker.node, asked).await?;
    if page.items.is_empty() {
        let known = if unreachable.is_empty() { "" } else { " as far as known: some nodes did not answer" };
        return Err(ApiError::new(ErrorCode::NotFound, format!("client {id} is not connected{known}")));
    }
    let connections = page.items.into_iter().map(ConnectedClient::from).collect();
    answer::json(StatusCode::OK, &OneClient { client: id, connections, unreachable })
}

/// `GET` of what became of a version of a configuration; of the present one when none is named.
pub(super) async fn pushes(call: Call) -> Answer {
    let key = call.key()?;
    call.caller.require(&Demand::Key(Action::Manage, &key))?;
    let query = call.query(&["version", "state", "limit", "cursor"])?;
    let limit = query.count("limit", PAGE, MAX_PAGE)?;
    let state = match query.get("state") {
        None => None,
        Some(text) => Some(one_of("state", text, PushState::ALL, PushState::as_str)?),
    };
    let version = match query.get("version") {
        Some(text) => {
            let refused = |_no_number| ApiError::parameter("version", "a version is a whole number");
            Version(text.parse().map_err(refused)?)
        }
        None => ask(&call.state.worker.reader, Get { key: key.clone() }, READ_DEADLINE).await??.version,
    };
    let named = version.to_string();
    let parts =
        [Some(key.namespace()), Some(key.group()), Some(key.data_id()), Some(named.as_str()), query.get("state")];
    let digest = FilterDigest::of(&parts);
    let after = after(&query, &digest)?;
    let asked = PushQuery { key: key.clone(), version, state, after, limit };
    answer::json(StatusCode::OK, &pushes_of_all(&call.state.worker.node, asked, &digest).await?)
}

fn filter(query: &Query<'_>) -> Result<ClientFilter, ApiError> {
    for name in ["client", "application", "address", "label"] {
        if let Some(text) = query.get(name) {
            check_text("the filter", text, MAX_TEXT).map_err(|error| ApiError::parameter(name, error.to_string()))?;
        }
    }
    let label = match query.get("label") {
        None => None,
        Some(text) => {
            let parts = text.split_once('=').ok_or_else(|| ApiError::parameter("label", "write it as name=value"))?;
            Some((parts.0.to_owned(), parts.1.to_owned()))
        }
    };
    let kind = query.get("kind").map(|text| one_of("kind", text, ClientKind::ALL, ClientKind::as_str)).transpose()?;
    let key = match (query.get("group"), query.get("dataId")) {
        (Some(group), Some(data_id)) => {
            Some(ConfigKey::new(query.get("namespace").unwrap_or(PUBLIC_NAMESPACE), group, data_id)?)
        }
        (None, None) if query.get("namespace").is_none() => None,
        (_, _) => return Err(ApiError::parameter("dataId", "name group and dataId of a configuration, or neither")),
    };
    let text = |name| query.text(name);
    Ok(ClientFilter {
        id: text("client"),
        application: text("application"),
        address: text("address"),
        label,
        kind,
        key,
    })
}

/// The one of `all` that is called so.
fn one_of<T: Copy, const N: usize>(
    name: &'static str,
    text: &str,
    all: [T; N],
    called: fn(T) -> &'static str,
) -> Result<T, ApiError> {
    let known = all.into_iter().find(|one| called(*one) == text);
    known.ok_or_else(|| ApiError::parameter(name, format!("known are {}", all.map(called).join(", "))))
}

fn after(query: &Query<'_>, digest: &FilterDigest) -> Result<Option<Place>, ApiError> {
    query.get("cursor").map(|cursor| decode_place(cursor, digest)).transpose().map_err(ApiError::from)
}

fn next<T: callboard_protocol::clients::Placed>(page: &Page<T>, digest: &FilterDigest) -> Option<String> {
    page.items.last().filter(|_| page.more).map(|last| encode_place(last.place(), digest))
}

/// What every other node answers to a query; `None` for one that does not.
async fn ask_others(node: &Node, query: PeerQuery) -> Result<Vec<(String, Option<PeerReply>)>, ApiError> {
    let Some(links) = node.peer_links.as_ref() else { return Ok(Vec::new()) };
    let view = view(node).await?;
    let gone = |state: NodeState| matches!(state, NodeState::Down | NodeState::Removed);
    let others = view.nodes.into_iter().filter(|seen| seen.id != view.node && !gone(seen.state));
    let answers = others.map(async |seen| {
        let asked = PeerAsk { node: seen.id.clone(), query: query.clone(), deadline: PEER_DEADLINE };
        let reply = ask(links, asked, DEADLINE).await.ok().and_then(Result::ok);
        (seen.id.to_string(), reply)
    });
    Ok(join_all(answers).await)
}

async fn clients_of_all(node: &Node, query: ClientQuery) -> Result<(Page<ClientSeen>, Vec<String>), ApiError> {
    let limit = query.limit;
    let own = ask(&node.push_ledger, GetClients(query.clone()), DEADLINE);
    let (own, others) = join(own, ask_others(node, PeerQuery::Clients(Box::new(query)))).await;
    let (mut pages, mut unreachable) = (vec![own?], Vec::new());
    for (id, reply) in others? {
        match reply {
            Some(PeerReply::Clients(page)) => pages.push(page),
            Some(PeerReply::Status(_) | PeerReply::Pushes(_)) | None => unreachable.push(id),
        }
    }
    Ok((Page::merged(pages, limit), unreachable))
}

async fn pushes_of_all(node: &Node, query: PushQuery, digest: &FilterDigest) -> Result<Pushes, ApiError> {
    let PushQuery { key, version, limit, .. } = query.clone();
    let own = ask(&node.push_ledger, GetPushes(query.clone()), DEADLINE);
    let (own, others) = join(own, ask_others(node, PeerQuery::Pushes(Box::new(query)))).await;
    let mut known = vec![(node.id.to_string(), Some(own?))];
    known.extend(others?.into_iter().map(|(id, reply)| match reply {
        Some(PeerReply::Pushes(pushes)) => (id, Some(*pushes)),
        Some(PeerReply::Status(_) | PeerReply::Clients(_)) | None => (id, None),
    }));
    known.sort_by(|left, right| left.0.cmp(&right.0));
    let (mut counts, mut nodes, mut pages) = ([0; PushState::ALL.len()], Vec::new(), Vec::new());
    for (node, pushes) in known {
        let knows = match &pushes {
            Some(NodePushes { is_whole: true, .. }) => "all",
            Some(_) => "part",
            None => "unreachable",
        };
        nodes.push(NodeKnows { node, knows });
        if let Some(pushes) = pushes {
            counts.iter_mut().zip(pushes.counts).for_each(|(sum, count)| *sum += count);
            pages.push(pushes.page);
        }
    }
    let page = Page::merged(pages, limit);
    Ok(Pushes {
        namespace: key.namespace().to_owned(),
        group: key.group().to_owned(),
        data_id: key.data_id().to_owned(),
        version: version.0,
        counts: PushState::ALL.map(PushState::as_str).into_iter().zip(counts).collect(),
        next: next(&page, digest),
        items: page.items.into_iter().map(Push::from).collect(),
        complete: nodes.iter().all(|node| node.knows == "all"),
        nodes,
    })
}

impl Who {
    fn new(place: Place, client: callboard_protocol::session::client::Client) -> Self {
        let ClientIdentity { address, application, labels, .. } = client.identity;
        Self {
            client: client.id.to_string(),
            node: Arc::clone(&place.node).to_string(),
            session: place.session.0.to_string(),
            kind: client.kind.as_str(),
            application,
            address,
            labels: labels.into_iter().collect(),
            software: client.software,
        }
    }
}

impl From<ClientSeen> for ConnectedClient {
    fn from(seen: ClientSeen) -> Self {
        let is_timed = seen.client.kind != ClientKind::LongPoll;
        Self {
            since: is_timed.then(|| answer::rfc3339(seen.since)),
            who: Who::new(seen.place, seen.client),
            idle: seen.is_idle,
            watched: seen.watched,
            keys: seen.keys.into_iter().map(WatchedKey::from).collect(),
            prefixes: seen
                .prefixes
                .into_iter()
                .map(|(namespace, group, prefix)| WatchedPrefix { namespace, group, prefix })
                .collect(),
        }
    }
}

impl From<callboard_protocol::clients::KeySeen> for WatchedKey {
    fn from(seen: callboard_protocol::clients::KeySeen) -> Self {
        Self {
            namespace: seen.key.namespace().to_owned(),
            group: seen.key.group().to_owned(),
            data_id: seen.key.data_id().to_owned(),
            version: seen.version.map(|version| version.0),
            md5: seen.md5.map(|md5| md5.hex()),
            state: seen.state.map(PushState::as_str),
        }
    }
}

impl From<PushSeen> for Push {
    fn from(seen: PushSeen) -> Self {
        Self {
            who: Who::new(seen.place, seen.client),
            state: seen.state.as_str(),
            reason: seen.reason,
            at: seen.at.map(answer::rfc3339),
            connected: seen.is_connected,
        }
    }
}

/// The description of the list.
pub(super) fn describe_list() -> Described {
    let kinds = schema::text().enum_values(Some(ClientKind::ALL.map(ClientKind::as_str)));
    Described::new("clients", "listClients", "List who is connected, over all nodes of the cluster")
        .query("client", schema::free(MAX_CLIENT_ID), "Only with this id")
        .query("application", schema::free(MAX_TEXT), "Only of this application")
        .query("address", schema::free(MAX_TEXT), "Only from this address")
        .query(
            "label",
            schema::text().pattern(Some("^[^=\\x00]{0,100}=[^\\x00]{0,100}$")),
            "Only with this label, name=value",
        )
        .query("kind", kinds, "Only connected so")
        .query("namespace", schema::namespace(), "With group and dataId: only who watches this configuration")
        .query("group", schema::group(), "As above")
        .query("dataId", schema::data_id(), "As above")
        .query("limit", schema::count(MAX_PAGE), "Items of a page; 100 when nothing is said")
        .query("cursor", schema::text(), "The member `next` of the page before")
        .json::<Clients>(200, "A page")
        .refuses(&[ErrorCode::InvalidName, ErrorCode::InvalidParameter, ErrorCode::InvalidCursor])
}

/// The description of one client.
pub(super) fn describe_one() -> Described {
    Described::new("clients", "getClient", "Look at one client and all that it watches and holds")
        .path("client", schema::free(MAX_CLIENT_ID), "Its id")
        .json::<OneClient>(200, "Its connections")
        .refuses(&[ErrorCode::InvalidParameter, ErrorCode::NotFound])
}

/// The description of the pushes of a configuration.
pub(super) fn describe_pushes() -> Described {
    let states = schema::text().enum_values(Some(PushState::ALL.map(PushState::as_str)));
    Described::new("clients", "listPushes", "Look who got a version of a configuration, who uses it, and who does not")
        .key()
        .query("version", schema::version(), "Which version; the present one when nothing is said")
        .query("state", states, "Only clients that stand so")
        .query("limit", schema::count(MAX_PAGE), "Items of a page; 100 when nothing is said")
        .query("cursor", schema::text(), "The member `next` of the page before")
        .json::<Pushes>(200, "What became of the version")
        .refuses(&[ErrorCode::InvalidName, ErrorCode::InvalidParameter, ErrorCode::InvalidCursor])
}
