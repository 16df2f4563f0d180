//! Requests and their answers.

use std::time::Duration;

use callboard_client::{Client, Condition, ConfigKey, Delete, Effect, Error, List, Publish};
use callboard_proto::frame;
use callboard_proto::session as wire;
use callboard_proto::session::Envelope;
use callboard_proto::session::envelope::Kind;
use futures_util::TryStreamExt as _;

use crate::fake::{FakeNode, Peer, config, connect, error, key, options, within};

fn published(version: u64) -> Kind {
    Kind::Published(wire::Published { version, md5: "aa".into(), effect: "updated".into(), ..Default::default() })
}

async fn next_publish(peer: &mut Peer) -> (u64, wire::Publish) {
    match peer.next().await {
        (id, Kind::Publish(publish)) => (id, publish),
        other => panic!("no publish: {other:?}"),
    }
}

#[tokio::test]
async fn the_hello_says_who_the_client_is_and_the_welcome_which_node_it_is() {
    let node = FakeNode::start().await;
    let mut options = options(&[&node]);
    options.application = "shop".into();
    options.labels = [("zone".into(), "b".into())].into();
    options.credentials = "secret".into();
    let client = Client::connect(options).expect("valid options");
    let (_peer, hello) = node.session().await;
    assert_eq!((hello.client_id.as_str(), hello.application.as_str()), ("test-client", "shop"));
    assert_eq!((hello.credentials.as_str(), hello.min_version, hello.max_version), ("secret", 1, 1));
    assert_eq!(hello.labels.get("zone").map(String::as_str), Some("b"));
    let ready = client.ready(Duration::from_secs(5)).await.expect("a session");
    assert_eq!((ready.address.as_str(), ready.http.as_str()), (node.address.as_str(), "127.0.0.1:80"));
    assert_eq!(client.node(), Some(ready));
}

#[tokio::test]
async fn answers_find_their_requests_in_whatever_order_they_come() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let names = ["a", "b", "c"];
    let asked: Vec<_> = names
        .map(|name| {
            let client = client.clone();
            tokio::spawn(async move { client.get(&ConfigKey::public("shop", name)).await })
        })
        .into();
    let mut requests = Vec::new();
    for _ in names {
        let (id, Kind::Get(get)) = peer.next().await else { panic!("no get") };
        requests.push((id, get.key.expect("a key").data_id));
    }
    for (id, name) in requests.into_iter().rev() {
        let version = u64::from(name.as_bytes()[0]);
        peer.send(id, config(version)).await;
    }
    for (name, asked) in names.iter().zip(asked) {
        let config = within(asked).await.expect("no panic").expect("an answer");
        assert_eq!((config.version, config.key.data_id()), (u64::from(name.as_bytes()[0]), *name));
    }
}

#[tokio::test]
async fn a_missing_configuration_is_an_answer() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let key = key();
    let (config, ()) = tokio::join!(within(client.get(&key)), async {
        let (id, _) = peer.next().await;
        peer.send(id, Kind::Config(wire::Config::default())).await;
    });
    assert!(!config.expect("an answer").exists());
}

#[tokio::test]
async fn a_publish_carries_what_was_asked_for() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let publish = Publish::new(&key(), "x")
        .kind("yaml")
        .condition(Condition::IfVersion(4))
        .note("why")
        .description("what")
        .idempotency_key("mine");
    let (outcome, sent) = tokio::join!(within(client.publish(publish)), async {
        let (id, publish) = next_publish(&mut peer).await;
        peer.send(id, published(5)).await;
        publish
    });
    let outcome = outcome.expect("published");
    assert_eq!((outcome.version, outcome.effect, outcome.replayed), (5, Effect::Updated, false));
    assert_eq!((sent.content.as_str(), sent.r#type.as_str(), sent.idempotency_key.as_str()), ("x", "yaml", "mine"));
    assert_eq!((sent.note.as_str(), sent.description.as_deref()), ("why", Some("what")));
    assert_eq!(sent.condition.map(|condition| condition.if_version), Some(4));
}

#[tokio::test]
async fn a_publish_is_repeated_with_the_same_idempotency_key_after_the_connection_is_cut() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let publishing = tokio::spawn(async move { client.publish(Publish::new(&key(), "x")).await });
    let (_, first) = next_publish(&mut peer).await;
    assert!(!first.idempotency_key.is_empty());
    drop(peer);
    let (mut peer, _) = node.session().await;
    let (id, second) = next_publish(&mut peer).await;
    assert_eq!(first, second);
    peer.send(id, published(5)).await;
    assert_eq!(within(publishing).await.expect("no panic").expect("published").version, 5);
}

#[tokio::test]
async fn a_request_is_repeated_while_a_node_can_not_serve_it() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let publishing = tokio::spawn(async move { client.publish(Publish::new(&key(), "x")).await });
    let mut keys = Vec::new();
    for code in ["unavailable", "overloaded", "shutting_down", "outcome_unknown"] {
        let (id, publish) = next_publish(&mut peer).await;
        keys.push(publish.idempotency_key);
        peer.send(id, error(code)).await;
    }
    let (id, publish) = next_publish(&mut peer).await;
    assert!(keys.iter().all(|key| *key == publish.idempotency_key));
    peer.send(id, published(5)).await;
    assert!(within(publishing).await.expect("no panic").is_ok());
}

