//! What may be said in which state, what is owed, and what ends a conversation.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::config::Version;
use crate::gray::ClientIdentity;
use crate::session::client::{ClientId, ClientKind};
use crate::session::pushes::Read;

const RULES: Rules = Rules { versions: Versions { min: 1, max: 2 }, keys: 3, watches: 2, requests: 2 };

type Talk = Conversation<&'static str, u32>;

fn client() -> Client {
    let (id, identity) = (ClientId("c".into()), ClientIdentity::default());
    Client { id, kind: ClientKind::Tcp, identity, software: String::new() }
}

fn hello() -> Hello {
    Hello { client: client(), versions: Versions { min: 2, max: 9 }, held: Vec::new() }
}

fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("public", "g", data_id).unwrap()
}

fn of(data_id: &str) -> Selector {
    Selector::of_key(&key(data_id))
}

fn state(data_id: &str, version: u64) -> Arc<ConfigState> {
    let formal = Some(Content::new(Bytes::from_static(b"x")).unwrap());
    Arc::new(ConfigState { formal, ..ConfigState::absent(key(data_id), Version(version)) })
}

fn seating() -> Talk {
    let mut talk = Talk::new(RULES);
    talk.greet(7, hello()).unwrap();
    talk
}

fn open() -> Talk {
    let mut talk = seating();
    assert_eq!(talk.connected(), Some((7, 2)));
    talk
}

fn ended() -> Talk {
    let mut talk = open();
    assert!(talk.end("last"));
    talk
}

fn pushes(talk: &mut Talk) -> &mut Pushes {
    talk.pushes_mut().unwrap()
}

/// Watches a key and reads that it is at this version.
fn watch(talk: &mut Talk, id: u64, data_id: &str, version: u64) {
    let new = talk.begin_watch(&[of(data_id)]).unwrap();
    assert_eq!(talk.registered(new.into_iter().map(|selector| (selector, 1))), []);
    talk.end_change();
    pushes(talk).watch(id, &[of(data_id)], true);
    assert_eq!(pushes(talk).next_read(), Some(Read::Keys(vec![key(data_id)])));
    pushes(talk).read_keys(&[state(data_id, version)]);
}

/// What is said, without the contents.
fn said(talk: &mut Talk) -> Vec<String> {
    let outbound = talk.next_outbound().into_iter().map(|message| match message {
        Outbound::Push(outgoing, _) => format!("{} at {}", outgoing.state.key.data_id(), outgoing.state.version),
        Outbound::Watching(id) => format!("watching {id}"),
        Outbound::Answer(answer) => answer.to_owned(),
    });
    outbound.collect()
}

#[test]
fn what_is_done_about_a_message_depends_on_the_state_and_on_its_number() {
    use Message::{Hello, Malformed, Request, Unusable};
    use Verdict::{End, Greet, Refuse, Serve, Skip};
    let cases = [
        (Hello, [Greet, Greet, Refuse(Some(Breach::HelloAgain)), Skip]),
        (Request, [End(Some(Breach::HelloExpected)), End(Some(Breach::HelloExpected)), Serve, Serve]),
        (Malformed, [End(None), End(None), Refuse(None), End(None)]),
        (Unusable, [End(None), End(None), Refuse(None), Skip]),
    ];
    for (message, [greeting, greeting_unnumbered, numbered, unnumbered]) in cases {
        assert_eq!(Talk::new(RULES).judge(message, true), greeting, "{message:?}");
        assert_eq!(Talk::new(RULES).judge(message, false), greeting_unnumbered, "{message:?}");
        assert_eq!(open().judge(message, true), numbered, "{message:?}");
        assert_eq!(open().judge(message, false), unnumbered, "{message:?}");
        for is_numbered in [true, false] {
            assert_eq!((seating().judge(message, is_numbered), ended().judge(message, is_numbered)), (Skip, Skip));
        }
    }
}

