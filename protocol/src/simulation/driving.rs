//! Carries out what the machines say, as the actors do: the lease keeper, ConfManager, ClusterNotify and the keeper of
//! the cache, each with its mailbox.

use super::event_loop::Simulation;
use super::mail::{Mail, Message, ToCache, ToNotify};
use super::node::{Machine, Run};
use super::variants::Variant;
use super::work::Task;
use crate::extent::{Extent, Fingerprint};
use crate::feed;
use crate::lease::{self, Membership};
use crate::member::{Ack, AckNo, NodeId, NodeRow};
use crate::publish;
use crate::receiver::{self, CommittedChange, NotifyAbortEvent, NotifyCommitEvent, NotifyEvent};

impl Simulation {
    /// A process takes one piece of mail.
    pub(super) fn handle(&mut self, node: usize, mail: Mail) {
        if self.nodes[node].run == Run::Down {
            return;
        }
        match mail {
            Mail::Lease(event) => self.step_lease(node, event),
            Mail::Publisher(event) => {
                let acked = matches!(event, publish::Event::Acked { .. });
                self.step_publisher(node, event);
                if acked {
                    self.moment(node);
                }
            }
            Mail::Notify(to) => self.notify(node, to),
            Mail::Cache(to) => self.cache(node, to),
            Mail::Feed(event) => self.step_feed(node, event),
            Mail::Answer(op, answer) => self.answered(op, answer),
            Mail::GiveUp(op) => self.give_up(op),
            Mail::Retry(task) => self.begin(node, task),
            Mail::InDoubt(question, event) => self.step_in_doubt(node, question, event),
            Mail::Read(read) => self.read(read),
            Mail::ReadOn(read) => self.read_on(read),
            Mail::Timer(machine, at) => self.fired(node, machine, at),
            Mail::FlagDown => {
                let now = self.nodes[node].now(self.now);
                self.nodes[node].flag = self.nodes[node].shard.lease().is_some_and(|grant| grant.is_valid(now));
            }
        }
    }

    pub(super) fn step_lease(&mut self, node: usize, event: lease::Event) {
        let mut out = Vec::new();
        let to = &mut self.nodes[node];
        let now = to.now(self.now);
        to.lease.step(now, event, &mut out);
        for effect in out {
            self.log(|simulation| format!("  {} lease {effect:?}", simulation.nodes[node].name));
            self.perform_lease(node, effect);
        }
        self.arm(node, Machine::Lease);
    }

    fn perform_lease(&mut self, node: usize, effect: lease::Effect) {
        use lease::Effect;
        match effect {
            Effect::Join { incarnation, .. } => self.begin(node, Task::Join(incarnation)),
            Effect::Renew { incarnation } => self.begin(node, Task::Renew(incarnation)),
            Effect::Observe => self.begin(node, Task::Observe),
            Effect::Fence { node: other, incarnation, renew_seq } => {
                let other = self.index_of(&other);
                self.begin(node, Task::Fence { node: other, incarnation, seq: renew_seq });
            }
            Effect::Release { incarnation } => self.begin(node, Task::Release(incarnation)),
            Effect::BeginTimeline { .. } => self.checks.violated("history was never lost".to_owned()),
            Effect::Admit { grant, timeline, revision } => {
                self.mail(node, Mail::Cache(ToCache::ReadLease(grant, timeline, revision)));
            }
            Effect::Extend { grant } => self.mail(node, Mail::Cache(ToCache::Extend(grant))),
            Effect::Flush => self.mail(node, Mail::Cache(ToCache::Flush)),
            Effect::Remember { .. } => {}
            Effect::Tell(membership) => self.tell(node, membership),
            Effect::Left => self.stopped(node),
        }
    }

    fn tell(&mut self, node: usize, membership: Membership) {
        self.nodes[node].told = Some(membership.clone());
        self.pass_on(node, membership);
    }

    /// Tells ClusterNotify and ConfManager how the membership stands.
    pub(super) fn pass_on(&mut self, node: usize, membership: Membership) {
        let Membership { incarnation, timeline, rows, gate, .. } = membership;
        self.mail(node, Mail::Notify(ToNotify::Membership(incarnation, timeline)));
        let membership = publish::Membership::of(&self.nodes[node].name, incarnation, timeline, (&rows, gate));
        self.mail(node, Mail::Publisher(publish::Event::Membership(membership)));
    }

    pub(super) fn step_publisher(&mut self, node: usize, event: publish::Event) {
        let mut out = Vec::new();
        let to = &mut self.nodes[node];
        let now = to.now(self.now);
        to.publisher.step(now, event, &mut out);
        for effect in out {
            self.log(|simulation| format!("  {} publisher {}", simulation.nodes[node].name, brief(&effect)));
            self.perform_publisher(node, effect);
        }
        self.arm(node, Machine::Publisher);
    }