#[tokio::test]
async fn a_publish_without_an_answer_in_time_has_an_unknown_outcome() {
    let node = FakeNode::start().await;
    let mut options = options(&[&node]);
    options.request_timeout = Duration::from_millis(500);
    let client = Client::connect(options).expect("valid options");
    let (mut peer, _) = node.session().await;
    let publish = Publish::new(&key(), "x").idempotency_key("mine");
    let (outcome, _) = tokio::join!(within(client.publish(publish)), next_publish(&mut peer));
    assert_eq!(outcome, Err(Error::OutcomeUnknown { request_id: "mine".into() }));
    let read = within(client.get(&key())).await;
    assert!(matches!(read, Err(Error::Unreachable { .. })), "{read:?}");
}

#[tokio::test]
async fn a_publish_that_never_left_was_not_made() {
    let node = FakeNode::start().await;
    let mut options = options(&[&node]);
    options.connect_timeout = Duration::from_millis(50);
    options.request_timeout = Duration::from_millis(200);
    let client = Client::connect(options).expect("valid options");
    let outcome = within(client.publish(Publish::new(&key(), "x"))).await;
    assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
}

#[tokio::test]
async fn errors_of_a_node_are_told_as_what_they_are() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let failed = wire::Error { code: "condition_failed".into(), version: 9, md5: "bb".into(), ..Default::default() };
    for (answer, expected) in [
        (Kind::Error(failed), Error::ConditionFailed { version: 9, md5: "bb".into() }),
        (error("not_found"), Error::NotFound),
        (error("too_large"), Error::Invalid { code: "too_large".into(), message: "as the test has it".into() }),
        (error("internal"), Error::Refused { code: "internal".into(), message: "as the test has it".into() }),
        (Kind::Watching(wire::Watching {}), Error::Unexpected),
    ] {
        let (outcome, ()) = tokio::join!(within(client.delete(Delete::new(&key()))), async {
            let (id, _) = peer.next().await;
            peer.send(id, answer).await;
        });
        assert_eq!(outcome, Err(expected));
    }
}

#[tokio::test]
async fn a_request_longer_than_a_frame_is_refused_and_harms_nothing() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let outcome = within(client.publish(Publish::new(&key(), "x".repeat(17 << 20)))).await;
    assert!(matches!(outcome, Err(Error::Invalid { ref code, .. }) if code == "too_large"), "{outcome:?}");
    peer.settle().await;
}

#[tokio::test]
async fn a_listing_follows_its_pages() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let listing = client.list_all(List { group: "shop".into(), limit: 2, ..List::default() });
    let (items, ()) = tokio::join!(within(listing.try_collect::<Vec<_>>()), async {
        for (cursor, names, next) in [("", ["a", "b"], "2"), ("2", ["c", "d"], "")] {
            let (id, Kind::List(list)) = peer.next().await else { panic!("no list") };
            assert_eq!((list.namespace.as_str(), list.group.as_str(), list.limit), ("public", "shop", 2));
            assert_eq!(list.cursor, cursor);
            let items = names.map(|name| wire::Summary {
                key: Some(ConfigKey::public("shop", name)).map(|key| wire::Key {
                    namespace: key.namespace().into(),
                    group: key.group().into(),
                    data_id: key.data_id().into(),
                }),
                ..wire::Summary::default()
            });
            peer.send(id, Kind::Page(wire::Page { items: items.into(), next: next.into() })).await;
        }
    });
    let names: Vec<_> = items.expect("all pages").iter().map(|item| item.key.data_id().to_owned()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn no_more_than_sixty_four_requests_are_under_way() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get(&key()).await })
        })
        .collect();
    let mut ids = Vec::new();
    for _ in 0..64 {
        ids.push(peer.next().await.0);
    }
    peer.settle().await;
    for answered in 0..100 {
        peer.send(ids[answered], config(5)).await;
        if ids.len() < 100 {
            ids.push(peer.next().await.0);
        }
    }
    for asked in asked {
        assert!(within(asked).await.expect("no panic").is_ok());
    }
}

#[tokio::test]
async fn frames_come_in_any_pieces_and_what_is_unknown_is_skipped() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    // An envelope of the kind 99, which nobody knows: a length, a tag of two bytes, and an empty message.
    peer.send_bytes(&[3, 0x9a, 0x06, 0x00]).await;
    let asking = tokio::spawn(async move { client.get(&key()).await });
    let (id, _) = peer.next().await;
    let frame = frame::encode(&Envelope { id, kind: Some(config(5)) }).expect("short enough");
    for byte in frame {
        peer.send_bytes(&[byte]).await;
    }
    assert_eq!(within(asking).await.expect("no panic").expect("an answer").version, 5);
}

#[tokio::test]
async fn an_answer_of_an_unknown_kind_is_an_error() {
    let node = FakeNode::start().await;
    let client = connect(&[&node]);
    let (mut peer, _) = node.session().await;
    let asking = tokio::spawn(async move { client.get(&key()).await });
    let (id, _) = peer.next().await;
    let id = u8::try_from(id).expect("one of the first");
    peer.send_bytes(&[5, 0x08, id, 0x9a, 0x06, 0x00]).await;
    assert_eq!(within(asking).await.expect("no panic"), Err(Error::Unexpected));
}

#[tokio::test]
async fn a_shown_client_shows_no_secret() {
    let node = FakeNode::start().await;
    let mut options = options(&[&node]);
    options.credentials = "secret".into();
    let client = Client::connect(options).expect("valid options");
    assert!(!format!("{client:?}").contains("secret"));
}
