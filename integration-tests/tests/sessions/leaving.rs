//! A node that stops or leaves: it says so, answers what is under way, and closes in good time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::session::{Session, framed, get, hello, publish, watch};
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Envelope, GoAway};
use reqwest::Method;

use super::words::until_ended;

/// What a stop takes at most when nothing hangs: clients have 3 s to go.
const GOOD_TIME: Duration = Duration::from_secs(12);

fn is_go_away(envelope: &Envelope) -> bool {
    matches!(envelope, Envelope { id: 0, kind: Some(Kind::GoAway(GoAway { reason, .. })) } if !reason.is_empty())
}

/// Reads up to the word that the node goes; what came before it.
async fn until_sent_away(session: &mut Session) -> Result<Vec<Envelope>> {
    let mut before = Vec::new();
    loop {
        let envelope = session.expect().await?;
        if is_go_away(&envelope) {
            return Ok(before);
        }
        before.push(envelope);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_is_under_way_and_lets_everybody_go() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "busy").await?;
    let mut idle = Session::open(node.session_address(), "idle").await?;
    session.watch(watch(&["a"])).await?;
    let publishes = (1_000..1_060).map(|id| framed(id, Kind::Publish(publish("a", &format!("content {id}")))));
    session.send_bytes(&publishes.collect::<Vec<_>>().concat()).await?;
    session.answer(1_000).await?;
    node.ask_to_stop()?;
    let mut came = until_sent_away(&mut session).await?;
    assert!(until_sent_away(&mut idle).await?.is_empty());
    // New changes are refused, questions are answered.
    let refused = session.refused(Kind::Publish(publish("a", "too late"))).await?;
    assert_eq!(refused.code, "shutting_down");
    assert!(session.get("a").await?.exists);
    came.extend(session.rest().await?);
    let mut answered = 1;
    for id in 1_001..1_060 {
        let kind = came.iter().find(|envelope| envelope.id == id).and_then(|envelope| envelope.kind.as_ref());
        match kind {
            Some(Kind::Published(_)) => answered += 1,
            Some(Kind::Error(error)) => assert_eq!(error.code, "shutting_down", "{id}"),
            other => panic!("request {id} was answered {other:?}"),
        }
    }
    assert!(answered > 1, "nothing was under way");
    assert!(idle.rest().await?.is_empty());
    assert!(node.ended(GOOD_TIME).await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clients_go_at_once_stops_at_once() -> Result<()> {
    let mut node = Node::start(NodeOptions::new()).await?;
    let mut sessions = Vec::new();
    for n in 0..20 {
        let mut session = Session::open(node.session_address(), &format!("obedient-{n}")).await?;
        session.watch(watch(&["a"])).await?;
        sessions.push(session);
    }
    let began = Instant::now();
    node.ask_to_stop()?;
    for session in &mut sessions {
        until_sent_away(session).await?;
    }
    drop(sessions);
    assert!(node.ended(GOOD_TIME).await?.success());
    assert!(began.elapsed() < GOOD_TIME);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_on_asking_is_let_go_all_the_same() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "stubborn").await?;
    let drain = node.client().request(Method::POST, "/api/v1/cluster/drain");
    drain.send().await?.expect(200)?;
    until_sent_away(&mut session).await?;
    let began = Instant::now();
    // Always several under way, so that something is owed at any time.
    let (mut asked, mut answered) = (0, 0);
    let ended = loop {
        while asked < answered + 20 {
            asked += 1;
            // It may have been closed by now; what was answered before is still there.
            drop(session.send(10_000 + asked, get("a")).await);
        }
        match session.next(GOOD_TIME).await {
            Ok(Some(Envelope { kind: Some(Kind::Config(_)), .. })) => answered += 1,
            Ok(other) => panic!("{other:?}"),
            Err(ended) => break ended,
        }
        assert!(began.elapsed() < GOOD_TIME, "it still goes on after {answered} answers");
    };
    assert!(answered > 0, "{ended}");
    until_ended(&node, "drained", 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_sends_its_clients_away_and_takes_no_new_ones() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let client = node.client();
    let mut session = Session::open(node.session_address(), "client").await?;
    let mut early = Session::connect(node.session_address()).await?;
    session.watch(watch(&["a"])).await?;
    session.publish("a", "one").await?;
    session.push().await?;
    client.request(Method::POST, "/api/v1/cluster/drain").send().await?.expect(200)?;
    assert!(until_sent_away(&mut session).await?.is_empty());
    assert_eq!(session.refused(Kind::Publish(publish("a", "two"))).await?.code, "shutting_down");
    assert_eq!(session.get("a").await?.content, "one");
    // Whoever came before and says hello now, and whoever comes now, is told the same.
    early.send(1, Kind::Hello(hello("early"))).await?;
    assert_eq!(early.last_word().await?.code, "shutting_down");
    let mut late = Session::connect(node.session_address()).await?;
    assert_eq!(late.last_word().await?.code, "shutting_down");
    // It is left alone once it had time to go.
    let rest = session.rest().await?;
    assert!(rest.is_empty(), "{rest:?}");
    until_ended(&node, "drained", 1).await?;
    let upgrade = client.get_path("/api/v1/session").send().await?.expect(503)?;
    assert_eq!(upgrade.code(), "shutting_down");
    client.get_path("/healthz").send().await?.expect(200).context("it still lives")?;
    Ok(())
}