    fn perform_publisher(&mut self, node: usize, effect: publish::Effect) {
        use publish::Effect;
        match effect {
            Effect::Notify { batch, to, .. } if self.is_broken(Variant::NacosLike) => {
                // Commits without asking anybody.
                for NodeRow { node: other, incarnation, ack_floor } in to {
                    let ack = Ack { node: other, incarnation, number: ack_floor, known: Extent::default() };
                    self.mail(node, Mail::Publisher(publish::Event::Acked { batch, ack }));
                }
            }
            Effect::Notify { batch, keys, to } => self.mail(node, Mail::Notify(ToNotify::Notify(batch, keys, to))),
            Effect::WriteBatch { batch, units, timeline, standing, acks } => {
                self.begin(node, Task::Commit { batch, units, timeline, standing, acks });
            }
            Effect::FindOutcome { batch, request_ids, ack } => self.ask_outcome(node, batch, request_ids, ack),
            Effect::Reply { caller, outcome } => self.replied(caller, outcome),
            Effect::Commit { batch, timeline, changes, revision } => {
                self.mail(node, Mail::Notify(ToNotify::Commit(batch, timeline, changes, revision)));
                self.moment(node);
            }
            Effect::Abort { batch } => self.mail(node, Mail::Notify(ToNotify::Abort(batch))),
            Effect::Revoke { rows } => {
                for row in rows {
                    let other = self.index_of(&row.node);
                    self.begin(node, Task::Revoke { node: other, incarnation: row.incarnation });
                }
            }
            Effect::CommitObserved(extent) => {
                self.mail(node, Mail::Lease(lease::Event::CommitObserved(extent)));
                self.mail(node, Mail::Lease(lease::Event::Refresh));
            }
            Effect::Rejoin => {
                self.checks.counters.rejoins += 1;
                self.mail(node, Mail::Lease(lease::Event::Rejoin));
            }
        }
    }

    fn notify(&mut self, node: usize, to: ToNotify) {
        match to {
            ToNotify::Notify(batch, items, to) => {
                let from = &self.nodes[node];
                let publisher = (from.name.clone(), from.incarnation);
                let event = NotifyEvent::new((batch, items), publisher, (from.timeline, Fingerprint::UNKNOWN));
                for row in to {
                    self.send_to(node, &row.node, Message::Notify(event.clone()));
                }
            }
            ToNotify::Commit(batch, timeline, changes, revision) => {
                let changes = changes.iter().map(CommittedChange::of).map(|change| self.shortened(change)).collect();
                let database = Fingerprint::UNKNOWN;
                let event = NotifyCommitEvent { timeline, batch, revision, changes, database };
                self.tell_all(node, &Message::Commit(event));
            }
            ToNotify::FindOutcome(batch, ids, ack) => self.find_outcome(node, batch, ids, ack),
            ToNotify::Abort(batch) => self.tell_all(node, &Message::Abort(batch)),
            ToNotify::Peer(message) => self.peer(node, message),
            ToNotify::Membership(incarnation, timeline) => {
                (self.nodes[node].incarnation, self.nodes[node].timeline) = (incarnation, timeline);
                let name = self.nodes[node].name.clone();
                let event = receiver::Event::of_membership(name, incarnation, (timeline, Fingerprint::UNKNOWN));
                self.step_receiver(node, event);
            }
            ToNotify::Event(event) => {
                let marked = matches!(event, receiver::Event::Marked { .. });
                self.step_receiver(node, event);
                if marked {
                    self.moment(node);
                }
            }
        }
    }

    /// Now and then a content is too large to be sent along.
    fn shortened(&mut self, change: CommittedChange) -> CommittedChange {
        if self.chance.one_in(10) { CommittedChange { state: None, ..change } } else { change }
    }

