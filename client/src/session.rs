//! One session with one node: the hello, and what goes to and fro until it ends. Owns the connection, the requests
//! that are under way on it, and its heartbeat. What pushes mean is decided by the [`Registry`](crate::registry).

mod answers;
mod ending;
mod opening;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use callboard_proto::session as wire;
use callboard_proto::session::Envelope;
use callboard_proto::session::envelope::Kind;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

pub(crate) use self::ending::Rest;
pub(crate) use self::opening::{OpenError, open};
use crate::connection::{Reader, Writer};
use crate::heartbeat::{Beat, Heartbeat};
use crate::key::{ConfigKey, Target};
use crate::registry::{Outgoing, Registry};
use crate::request::Request;
use crate::shared::Shared;

/// Requests under way from which on it is looked whether anybody still waits for them.
const MANY_PENDING: usize = 1_000;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Nobody uses the client any more.
    Stopped,
    /// The node goes away, and names others.
    Away {
        /// Where the others are reached.
        nodes: Vec<String>,
        /// What is still under way.
        rest: Rest,
    },
    /// The connection can't be used any more, for this reason.
    Lost(String),
}

/// Who waits for an answer.
#[derive(Debug)]
enum Pending {
    /// The program.
    Caller(oneshot::Sender<Option<Kind>>),
    /// The watches.
    Watch { targets: Vec<Target>, number: u64 },
    /// Nobody.
    Unwatch,
    /// A push without its content.
    Fetch { key: ConfigKey, number: u64 },
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    shared: Arc<Shared>,
    reader: Reader,
    writer: Writer,
    pending: HashMap<u64, Pending>,
    last_id: u64,
    heartbeat: Heartbeat,
    /// What has to be said again, and when.
    later: BTreeMap<(Instant, u64), Outgoing>,
}

impl Session {
    /// Goes on until the session ends. Requests that were not answered are given up then: dropping them tells.
    pub(crate) async fn run(
        mut self,
        requests: &mut mpsc::UnboundedReceiver<Request>,
        stop: &mut oneshot::Receiver<()>,
    ) -> Ended {
        loop {
            match self.read_messages() {
                Ok(None) => {}
                Ok(Some(go_away)) => return self.leave(go_away),
                Err(reason) => return Ended::Lost(reason),
            }
            self.say_what_waits();
            let due = self.due();
            let went = tokio::select! {
                _ = &mut *stop => {
                    self.part().await;
                    return Ended::Stopped;
                }
                filled = self.reader.fill() => filled.map(|()| self.heartbeat.heard(Instant::now())),
                written = self.writer.write(), if self.writer.is_waiting() => written,
                Some(request) = requests.recv(), if self.writer.has_room() => {
                    self.request(request);
                    Ok(())
                }
                () = self.shared.outgoing.notified() => Ok(()),
                () = sleep_until(due) => Ok(()),
            };
            if let Err(broken) = went {
                return Ended::Lost(broken.to_string());
            }
            if let Err(reason) = self.beat() {
                return Ended::Lost(reason);
            }
        }
    }

    /// Takes every message that is there as a whole; the word that the node goes away ends it.
    fn read_messages(&mut self) -> Result<Option<wire::GoAway>, String> {
        while let Some(message) = self.reader.message().map_err(|broken| broken.to_string())? {
            if let Some(go_away) = self.take(message)? {
                return Ok(Some(go_away));
            }
        }
        Ok(None)
    }

    fn beat(&mut self) -> Result<(), String> {
        match self.heartbeat.beat(Instant::now()) {
            Beat::Wait => {}
            Beat::Ping(number) => {
                let id = self.next_id();
                self.send(id, Kind::Ping(wire::Ping { number }));
            }
            Beat::Dead => return Err("the node fell silent".to_owned()),
        }
        Ok(())
    }

    /// When to look again, though nothing happens.
    fn due(&self) -> Instant {
        let later = self.later.first_key_value().map(|((due, _), _)| *due);
        later.map_or(self.heartbeat.due(), |later| later.min(self.heartbeat.due()))
    }

    /// Says what the registry wants said, and what is due again.
    fn say_what_waits(&mut self) {
        let now = Instant::now();
        while let Some(again) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let outgoing = again.remove();
            self.say_outgoing(outgoing);
        }
        for outgoing in self.shared.look(Registry::take_outgoing) {
            self.say_outgoing(outgoing);
        }
    }

    fn say_outgoing(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Watch { targets, number } => {
                let (keys, prefixes) = split(&targets);
                self.expect(Kind::Watch(wire::Watch { keys, prefixes }), Pending::Watch { targets, number });
            }
            // A node that knows no such word skips it, and pushes what is then dropped.
            Outgoing::Hold(held) => drop(self.send(0, Kind::Hold(wire::Hold { held }))),
            Outgoing::Unwatch(targets) => {
                let (keys, prefixes) = split(&targets);
                self.expect(Kind::Unwatch(wire::Unwatch { keys, prefixes }), Pending::Unwatch);
            }
            Outgoing::Fetch { key, number } => {
                let get = wire::Get { key: Some(key.to_wire()) };
                self.expect(Kind::Get(get), Pending::Fetch { key, number });
            }
            Outgoing::Acknowledge { key, version, outcome } => {
                debug!(config.key = %key, config.version = version, applied = outcome.is_ok(), "acknowledged");
                let key = Some(key.to_wire());
                self.send(
                    0,
                    match outcome {
                        Ok(()) => Kind::Applied(wire::Applied { key, version }),
                        Err(reason) => Kind::Rejected(wire::Rejected { key, version, reason }),
                    },
                );
            }
        }
    }

    /// Sends what the program asks for, unless it does not wait any more.
    fn request(&mut self, request: Request) {
        if request.answer.is_closed() {
            return;
        }
        let id = self.next_id();
        if self.send(id, request.message) {
            request.was_sent.store(true, Ordering::Release);
            if self.pending.len() >= MANY_PENDING {
                self.pending.retain(|_, pending| !matches!(pending, Pending::Caller(caller) if caller.is_closed()));
            }
            self.pending.insert(id, Pending::Caller(request.answer));
        } else {
            let error = wire::Error {
                code: "too_large".to_owned(),
                message: "the request is longer than a frame can be".to_owned(),
                ..wire::Error::default()
            };
            // The program may have stopped waiting.
            drop(request.answer.send(Some(Kind::Error(error))));
        }
    }

    fn expect(&mut self, message: Kind, pending: Pending) {
        let id = self.next_id();
        if self.send(id, message) {
            self.pending.insert(id, pending);
        }
    }

    /// False when the message is longer than a frame can be.
    fn send(&mut self, id: u64, message: Kind) -> bool {
        let said = self.writer.push(&Envelope { id, kind: Some(message) });
        said.inspect_err(|error| warn!(%error, "a message was not sent")).is_ok()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

fn split(targets: &[Target]) -> (Vec<wire::Key>, Vec<wire::Prefix>) {
    let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
    for target in targets {
        match target {
            Target::Key(key) => keys.push(key.to_wire()),
            Target::Prefix(prefix) => prefixes.push(prefix.to_wire()),
        }
    }
    (keys, prefixes)
}
