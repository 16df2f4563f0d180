//! What clients and tools look at before they trust a server: health, version, the members of the cluster, as this node
//! sees them. Asks, never repairs.

use std::net::SocketAddr;

use callboard_actors::clock::{Clock as _, SystemClock};
use callboard_actors::cluster_listener::ClusterView;
use callboard_actors::wiring::Node;
use callboard_protocol::content::MAX_CONTENT;
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::membership_view::NodeState;
use serde_json::{Value, json};

use crate::api::cluster::view;
use crate::api::readiness::Readiness;
use crate::api::state::State;
use crate::http::route::Call;
use crate::nacos::http::Answer;
use crate::nacos::http::answer::{TEXT, bare, enveloped, word};
use crate::nacos::http::fault::Fault;
use crate::nacos::http::parameters::Parameters;

/// The version of Nacos that this interface is as good as.
const VERSION: &str = "2.5.1";
const DAY: u64 = 24 * 60 * 60;

/// `GET` of the liveness.
pub(super) async fn live(_call: Call) -> Answer {
    Ok(word(TEXT, "OK"))
}

/// `GET` of the readiness.
pub(super) async fn ready(call: Call) -> Answer {
    match unready(&call.state).await {
        None => Ok(word(TEXT, "OK")),
        Some(reason) => Err(Fault::caused(ErrorCode::Internal, reason)),
    }
}

/// `GET` of the health of the part that serves configurations.
pub(super) async fn up(call: Call) -> Answer {
    Ok(word(TEXT, if unready(&call.state).await.is_none() { "UP" } else { "DOWN" }))
}

/// `GET` of the figures of a part that is not there; scripts look at the status.
pub(super) async fn metrics(call: Call) -> Answer {
    bare(&json!({ "status": if unready(&call.state).await.is_none() { "UP" } else { "DOWN" } }))
}

/// Why the node can't serve everything at present.
pub(super) async fn unready(state: &State) -> Option<String> {
    match state.shared.draining.refuse_new() {
        Err(_stopping) => Some("the server is stopping".to_owned()),
        Ok(()) => Readiness::of(state).await.refusal(),
    }
}

/// `GET` of what kind of server this is: a flat object of texts.
pub(super) async fn state(call: Call) -> Answer {
    let mode = if call.state.worker.node.gossip.is_some() { "cluster" } else { "standalone" };
    let auth = &call.state.shared.auth;
    let known = call.state.worker.node.access.borrow().clone();
    let wants_administrator = auth.is_on() && known.is_some_and(|known| known.administrators().next().is_none());
    bare(&json!({
        "version": VERSION,
        "startup_mode": mode,
        "function_mode": Value::Null,
        "server_port": call.state.shared.address.port().to_string(),
        "auth_enabled": auth.is_on().to_string(),
        "auth_system_type": "nacos",
        "auth_admin_request": wants_administrator.to_string(),
        "login_page_enabled": "false",
        "console_ui_enabled": "false",
        "config_retention_days": (call.state.shared.options.history.as_secs() / DAY).to_string(),
        "maxContent": MAX_CONTENT.to_string(),
        "defaultMaxSize": MAX_CONTENT.to_string(),
    }))
}

/// `GET` of the members of the cluster.
pub(super) async fn members(call: Call) -> Answer {
    let parameters = Parameters::of_query(&call.request)?;
    let keyword = parameters.filled("keyword").unwrap_or_default();
    let known = known(&call.state).await;
    let meant = known.iter().filter(|known| known.address.to_string().contains(keyword));
    enveloped(meant.map(member).collect::<Vec<_>>())
}

/// `GET` of the member that answers.
pub(super) async fn this_member(call: Call) -> Answer {
    let known = known(&call.state).await;
    let own = known.iter().find(|known| known.is_self);
    enveloped(own.map_or_else(|| member(&alone(&call.state)), member))
}

/// `GET` of the addresses of the members.
pub(super) async fn addresses(call: Call) -> Answer {
    enveloped(known(&call.state).await.iter().map(|known| known.address.to_string()).collect::<Vec<_>>())
}

/// Every member. A node that knows of nobody knows itself.
async fn known(state: &State) -> Vec<NacosMember> {
    let mut known = taking_part(&state.worker.node).await;
    if known.is_empty() {
        known.push(alone(state));
    }
    known
}

/// The node that answers, when the roster does not say where it is asked.
fn alone(state: &State) -> NacosMember {
    NacosMember { is_self: true, address: state.shared.address, state: "UP", version: None }
}

/// `GET` of how the member that answers is.
pub(super) async fn member_health(_call: Call) -> Answer {
    enveloped("UP")
}

fn member(known: &NacosMember) -> Value {
    let NacosMember { address, state, version, .. } = known;
    let version = version.as_deref().unwrap_or(VERSION);
    json!({
        "ip": address.ip().to_string(),
        "port": address.port(),
        "state": state,
        "extendInfo": { "lastRefreshTime": SystemClock.wall().0, "readyToUpgrade": true, "version": version },
        "address": address.to_string(),
        "failAccessCnt": 0,
        "abilities": {
            "remoteAbility": { "supportRemoteConnection": false, "grpcReportEnabled": false },
            "configAbility": { "supportRemoteMetrics": false },
            "namingAbility": { "supportJraft": false },
        },
        "grpcReportEnabled": false,
    })
}

/// A node as Nacos tells of it.
#[derive(Debug)]
struct NacosMember {
    /// It is the node that answers.
    is_self: bool,
    /// Where it is asked.
    address: SocketAddr,
    /// Its state in Nacos's words.
    state: &'static str,
    /// The version of its program, as far as known.
    version: Option<String>,
}

/// The nodes that take part.
async fn taking_part(node: &Node) -> Vec<NacosMember> {
    let Ok(ClusterView { node: me, nodes }) = view(node).await else { return Vec::new() };
    let known = nodes.into_iter().filter_map(|seen| {
        let state = match seen.state {
            NodeState::Joining => "STARTING",
            NodeState::Up | NodeState::Leaving => "UP",
            NodeState::Suspect => "SUSPICIOUS",
            NodeState::Down => "DOWN",
            NodeState::Removed => return None,
        };
        let version = seen.version.map(|version| version.to_string());
        Some(NacosMember { is_self: seen.id == me, address: seen.addresses.http?, state, version })
    });
    known.collect()
}
