//! The keeper of a node's cache, and how a node comes up and looks at its links.

use super::event_loop::{Simulation, What};
use super::mail::{Mail, ToCache, ToNotify};
use super::node::{Machine, Run};
use super::variants::Variant;
use crate::lease;
use crate::member::LeaseEnd;
use crate::receiver;

impl Simulation {
    pub(super) fn cache(&mut self, node: usize, to: ToCache) {
        let mut woken = Vec::new();
        self.dirty = true;
        let shard = &mut self.nodes[node].shard;
        match to {
            ToCache::Mark(batch, keys, mark) => {
                keys.iter().for_each(|key| shard.mark(batch, key));
                if let Some(mark) = mark {
                    self.mail(node, Mail::Notify(ToNotify::Event(receiver::Event::Marked { batch, mark })));
                }
            }
            ToCache::Commit(batch, changes) => {
                woken.extend(changes.iter().flat_map(|change| shard.commit(batch, change)));
            }
            ToCache::Abort(batch, keys) => woken.extend(keys.iter().flat_map(|key| shard.abort(batch, key))),
            ToCache::ReadLease(grant, timeline, revision) => {
                shard.set_timeline(timeline);
                shard.note_revision(revision);
                woken = shard.grant(Some(grant));
                self.granted(node);
                self.mail(node, Mail::Lease(lease::Event::Admitted));
            }
            ToCache::Extend(grant) => {
                let lapsed = !self.nodes[node].is_trusting(self.now);
                self.checks.counters.resumed += u64::from(lapsed);
                self.nodes[node].shard.extend(grant);
                self.granted(node);
            }
            ToCache::EndEarlier(timeline) => {
                woken = shard.end_earlier(timeline);
            }
            ToCache::Flush => {
                woken = shard.grant(None);
                self.nodes[node].flag = false;
                self.mail(node, Mail::Lease(lease::Event::Flushed));
            }
            ToCache::Note(versions) => {
                versions.iter().for_each(|(key, version)| shard.note_version(key, *version));
            }
        }
        self.wake(woken);
    }

    /// A broken rule looks at a flag.
    fn granted(&mut self, node: usize) {
        let Some(grant) = self.nodes[node].shard.lease() else { return };
        self.nodes[node].flag = true;
        if let (true, LeaseEnd::At(end)) = (self.is_broken(Variant::LeaseFlag), grant.ends) {
            let at = self.nodes[node].clock.reaches(end);
            self.after_for(node, at.saturating_sub(self.now), Mail::FlagDown);
        }
    }

    /// A process begins.
    pub(super) fn started(&mut self, node: usize) {
        self.arm(node, Machine::Feed);
        self.step_lease(node, lease::Event::Tick);
        self.links_changed(node);
    }

    /// The links of a node, or to it, may be other ones now; it takes some time to notice.
    pub(super) fn links_changed(&mut self, _node: usize) {
        for other in 0..self.nodes.len() {
            let notices = if self.now == 0 { 0 } else { self.chance.spread(1_000, 2_000_000) };
            self.after(notices, What::Links(other));
        }
    }

    pub(super) fn look_at_links(&mut self, node: usize) {
        let reaches = |other: &usize| {
            *other != node && !self.cut[node][*other] && !self.cut[*other][node] && self.nodes[*other].run == Run::Up
        };
        let linked = (0..self.nodes.len()).filter(reaches).map(|other| self.nodes[other].name.clone()).collect();
        if self.nodes[node].linked != linked {
            self.nodes[node].linked.clone_from(&linked);
            let process = self.nodes[node].process;
            self.deliver(node, process, Mail::Lease(lease::Event::Linked(linked)));
        }
    }
}
