//! The cluster, for operators: how this node sees every node, and taking this node out of it. Asks the other nodes how
//! far they are; one that does not answer is shown without that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use callboard_actors::change_feed::GetCursor;
use callboard_actors::conf_manager::CountOpen;
use callboard_actors::peer_links::{PeerQuery, PeerReply, Query};
use callboard_actors::runtime::ask;
use callboard_actors::wiring::Node;
use callboard_protocol::access::audit::{Event, Target, What};
use callboard_protocol::config::Version;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::lease::LeaseObservation;
use callboard_protocol::membership_view::{Addresses, NodeState, NodeView};
use futures_util::future::join_all;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::cluster::view;
use crate::api::error::ApiError;
use crate::http::answer;
use crate::http::openapi::Described;
use crate::http::route::{Answer, Call};

/// How long the own actors may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long another node may take to say how far it is.
const PEER_DEADLINE: Duration = Duration::from_millis(300);
/// How often a draining node looks whether its publishes are done.
const LOOK: Duration = Duration::from_millis(10);

/// The cluster as one node sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cluster {
    /// The node that answers.
    node: String,
    nodes: Vec<Member>,
}

/// A node as another one sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Member {
    id: String,
    /// `joining`, `up`, `suspect`, `leaving`, `down` or `removed`.
    state: &'static str,
    /// Its life as a member; null without a membership row.
    incarnation: Option<String>,
    addresses: Reached,
    /// `held`, `lapsed` or `revoked`; `none` without a membership row.
    lease: &'static str,
    /// Up to which revision its subscribers have been told; null when it did not say.
    revision: Option<u64>,
    /// The nodes that suspect it, as far as known.
    suspected_by: Vec<String>,
    /// The version of its program; null when it was never heard of.
    version: Option<String>,
}

/// Where a node is reached, as far as known.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reached {
    http: Option<String>,
    peer: Option<String>,
    grpc: Option<String>,
    session: Option<String>,
}

/// A node that has left.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Drained {
    node: String,
    /// Held requests that were answered, and sessions that were sent elsewhere.
    released: usize,
}

/// `GET` of the cluster.
pub(super) async fn get(call: Call) -> Answer {
    call.query(&[])?;
    let node = &call.state.worker.node;
    let view = view(node).await?;
    let me = view.node.clone();
    let members = view.nodes.into_iter().map(async |seen| {
        let revision = if seen.id == me { own_revision(node).await } else { revision_of(node, &seen).await };
        member(seen, revision)
    });
    answer::json(StatusCode::OK, &Cluster { node: me.to_string(), nodes: join_all(members).await })
}

/// `POST` that takes the node out of the cluster and lets it run.
pub(super) async fn drain(call: Call) -> Answer {
    call.query(&[])?;
    let (node, shared) = (&call.state.worker.node, &call.state.shared);
    tracing::info!("draining: the node leaves the cluster");
    let (who, target) = (call.who(), Target { node: Some(node.id.to_string()), ..Target::default() });
    if !node.audit.record(|at| Event::done(at, What::Drained, who, target)).await {
        // Who drains a node may have no database any more.
        tracing::warn!("that the node is drained is written down when the database takes it");
    }
    let end = Instant::now() + shared.options.grace;
    let released = shared.draining.drain(node).await;
    while ask(&node.conf_manager, CountOpen, DEADLINE).await? > 0 {
        if Instant::now() >= end {
            return Err(ApiError::new(ErrorCode::Unavailable, "publishes are still under way; ask again"));
        }
        actix_rt::time::sleep(LOOK).await;
    }
    shared.draining.leave(node).await;
    let name = view(node).await?.node.to_string();
    answer::json(StatusCode::OK, &Drained { node: name, released })
}

async fn own_revision(node: &Node) -> Option<Version> {
    ask(&node.change_feed, GetCursor, DEADLINE).await.ok().flatten()
}

async fn revision_of(node: &Node, seen: &NodeView) -> Option<Version> {
    let links = node.peer_links.as_ref()?;
    if matches!(seen.state, NodeState::Down | NodeState::Removed) {
        return None;
    }
    let query = Query { node: seen.id.clone(), query: PeerQuery::Status, deadline: PEER_DEADLINE };
    match ask(links, query, DEADLINE).await {
        Ok(Ok(PeerReply::Status(status))) => Some(status.revision),
        Ok(Ok(PeerReply::Clients(_) | PeerReply::Pushes(_))) => None,
        Ok(Err(error)) => {
            tracing::debug!(peer.id = %seen.id, %error, "a node did not say how far it is");
            None
        }
        Err(error) => {
            tracing::debug!(peer.id = %seen.id, %error, "a node could not be asked how far it is");
            None
        }
    }
}

fn member(seen: NodeView, revision: Option<Version>) -> Member {
    let NodeView { id, state, incarnation, addresses, lease, suspected_by, version, .. } = seen;
    let Addresses { peer, http, grpc, session } = addresses;
    let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
    Member {
        id: id.to_string(),
        state: state.as_str(),
        incarnation: incarnation.map(|life| life.0.to_string()),
        addresses: Reached { http: text(http), peer: text(peer), grpc: text(grpc), session: text(session) },
        lease: match lease {
            Some(LeaseObservation::Held) => "held",
            Some(LeaseObservation::Lapsed) => "lapsed",
            Some(LeaseObservation::Revoked) => "revoked",
            None => "none",
        },
        revision: revision.map(|revision| revision.0),
        suspected_by: suspected_by.iter().map(ToString::to_string).collect(),
        version: version.map(|version| version.to_string()),
    }
}

/// The description of the cluster.
pub(super) fn describe_get() -> Described {
    Described::new("node", "getCluster", "Look at every node of the cluster, as this node sees it")
        .json::<Cluster>(200, "The nodes")
        .refuses(&[ErrorCode::InvalidParameter])
}

/// The description of draining.
pub(super) fn describe_drain() -> Described {
    let summary = "Take this node out of the cluster: readiness goes, held requests are answered, publishes under way \
                   end, the membership is given back; the process runs on and refuses publishes";
    Described::new("node", "drainNode", summary)
        .json::<Drained>(200, "The node has left")
        .refuses(&[ErrorCode::InvalidParameter])
}