    fn tell_all(&mut self, node: usize, message: &Message) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.send(node, other, message.clone());
        }
        self.peer(node, message.clone());
    }

    fn send_to(&mut self, node: usize, to: &NodeId, message: Message) {
        let to = self.index_of(to);
        if to == node { self.peer(node, message) } else { self.send(node, to, message) }
    }

    /// A message has come over the network.
    pub(super) fn received(&mut self, node: usize, message: Message) {
        let process = self.nodes[node].process;
        if self.nodes[node].run == Run::Up {
            self.mail(node, Mail::Notify(ToNotify::Peer(message)));
        } else if !self.nodes[node].deaf {
            self.deliver(node, process, Mail::Notify(ToNotify::Peer(message)));
        }
    }

    fn peer(&mut self, node: usize, message: Message) {
        match message {
            Message::Notify(event) => {
                let chance = self.chance.any();
                self.step_receiver(node, receiver::Event::Notify { event, chance, known: Extent::default() });
            }
            Message::Ack(batch, ack) => self.mail(node, Mail::Publisher(publish::Event::Acked { batch, ack })),
            Message::Nack(batch) => {
                self.checks.counters.nacks += 1;
                self.mail(node, Mail::Lease(lease::Event::Refresh));
                self.mail(node, Mail::Publisher(publish::Event::Nacked { batch }));
            }
            Message::Abort(batch) => self.step_receiver(node, receiver::Event::Abort(NotifyAbortEvent { batch })),
            Message::Commit(event) => {
                let extent = event.extent_in(self.nodes[node].timeline, Fingerprint::UNKNOWN);
                if let Some(extent) = extent {
                    self.mail(node, Mail::Lease(lease::Event::CommitObserved(extent)));
                }
                let span = event.span().filter(|_| extent.is_some());
                self.mail(node, Mail::Feed(span.map_or(feed::Event::Poll, feed::Event::Committed)));
                if self.is_broken(Variant::PushUnguarded) {
                    self.push_unguarded(node, &event);
                }
                self.step_receiver(node, receiver::Event::Commit(event));
            }
        }
    }

    pub(super) fn step_receiver(&mut self, node: usize, event: receiver::Event) {
        let heard = matches!(event, receiver::Event::Commit(_));
        let mut out = Vec::new();
        let to = &mut self.nodes[node];
        let now = to.now(self.now);
        to.receiver.step(now, event, &mut out);
        for effect in out {
            self.log(|simulation| format!("  {} receiver {}", simulation.nodes[node].name, brief_of(&effect)));
            self.perform_receiver(node, effect, heard);
        }
        self.arm(node, Machine::Receiver);
    }

    fn perform_receiver(&mut self, node: usize, effect: receiver::Effect, heard: bool) {
        use receiver::Effect;
        match effect {
            Effect::Mark { batch, mark, keys } => {
                let early = self.is_broken(Variant::AckBeforeMark);
                if early {
                    self.mail(node, Mail::Notify(ToNotify::Event(receiver::Event::Marked { batch, mark })));
                }
                self.mail(node, Mail::Cache(ToCache::Mark(batch, keys, (!early).then_some(mark))));
            }
            Effect::Ack { to, batch, ack } => {
                self.send_to(node, &to, Message::Ack(batch, ack));
                self.moment(node);
            }
            Effect::Nack { to, batch, .. } => self.send_to(node, &to, Message::Nack(batch)),
            Effect::Ack2 { .. } => {}
            Effect::Commit { batch, changes } => {
                let changes = changes.iter().map(CommittedChange::for_cache).collect();
                self.mail(node, Mail::Cache(ToCache::Commit(batch, changes)));
                if !heard {
                    self.mail(node, Mail::Feed(feed::Event::Poll));
                }
            }
            Effect::Abort { batch, keys } => self.mail(node, Mail::Cache(ToCache::Abort(batch, keys))),
            Effect::FindRequests { batch, request_ids, keys } => {
                self.begin(node, Task::Look { batch, ids: request_ids, keys });
            }
            Effect::RaiseFloor { above, request_ids, keys } => match self.nodes[node].incarnation {
                Some(incarnation) => self.begin(node, Task::Floor { above, incarnation, ids: request_ids, keys }),
                None => {
                    let event = receiver::Event::Floored { above, result: receiver::FloorResult::Refused };
                    self.mail(node, Mail::Notify(ToNotify::Event(event)));
                }
            },
            Effect::RefreshMembership => self.mail(node, Mail::Lease(lease::Event::Refresh)),
            Effect::LeaveAndRejoin => {
                self.checks.counters.rejoins += 1;
                self.mail(node, Mail::Lease(lease::Event::Rejoin));
            }
        }
    }
}

fn brief(effect: &publish::Effect) -> String {
    match effect {
        publish::Effect::WriteBatch { batch, acks, .. } => {
            let acks: Vec<(&str, AckNo)> = acks.iter().map(|ack| (&*ack.node.0, ack.number)).collect();
            format!("commit {} {acks:?}", batch.0)
        }
        publish::Effect::Commit { batch, revision, .. } => format!("confirm {} r{revision}", batch.0),
        publish::Effect::Notify { batch, to, .. } => {
            let to: Vec<&str> = to.iter().map(|row| &*row.node.0).collect();
            format!("notify {} to {to:?}", batch.0)
        }
        effect => format!("{effect:?}"),
    }
}

fn brief_of(effect: &receiver::Effect) -> String {
    match effect {
        receiver::Effect::Commit { batch, changes } => {
            let changes: Vec<String> =
                changes.iter().map(|change| format!("{}={}", change.key.data_id(), change.version)).collect();
            format!("apply {} {changes:?}", batch.0)
        }
        effect => format!("{effect:?}"),
    }
}
