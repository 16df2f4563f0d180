//! Clients that publish, one request after the other, and come back with the same request id when they do not know.

use std::sync::Arc;

use bytes::Bytes;

use super::event_loop::{Act, Simulation, What};
use super::mail::Mail;
use super::node::Run;
use super::plan::{MILLISECOND, SECOND};
use crate::config::{MetadataEdit, Version};
use crate::content::{Content, Md5};
use crate::key::ConfigKey;
use crate::publish::{self, CallerId, PublishOutcome};
use crate::write_request::{
    Change, Condition, Fingerprint, KeyWrite, Origin, RequestId, Source, WriteOutcome, WriteRequest,
};

/// A client.
#[derive(Default)]
pub(super) struct Publisher {
    /// What it asks next, again.
    again: Option<usize>,
}

/// Somebody who waits for an outcome.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    client: usize,
    request: usize,
    node: usize,
    process: u32,
}

/// A request and what is known of it.
pub(super) struct Asked {
    pub(super) unit: Arc<WriteRequest>,
    /// The newest known of each of its keys when it was first asked.
    least: Vec<Version>,
    /// An attempt whose outcome nobody knows: it may land at any time.
    unsure: bool,
    pub(super) failed: bool,
    pub(super) landed: u32,
}

impl Simulation {
    /// A client asks for its next publish, or again for its last.
    pub(super) fn client(&mut self, client: usize) {
        if self.act != Act::Chaos {
            return;
        }
        let node = self.chance.index(self.nodes.len());
        if self.nodes[node].run == Run::Down {
            return self.after(50 * MILLISECOND, What::Publish(client));
        }
        let request = match self.publishers[client].again.take() {
            Some(request) => request,
            None => self.new_request(),
        };
        self.ask_at(client, node, request);
    }

    /// Every node publishes once more: with nothing wrong, nothing may fail.
    pub(super) fn publish_everywhere(&mut self) {
        for node in 0..self.nodes.len() {
            let request = self.new_request();
            self.ask_at(0, node, request);
        }
    }

    fn ask_at(&mut self, client: usize, node: usize, request: usize) {
        let process = self.nodes[node].process;
        let caller = CallerId(self.checks.next_caller);
        self.checks.next_caller += 1;
        self.checks.callers.insert(caller, Caller { client, request, node, process });
        let unit = Arc::clone(&self.checks.asked[request].unit);
        self.log(|simulation| format!("  client {client} publishes r{request} at {}", simulation.nodes[node].name));
        self.deliver(node, process, Mail::Publisher(publish::Event::Publish { unit, caller }));
    }

    fn new_request(&mut self) -> usize {
        let number = self.checks.asked.len();
        let first = self.chance.index(self.keys.len());
        let mut keys: Vec<ConfigKey> = vec![self.keys[first].clone()];
        if self.keys.len() > 1 && self.chance.one_in(4) {
            keys.push(self.keys[(first + 1) % self.keys.len()].clone());
        }
        let least = keys.iter().map(|key| self.checks.newest_seen(key)).collect();
        let removes = self.act == Act::Chaos && keys.len() == 1 && self.chance.one_in(8);
        let text = format!("r{number}");
        let item = |key| {
            let md5 = Md5(u128::to_le_bytes(number as u128));
            let content = Content::stored(Bytes::from(text.clone()), md5);
            let put = Change::Put { content, edit: Box::new(MetadataEdit::default()) };
            KeyWrite { key, condition: Condition::None, change: if removes { Change::Remove } else { put } }
        };
        let origin =
            Origin { channel: Source::Rest, operator: None, source_address: None, client_id: None, note: None };
        let request_id = RequestId::generated(uuid::Uuid::from_u128(number as u128));
        let fingerprint = Fingerprint(Md5(u128::to_le_bytes(number as u128)));
        let items = keys.into_iter().map(item).collect();
        let unit =
            Arc::new(WriteRequest { request_id: request_id.clone(), repeatable: true, fingerprint, items, origin });
        self.checks.by_id.insert(request_id, number);
        self.checks.asked.push(Asked { unit, least, unsure: false, failed: false, landed: 0 });
        number
    }

    /// A caller hears how its request came out.
    pub(super) fn replied(&mut self, caller: CallerId, outcome: PublishOutcome) {
        let Some(Caller { client, request, .. }) = self.checks.callers.remove(&caller) else {
            return self.checks.violated(format!("{caller:?} was answered twice"));
        };
        self.log(|_| format!("  client {client} hears of r{request}: {outcome:?}"));
        let is_done = matches!(outcome, PublishOutcome::Settled(WriteOutcome::Done { .. }));
        if self.act == Act::LastPublishes && !is_done && !self.checks.client_only {
            self.checks.violated(format!("P4: nothing is wrong, and r{request} is not done: {outcome:?}"));
        }
        match outcome {
            PublishOutcome::Settled(WriteOutcome::Done { items, .. }) => {
                let versions: Vec<Version> = items.iter().map(|item| item.version).collect();
                self.succeeded_at(request, &versions);
            }
            PublishOutcome::Settled(WriteOutcome::Refused(_))
            | PublishOutcome::Rejected { .. }
            | PublishOutcome::Busy
            | PublishOutcome::Failed { .. } => self.failed_at(request),
            PublishOutcome::Unknown { .. } => {
                self.checks.asked[request].unsure = true;
                if self.chance.one_in(2) {
                    self.publishers[client].again = Some(request);
                }
            }
        }
        self.goes_on(client);
    }

    fn goes_on(&mut self, client: usize) {
        let pause = if self.chance.one_in(4) { 0 } else { self.chance.below(2 * self.plan.think) };
        self.after(pause, What::Publish(client));
    }

    fn succeeded_at(&mut self, request: usize, versions: &[Version]) {
        self.checks.counters.published += 1;
        let asked = &self.checks.asked[request];
        let unit = Arc::clone(&asked.unit);
        if !self.db.requests.contains_key(&unit.request_id) {
            return self.checks.violated(format!("P2: r{request} was answered as done and is not there"));
        }
        let least = asked.least.clone();
        for ((item, version), least) in unit.items.iter().zip(versions).zip(least) {
            if *version <= least {
                let text = format!("C3: r{request} got version {version} when {least} was known before it began");
                self.checks.violated(text);
            }
            self.checks.seen(&item.key, *version);
            if self.plan.bursts {
                for node in 0..self.nodes.len() {
                    if self.nodes[node].run != Run::Down {
                        self.start_read(node, &item.key);
                    }
                }
            }
        }
    }

    fn failed_at(&mut self, request: usize) {
        self.checks.counters.failed += 1;
        let asked = &mut self.checks.asked[request];
        if asked.unsure {
            return;
        }
        asked.failed = true;
        if asked.landed > 0 {
            self.checks.violated(format!("P2: r{request} was answered as failed and is there"));
        }
    }

    /// The process that callers waited for is gone: they do not know.
    pub(super) fn callers_lost(&mut self, node: usize) {
        let process = self.nodes[node].process;
        let lost = |caller: &Caller| caller.node == node && caller.process == process;
        let mut callers: Vec<(CallerId, Caller)> = Vec::new();
        callers
            .extend(self.checks.callers.iter().filter(|(_, caller)| lost(caller)).map(|(id, caller)| (*id, *caller)));
        for (id, Caller { client, request, .. }) in callers {
            self.checks.callers.remove(&id);
            self.checks.asked[request].unsure = true;
            if self.chance.one_in(2) {
                self.publishers[client].again = Some(request);
            }
            let pause = self.chance.spread(MILLISECOND, SECOND);
            self.after(pause, What::Publish(client));
        }
    }
}