#[test]
fn a_hello_that_breaks_a_rule_leaves_the_conversation_where_it_was() {
    let mut talk = Talk::new(RULES);
    let foreign = Hello { versions: Versions { min: 3, max: 4 }, ..hello() };
    assert_eq!(talk.greet(1, foreign), Err(Breach::Versions(RULES.versions)));
    let mark = Mark { version: Version(1), md5: None };
    let held = ["a", "b", "c", "d"].map(|data_id| (key(data_id), mark)).to_vec();
    assert_eq!(talk.greet(1, Hello { held, ..hello() }), Err(Breach::TooManyKeys(3)));
    assert_eq!((talk.hello_is_late(), talk.client().is_none()), (Some(Breach::HelloLate), true));
    talk.greet(1, hello()).unwrap();
    assert_eq!((talk.hello_is_late(), talk.client().is_some()), (None, true));
}

#[test]
fn what_is_held_besides_counts_as_what_the_hello_named() {
    let mut talk = open();
    let held = |names: &[&str]| {
        let mark = Mark { version: Version(1), md5: None };
        names.iter().map(|name| (key(name), mark)).collect::<Vec<_>>()
    };
    pushes(&mut talk).watch(1, &[of("a"), of("b"), of("c")], true);
    talk.hold(held(&["a", "b"])).unwrap();
    talk.hold(held(&["c"])).unwrap();
    assert_eq!(talk.hold(held(&["d"])), Err(Breach::TooManyKeys(3)));
    assert_eq!((ended().hold(held(&["a"])), Talk::new(RULES).hold(held(&["a"]))), (Ok(()), Ok(())));
}

#[test]
fn a_client_is_welcomed_once_however_often_it_takes_its_seat() {
    let mut talk = Talk::new(RULES);
    assert_eq!(talk.connected(), None, "it has said nothing");
    let mut talk = open();
    assert_eq!((talk.connected(), talk.is_open()), (None, true));
    let mut talk = ended();
    assert_eq!((talk.connected(), talk.is_ending()), (None, true));
}

#[test]
fn nothing_is_read_while_as_much_is_owed_as_may_be() {
    assert!(Talk::new(RULES).may_read() && !seating().may_read() && open().may_read() && !ended().may_read());
    let mut talk = open();
    talk.begin();
    assert!(talk.may_read());
    talk.begin();
    assert!(!talk.may_read());
    talk.settle("one", 10);
    assert!(talk.may_read());
    talk.owe("long", MAX_OWED_BYTES);
    assert!(!talk.may_read());
    assert_eq!(said(&mut talk), ["one", "long"]);
    assert!(talk.may_read());
}

#[test]
fn nothing_is_read_while_what_is_watched_is_being_changed() {
    let mut talk = open();
    assert_eq!(talk.begin_watch(&[of("a"), of("a")]), Ok(vec![of("a")]), "named twice, registered once");
    assert!(!talk.may_read());
    talk.registered([(of("a"), 1)]);
    assert!(!talk.may_read(), "there may be more");
    talk.end_change();
    assert!(talk.may_read());
    talk.settle("watched", 1);
    talk.begin_unwatch();
    assert!(!talk.may_read());
    talk.end_change();
    assert!(talk.may_read());
    assert_eq!(talk.begin_watch_again(), [of("a")]);
    assert!(!talk.may_read());
}

#[test]
fn no_more_is_watched_than_may_be_and_what_nobody_watches_is_taken_back() {
    let mut talk = open();
    assert_eq!(talk.begin_watch(&[of("a"), of("b"), of("c")]), Err(Breach::TooManyWatches(2)));
    talk.begin_watch(&[of("a"), of("b")]).unwrap();
    talk.end_change();
    assert_eq!(talk.begin_watch(&[of("a"), of("b")]).unwrap().len(), 2, "one was refused");
    assert_eq!(talk.registered([(of("a"), 2)]), []);
    assert_eq!(talk.registered([(of("b"), 3)]), []);
    talk.end_change();
    assert_eq!(talk.begin_watch(&[of("a"), of("c")]), Err(Breach::TooManyWatches(2)));
    assert_eq!(talk.begin_watch(&[of("a")]), Ok(vec![]), "it is watched already");
    assert_eq!(talk.unwatch(&[of("a"), of("c")]), [2]);
    talk.end("last");
    assert_eq!(talk.registered([(of("c"), 4)]), [4], "nobody watches any more");
}

