//! How long a session lives: silence ends it, signs of life keep it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::session::{Session, hello};
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Envelope, Ping, Pong};

use super::words::{unharmed, until_ended};

const IDLE: Duration = Duration::from_millis(900);

async fn impatient() -> Result<Node> {
    Node::start(NodeOptions::new().flag("session-idle-timeout", "900ms")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_pinged_and_then_closed() -> Result<()> {
    let node = impatient().await?;
    let began = Instant::now();
    let mut session = Session::open(node.session_address(), "silent").await?;
    let rest = session.rest().await?;
    assert!(began.elapsed() >= IDLE, "closed after {:?}", began.elapsed());
    let Some((Envelope { id: 0, kind: Some(Kind::Error(error)) }, pings)) = rest.split_last() else {
        bail!("no last word: {rest:?}")
    };
    assert_eq!(error.code, "session_idle");
    let numbers = pings.iter().map(|ping| match ping {
        Envelope { id: 0, kind: Some(Kind::Ping(Ping { number })) } => *number,
        other => panic!("{other:?}"),
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2], "a ping at each third");
    until_ended(&node, "session_idle", 1).await?;
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_answers_pings_stays() -> Result<()> {
    let node = impatient().await?;
    let mut session = Session::open(node.session_address(), "heart").await?;
    let began = Instant::now();
    for expected in 1..=8 {
        let Envelope { id: 0, kind: Some(Kind::Ping(Ping { number })) } = session.expect().await? else {
            bail!("something else than a ping")
        };
        assert_eq!(number, expected);
        session.send(0, Kind::Pong(Pong { number })).await?;
    }
    assert!(began.elapsed() > 2 * IDLE, "pinged too often: {:?}", began.elapsed());
    assert_eq!(session.get("a").await?.version, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pings_is_answered_and_stays() -> Result<()> {
    let node = impatient().await?;
    let mut session = Session::open(node.session_address(), "heart").await?;
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < 2 * IDLE {
        number += 1;
        assert!(matches!(session.ask(Kind::Ping(Ping { number })).await?, Kind::Pong(pong) if pong.number == number));
        // The pause between two heartbeats is what is tested.
        assert_eq!(session.next(IDLE / 6).await?, None, "nobody has to be asked");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_frame_is_no_sign_of_life() -> Result<()> {
    let node = impatient().await?;
    let mut session = Session::open(node.session_address(), "dribbler").await?;
    // A long frame that never becomes whole, a byte at each ping.
    session.send_bytes(&[0xff, 0x7f]).await?;
    loop {
        match session.expect().await? {
            Envelope { id: 0, kind: Some(Kind::Ping(_)) } => session.send_bytes(&[0x08]).await?,
            Envelope { id: 0, kind: Some(Kind::Error(error)) } => {
                assert_eq!(error.code, "session_idle");
                break;
            }
            other => bail!("unexpected: {other:?}"),
        }
    }
    assert_eq!(session.rest().await?, []);
    unharmed(&node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_no_hello_in_time_is_told_so() -> Result<()> {
    let node = impatient().await?;
    let mut session = Session::connect(node.session_address()).await?;
    // A ping could not be answered before hello: none comes.
    let rest = session.rest().await?;
    assert!(
        matches!(&rest[..], [Envelope { id: 0, kind: Some(Kind::Error(error)) }] if error.code == "hello_late"),
        "{rest:?}"
    );
    until_ended(&node, "hello_late", 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_comes_slowly_but_in_time_is_welcomed() -> Result<()> {
    let node = impatient().await?;
    let mut session = Session::connect(node.session_address()).await?;
    let frame = callboard_integration_tests::session::framed(1, Kind::Hello(hello("slow")));
    let (first, second) = frame.split_at(4);
    session.send_bytes(first).await?;
    // Longer than a third of the silence that is allowed: other sessions are pinged by now.
    assert_eq!(session.next(IDLE / 2).await?, None);
    session.send_bytes(second).await?;
    assert!(matches!(session.answer(1).await?, Kind::Welcome(_)));
    Ok(())
}
