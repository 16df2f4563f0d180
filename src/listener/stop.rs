//! The end of a node in good order. Owns the order: clients are let go before the sockets close, and the membership is
//! given back last.

use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use callboard_actors::conf_manager::CountOpen;
use callboard_actors::runtime::ask;
use callboard_actors::wiring::Node;

use crate::api::draining::Draining;

/// How often a stopping node looks whether it is done.
const LOOK: Duration = Duration::from_millis(10);
/// How long an actor may take to say how much is under way.
const ASK: Duration = Duration::from_secs(1);

/// Takes no more requests, lets held ones answer and publishes under way finish, and gives the membership back.
pub(crate) async fn stop(node: &Node, server: &ServerHandle, draining: &Draining, grace: Duration) {
    let end = Instant::now() + grace;
    draining.drain(node).await;
    // Worker threads end when their last HTTP connection has: the sessions on them have to be over before.
    while draining.sessions() > 0 && Instant::now() < end {
        actix_rt::time::sleep(LOOK).await;
    }
    // Ends when the connections have; whether they do in time is looked at below.
    let stopping = actix_rt::spawn(server.stop(true));
    loop {
        let open = ask(&node.conf_manager, CountOpen, ASK).await.unwrap_or_default();
        let (requests, sessions) = (draining.in_flight(), draining.sessions());
        if open == 0 && requests == 0 && sessions == 0 {
            break;
        }
        if Instant::now() >= end {
            tracing::warn!(publishes = open, requests, sessions, "shutdown.grace is over; what is left is cut off");
            break;
        }
        actix_rt::time::sleep(LOOK).await;
    }
    server.stop(false).await;
    stopping.abort();
    draining.leave(node).await;
}