#[test]
fn pushes_come_before_the_word_that_a_watch_is_complete_and_that_before_answers() {
    let mut talk = open();
    talk.owe("pong", 1);
    watch(&mut talk, 5, "a", 3);
    assert_eq!(said(&mut talk), ["a at 3", "watching 5", "pong"]);
    assert_eq!(said(&mut talk), [""; 0]);
    assert_eq!(talk.standing(), ("open", [1, 0, 0, 0]), "the watch is no longer under way");
}

#[test]
fn a_client_that_reads_slowly_gets_the_newest_state_of_a_key_alone() {
    let mut talk = open();
    watch(&mut talk, 5, "a", 3);
    said(&mut talk);
    for version in 4..40 {
        pushes(&mut talk).offer(&state("a", version));
    }
    assert_eq!(said(&mut talk), ["a at 39"]);
}

#[test]
fn nothing_follows_a_last_word_and_nothing_that_was_owed_precedes_it() {
    let mut talk = open();
    watch(&mut talk, 5, "a", 3);
    talk.owe("pong", 1);
    talk.begin();
    assert!(talk.end("last") && !talk.end("another"));
    talk.settle("late", 1);
    talk.owe("later", 1);
    assert!(talk.pushes().is_none() && talk.client().is_none());
    assert_eq!(said(&mut talk), ["last"]);
    assert_eq!((talk.gone("closed"), talk.linger()), (None, Linger::Stop));
}

#[test]
fn a_client_that_is_sent_away_gets_what_is_under_way_and_is_let_go() {
    let mut talk = open();
    talk.begin();
    assert!(talk.send_away("go away") && !talk.send_away("again"));
    assert!(talk.may_read() && talk.is_sent_away(), "it may still take back, and read");
    assert_eq!((talk.linger(), talk.may_read()), (Linger::Wait, false));
    assert_eq!(said(&mut talk), ["go away"]);
    assert_eq!(talk.linger(), Linger::Wait, "an answer is not known yet");
    talk.settle("answer", 1);
    assert_eq!(talk.linger(), Linger::Wait, "it was not said yet");
    assert_eq!(said(&mut talk), ["answer"]);
    assert_eq!((talk.linger(), talk.is_ending(), talk.linger()), (Linger::Close, true, Linger::Stop));
}

#[test]
fn a_client_that_goes_because_it_was_sent_away_counts_as_drained() {
    assert_eq!(open().gone("closed"), Some("closed"));
    assert_eq!(Talk::new(RULES).gone("broken"), Some("broken"));
    let mut talk = seating();
    assert!(talk.send_away("go away"), "it is connected, and was not welcomed yet");
    assert_eq!((talk.connected(), said(&mut talk)), (Some((7, 2)), vec!["go away".to_owned()]));
    assert_eq!(talk.gone("closed"), Some(DRAINED));
}

#[test]
fn what_was_pushed_and_not_answered_is_lost_with_the_seat() {
    assert!(Talk::new(RULES).lost().is_none());
    assert_eq!(seating().lost().map(|(_, pushes)| pushes.unanswered().count()), Some(0));
    let mut talk = open();
    watch(&mut talk, 5, "a", 3);
    said(&mut talk);
    talk.end("last");
    let (lost, pushes) = talk.lost().unwrap();
    assert_eq!(*lost.id.0, *"c");
    assert_eq!(pushes.unanswered().collect::<Vec<_>>(), [(&key("a"), Version(3))]);
}

#[derive(Debug, Clone)]
enum Step {
    Judge(usize, bool),
    Connect,
    Begin,
    Settle,
    Say,
    Watch(usize),
    Register(bool),
    SendAway,
    Linger,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize, any::<bool>()).prop_map(|(message, is_numbered)| Step::Judge(message, is_numbered)),
        4 => Just(Step::Connect),
        4 => Just(Step::Begin),
        4 => Just(Step::Settle),
        4 => Just(Step::Say),
        3 => (0..3_usize).prop_map(Step::Watch),
        3 => any::<bool>().prop_map(Step::Register),
        1 => Just(Step::SendAway),
        1 => Just(Step::Linger),
        1 => Just(Step::End),
    ]
}

