//! A conversation is the same however its bytes arrive: one at a time, cut anywhere, all at once, or between those of
//! another.

use anyhow::Result;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::session::{Session, framed, get, hello, key, publish, watch};
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Config, Envelope, Ping, Pong, Publish};
use callboard_protocol::content::Md5;

/// What a client says, and the answers in any order: all questions are about one configuration that nobody changes.
struct Conversation {
    said: Vec<u8>,
    answers: Vec<Envelope>,
}

impl Conversation {
    fn about(version: u64) -> Self {
        let content = "what the conversation is about, long enough to need a length of two bytes".repeat(3);
        let said = [
            framed(1, Kind::Hello(hello("talker"))),
            framed(2, get("a")),
            framed(3, Kind::Ping(Ping { number: u64::MAX })),
            framed(4, Kind::Publish(Publish { note: "no news".to_owned(), ..publish("a", &content) })),
            framed(5, get("never")),
        ];
        let md5 = Md5::of(content.as_bytes()).hex();
        let there = Config { key: Some(key("a")), version, exists: true, md5, r#type: "text".to_owned(), content };
        let never = Config { key: Some(key("never")), ..Config::default() };
        let answers = [(2, Kind::Config(there)), (3, Kind::Pong(Pong { number: u64::MAX })), (5, Kind::Config(never))];
        let answers = answers.map(|(id, kind)| Envelope { id, kind: Some(kind) });
        Self { said: said.concat(), answers: answers.to_vec() }
    }

    /// Publishes what it is about.
    async fn begin(node: &Node) -> Result<Self> {
        let mut writer = Session::open(node.session_address(), "writer").await?;
        let content = "what the conversation is about, long enough to need a length of two bytes".repeat(3);
        Ok(Self::about(writer.publish("a", &content).await?))
    }

    /// Reads the answers and compares them.
    async fn check(&self, session: &mut Session, how: &str) -> Result<()> {
        let mut came = Vec::new();
        for _ in 0..5 {
            came.push(session.expect().await?);
        }
        came.sort_by_key(|envelope| envelope.id);
        let ids: Vec<u64> = came.iter().map(|envelope| envelope.id).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5], "{how}");
        assert!(matches!(&came[0].kind, Some(Kind::Welcome(_))), "{how}: {:?}", came[0]);
        assert!(
            matches!(&came[3].kind, Some(Kind::Published(done)) if done.effect == "unchanged"),
            "{how}: {:?}",
            came[3]
        );
        came.retain(|envelope| !matches!(envelope.id, 1 | 4));
        assert_eq!(came, self.answers, "{how}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_cut_at_every_byte_is_understood() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let conversation = Conversation::begin(&node).await?;
    for cut in 0..=conversation.said.len() {
        let (before, after) = conversation.said.split_at(cut);
        let mut session = Session::connect(node.session_address()).await?;
        session.send_bytes(before).await?;
        // The node reads what came before it gets to see the rest.
        tokio::task::yield_now().await;
        session.send_bytes(after).await?;
        conversation.check(&mut session, &format!("cut at {cut}")).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_comes_a_byte_at_a_time_is_understood() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let conversation = Conversation::begin(&node).await?;
    let mut session = Session::connect(node.session_address()).await?;
    for byte in &conversation.said {
        session.send_bytes(&[*byte]).await?;
        tokio::task::yield_now().await;
    }
    conversation.check(&mut session, "byte by byte").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_half_a_frame_is_not_answered_before_the_frame_is_whole() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "halting").await?;
    for cut in 1..20 {
        let whole = framed(7, Kind::Ping(Ping { number: 1 << 60 }));
        let (before, after) = whole.split_at(cut.min(whole.len() - 1));
        session.send_bytes(before).await?;
        assert_eq!(session.next(std::time::Duration::from_millis(20)).await?, None, "half a frame was answered");
        session.send_bytes(after).await?;
        assert!(matches!(session.answer(7).await?, Kind::Pong(Pong { number }) if number == 1 << 60));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_conversations_at_once_do_not_meet() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let conversation = Conversation::begin(&node).await?;
    let mut one = Session::connect(node.session_address()).await?;
    let mut other = Session::connect(node.session_address()).await?;
    for piece in conversation.said.chunks(7) {
        one.send_bytes(piece).await?;
        other.send_bytes(piece).await?;
    }
    conversation.check(&mut other, "the other").await?;
    conversation.check(&mut one, "the one").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_burst_of_a_hundred_frames_is_answered_whole() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "bursting").await?;
    let burst: Vec<u8> = (1..=100).flat_map(|n| framed(1_000 + n, Kind::Ping(Ping { number: n }))).collect();
    session.send_bytes(&burst).await?;
    for number in 1..=100 {
        let expected = Envelope { id: 1_000 + number, kind: Some(Kind::Pong(Pong { number })) };
        assert_eq!(session.expect().await?, expected);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_finished_sending_in_the_middle_of_a_frame_is_let_go() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "cut-off").await?;
    session.watch(watch(&["a"])).await?;
    session.send_bytes(&framed(9, get("a"))[..5]).await?;
    session.finish_sending().await?;
    assert_eq!(session.rest().await?, []);
    super::words::until_ended(&node, "closed", 1).await?;
    super::words::unharmed(&node).await
}
