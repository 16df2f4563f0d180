//! Changes that a client makes: handed over once, and answered with what became of them.

use callboard_protocol::publish::PublishOutcome;
use callboard_protocol::write_request::{Effect, KeyOutcome, Refusal, WriteOutcome};

use super::super::message::Make;
use super::*;

fn make() -> Entered<Make> {
    entered(Make(Box::new((*testbed::put("a", "x")).clone())))
}

/// Makes a change that comes out so: what the client is answered.
async fn make_with(outcome: PublishOutcome) -> Result<(), Fault> {
    let mut testbed = Testbed::start().await;
    let _stream = testbed.joined().await;
    let making = testbed.ask(make());
    let (Publish { reply, .. }, _) = testbed.publishes.next().await;
    reply.send(outcome).unwrap();
    making.await.unwrap().unwrap()
}

#[test]
fn a_change_is_handed_over_in_the_name_of_the_client_and_answered_when_it_is_done() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let _stream = testbed.joined().await;
        let making = testbed.ask(make());
        let (Publish { unit, reply }, _) = testbed.publishes.next().await;
        assert_eq!((unit.items[0].key.clone(), unit.origin.client_id.as_deref()), (key("a"), Some("c")));
        settle().await;
        assert!(!making.is_finished());
        let done = KeyOutcome { version: Version(7), md5: Some(Md5::of(b"x")), effect: Effect::Created };
        reply.send(PublishOutcome::Settled(WriteOutcome::Done { items: vec![done], replayed: false })).unwrap();
        making.await.unwrap().unwrap().unwrap();
    });
}

#[test]
fn a_change_that_was_not_made_is_answered_with_why() {
    run(async || {
        let refused =
            make_with(PublishOutcome::Settled(WriteOutcome::Refused(Refusal::NotFound { key: key("a") }))).await;
        assert!(matches!(refused, Err(Fault::Refused(Refusal::NotFound { .. }))), "{refused:?}");
        let busy = make_with(PublishOutcome::Busy).await;
        assert!(matches!(busy, Err(Fault::Busy)), "{busy:?}");
    });
}

#[test]
fn a_change_of_which_nothing_is_heard_in_time_may_have_been_made() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let _stream = testbed.joined().await;
        let making = testbed.ask(make());
        let (Publish { unit, reply }, _) = testbed.publishes.next().await;
        advance(PUBLISH - TICK).await;
        assert!(!making.is_finished());
        advance(2 * TICK).await;
        let unknown = making.await.unwrap().unwrap();
        assert!(matches!(&unknown, Err(Fault::Unknown(id)) if *id == unit.request_id), "{unknown:?}");
        drop(reply);
    });
}

#[test]
fn a_node_that_leaves_takes_no_more_changes() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let _stream = testbed.joined().await;
        query(&testbed.coordinator, Drain(Arc::from([]))).await;
        settle().await;
        let refused = testbed.ask(make()).await.unwrap().unwrap();
        assert!(matches!(refused, Err(Fault::Leaving)), "{refused:?}");
        testbed.publishes.none().await;
    });
}
