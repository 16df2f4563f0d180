//! A client is told whatever it does not have, and nothing that it has shown to have.

mod forgetful;

use std::time::Duration;

use proptest::prelude::*;

use super::super::notices::{Notices, Policy, Sending};
use super::*;
use crate::config::{Metadata, SharedState};
use crate::content::Content;
use crate::gray::{ClientIdentity, GrayRules};
use crate::session::client::{ClientId, ClientKind};
use crate::time::WallMillis;

fn at(millis: u64) -> Mono {
    Mono(Duration::from_millis(millis))
}

fn key() -> ConfigKey {
    ConfigKey::new("public", "shop", "prices").expect("it is a legal name")
}

fn state(version: u64, text: Option<&str>) -> SharedState {
    SharedState::new(ConfigState {
        key: key(),
        version: Version(version),
        formal: text.map(|text| Content::new(text.to_owned().into()).expect("it is a content")),
        gray: GrayRules::default(),
        metadata: Metadata::default(),
        created_at: WallMillis(0),
        modified_at: WallMillis(0),
    })
}

fn digest(text: &str) -> Reported {
    Reported::Content(Some(Md5::of(text.as_bytes())))
}

struct Scene {
    listens: Listens,
    outbox: Outbox,
    now: Mono,
}

impl Scene {
    fn new() -> Self {
        let client = Arc::new(Client {
            id: ClientId("c".into()),
            kind: ClientKind::Grpc,
            identity: ClientIdentity::default(),
            software: String::new(),
        });
        Self { listens: Listens::new(client), outbox: Notices::new(Policy::default()), now: at(0) }
    }

    /// Listens with what is held, and is compared with `state`.
    fn listening(reported: Reported, state: &SharedState) -> (Self, bool) {
        let mut scene = Self::new();
        let changed = scene.listen(reported, state);
        (scene, changed)
    }

    fn listen(&mut self, reported: Reported, state: &SharedState) -> bool {
        self.listens.listen(&key(), "", reported);
        let began = self.listens.moment();
        self.listens.compare(self.now, &mut self.outbox, state, began)
    }

    fn changed(&mut self, state: &SharedState) {
        self.listens.changed(self.now, &mut self.outbox, state);
    }

    fn given(&mut self, state: &SharedState, began: Moment) {
        self.listens.given(self.now, &mut self.outbox, state, began);
    }

    fn send(&mut self) -> Option<u64> {
        let Sending { number, subject, .. } = self.outbox.next(self.now)?;
        assert_eq!(subject, Subject::Config(key()));
        assert_eq!(self.listens.sending(&key()), Some(""));
        Some(number)
    }

    fn acknowledge(&mut self, number: u64) {
        if let Some(done) = self.outbox.acknowledge(self.now, number, true)
            && !done.again
        {
            self.listens.acknowledged(self.now, &mut self.outbox, &key(), done.tries);
        }
    }

    fn steps(&mut self) -> Vec<(u64, PushStep)> {
        self.listens.take_steps().into_iter().map(|step| (step.version.0, step.step)).collect()
    }
}

#[test]
fn what_differs_is_told_by_the_answer() {
    for (reported, text, changed) in [
        (digest("a"), Some("a"), false),
        (digest("a"), Some("b"), true),
        (digest("a"), None, true),
        (Reported::Content(None), None, false),
        (Reported::Content(None), Some("a"), true),
        (Reported::Other, Some("a"), true),
        (Reported::Other, None, true),
    ] {
        let (mut scene, is_changed) = Scene::listening(reported, &state(1, text));
        assert_eq!(is_changed, changed, "{reported:?} {text:?}");
        assert_eq!(scene.send(), None);
    }
}

#[test]
fn a_change_is_noticed_acknowledged_and_shown() {
    let (mut scene, _) = Scene::listening(digest("a"), &state(1, Some("a")));
    scene.changed(&state(2, Some("b")));
    let number = scene.send().expect("it is told");
    scene.acknowledge(number);
    scene.given(&state(2, Some("b")), scene.listens.moment());
    assert!(!scene.listen(digest("b"), &state(2, Some("b"))));
    assert_eq!(scene.steps(), [(2, PushStep::Sent), (2, PushStep::Received), (2, PushStep::Applied)]);
    assert_eq!(scene.outbox.wakeup(), None);
    let position = scene.listens.position(&key()).expect("it is listened to");
    assert_eq!(position.holds.map(|mark| mark.version), Some(Version(2)));
}

