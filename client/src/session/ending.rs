//! The end of a session: what is still written, and what is still waited for.

use std::collections::HashMap;
use std::time::Duration;

use callboard_proto::session as wire;
use callboard_proto::session::Envelope;
use callboard_proto::session::envelope::Kind;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info};

use super::{Ended, Pending, Session};
use crate::connection::{Broken, Reader, Writer};

/// How long the last words of a client may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The requests that are under way on a session whose node goes away. Pushes are not taken any more.
#[derive(Debug)]
pub(crate) struct Rest {
    reader: Reader,
    writer: Writer,
    callers: HashMap<u64, oneshot::Sender<Option<Kind>>>,
    deadline: Instant,
}

impl Session {
    /// The node goes away. What was to be said to it is said still.
    pub(super) fn leave(mut self, go_away: wire::GoAway) -> Ended {
        info!(reason = %crate::error::text(&go_away.reason), "the node goes away");
        self.say_what_waits();
        let callers = self.pending.into_iter().filter_map(|(id, pending)| match pending {
            Pending::Caller(caller) => Some((id, caller)),
            Pending::Watch { .. } | Pending::Unwatch | Pending::Fetch { .. } => None,
        });
        let rest = Rest {
            reader: self.reader,
            writer: self.writer,
            callers: callers.collect(),
            deadline: Instant::now() + self.shared.options.request_timeout,
        };
        Ended::Away { nodes: go_away.nodes, rest }
    }

    /// Nobody uses the client any more: says what waits, such as that something is applied.
    pub(super) async fn part(&mut self) {
        self.say_what_waits();
        match timeout(LAST_WORDS, self.writer.flush()).await {
            Ok(Ok(())) => {}
            // The node does without.
            Ok(Err(error)) => debug!(%error, "the last words were not sent"),
            Err(error) => debug!(%error, "the last words were not sent"),
        }
    }
}

impl Rest {
    /// Waits for the answers, for as long as a request may take. What is not answered by then is given up.
    pub(crate) async fn finish(mut self) {
        match timeout_at(self.deadline, self.answers()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "requests were left on a node that went away"),
            Err(error) => debug!(%error, "requests were left on a node that went away"),
        }
    }

    async fn answers(&mut self) -> Result<(), Broken> {
        loop {
            while let Some(Envelope { id, kind }) = self.reader.message()? {
                if let Some(Kind::Ping(wire::Ping { number })) = kind {
                    self.writer.push(&Envelope { id, kind: Some(Kind::Pong(wire::Pong { number })) })?;
                } else if let Some(caller) = self.callers.remove(&id) {
                    // The program may have stopped waiting.
                    drop(caller.send(kind));
                }
            }
            if self.callers.is_empty() {
                return self.writer.flush().await;
            }
            tokio::select! {
                filled = self.reader.fill() => filled?,
                written = self.writer.write(), if self.writer.is_waiting() => written?,
            }
        }
    }
}
