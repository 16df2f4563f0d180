//! Nacos over gRPC, as its clients since version 2 speak it: the service, the connections and the forms under the
//! session actor (`callboard_actors::session::grpc`).
//!
//! Reading order: `access` (every class of request and what it needs) · `transport` (a connection) · `counted` (a body
//! on its way in), `early` (what comes before the set-up), `outgoing` (an answer on its way out) · `service` (the two
//! methods) · `request` (what came, as the
//! actor takes it) · `answer` (what is answered and told, as it is sent).
//!
//! It owns the forms of Nacos and nothing else: names, contents and versions follow the same rules, and go to the same
//! actors, as those of the native interface. What gray release needs is read, and refused until it exists.

mod access;
mod answer;
mod counted;
mod early;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod outgoing;
mod request;
mod service;
mod transport;
mod unpacked;

use std::sync::Arc;
use std::time::Duration;

use callboard_actors::session::grpc::{Options, Shared};
use callboard_protocol::session::pace::Allowance;

use self::transport::Door;
pub(crate) use self::transport::{full, needs_tls, serve};
use crate::api::state::State;
use crate::settings::Settings;

/// Longest message, in bytes: ten mebibytes of content, escaped in JSON, and what is around it.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;
/// How long a read may take. Clients give up after three seconds.
const READ: Duration = Duration::from_millis(2_500);
/// How long a publish may take until its outcome counts as unknown. Clients give up after three seconds.
const PUBLISH: Duration = Duration::from_millis(2_500);

/// Every class of request, and what it needs.
#[cfg(test)]
pub(crate) fn accesses() -> Vec<(&'static str, crate::api::access::Access)> {
    access::TABLE.iter().map(|row| (row.class, row.access)).collect()
}

/// What the worker thread of `state` has for clients of Nacos.
pub(crate) fn door(state: &State, settings: &Settings) -> Door {
    let (worker, session) = (&state.worker, &settings.session);
    let options = Options {
        listens: settings.grpc.max_listens,
        allowance: Allowance { frames: session.max_frames, bytes: session.max_bytes.bytes(), work: session.max_work },
        write: session.write_timeout,
        idle: session.idle_timeout,
        read: READ,
        publish: PUBLISH.min(settings.publish.patience()),
        serve_stale: settings.cache.serve_stale,
    };
    let shared = Shared {
        options,
        deps: worker.deps(),
        clock: worker.node.clock.clone(),
        push: worker.node.metrics.push.clone(),
        grpc: worker.node.metrics.grpc.clone(),
    };
    Door {
        shared: Arc::new(shared),
        spec: state.spec_of_many("grpc_session"),
        admission: Arc::clone(&state.shared.admission),
        memory: state.shared.memory.clone(),
        auth: Arc::clone(&state.shared.auth),
        patience: settings.http.body_timeout,
        setting_up: session.hello_timeout,
        stopping: state.shared.draining.stopping(),
    }
}
