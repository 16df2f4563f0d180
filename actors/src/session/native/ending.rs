//! How a native session ends: by a last word, without one, or because the node sends its clients away.

use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{ActorContext as _, ActorFutureExt as _, AsyncContext as _};
use callboard_protocol::error_code::ErrorCode;
use callboard_protocol::push_ledger::PushStep;
use callboard_protocol::session::conversation::{DRAINED, Linger};

use super::message::{Answer, Fault, MessageWriter, OutboundMessage};
use super::{LINGER, NativeSession};
use crate::coordinator::connections::Disconnect;
use crate::metrics::EndLabel;
use crate::runtime::Context;

impl NativeSession {
    /// Ends the session with a last word. What is owed is not said any more.
    pub(super) fn end(&mut self, fault: Fault, context: &mut Context<Self>) {
        let counts_as = reason(&fault);
        tracing::debug!(session.number = self.number.0, ?fault, "a session is ended");
        if !self.conversation.end(OutboundMessage { id: 0, answer: Answer::Failed(fault) }) {
            return;
        }
        self.count_end(counts_as);
        self.give_up_later(context);
        self.flush(context);
    }

    /// The client is gone.
    pub(super) fn gone(&mut self, reason: &'static str, context: &mut Context<Self>) {
        if let Some(reason) = self.conversation.gone(reason) {
            self.count_end(reason);
        }
        context.stop();
    }

    fn count_end(&self, reason: &'static str) {
        self.shared.session.ended.get_or_create(&EndLabel { reason }).inc();
    }

    /// Says where else to go, answers what is under way, and closes when the client does not.
    pub(super) fn send_away(&mut self, elsewhere: Arc<[String]>, context: &mut Context<Self>) {
        if !self.conversation.send_away(OutboundMessage { id: 0, answer: Answer::GoAway(elsewhere) }) {
            return;
        }
        self.flush(context);
        self.give_up_later(context);
    }

    /// A client that does not go by itself is heard no longer after a while, and let go in good order once it has its
    /// answers.
    fn give_up_later(&mut self, context: &mut Context<Self>) {
        context.run_later(LINGER, |session, context| {
            match session.conversation.linger() {
                Linger::Stop => return context.stop(),
                Linger::Close => {
                    session.count_end(DRAINED);
                    session.flush(context);
                }
                Linger::Wait => {}
            }
            session.give_up_later(context);
        });
    }

    /// Closes the connection once the last word was said.
    pub(super) fn close(&mut self, mut writer: Box<dyn MessageWriter>, context: &mut Context<Self>) {
        let closing = async move { writer.close().await };
        context.spawn(wrap_future(closing).map(|(), _: &mut Self, context: &mut Context<Self>| context.stop()));
    }

    /// Disconnects from the coordinator. What was pushed and not answered is lost.
    pub(super) fn leave(&mut self) {
        let Some((client, pushes)) = self.conversation.lost() else { return };
        for (key, version) in pushes.unanswered() {
            self.report_of(client, key.clone(), version, PushStep::Lost);
        }
        // A coordinator that is gone has no connection to end.
        self.shared.deps.coordinator.do_send(Disconnect(self.number));
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