#[test]
fn a_change_of_what_is_known_besides_is_not_noticed() {
    let (mut scene, _) = Scene::listening(digest("a"), &state(1, Some("a")));
    scene.changed(&state(2, Some("a")));
    assert_eq!(scene.send(), None);
}

#[test]
fn a_change_back_is_noticed_once_the_first_was() {
    let (mut scene, _) = Scene::listening(digest("a"), &state(1, Some("a")));
    scene.changed(&state(2, Some("b")));
    scene.changed(&state(3, Some("a")));
    assert_eq!(scene.send(), None, "nothing was said yet");
    scene.changed(&state(4, Some("b")));
    let number = scene.send().expect("it is told");
    scene.changed(&state(5, Some("a")));
    scene.acknowledge(number);
    assert!(scene.send().is_some(), "it may have asked in between");
    assert_eq!(scene.steps().last(), Some(&(5, PushStep::Sent)));
}

#[test]
fn an_answer_that_overtakes_a_notice_is_made_good() {
    let (mut scene, _) = Scene::listening(digest("a"), &state(1, Some("a")));
    scene.changed(&state(2, Some("b")));
    let first = scene.send().expect("it is told");
    scene.acknowledge(first);
    // The answer to its question leaves, then comes the next change: its notice arrives before the answer was taken in.
    scene.given(&state(2, Some("b")), scene.listens.moment());
    scene.changed(&state(3, Some("c")));
    let second = scene.send().expect("it is told");
    scene.acknowledge(second);
    assert_eq!(scene.send(), None, "it has time to ask");
    scene.now = at(1_000);
    let third = scene.send().expect("it has not asked");
    scene.given(&state(3, Some("c")), scene.listens.moment());
    scene.acknowledge(third);
    assert_eq!(scene.outbox.wakeup(), None, "now it has");
}

#[test]
fn a_first_notice_that_is_overlooked_is_told_again_after_a_second() {
    let (mut scene, _) = Scene::listening(Reported::Content(None), &state(0, None));
    scene.changed(&state(1, Some("a")));
    let number = scene.send().expect("it is told");
    scene.acknowledge(number);
    scene.now = at(999);
    assert_eq!(scene.send(), None);
    scene.now = at(1_000);
    let again = scene.send().expect("it has not asked");
    scene.acknowledge(again);
    // It has asked by another connection: all that is seen of it is its report.
    assert!(!scene.listen(digest("a"), &state(1, Some("a"))));
    assert_eq!(scene.outbox.wakeup(), None);
}

#[test]
fn an_old_answer_is_made_good() {
    let (mut scene, _) = Scene::listening(digest("a"), &state(1, Some("a")));
    let began = scene.listens.moment();
    scene.changed(&state(2, Some("b")));
    let number = scene.send().expect("it is told");
    scene.acknowledge(number);
    scene.given(&state(1, Some("a")), began);
    assert!(scene.send().is_some());
}

#[test]
fn a_client_that_does_not_listen_to_the_answer_is_told_again() {
    let (mut scene, changed) = Scene::listening(digest("a"), &state(2, Some("b")));
    assert!(changed);
    scene.now = at(1_999);
    assert_eq!(scene.send(), None);
    scene.now = at(2_000);
    assert!(scene.send().is_some());
    let (mut scene, _) = Scene::listening(digest("a"), &state(2, Some("b")));
    scene.given(&state(2, Some("b")), scene.listens.moment());
    scene.now = at(9_000);
    assert_eq!(scene.send(), None, "it has asked");
}

#[test]
fn a_read_is_right_about_what_a_database_has_lost() {
    let (mut scene, _) = Scene::listening(digest("b"), &state(5, Some("b")));
    let began = scene.listens.moment();
    scene.listens.recheck(scene.now, &mut scene.outbox, &state(4, Some("a")), began);
    assert!(scene.send().is_some());
    scene.listens.recheck(scene.now, &mut scene.outbox, &state(4, Some("a")), began);
    assert_eq!(scene.outbox.len(), 1, "it was told that already");
}

