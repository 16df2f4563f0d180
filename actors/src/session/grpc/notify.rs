//! What a session says by itself: notices as long as the connection takes them, and their acknowledgements.

use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{ActorFutureExt as _, AsyncContext as _};
use callboard_protocol::config::Version;
use callboard_protocol::key::ConfigKey;
use callboard_protocol::nacos::Subject;
use callboard_protocol::nacos::notices::Sending;
use callboard_protocol::push_ledger::{PushEvent, PushStep};
use callboard_protocol::session::client::Client;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::message::Notice;
use super::{GrpcSession, listened};
use crate::coordinator::connections::Report;
use crate::runtime::Context;

/// The stream of a client.
pub(super) struct Stream {
    outlet: mpsc::Sender<Box<Notice>>,
    /// Waits for room in it.
    is_full: bool,
}

impl Stream {
    pub(super) fn new(outlet: mpsc::Sender<Box<Notice>>) -> Self {
        Self { outlet, is_full: false }
    }
}

impl GrpcSession {
    /// Says what is due, as long as the connection takes it, and looks again when the next thing is.
    pub(super) fn tell(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        while let Some(stream) = self.stream.as_ref().filter(|stream| !stream.is_full) {
            if self.conversation.known().is_none() || self.outbox.wakeup().is_none_or(|due| due > now) {
                break;
            }
            if stream.outlet.capacity() == 0 {
                self.wait_for_room(context);
                break;
            }
            let Some(sending) = self.outbox.next(now) else { break };
            let Some(notice) = self.notice(sending) else { continue };
            if let Some(stream) = &self.stream
                && stream.outlet.try_send(Box::new(notice)).is_err()
            {
                // There was room: the stream is about to be known as ended.
                break;
            }
        }
        self.shared.grpc.notices.given_up.inc_by(self.outbox.take_given_up());
        self.report_steps();
        self.set_alarm(context);
    }

    /// What a notice says; `None` when there is nothing to say any more.
    fn notice(&mut self, Sending { number, subject, is_repeated }: Sending<Subject>) -> Option<Notice> {
        let talk = self.conversation.known_mut()?;
        let notice = match &subject {
            Subject::Config(key) => talk.listens.sending(key).map(|tenant| Notice::Changed {
                number,
                key: key.clone(),
                tenant: tenant.to_owned(),
            }),
            Subject::Match(key) => {
                talk.fuzzy.is_there(key).map(|is_there| Notice::Matched { number, key: key.clone(), is_there })
            }
            Subject::Sync(pattern, part) => talk.fuzzy.sync(pattern, *part).map(|sync| Notice::Sync {
                number,
                pattern: pattern.to_string(),
                part: *part,
                sync,
            }),
        };
        if notice.is_none() {
            self.outbox.forget(&subject);
            return None;
        }
        let counts = &self.shared.grpc.notices;
        if is_repeated { &counts.repeated } else { &counts.sent }.inc();
        self.shared.push.sent.inc();
        notice
    }

    /// Goes on when the connection takes something again. A client that reads nothing for too long is given up.
    fn wait_for_room(&mut self, context: &mut Context<Self>) {
        let Some(stream) = &mut self.stream else { return };
        stream.is_full = true;
        let (outlet, patience, number) = (stream.outlet.clone(), self.shared.options.write, self.conversation.stream());
        let waiting = async move { tokio::time::timeout(patience, outlet.reserve()).await.map(|room| room.is_ok()) };
        context.spawn(wrap_future(waiting).map(move |room, session: &mut Self, context| {
            if session.conversation.stream() != number {
                return;
            }
            match room {
                Ok(_) => {
                    if let Some(stream) = &mut session.stream {
                        stream.is_full = false;
                    }
                    session.tell(context);
                }
                Err(_late) => session.end("stalled", context),
            }
        }));
    }

    /// Sends something that is no notice of a change, and is not repeated.
    pub(super) fn send_once(&mut self, notice: Notice, context: &mut Context<Self>) {
        let Some(stream) = &self.stream else { return };
        match stream.outlet.try_send(Box::new(notice)) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            // A connection that takes nothing is being watched already.
            Err(TrySendError::Full(_)) => {
                if !stream.is_full {
                    self.wait_for_room(context);
                }
            }
        }
    }

    /// Looks again when the next thing is due. An alarm that is too early does no harm: most notices are acknowledged
    /// long before anything is to be done about them.
    fn set_alarm(&mut self, context: &mut Context<Self>) {
        // What waits for room in the stream is looked after when there is some.
        let may_tell =
            self.conversation.known().is_some() && self.stream.as_ref().is_some_and(|stream| !stream.is_full);
        let Some(due) = self.outbox.wakeup().filter(|_| may_tell) else { return };
        match self.alarm {
            Some((set, _)) if set <= due => return,
            Some((_, alarm)) => {
                context.cancel_future(alarm);
            }
            None => {}
        }
        let alarm = context.run_later(due.since(self.now()), |session, context| {
            session.alarm = None;
            session.tell(context);
        });
        self.alarm = Some((due, alarm));
    }

    /// The client has taken in a notice, or says that it could not.
    pub(super) fn acknowledged(&mut self, number: u64, is_good: bool, context: &mut Context<Self>) {
        let now = self.now();
        let Some(talk) = self.conversation.known_mut() else { return };
        if let Some(done) = self.outbox.acknowledge(now, number, is_good) {
            self.shared.grpc.notices.acknowledged.inc();
            if !done.again
                && let Some(key) = listened(&done.subject)
            {
                talk.listens.acknowledged(now, &mut self.outbox, key, done.tries);
            }
            if let Subject::Sync(pattern, part) = &done.subject {
                talk.fuzzy.acknowledged(now, &mut self.outbox, pattern, *part);
            }
        }
        self.tell(context);
    }

    /// Passes on what became of notices.
    pub(super) fn report_steps(&mut self) {
        let Some(talk) = self.conversation.known_mut() else { return };
        let (steps, client) = (talk.listens.take_steps(), Arc::clone(&talk.client));
        for step in steps {
            self.report(&client, step.key, step.version, step.step);
        }
    }

    pub(super) fn report(&self, client: &Arc<Client>, key: ConfigKey, version: Version, step: PushStep) {
        let event = PushEvent { session: self.number, client: Arc::clone(client), key, version, step };
        // Lost only when the coordinator is rebuilt, which tells the account so.
        self.shared.deps.coordinator.do_send(Report(event));
    }
}
