//! What a node sends in a session, message by message.

use std::time::Duration;

use callboard_proto::session as wire;
use callboard_proto::session::Envelope;
use callboard_proto::session::envelope::Kind;
use tokio::time::Instant;
use tracing::debug;

use super::{Pending, Session};
use crate::config::Config;
use crate::error::{Error, Verdict, judge, text};
use crate::held::Fetched;
use crate::key::{ConfigKey, Target};
use crate::registry::Outgoing;

/// Pause before a watch or a content is asked for again, when the node does not name one.
const AGAIN: Duration = Duration::from_millis(500);

impl Session {
    /// Takes one message. Returns the word that the node goes away.
    ///
    /// # Errors
    /// Why the session ends.
    pub(super) fn take(&mut self, message: Envelope) -> Result<Option<wire::GoAway>, String> {
        let Envelope { id, kind } = message;
        match kind {
            Some(Kind::Push(push)) => {
                debug!(config.version = push.version, reset = push.reset, "pushed");
                self.shared.change(|registry| registry.pushed(push));
            }
            Some(Kind::Ping(wire::Ping { number })) => {
                self.send(id, Kind::Pong(wire::Pong { number }));
            }
            Some(Kind::Pong(_)) => {}
            Some(Kind::GoAway(go_away)) => return Ok(Some(go_away)),
            Some(Kind::Error(error)) if id == 0 => {
                return Err(format!("the node ended the session ({}): {}", text(&error.code), text(&error.message)));
            }
            answer => self.answered(id, answer),
        }
        Ok(None)
    }

    fn answered(&mut self, id: u64, answer: Option<Kind>) {
        match self.pending.remove(&id) {
            // Not asked for, or of a kind that nobody knows yet: to be skipped.
            None | Some(Pending::Unwatch) => {}
            // The program may have stopped waiting.
            Some(Pending::Caller(caller)) => drop(caller.send(answer)),
            Some(Pending::Watch { targets, number }) => self.watch_answered(targets, number, answer),
            Some(Pending::Fetch { key, number }) => self.fetch_answered(key, number, answer),
        }
    }

    fn watch_answered(&mut self, targets: Vec<Target>, number: u64, answer: Option<Kind>) {
        let error = match answer {
            Some(Kind::Watching(_)) => {
                self.shared.change(|registry| registry.watching(&targets, number));
                return;
            }
            Some(Kind::Error(error)) => match judge(error) {
                Verdict::Again { after, .. } => {
                    self.say_again(after, Outgoing::Watch { targets, number });
                    return;
                }
                // A fault of the server may pass.
                Verdict::Final(Error::Refused { code, .. }) if code == "internal" => {
                    self.say_again(None, Outgoing::Watch { targets, number });
                    return;
                }
                Verdict::Final(error) => error,
            },
            Some(_) | None => Error::Unexpected,
        };
        debug!(%error, "a watch was refused");
        self.shared.change(|registry| registry.watch_refused(&targets, number, &error));
    }

    fn fetch_answered(&mut self, key: ConfigKey, number: u64, answer: Option<Kind>) {
        let after = match answer {
            Some(Kind::Config(config)) => {
                let config = Config::from_answer(key.clone(), config);
                match self.shared.change(|registry| registry.fetched(number, config)) {
                    Fetched::Taken(_) | Fetched::Ignored => return,
                    Fetched::TooOld => None,
                }
            }
            Some(Kind::Error(error)) => match judge(error) {
                Verdict::Again { after, .. } => after,
                // It was pushed a moment ago: whatever the fault is, it may pass.
                Verdict::Final(error) => {
                    debug!(config.key = %key, %error, "the content of a push can't be had");
                    None
                }
            },
            Some(_) | None => None,
        };
        self.say_again(after, Outgoing::Fetch { key, number });
    }

    fn say_again(&mut self, after: Option<Duration>, outgoing: Outgoing) {
        let id = self.next_id();
        self.later.insert((Instant::now() + after.unwrap_or(AGAIN), id), outgoing);
    }
}