#[test]
fn a_query_of_another_part_of_the_client_takes_no_notice_away() {
    let (mut scene, _) = Scene::listening(digest("a"), &state(1, Some("a")));
    // The answer is there before the news.
    scene.given(&state(2, Some("b")), scene.listens.moment());
    scene.changed(&state(2, Some("b")));
    let number = scene.send().expect("the part that listens is told");
    scene.given(&state(2, Some("b")), scene.listens.moment());
    scene.acknowledge(number);
    assert_eq!(scene.outbox.wakeup(), None, "and no more often");
    // A notice that waits for the connection is not taken away either.
    scene.changed(&state(3, Some("c")));
    scene.given(&state(3, Some("c")), scene.listens.moment());
    assert!(scene.send().is_some());
}

#[test]
fn who_asked_in_vain_is_told_again_once_things_are_right() {
    let (mut scene, _) = Scene::listening(digest("a"), &state(1, Some("a")));
    scene.changed(&state(2, Some("b")));
    let number = scene.send().expect("it is told");
    scene.acknowledge(number);
    scene.listens.given_old(&state(1, Some("a")));
    let began = scene.listens.moment();
    scene.listens.recheck(scene.now, &mut scene.outbox, &state(2, Some("b")), began);
    scene.now = at(1_000);
    assert!(scene.send().is_some());
}

#[test]
fn who_does_not_listen_any_longer_is_told_nothing() {
    let (mut scene, _) = Scene::listening(digest("a"), &state(1, Some("a")));
    scene.changed(&state(2, Some("b")));
    let Scene { listens, outbox, .. } = &mut scene;
    assert!(listens.unlisten(&key(), outbox) && !listens.unlisten(&key(), outbox));
    assert_eq!(outbox.next(at(0)), None);
    scene.changed(&state(3, Some("c")));
    scene.given(&state(3, Some("c")), scene.listens.moment());
    assert!(!scene.listen(Reported::Content(None), &state(4, None)), "it is new again");
}

/// What a client of the simplest kind may do between changes.
#[derive(Debug, Clone)]
enum Act {
    Publish(Option<u8>),
    Deliver,
    Answer,
    Report,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        prop::option::of(0..3_u8).prop_map(Act::Publish),
        Just(Act::Deliver),
        Just(Act::Answer),
        Just(Act::Report),
    ];
    prop::collection::vec(act, 0..40)
}

proptest! {
    /// Whatever the order of changes, notices, questions and reports: a client that asks after each notice that it
    /// takes in, and overlooks those that come while an answer is on its way, ends with what is there.
    #[test]
    fn every_client_ends_with_what_is_there(acts in acts()) {
        let text = |content: &Option<u8>| content.map(|content| content.to_string());
        let (mut version, mut content) = (1, None);
        let (mut scene, _) = Scene::listening(Reported::Content(None), &state(1, None));
        // What the client has, and the answer that is on its way to it.
        let (mut has, mut coming): (Option<u8>, Option<Option<u8>>) = (None, None);
        let calm = std::iter::repeat_n([Act::Deliver, Act::Answer], 12).flatten();
        let mut steps = 0;
        for act in acts.into_iter().chain(calm) {
            steps += 1;
            match act {
                Act::Publish(next) => {
                    version += 1;
                    content = next;
                    scene.changed(&state(version, text(&next).as_deref()));
                }
                Act::Deliver => {
                    let wakeup = scene.outbox.wakeup().filter(|wakeup| *wakeup > scene.now);
                    if let Some(wakeup) = wakeup {
                        // No answer is on its way for seconds.
                        has = coming.take().unwrap_or(has);
                        scene.now = wakeup;
                    }
                    if let Some(number) = scene.send() {
                        scene.acknowledge(number);
                        if coming.is_none() {
                            scene.given(&state(version, text(&content).as_deref()), scene.listens.moment());
                            coming = Some(content);
                        }
                    }
                }
                Act::Answer => has = coming.take().unwrap_or(has),
                Act::Report => {
                    let reported = Reported::Content(text(&has).map(|text| Md5::of(text.as_bytes())));
                    let is_changed = scene.listen(reported, &state(version, text(&content).as_deref()));
                    prop_assert_eq!(is_changed, has != content);
                    if is_changed && coming.is_none() {
                        scene.given(&state(version, text(&content).as_deref()), scene.listens.moment());
                        coming = Some(content);
                    }
                }
            }
        }
        prop_assert_eq!(has, content, "after {} steps", steps);
    }
}
