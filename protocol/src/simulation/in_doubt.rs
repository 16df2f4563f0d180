//! Carries out what the questions about commits in doubt say, as ClusterNotify does: they are its own, and go with it
//! when it is rebuilt. Decides nothing.

use super::event_loop::Simulation;
use super::mail::{Mail, ToNotify};
use super::work::Task;
use crate::commit::BatchId;
use crate::in_doubt::{Effect, Event, InDoubt};
use crate::member::Ack;
use crate::publish::{self, Outcome};
use crate::receiver;
use crate::write_request::RequestId;

/// A question that was asked for a publisher.
pub(super) struct Question {
    batch: BatchId,
    ids: Vec<RequestId>,
    machine: InDoubt,
    /// Which publisher of the process asked: another one is not told.
    publisher: u32,
}

impl Simulation {
    /// A publisher wants to know what became of a batch.
    pub(super) fn find_outcome(&mut self, node: usize, batch: BatchId, ids: Vec<RequestId>, ack: Option<Ack>) {
        let mut machine = InDoubt::new(ack);
        machine.rules = self.broken.in_doubt();
        let effect = machine.begin();
        let asks = &mut self.nodes[node];
        asks.asked += 1;
        let (number, publisher) = (asks.asked, asks.rebuilds);
        asks.questions.insert(number, Question { batch, ids, machine, publisher });
        self.perform_in_doubt(node, number, effect);
    }

    pub(super) fn step_in_doubt(&mut self, node: usize, number: u64, event: Event) {
        let Some(question) = self.nodes[node].questions.get_mut(&number) else { return };
        let Some(effect) = question.machine.step(event) else {
            return self.checks.violated("an answer that a question did not wait for".to_owned());
        };
        self.log(|simulation| format!("  {} in doubt {number} {effect:?}", simulation.nodes[node].name));
        self.perform_in_doubt(node, number, effect);
    }

    fn perform_in_doubt(&mut self, node: usize, number: u64, effect: Effect) {
        let Some(question) = self.nodes[node].questions.get(&number) else { return };
        let ids = question.ids.clone();
        match effect {
            Effect::Pause(pause) => {
                let pause = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
                self.after_for(node, pause, Mail::InDoubt(number, Event::Paused));
            }
            Effect::RaiseFloor(ack) => self.begin(node, Task::DoubtFloor { question: number, ack, ids }),
            Effect::FindRequests => self.begin(node, Task::DoubtLook { question: number, ids }),
            Effect::End { raised, outcome } => {
                if let Some(above) = raised {
                    self.step_receiver(node, receiver::Event::Raised { above });
                }
                self.answer_question(node, number, outcome);
            }
        }
    }

    fn answer_question(&mut self, node: usize, number: u64, result: Outcome) {
        let Some(Question { batch, publisher, .. }) = self.nodes[node].questions.remove(&number) else { return };
        if publisher == self.nodes[node].rebuilds {
            self.mail(node, Mail::Publisher(publish::Event::Resolved { batch, result }));
        }
    }

    /// ClusterNotify is lost to a panic, and its questions with it: their publishers hear that nothing is known.
    pub(super) fn questions_lost(&mut self, node: usize) {
        let numbers: Vec<u64> = self.nodes[node].questions.keys().copied().collect();
        for number in numbers {
            self.answer_question(node, number, Outcome::Unresolved { reason: String::new() });
        }
    }

    /// Asks ClusterNotify, by its mailbox.
    pub(super) fn ask_outcome(&mut self, node: usize, batch: BatchId, ids: Vec<RequestId>, ack: Option<Ack>) {
        self.mail(node, Mail::Notify(ToNotify::FindOutcome(batch, ids, ack)));
    }
}
