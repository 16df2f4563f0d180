//! How a native session ends: by a last word, without one, or because the node sends its clients away.

use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{ActorContext as _, ActorFutureExt as _, AsyncContext as _};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::push_ledger::PushStep;

use super::words::{Answer, Fault, Mouth, Said};
use super::{LINGER, NativeSession, Phase};
use crate::coordinator::seats::Leave;
use crate::metrics::EndLabel;
use crate::runtime::Context;

impl NativeSession {
    /// Ends the session with a last word. What is owed is not said any more.
    pub(super) fn end(&mut self, fault: Fault, context: &mut Context<Self>) {
        if matches!(self.phase, Phase::Ending) {
            return;
        }
        tracing::debug!(session.number = self.number.0, ?fault, "a session is ended");
        self.count_end(reason(&fault));
        self.phase = Phase::Ending;
        self.waiting.clear();
        self.waiting.push_back(Said { id: 0, answer: Answer::Failed(fault) });
        self.give_up_later(context);
        self.speak(context);
    }

    /// The client is gone.
    pub(super) fn gone(&mut self, reason: &'static str, context: &mut Context<Self>) {
        if !matches!(self.phase, Phase::Ending) {
            self.count_end(if self.is_leaving { "drained" } else { reason });
            self.phase = Phase::Ending;
        }
        context.stop();
    }

    fn count_end(&self, reason: &'static str) {
        self.setup.session.ended.get_or_create(&EndLabel { reason }).inc();
    }

    /// Says where else to go, answers what is under way, and closes when the client does not.
    pub(super) fn send_away(&mut self, elsewhere: Arc<[String]>, context: &mut Context<Self>) {
        if self.is_leaving || matches!(self.phase, Phase::Ending) {
            return;
        }
        self.is_leaving = true;
        self.answer(0, Answer::GoAway(elsewhere), context);
        self.give_up_later(context);
    }

    /// A client that does not go by itself is heard no longer after a while, and let go in good order once it has its answers.
    fn give_up_later(&mut self, context: &mut Context<Self>) {
        context.run_later(LINGER, |session, context| {
            if matches!(session.phase, Phase::Ending) {
                return session.gone("drained", context);
            }
            session.is_deaf = true;
            if session.under_way == 0 && session.waiting.is_empty() {
                session.count_end("drained");
                session.phase = Phase::Ending;
                session.speak(context);
            }
            session.give_up_later(context);
        });
    }

    /// Closes the connection once the last word was said.
    pub(super) fn close(&mut self, mut mouth: Box<dyn Mouth>, context: &mut Context<Self>) {
        let closing = async move { mouth.close().await };
        context.spawn(wrap_future(closing).map(|(), _: &mut Self, context: &mut Context<Self>| context.stop()));
    }

    /// Gives the seat back. What was pushed and not answered is lost.
    pub(super) fn leave(&mut self) {
        let Some(talk) = &self.talk else { return };
        let unanswered: Vec<_> = talk.pushes.unanswered().map(|(key, version)| (key.clone(), version)).collect();
        for (key, version) in unanswered {
            self.report(key, version, PushStep::Lost);
        }
        // A coordinator that is gone has no seat to give back.
        self.setup.neighbours.coordinator.do_send(Leave(self.number));
    }
}

/// What a fault that ends a session is counted as.
fn reason(fault: &Fault) -> &'static str {
    match fault {
        Fault::Form(code, _) => code.as_str(),
        Fault::HelloExpected => ErrorCode::HelloExpected.as_str(),
        Fault::HelloLate => ErrorCode::HelloLate.as_str(),
        Fault::Versions(_) => ErrorCode::VersionUnsupported.as_str(),
        Fault::Idle => ErrorCode::SessionIdle.as_str(),
        Fault::TooManyKeys(_) | Fault::TooManyWatches(_) => "too_many_keys",
        Fault::TooManySessions => ErrorCode::TooManySessions.as_str(),
        Fault::Watch(_) | Fault::Leaving => "refused",
        Fault::NotPushed
        | Fault::Read(_)
        | Fault::Ask(_)
        | Fault::Refused(_)
        | Fault::Busy
        | Fault::Failed(_)
        | Fault::Rejected(_)
        | Fault::Unknown(_) => "failed",
    }
}
