//! Patterns that a client watches: registered first, searched second, told third.

use super::super::message::{UnwatchPattern, WatchPattern};
use super::*;
use crate::cache::ReadFailure;
use crate::store;

const TEXT: &str = "public>>g>>a*";

fn watch_pattern() -> Entered<WatchPattern> {
    let (pattern, received) = (Pattern::parse(TEXT).unwrap(), [].into());
    entered(WatchPattern { text: TEXT.to_owned(), pattern, is_initial: true, received })
}

fn found(data_ids: &[&str]) -> Result<store::Found, ReadFailure> {
    let page: Vec<_> = data_ids.iter().map(|data_id| (key(data_id), 1)).collect();
    Ok(store::Found { total: page.len() as u64, page })
}

impl Testbed {
    /// Watches the pattern, which matches these; the client takes in all that it is told.
    async fn watch(&mut self, stream: &mut ClientStream, data_ids: &[&str]) {
        let watching = self.ask(watch_pattern());
        self.search.answer(|_| found(data_ids)).await;
        watching.await.unwrap().unwrap().unwrap();
        while !stream.received().await.is_empty() {
            self.send(stream, StreamMessage::Acknowledged(stream.last, true));
        }
    }
}

#[test]
fn a_pattern_is_registered_first_and_searched_second_and_what_matches_is_told() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        let watching = testbed.ask(watch_pattern());
        let (SearchConfigs { search: asked, .. }, reply) = testbed.search.next().await;
        assert_eq!((asked.namespace.as_str(), asked.group), ("public", store::Pattern::Exactly("g".to_owned())));
        assert_eq!(asked.data_id, store::Pattern::Wildcard("a*".to_owned()));
        assert_eq!(testbed.watches().await, 1, "registered before it is searched");
        reply.send(found(&["a1", "a2"])).unwrap();
        assert_eq!(watching.await.unwrap().unwrap().unwrap(), 2);
        assert_eq!(stream.received().await, ["Batch(1): a1 true a2 true"]);
        testbed.send(&stream, StreamMessage::Acknowledged(stream.last, true));
        assert_eq!(stream.received().await, ["Finish:"]);
        testbed.send(&stream, StreamMessage::Acknowledged(stream.last, true));
        assert_eq!(testbed.pass(&mut stream, 60).await, []);
    });
}

#[test]
fn what_comes_and_goes_that_a_pattern_matches_is_told() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        testbed.watch(&mut stream, &[]).await;
        testbed.publish("b", 1, "x").await;
        assert_eq!(stream.received().await, [""; 0], "it does not match");
        testbed.publish("a1", 2, "x").await;
        assert_eq!(stream.received().await, ["a1 is there"]);
        testbed.send(&stream, StreamMessage::Acknowledged(stream.last, true));
        testbed.publish("a1", 3, "y").await;
        assert_eq!(stream.received().await, [""; 0], "it was there before");
        testbed.publish("a1", 4, "").await;
        assert_eq!(stream.received().await, ["a1 is gone"]);
    });
}

#[test]
fn a_pattern_that_is_not_watched_any_longer_is_not_told() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        testbed.watch(&mut stream, &["a1"]).await;
        assert!(query(&testbed.session, entered(UnwatchPattern(TEXT.to_owned()))).await.is_some());
        assert_eq!(testbed.watches().await, 0);
        testbed.publish("a2", 1, "x").await;
        assert_eq!(stream.received().await, [""; 0]);
    });
}

#[test]
fn a_pattern_is_refused_and_not_watched_that_could_not_be_searched() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        let watching = testbed.ask(watch_pattern());
        testbed.search.answer(|_| Err(ReadFailure::TimedOut)).await;
        let refused = watching.await.unwrap().unwrap();
        assert!(matches!(refused, Err(Fault::Read(ReadFailure::TimedOut))), "{refused:?}");
        assert_eq!(testbed.watches().await, 0);
        testbed.publish("a1", 1, "x").await;
        assert_eq!(stream.received().await, [""; 0]);
    });
}

#[test]
fn a_pattern_is_refused_and_not_watched_that_the_coordinator_has_no_room_for() {
    run(async || {
        let mut testbed = Testbed::with_watches(0).await;
        let _stream = testbed.joined().await;
        let refused = testbed.ask(watch_pattern()).await.unwrap().unwrap();
        assert!(matches!(refused, Err(Fault::Watch(WatchRefused::Full))), "{refused:?}");
        testbed.search.none().await;
        assert_eq!(testbed.clients().await[0].prefixes, []);
    });
}

#[test]
fn a_pattern_that_two_requests_ask_for_is_watched_when_one_of_them_could_not_be_searched() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        let (first, second) = (testbed.ask(watch_pattern()), testbed.ask(watch_pattern()));
        testbed.search.answer(|_| Err(ReadFailure::TimedOut)).await;
        testbed.search.answer(|_| found(&[])).await;
        let answers = [first.await.unwrap().unwrap(), second.await.unwrap().unwrap()];
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        assert_eq!(testbed.watches().await, 1);
        stream.received().await;
        testbed.publish("a1", 1, "x").await;
        assert!(
            stream.received().await.contains(&"a1 is there".to_owned()),
            "who was told that it is watched hears of it"
        );
    });
}

#[test]
fn a_pattern_is_refused_to_every_request_for_it_that_the_coordinator_has_no_room_for() {
    run(async || {
        let testbed = Testbed::with_watches(0).await;
        let _stream = testbed.joined().await;
        let both = [testbed.ask(watch_pattern()), testbed.ask(watch_pattern())];
        for asked in both {
            let refused = asked.await.unwrap().unwrap();
            assert!(matches!(refused, Err(Fault::Watch(WatchRefused::Full))), "{refused:?}");
        }
        assert_eq!(testbed.clients().await[0].prefixes, []);
    });
}

#[test]
fn what_a_pattern_matches_is_searched_again_when_changes_may_have_been_missed() {
    run(async || {
        let mut testbed = Testbed::start().await;
        let mut stream = testbed.joined().await;
        testbed.watch(&mut stream, &["a1"]).await;
        testbed.bus.do_send(event_bus::Publish(ConfigEvent::Recheck));
        testbed.search.answer(|_| Err(ReadFailure::TimedOut)).await;
        advance(RETRY).await;
        testbed.search.answer(|_| found(&["a2"])).await;
        assert_eq!(stream.received().await, ["a1 is gone", "a2 is there"]);
    });
}