/// A conversation that is driven as its contract says, and what it has to keep in mind.
struct Testbed {
    talk: Talk,
    under_way: usize,
    registering: Option<Vec<Selector>>,
    held: BTreeSet<u32>,
    given: u32,
    last_words: usize,
}

impl Testbed {
    fn step(&mut self, step: Step) {
        let was_ending = self.talk.is_ending();
        match step {
            Step::Judge(message, is_numbered) => self.judge(message, is_numbered),
            Step::Connect => {
                self.talk.connected();
            }
            Step::Begin if self.talk.is_open() && self.talk.may_read() => {
                self.talk.begin();
                self.under_way += 1;
            }
            Step::Settle if self.under_way > usize::from(self.registering.is_some()) => {
                self.under_way -= 1;
                self.talk.settle("answer", 1);
            }
            Step::Say => {
                let outbound = self.talk.next_outbound();
                self.last_words +=
                    outbound.iter().filter(|message| matches!(message, Outbound::Answer("last"))).count();
                assert!(
                    !was_ending || outbound.iter().all(|message| *message == Outbound::Answer("last")),
                    "said after the end"
                );
            }
            Step::Watch(which) if self.talk.is_open() && self.talk.may_read() => {
                self.registering = self.talk.begin_watch(&[of(["a", "b", "c"][which])]).ok().inspect(|_| {
                    self.under_way += 1;
                });
            }
            Step::Register(is_taken) => self.register(is_taken),
            Step::SendAway => {
                self.talk.send_away("go away");
            }
            Step::Linger => {
                let before = self.under_way;
                if self.talk.linger() == Linger::Close && !was_ending {
                    assert_eq!(before, 0, "let go with a request under way");
                }
            }
            Step::End => {
                assert_eq!(self.talk.end("last"), !was_ending);
            }
            Step::Begin | Step::Settle | Step::Watch(_) => {}
        }
        assert!(!was_ending || self.talk.is_ending(), "an end is an end");
        assert!(self.last_words <= 1, "more than one last word");
    }

    fn judge(&mut self, message: usize, is_numbered: bool) {
        let message = [Message::Hello, Message::Request, Message::Malformed, Message::Unusable][message];
        match self.talk.judge(message, is_numbered) {
            Verdict::Greet => assert!(self.talk.greet(1, hello()).is_ok()),
            Verdict::Serve => assert!(self.talk.is_open()),
            Verdict::Refuse(_) => assert!(is_numbered, "an answer to nothing"),
            Verdict::Skip | Verdict::End(_) => {}
        }
    }

    fn register(&mut self, is_taken: bool) {
        let Some(selectors) = self.registering.take() else { return };
        let watches: Vec<_> = selectors.into_iter().zip(self.given..).collect();
        self.given += 1;
        self.held.extend(watches.iter().filter(|_| is_taken).map(|(_, watch)| watch));
        for watch in self.talk.registered(watches.into_iter().filter(|_| is_taken)) {
            assert!(self.held.remove(&watch), "taken back twice");
        }
        self.talk.end_change();
        self.under_way -= 1;
        self.talk.settle("watched", 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_conversation_ends_once_and_keeps_no_watch_that_nobody_knows(steps in prop::collection::vec(step(), 1..80)) {
        let held = BTreeSet::new();
        let talk = Talk::new(RULES);
        let mut testbed = Testbed { talk, under_way: 0, registering: None, held, given: 0, last_words: 0 };
        for step in steps {
            testbed.step(step);
            if !testbed.talk.is_ending() {
                let (_, [watches, _, under_way, _]) = testbed.talk.standing();
                prop_assert_eq!((watches, under_way), (testbed.held.len(), testbed.under_way));
                prop_assert!(watches <= RULES.watches && under_way <= RULES.requests);
            }
        }
    }
}
