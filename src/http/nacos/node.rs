//! What clients and tools look at before they trust a server: health, version, the members of the cluster, as this node
//! sees them. Asks, never repairs.

use actix_web::http::StatusCode;
use callboard_actors::clock::{Clock as _, SystemClock};
use callboard_protocol::content::MAX_CONTENT;
use serde_json::{Value, json};

use super::super::State;
use super::super::access::Call;
use super::super::cluster::{self, NacosMember};
use super::super::health::Readiness;
use super::Answer;
use super::answer::{TEXT, bare, enveloped, word};
use super::fault::Fault;
use super::parameters::Parameters;

/// The version of Nacos that this interface is as good as.
const VERSION: &str = "2.5.1";
const DAY: u64 = 24 * 60 * 60;

/// `GET` of the liveness.
pub(in crate::http) async fn live(_call: Call) -> Answer {
    Ok(word(TEXT, "OK"))
}

/// `GET` of the readiness.
pub(in crate::http) async fn ready(call: Call) -> Answer {
    match unready(&call.state).await {
        None => Ok(word(TEXT, "OK")),
        Some(reason) => Err(Fault::caused(StatusCode::INTERNAL_SERVER_ERROR, reason)),
    }
}

/// `GET` of the health of the part that serves configurations.
pub(in crate::http) async fn up(call: Call) -> Answer {
    Ok(word(TEXT, if unready(&call.state).await.is_none() { "UP" } else { "DOWN" }))
}

/// `GET` of the figures of a part that is not there; scripts look at the status.
pub(in crate::http) async fn metrics(call: Call) -> Answer {
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
pub(in crate::http) async fn state(call: Call) -> Answer {
    let mode = if call.state.worker.node.gossip.is_some() { "cluster" } else { "standalone" };
    bare(&json!({
        "version": VERSION,
        "startup_mode": mode,
        "function_mode": Value::Null,
        "server_port": call.state.shared.address.port().to_string(),
        "auth_enabled": "false",
        "auth_system_type": "nacos",
        "auth_admin_request": "false",
        "login_page_enabled": "false",
        "console_ui_enabled": "false",
        "config_retention_days": (call.state.shared.limits.history.as_secs() / DAY).to_string(),
        "maxContent": MAX_CONTENT.to_string(),
        "defaultMaxSize": MAX_CONTENT.to_string(),
    }))
}

/// `GET` of the members of the cluster.
pub(in crate::http) async fn members(call: Call) -> Answer {
    let parameters = Parameters::of_query(&call.request)?;
    let keyword = parameters.filled("keyword").unwrap_or_default();
    let known = known(&call.state).await;
    let meant = known.iter().filter(|known| known.address.to_string().contains(keyword));
    enveloped(meant.map(member).collect::<Vec<_>>())
}

/// `GET` of the member that answers.
pub(in crate::http) async fn this_member(call: Call) -> Answer {
    let known = known(&call.state).await;
    let own = known.iter().find(|known| known.is_self);
    enveloped(own.map_or_else(|| member(&alone(&call.state)), member))
}

/// `GET` of the addresses of the members.
pub(in crate::http) async fn addresses(call: Call) -> Answer {
    enveloped(known(&call.state).await.iter().map(|known| known.address.to_string()).collect::<Vec<_>>())
}

/// Every member. A node that knows of nobody knows itself.
async fn known(state: &State) -> Vec<NacosMember> {
    let mut known = cluster::for_nacos(&state.worker.node).await;
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
pub(in crate::http) async fn member_health(_call: Call) -> Answer {
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
