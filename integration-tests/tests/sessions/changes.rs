//! Publishing and removing over a session: effects, conditions, repetitions, and what is refused.

use anyhow::Result;
use callboard_integration_tests::node::{Node, NodeOptions};
use callboard_integration_tests::session::{Session, delete, publish};
use callboard_proto::session::envelope::Kind;
use callboard_proto::session::{Condition, Delete, Publish};
use callboard_protocol::content::{MAX_CONTENT, Md5};

fn md5(content: &str) -> String {
    Md5::of(content.as_bytes()).hex()
}

fn at_version(version: u64) -> Option<Condition> {
    Some(Condition { if_version: version, ..Condition::default() })
}

fn at_md5(content: &str) -> Option<Condition> {
    Some(Condition { if_md5: md5(content), ..Condition::default() })
}

fn absent() -> Option<Condition> {
    Some(Condition { if_absent: true, ..Condition::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_says_what_it_did() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "writer").await?;
    let created = session.change(Kind::Publish(publish("a", "one"))).await?;
    assert_eq!((created.effect.as_str(), created.md5.as_str(), created.replayed), ("created", &*md5("one"), false));
    let unchanged = session.change(Kind::Publish(publish("a", "one"))).await?;
    assert_eq!((unchanged.effect.as_str(), unchanged.version), ("unchanged", created.version));
    let typed = Publish { r#type: "yaml".to_owned(), note: "why".to_owned(), ..publish("a", "two: 2") };
    let updated = session.change(Kind::Publish(typed)).await?;
    assert_eq!((updated.effect.as_str(), updated.md5.as_str()), ("updated", &*md5("two: 2")));
    assert!(updated.version > created.version);
    assert_eq!(session.get("a").await?.r#type, "yaml");
    let removed = session.change(Kind::Delete(delete("a"))).await?;
    assert_eq!((removed.effect.as_str(), removed.md5.as_str()), ("removed", ""));
    assert!(removed.version > updated.version);
    let gone = session.get("a").await?;
    assert_eq!((gone.exists, gone.version), (false, removed.version));
    assert_eq!(session.refused(Kind::Delete(delete("a"))).await?.code, "not_found");
    assert_eq!(session.refused(Kind::Delete(delete("never"))).await?.code, "not_found");
    assert_eq!(session.change(Kind::Publish(publish("a", "three"))).await?.effect, "created");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_fails_names_the_present_state_and_writes_nothing() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "writer").await?;
    let born = session.change(Kind::Publish(Publish { condition: absent(), ..publish("a", "one") })).await?.version;
    for condition in [at_version(born + 100), at_md5("other"), absent()] {
        let refused = session.refused(Kind::Publish(Publish { condition: condition.clone(), ..publish("a", "x") }));
        let refused = refused.await?;
        assert_eq!((refused.code.as_str(), refused.version), ("condition_failed", born), "{condition:?}");
        assert_eq!(refused.md5, md5("one"));
    }
    let stale = Kind::Delete(Delete { condition: at_version(born + 100), ..delete("a") });
    assert_eq!(session.refused(stale).await?.code, "condition_failed");
    assert_eq!(session.get("a").await?.content, "one");
    let next = Publish { condition: at_version(born), ..publish("a", "two") };
    let next = session.change(Kind::Publish(next)).await?.version;
    let by_digest = Publish { condition: at_md5("two"), ..publish("a", "three") };
    assert!(session.change(Kind::Publish(by_digest)).await?.version > next);
    let missing = Kind::Publish(Publish { condition: at_version(1), ..publish("never", "x") });
    let missing = session.refused(missing).await?;
    assert_eq!((missing.code.as_str(), missing.version), ("condition_failed", 0));
    let both = Condition { if_version: born, if_absent: true, ..Condition::default() };
    for senseless in [
        Kind::Publish(Publish { condition: Some(both), ..publish("a", "x") }),
        Kind::Delete(Delete { condition: absent(), ..delete("a") }),
    ] {
        assert_eq!(session.refused(senseless).await?.code, "invalid_condition");
    }
    let no_digest = Condition { if_md5: "xyz".to_owned(), ..Condition::default() };
    let no_digest = Kind::Publish(Publish { condition: Some(no_digest), ..publish("a", "x") });
    assert_eq!(session.refused(no_digest).await?.code, "invalid_parameter");
    assert_eq!(session.get("a").await?.content, "three");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_as_before_and_another_one_under_its_key_is_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "writer").await?;
    let once = Publish { idempotency_key: "k1".to_owned(), ..publish("a", "one") };
    let first = session.change(Kind::Publish(once.clone())).await?;
    session.publish("a", "between").await?;
    // From another connection too: the key is of the request, not of the session.
    let mut other = Session::open(node.session_address(), "writer-again").await?;
    let again = other.change(Kind::Publish(once.clone())).await?;
    assert_eq!((again.version, again.effect.as_str(), again.replayed), (first.version, "created", true));
    assert_eq!(other.get("a").await?.content, "between");
    for reused in [
        Kind::Publish(Publish { idempotency_key: "k1".to_owned(), ..publish("a", "two") }),
        Kind::Delete(Delete { idempotency_key: "k1".to_owned(), ..delete("a") }),
    ] {
        assert_eq!(session.refused(reused).await?.code, "idempotency_key_reused");
    }
    let removal = Delete { idempotency_key: "k2".to_owned(), ..delete("a") };
    let removed = session.change(Kind::Delete(removal.clone())).await?;
    let repeated = session.change(Kind::Delete(removal)).await?;
    assert_eq!((repeated.version, repeated.replayed, removed.replayed), (removed.version, true, false));
    let long = Kind::Publish(Publish { idempotency_key: "k".repeat(129), ..publish("a", "x") });
    assert_eq!(session.refused(long).await?.code, "invalid_parameter");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_and_texts_outside_their_rules_are_refused() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "writer").await?;
    let too_long = "x".repeat(MAX_CONTENT + 1);
    for (bad, code) in [
        (publish("a", ""), "invalid_content"),
        (publish("a", " \n\t"), "invalid_content"),
        (publish("a", &too_long), "too_large"),
        (publish("a/b", "x"), "invalid_name"),
        (Publish { key: None, ..publish("a", "x") }, "invalid_parameter"),
        (Publish { r#type: "exe".to_owned(), ..publish("a", "x") }, "invalid_parameter"),
        (Publish { note: "a\0b".to_owned(), ..publish("a", "x") }, "invalid_parameter"),
        (Publish { description: Some("d".repeat(129)), ..publish("a", "x") }, "invalid_parameter"),
    ] {
        assert_eq!(session.refused(Kind::Publish(bad)).await?.code, code);
    }
    assert!(!session.get("a").await?.exists);
    let longest = "x".repeat(MAX_CONTENT);
    session.publish("a", &longest).await?;
    assert_eq!(session.get("a").await?.content, longest);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_a_number_is_not_made() -> Result<()> {
    let node = Node::start(NodeOptions::new()).await?;
    let mut session = Session::open(node.session_address(), "writer").await?;
    session.send(0, Kind::Publish(publish("a", "one"))).await?;
    // Nobody could be told what became of it: the session ends with an error, as every error with number 0 says.
    let refused = session.last_word().await?;
    assert_eq!(refused.code, "malformed_request");
    node.client().get_path("/api/v1/namespaces/public/groups/app/configs/a").send().await?.expect(404)?;
    Ok(())
}
